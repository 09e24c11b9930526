-- What a session is bound to beside money, for the processes that share the books; and which pieces of its work were vouched
-- for: one above the highest, and sixteen bytes of a bitmap behind it, big-endian.
CREATE TABLE works (
    session BLOB PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    terms   BLOB NOT NULL,
    next    INTEGER NOT NULL,
    spent   BLOB NOT NULL
);

PRAGMA user_version = 5;
