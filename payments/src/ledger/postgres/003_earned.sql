-- When it was certain what became of a winner, in Unix milliseconds; NULL while it is not, or where that was not kept yet.
ALTER TABLE winners ADD COLUMN settled_ms BIGINT;

-- What sessions earned in each hour since 1970, by the rows of the log that were folded: the log itself is short.
CREATE TABLE earned (
    hour      BIGINT NOT NULL,
    session   BYTEA NOT NULL,
    sender    BYTEA NOT NULL,
    recipient BYTEA NOT NULL,
    tickets   BIGINT NOT NULL,
    value     BYTEA NOT NULL,
    spent     BYTEA NOT NULL,
    PRIMARY KEY (hour, session)
);
