-- Processes that share this database and have shown themselves lately.
CREATE TABLE replicas (
    replica_id TEXT   NOT NULL PRIMARY KEY,
    started_at BIGINT NOT NULL,
    beat_at    BIGINT NOT NULL
);

-- Deliveries already taken from a chat platform, so that a repeat is dropped.
CREATE TABLE inbox (
    tenant      TEXT   NOT NULL,
    delivery_id TEXT   NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, delivery_id)
);
CREATE INDEX inbox_received_at ON inbox (received_at);

-- Unique jobs that were asked for again while they ran.
CREATE TABLE wakeups (
    tenant     TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    job_id     TEXT   NOT NULL,
    generation BIGINT NOT NULL,
    PRIMARY KEY (tenant, kind, job_id, generation)
);
