-- A hold belongs to the process that made it, so that it can be given back when that process died. The number is never
-- given to another.
CREATE TABLE instances (
    id INTEGER PRIMARY KEY AUTOINCREMENT
);
INSERT INTO instances (id) VALUES (1);

CREATE TABLE holds (
    session  BLOB NOT NULL,
    instance INTEGER NOT NULL,
    amount   BLOB NOT NULL,
    PRIMARY KEY (session, instance)
) WITHOUT ROWID;
CREATE INDEX holds_instance ON holds (instance);
INSERT INTO holds (session, instance, amount) SELECT id, 1, held FROM sessions WHERE held <> zeroblob(32);

-- Through which process a session was last paid.
ALTER TABLE sessions ADD COLUMN instance INTEGER NOT NULL DEFAULT 1;
ALTER TABLE sessions DROP COLUMN held;

-- What changed the balances, one row for each commit, and what the rows that were folded add up to.
CREATE TABLE journal (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    instance INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL,
    entries  BLOB NOT NULL
);

CREATE TABLE openings (
    account BLOB PRIMARY KEY,
    balance BLOB NOT NULL
) WITHOUT ROWID;

PRAGMA user_version = 4;
