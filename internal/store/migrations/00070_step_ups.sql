-- Fresh sign-ins of approvers, each for one person and one request. Secrets are
-- kept as SHA-256.
CREATE TABLE step_ups (
	tenant TEXT NOT NULL,
	id TEXT NOT NULL,
	person TEXT NOT NULL,
	principal TEXT NOT NULL, -- the account that began it, as JSON
	request TEXT NOT NULL,
	digest TEXT NOT NULL, -- of the request as it was shown
	subject TEXT NOT NULL, -- what the page says it is for; outside text
	stage TEXT NOT NULL CHECK (stage IN ('offered', 'signing-in', 'done')),
	token TEXT NOT NULL, -- of the address
	browser TEXT NOT NULL,
	state TEXT NOT NULL,
	signed_at BIGINT NOT NULL, -- when the directory last saw the person prove who they are; 0 before
	expires BIGINT NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE INDEX step_ups_token ON step_ups (tenant, token);
CREATE INDEX step_ups_state ON step_ups (tenant, state);
CREATE INDEX step_ups_person ON step_ups (tenant, person, digest);
