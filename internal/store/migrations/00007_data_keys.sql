-- IDs of the keys that encrypted columns were written with. The keys themselves
-- are outside. done = 1 when every row is written with it.
CREATE TABLE data_keys (
	id TEXT NOT NULL PRIMARY KEY,
	done BIGINT NOT NULL
);
