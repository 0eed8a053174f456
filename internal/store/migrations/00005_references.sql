-- Where Teams conversations are reached. The service address is checked against
-- the configured hosts at every use, so an edited row leads nowhere.
CREATE TABLE conversation_references (
	tenant       TEXT   NOT NULL, -- the chat tenant
	key          TEXT   NOT NULL, -- conversation ID, or "@" and a person's object ID
	conversation TEXT   NOT NULL,
	service_url  TEXT   NOT NULL,
	updated_at   BIGINT NOT NULL,
	PRIMARY KEY (tenant, key)
);
