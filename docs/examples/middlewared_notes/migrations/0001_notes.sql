CREATE TABLE notes (
    id      INTEGER PRIMARY KEY,
    text    TEXT NOT NULL,
    author  TEXT NOT NULL,
    written INTEGER NOT NULL      -- milliseconds since 1970-01-01 UTC
) STRICT;
