-- When the newest version of a submission was stored; zero: by a program that knew one version only.
ALTER TABLE submissions ADD COLUMN offered_ms INTEGER NOT NULL DEFAULT 0;

-- Versions of a submission at higher fees, by the hash of its first: the chain takes one of all at most.
CREATE TABLE replacements (
    submission BLOB NOT NULL REFERENCES submissions (tx) ON DELETE CASCADE,
    version    INTEGER NOT NULL,
    tx         BLOB NOT NULL,
    raw        BLOB NOT NULL,
    PRIMARY KEY (submission, version)
) WITHOUT ROWID;

PRAGMA user_version = 3;
