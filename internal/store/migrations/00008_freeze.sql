-- Whether a tenant's actions are frozen, by whom and why. The row stays when the
-- freeze ends; since = 0 is not frozen.
CREATE TABLE freezes (
	tenant TEXT NOT NULL PRIMARY KEY,
	person TEXT NOT NULL,
	person_name TEXT NOT NULL,
	account TEXT NOT NULL,
	reason TEXT NOT NULL,
	since BIGINT NOT NULL
);

-- The look for machine actions that carry the bot's identity and are not its own:
-- one row per tenant, held by one replica at a time.
CREATE TABLE action_watches (
	tenant TEXT NOT NULL PRIMARY KEY,
	next_at BIGINT NOT NULL,
	last_ok BIGINT NOT NULL,
	lease_until BIGINT NOT NULL
);

-- Those that were found, each announced once.
CREATE TABLE foreign_actions (
	tenant TEXT NOT NULL,
	id TEXT NOT NULL,
	found_at BIGINT NOT NULL,
	PRIMARY KEY (tenant, id)
);

CREATE INDEX request_targets_action ON request_targets (tenant, machine_action) WHERE machine_action <> '';
