-- Failures that are the message's own and not the platform's: it was refused for its
-- form, could not be drawn, or failed while others went through.
ALTER TABLE cards ADD COLUMN strikes BIGINT NOT NULL DEFAULT 0;
