-- Alerts that were read: the remembered set that makes polling order-insensitive.
CREATE TABLE alerts (
	tenant      TEXT   NOT NULL,
	id          TEXT   NOT NULL,
	fingerprint TEXT   NOT NULL, -- of everything a card shows; equal = nothing to do
	severity    TEXT   NOT NULL,
	peak        BIGINT NOT NULL, -- highest severity rank ever announced
	status      TEXT   NOT NULL,
	incident    BIGINT NOT NULL,
	machine     TEXT   NOT NULL,
	body        TEXT   NOT NULL, -- JSON of the alert as last read
	created_at  BIGINT NOT NULL,
	seen_at     BIGINT NOT NULL,
	changed_at  BIGINT NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE INDEX alerts_incident ON alerts (tenant, incident);

-- One row per thing shown in one place. The sender works while wanted > shown.
CREATE TABLE cards (
	id           TEXT   PRIMARY KEY,
	tenant       TEXT   NOT NULL,
	subject      TEXT   NOT NULL, -- request, reply, alert, raised, storm, page, notice
	subject_id   TEXT   NOT NULL,
	destination  TEXT   NOT NULL,
	class        BIGINT NOT NULL, -- sending order: 0 first
	topic        TEXT   NOT NULL, -- what shares a thread, such as an incident, or ''
	parent       TEXT   NOT NULL, -- card whose thread this one belongs to, or ''
	wanted       BIGINT NOT NULL,
	shown        BIGINT NOT NULL,
	platform     TEXT   NOT NULL, -- where it was posted, '' before
	workspace    TEXT   NOT NULL,
	conversation TEXT   NOT NULL,
	thread       TEXT   NOT NULL,
	message      TEXT   NOT NULL,
	attempts     BIGINT NOT NULL,
	tried_at     BIGINT NOT NULL, -- first try whose outcome is not known
	next_at      BIGINT NOT NULL,
	problem      TEXT   NOT NULL, -- why the last try failed, in words for operators
	held         TEXT   NOT NULL, -- the storm that names it instead of a post of its own
	created_at   BIGINT NOT NULL,
	posted_at    BIGINT NOT NULL,
	UNIQUE (tenant, subject, subject_id, destination)
);
CREATE INDEX cards_due ON cards (destination, next_at) WHERE wanted > shown;
CREATE INDEX cards_message ON cards (conversation, message) WHERE message <> '';
CREATE INDEX cards_heads ON cards (tenant, topic, destination) WHERE topic <> '' AND parent = '' AND held = '';
CREATE INDEX cards_alerts ON cards (destination, created_at) WHERE subject = 'alert';
CREATE INDEX cards_threads ON cards (parent) WHERE parent <> '';
CREATE INDEX cards_held ON cards (held) WHERE held <> '';

-- Pace and the right to send, per destination and per platform method. It
-- belongs to the chat platforms and not to any tenant.
CREATE TABLE pace (
	key         TEXT   PRIMARY KEY,
	arrival     BIGINT NOT NULL, -- when the next unhurried send would be due
	lease_owner TEXT   NOT NULL,
	lease_until BIGINT NOT NULL
);

-- One row per tenant and polling pass.
CREATE TABLE pollers (
	tenant      TEXT   NOT NULL,
	pass        TEXT   NOT NULL,
	next_at     BIGINT NOT NULL,
	last_ok     BIGINT NOT NULL,
	lease_owner TEXT   NOT NULL,
	lease_until BIGINT NOT NULL,
	problem     TEXT   NOT NULL,
	PRIMARY KEY (tenant, pass)
);

-- What a tenant's watching as a whole knows: when it began and whether it is blind.
CREATE TABLE watches (
	tenant      TEXT   PRIMARY KEY,
	began_at    BIGINT NOT NULL,
	settled_at  BIGINT NOT NULL, -- when everything older had been remembered; 0 = not yet
	blind_since BIGINT NOT NULL  -- 0 = seeing
);

CREATE TABLE storms (
	id          TEXT   PRIMARY KEY,
	tenant      TEXT   NOT NULL,
	destination TEXT   NOT NULL,
	began_at    BIGINT NOT NULL,
	last_at     BIGINT NOT NULL,
	ended_at    BIGINT NOT NULL -- 0 = going on
);
CREATE UNIQUE INDEX storms_live ON storms (tenant, destination) WHERE ended_at = 0;

-- Messages that are not drawn from other state: blindness, alarms, summaries.
CREATE TABLE notices (
	tenant     TEXT   NOT NULL,
	id         TEXT   NOT NULL,
	body       TEXT   NOT NULL, -- JSON of a chat.Message
	created_at BIGINT NOT NULL,
	PRIMARY KEY (tenant, id)
);
