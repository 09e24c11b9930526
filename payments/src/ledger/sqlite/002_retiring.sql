-- Since when the secret before the current one retires; NULL once it takes no more tickets.
ALTER TABLE lanes ADD COLUMN retiring_ms INTEGER;

PRAGMA user_version = 2;
