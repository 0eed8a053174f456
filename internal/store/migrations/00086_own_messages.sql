-- Answers of the bot in conversations of Teams, by which what is pressed there is told
-- from what stands in somebody else's message. Cards are known by their own rows.
CREATE TABLE own_messages (
	conversation TEXT   NOT NULL,
	message      TEXT   NOT NULL,
	at           BIGINT NOT NULL,
	PRIMARY KEY (conversation, message)
);
CREATE INDEX own_messages_at ON own_messages (at);
