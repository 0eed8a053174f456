-- The last hunts of each person, to be run again.
CREATE TABLE hunts (
	tenant TEXT   NOT NULL,
	id     TEXT   NOT NULL,
	person TEXT   NOT NULL,
	saved  TEXT   NOT NULL, -- the name of a saved hunt, or ''
	query  TEXT   NOT NULL,
	at     BIGINT NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE INDEX hunts_person ON hunts (tenant, person, at);
