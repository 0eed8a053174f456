-- The cards of requests by their age, for the look after those that reached nobody.
CREATE INDEX cards_requests ON cards (created_at) WHERE subject = 'request';

-- A tenant's requests that are not resolved, in their order.
CREATE INDEX requests_unfinished ON requests (tenant, number)
	WHERE state IN ('pending', 'approved', 'executing', 'submitted', 'unknown');
