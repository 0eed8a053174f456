-- Machines whose planned time of isolation is over and was told, each once.
CREATE TABLE isolation_ends (
	tenant  TEXT   NOT NULL,
	request TEXT   NOT NULL,
	idx     BIGINT NOT NULL, -- of the request's target
	told_at BIGINT NOT NULL,
	PRIMARY KEY (tenant, request, idx)
);
