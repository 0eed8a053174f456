-- What was posted in a place lately, for the budget that storms keep.
CREATE INDEX cards_posted ON cards (destination, posted_at) WHERE posted_at > 0;
