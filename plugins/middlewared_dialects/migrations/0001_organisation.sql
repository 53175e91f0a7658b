-- The organisation that this installation is for other job APIs.
CREATE TABLE dialect_organisation (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    uuid TEXT NOT NULL
) STRICT;
