-- Hunts under way, so that whoever asked can cancel one through another replica than
-- the one that runs it.
CREATE TABLE running_hunts (
	tenant    TEXT   NOT NULL,
	id        TEXT   NOT NULL,
	who       TEXT   NOT NULL, -- who asked, as the router tells people apart
	began_at  BIGINT NOT NULL,
	cancelled BIGINT NOT NULL, -- 0 = goes on
	PRIMARY KEY (tenant, id)
);
