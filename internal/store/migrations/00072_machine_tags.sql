-- When a machine was last seen with a tag that rules read: taking the tag off must
-- not loosen the rule at once.
CREATE TABLE machine_tags (
	tenant TEXT NOT NULL,
	machine TEXT NOT NULL,
	tag TEXT NOT NULL,
	seen_at BIGINT NOT NULL,
	PRIMARY KEY (tenant, machine, tag)
);
