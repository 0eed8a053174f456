-- The last number given out per tenant; opening a request locks its row.
CREATE TABLE request_numbers (
	tenant TEXT NOT NULL PRIMARY KEY,
	last BIGINT NOT NULL
);

CREATE TABLE requests (
	tenant TEXT NOT NULL,
	id TEXT NOT NULL,
	number BIGINT NOT NULL,
	action TEXT NOT NULL,
	params TEXT NOT NULL,
	requester TEXT NOT NULL,
	requester_name TEXT NOT NULL,
	requester_as TEXT NOT NULL,
	origin TEXT NOT NULL,
	origin_thread TEXT NOT NULL,
	reason TEXT NOT NULL,
	rule TEXT NOT NULL,
	policy_hash TEXT NOT NULL,
	nonce TEXT NOT NULL,
	digest TEXT NOT NULL,
	state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'executing', 'submitted', 'unknown',
		'succeeded', 'failed', 'denied', 'withdrawn', 'expired', 'void')),
	version BIGINT NOT NULL,
	opened BIGINT NOT NULL,
	expires BIGINT NOT NULL,
	decided BIGINT NOT NULL,
	execute_by BIGINT NOT NULL,
	closed BIGINT NOT NULL,
	reminded BIGINT NOT NULL,
	why TEXT NOT NULL,
	PRIMARY KEY (tenant, id),
	UNIQUE (tenant, number)
);

CREATE INDEX requests_live ON requests (state, expires)
	WHERE state IN ('pending', 'approved', 'executing', 'submitted', 'unknown');
CREATE INDEX requests_opened ON requests (tenant, opened);

CREATE TABLE request_targets (
	tenant TEXT NOT NULL,
	request TEXT NOT NULL,
	idx BIGINT NOT NULL,
	kind TEXT NOT NULL,
	target TEXT NOT NULL,
	name TEXT NOT NULL,
	facts TEXT NOT NULL,
	family TEXT NOT NULL,
	state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'executing', 'submitted', 'unknown',
		'succeeded', 'failed', 'denied', 'withdrawn', 'expired', 'void')),
	generation BIGINT NOT NULL,
	lease_owner TEXT NOT NULL,
	lease_until BIGINT NOT NULL,
	intent_at BIGINT NOT NULL,
	unclear_at BIGINT NOT NULL,
	due BIGINT NOT NULL,
	attempts BIGINT NOT NULL,
	settled BIGINT NOT NULL,
	machine_action TEXT NOT NULL,
	action_status TEXT NOT NULL,
	why TEXT NOT NULL,
	updated BIGINT NOT NULL,
	PRIMARY KEY (tenant, request, idx)
);

-- At most one unfinished request per thing and family of actions.
CREATE UNIQUE INDEX request_targets_live ON request_targets (tenant, kind, target, family)
	WHERE state IN ('pending', 'approved', 'executing', 'submitted', 'unknown');
CREATE INDEX request_targets_due ON request_targets (state, due)
	WHERE state IN ('approved', 'executing');

CREATE TABLE votes (
	tenant TEXT NOT NULL,
	request TEXT NOT NULL,
	person TEXT NOT NULL,
	name TEXT NOT NULL,
	account TEXT NOT NULL,
	deny BIGINT NOT NULL,
	reason TEXT NOT NULL,
	digest TEXT NOT NULL,
	at BIGINT NOT NULL,
	PRIMARY KEY (tenant, request, person)
);
