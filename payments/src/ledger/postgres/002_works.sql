-- What a session is bound to beside money, for the processes that share the books; and which pieces of its work were vouched
-- for: one above the highest, and sixteen bytes of a bitmap behind it, big-endian.
CREATE TABLE works (
    session BYTEA PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    terms   BYTEA NOT NULL,
    next    BIGINT NOT NULL,
    spent   BYTEA NOT NULL
);
