-- Files on a chat platform that are to be deleted when they are old.
CREATE TABLE sent_files (
	id TEXT   PRIMARY KEY,
	at BIGINT NOT NULL
);
CREATE INDEX sent_files_at ON sent_files (at);
