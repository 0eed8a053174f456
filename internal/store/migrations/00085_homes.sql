-- Who has opened their own page on a chat platform lately, and what it shows: the page
-- is drawn anew by whichever replica notices that it is old.
CREATE TABLE homes (
	account      TEXT   PRIMARY KEY, -- as a destination: slack:@T0SOC/U0RILEY
	opened_at    BIGINT NOT NULL,
	wanted       BIGINT NOT NULL,
	shown        BIGINT NOT NULL,
	mark         TEXT   NOT NULL, -- of what is shown
	published_at BIGINT NOT NULL,
	next_at      BIGINT NOT NULL, -- not before
	lease_owner  TEXT   NOT NULL,
	lease_until  BIGINT NOT NULL
);
