-- Isolations and releases as Defender lists them: what a machine's isolation is
-- worked out from, for the cards that name the machine.
CREATE TABLE isolations (
	tenant     TEXT   NOT NULL,
	id         TEXT   NOT NULL, -- of the machine action
	machine    TEXT   NOT NULL,
	type       TEXT   NOT NULL,
	status     TEXT   NOT NULL,
	scope      TEXT   NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE INDEX isolations_machine ON isolations (tenant, machine);
CREATE INDEX alerts_machine ON alerts (tenant, machine) WHERE status <> 'Resolved';
