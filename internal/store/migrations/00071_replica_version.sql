-- Which version a process runs: different ones do not act side by side.
ALTER TABLE replicas ADD COLUMN version TEXT NOT NULL DEFAULT '';
