-- Sent and unclear targets, for the sweep that gives them their job again.
CREATE INDEX request_targets_recall ON request_targets (state, due)
	WHERE state IN ('submitted', 'unknown');
