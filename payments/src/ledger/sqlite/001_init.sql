-- Amounts are 32 bytes big-endian, addresses 20, hashes 32; 64-bit counters are integers.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- A lane outlives its sessions: its nonces are never used again.
CREATE TABLE lanes (
    sender    BLOB NOT NULL,
    recipient BLOB NOT NULL,
    lane      INTEGER NOT NULL,
    serial    INTEGER NOT NULL,
    highest   INTEGER NOT NULL,
    floor     INTEGER NOT NULL,
    seen      BLOB NOT NULL,
    PRIMARY KEY (sender, recipient, lane)
) WITHOUT ROWID;

CREATE TABLE sessions (
    id         BLOB PRIMARY KEY,
    sender     BLOB NOT NULL,
    recipient  BLOB NOT NULL,
    lane       INTEGER NOT NULL,
    face_value BLOB NOT NULL,
    win_prob   BLOB NOT NULL,
    credit     BLOB NOT NULL,
    held       BLOB NOT NULL,
    tickets    INTEGER NOT NULL,
    used_ms    INTEGER NOT NULL
) WITHOUT ROWID;

-- state: 0 pending, 1 submitted, 2 paid, 3 dead; reason: why it is dead.
CREATE TABLE winners (
    id          INTEGER PRIMARY KEY,
    sender      BLOB NOT NULL,
    recipient   BLOB NOT NULL,
    lane        INTEGER NOT NULL,
    nonce       INTEGER NOT NULL,
    serial      INTEGER NOT NULL,
    scheme      INTEGER NOT NULL,
    ticket      BLOB NOT NULL,
    state       INTEGER NOT NULL DEFAULT 0,
    reason      INTEGER NOT NULL DEFAULT 0,
    tx          BLOB,
    position    INTEGER NOT NULL DEFAULT 0,
    attempts    INTEGER NOT NULL DEFAULT 0,
    accepted_ms INTEGER NOT NULL,
    UNIQUE (sender, recipient, lane, nonce)
);
CREATE INDEX winners_open ON winners (state, sender, recipient, lane, nonce) WHERE state < 2;
CREATE INDEX winners_tx ON winners (tx) WHERE tx IS NOT NULL;

CREATE TABLE submissions (
    tx  BLOB PRIMARY KEY,
    raw BLOB NOT NULL
) WITHOUT ROWID;

-- The sender's side.
CREATE TABLE spend_lanes (
    sender     BLOB NOT NULL,
    recipient  BLOB NOT NULL,
    lane       INTEGER NOT NULL,
    next_nonce INTEGER NOT NULL,
    PRIMARY KEY (sender, recipient, lane)
) WITHOUT ROWID;

CREATE TABLE spendings (
    session     BLOB PRIMARY KEY,
    stream      BLOB NOT NULL,
    recipient   BLOB NOT NULL,
    sender      BLOB NOT NULL,
    paid        BLOB NOT NULL,
    written_off BLOB NOT NULL,
    ordered     BLOB NOT NULL,
    verified    BLOB NOT NULL
) WITHOUT ROWID;

-- Value sent per stream and minute; an hour of them is kept.
CREATE TABLE stream_minutes (
    stream BLOB NOT NULL,
    minute INTEGER NOT NULL,
    spent  BLOB NOT NULL,
    PRIMARY KEY (stream, minute)
) WITHOUT ROWID;

CREATE TABLE deposits (
    sender BLOB PRIMARY KEY,
    seen   BLOB NOT NULL,
    base   BLOB NOT NULL,
    spent  BLOB NOT NULL
) WITHOUT ROWID;

PRAGMA user_version = 1;
