-- What somebody was to be woken for by notify.page. Its card in cards says how far
-- the receiver has been told.
CREATE TABLE pagings (
	tenant   TEXT   NOT NULL,
	id       TEXT   NOT NULL, -- what the receiver tells them apart by
	about    TEXT   NOT NULL, -- "request <ID>", "alerts" or "blind"
	began_at BIGINT NOT NULL,
	ended_at BIGINT NOT NULL, -- 0 = going on
	PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX pagings_live ON pagings (tenant, about) WHERE ended_at = 0;
