-- Hunts that run by themselves, as mdebot.yaml plans them.
CREATE TABLE scheduled_hunts (
	tenant        TEXT   NOT NULL,
	name          TEXT   NOT NULL,
	mark          TEXT   NOT NULL, -- of what is asked; another one begins anew
	rhythm        TEXT   NOT NULL, -- that next_at was planned by
	next_at       BIGINT NOT NULL,
	lease_owner   TEXT   NOT NULL,
	lease_until   BIGINT NOT NULL,
	began_at      BIGINT NOT NULL, -- first good run; 0 = none yet
	last_at       BIGINT NOT NULL, -- last good run
	found         BIGINT NOT NULL, -- rows of the last good run
	fresh         BIGINT NOT NULL, -- of them new
	fresh_at      BIGINT NOT NULL, -- last time something was new
	failing_since BIGINT NOT NULL, -- 0 = well
	failing_told  BIGINT NOT NULL, -- 1 = people know
	problem       TEXT   NOT NULL,
	PRIMARY KEY (tenant, name)
);

-- The rows of their results that are known, by a hash.
CREATE TABLE hunt_rows (
	tenant  TEXT   NOT NULL,
	name    TEXT   NOT NULL,
	hash    TEXT   NOT NULL,
	seen_at BIGINT NOT NULL, -- to the day
	PRIMARY KEY (tenant, name, hash)
);
CREATE INDEX hunt_rows_seen ON hunt_rows (tenant, name, seen_at);

-- What they took of the tenant's run time lately.
CREATE TABLE hunt_runs (
	tenant TEXT   NOT NULL,
	name   TEXT   NOT NULL,
	at     BIGINT NOT NULL,
	took   BIGINT NOT NULL, -- microseconds
	PRIMARY KEY (tenant, name, at)
);
