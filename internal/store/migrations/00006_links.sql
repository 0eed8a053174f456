-- Chat accounts that people linked to themselves. Rows stay when a link ends.
CREATE TABLE links (
	tenant TEXT NOT NULL,
	id TEXT NOT NULL,
	platform TEXT NOT NULL,
	account TEXT NOT NULL, -- Principal.Key()
	principal TEXT NOT NULL, -- the same as JSON, with what reaches it
	person TEXT NOT NULL,
	person_name TEXT NOT NULL, -- as the directory called the person then; decides nothing
	how TEXT NOT NULL,
	by_account TEXT NOT NULL, -- the account that completed it, as JSON
	linked_at BIGINT NOT NULL,
	counts_from BIGINT NOT NULL, -- 0 = always
	confirmed_by TEXT NOT NULL, -- the second person, or ''
	confirmed_at BIGINT NOT NULL,
	ended_at BIGINT NOT NULL, -- 0 = in force
	ended_why TEXT NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX links_live ON links (tenant, platform, account) WHERE ended_at = 0;
CREATE INDEX links_person ON links (tenant, person) WHERE ended_at = 0;

-- The one link that an account is about to get. Secrets are kept as SHA-256.
CREATE TABLE link_attempts (
	tenant TEXT NOT NULL,
	account TEXT NOT NULL,
	principal TEXT NOT NULL,
	stage TEXT NOT NULL CHECK (stage IN ('offered', 'signing-in', 'signed-in', 'proposed')),
	token TEXT NOT NULL, -- of the address
	browser TEXT NOT NULL, -- of the browser that began to sign in
	state TEXT NOT NULL,
	teams_code TEXT NOT NULL,
	code TEXT NOT NULL, -- that the browser shows after signing in
	person TEXT NOT NULL,
	person_name TEXT NOT NULL,
	by_account TEXT NOT NULL,
	wrong BIGINT NOT NULL,
	expires BIGINT NOT NULL,
	PRIMARY KEY (tenant, account)
);
CREATE INDEX link_attempts_token ON link_attempts (tenant, token);
CREATE INDEX link_attempts_state ON link_attempts (tenant, state);
CREATE INDEX link_attempts_teams ON link_attempts (tenant, teams_code);
