-- When it was certain what became of a winner, in Unix milliseconds; NULL while it is not, or where that was not kept yet.
ALTER TABLE winners ADD COLUMN settled_ms INTEGER;

-- What sessions earned in each hour since 1970, by the rows of the log that were folded: the log itself is short.
CREATE TABLE earned (
    hour      INTEGER NOT NULL,
    session   BLOB NOT NULL,
    sender    BLOB NOT NULL,
    recipient BLOB NOT NULL,
    tickets   INTEGER NOT NULL,
    value     BLOB NOT NULL,
    spent     BLOB NOT NULL,
    PRIMARY KEY (hour, session)
) WITHOUT ROWID;

PRAGMA user_version = 6;
