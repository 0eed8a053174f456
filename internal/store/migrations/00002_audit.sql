-- One hash chain per tenant. Rows are only ever inserted; what forbids the rest
-- is the chain itself, since triggers cannot be written once for both engines.
CREATE TABLE audit (
	tenant TEXT NOT NULL,
	seq BIGINT NOT NULL,
	at BIGINT NOT NULL,
	kind TEXT NOT NULL,
	person TEXT NOT NULL,
	person_name TEXT NOT NULL,
	account TEXT NOT NULL,
	conversation TEXT NOT NULL,
	delivery TEXT NOT NULL,
	request TEXT NOT NULL,
	digest TEXT NOT NULL,
	policy_hash TEXT NOT NULL,
	outcome TEXT NOT NULL,
	detail TEXT NOT NULL,
	prev TEXT NOT NULL,
	hash TEXT NOT NULL,
	PRIMARY KEY (tenant, seq)
);

CREATE INDEX audit_request ON audit (tenant, request, seq);

-- The end of each chain: what writers lock, and what shows a cut tail.
CREATE TABLE audit_heads (
	tenant TEXT NOT NULL PRIMARY KEY,
	seq BIGINT NOT NULL,
	hash TEXT NOT NULL
);
