-- What is kept out of chat for a while, and by whom.
CREATE TABLE mutes (
	tenant   TEXT   NOT NULL,
	id       TEXT   NOT NULL,
	number   BIGINT NOT NULL, -- short, per tenant
	body     TEXT   NOT NULL, -- JSON of the order: what, for how long, who, why
	began_at BIGINT NOT NULL,
	until_at BIGINT NOT NULL,
	ended_at BIGINT NOT NULL, -- 0 = in force
	ended_by TEXT   NOT NULL, -- who ended it early, or ''
	PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX mutes_number ON mutes (tenant, number);
CREATE INDEX mutes_live ON mutes (tenant, until_at) WHERE ended_at = 0;

-- The alerts that a mute kept back.
CREATE TABLE muted_alerts (
	tenant TEXT   NOT NULL,
	mute   TEXT   NOT NULL,
	alert  TEXT   NOT NULL,
	at     BIGINT NOT NULL,
	PRIMARY KEY (tenant, mute, alert)
);
