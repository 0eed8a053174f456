-- The version that shows what somebody did: until it is shown, the edit comes before
-- others. And when a card is to be drawn once more, because an older drawing whose
-- outcome is not known may have arrived after the newest.
ALTER TABLE cards ADD COLUMN urgent BIGINT NOT NULL DEFAULT 0;
ALTER TABLE cards ADD COLUMN again_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX cards_again ON cards (again_at) WHERE again_at > 0;

-- Until when a destination has nothing that its pace lets out.
ALTER TABLE pace ADD COLUMN asleep_until BIGINT NOT NULL DEFAULT 0;
