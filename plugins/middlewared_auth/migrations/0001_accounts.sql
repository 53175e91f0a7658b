-- Ids are never reused (AUTOINCREMENT): a removed account's jobs never pass to another.
-- A removed account keeps its row, and so its name in the history; its username is free.
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid TEXT NOT NULL UNIQUE,
    username TEXT NOT NULL,
    full_name TEXT NOT NULL,
    password_hash TEXT,           -- argon2id; NULL: no login with a password
    roles TEXT NOT NULL CHECK (json_valid(roles)),
    locked INTEGER NOT NULL CHECK (locked IN (0, 1)),
    generation INTEGER NOT NULL,  -- grows when logins and tokens so far must end
    created INTEGER NOT NULL,     -- milliseconds
    removed INTEGER               -- milliseconds; NULL while the account exists
) STRICT;

CREATE UNIQUE INDEX accounts_username ON accounts (username) WHERE removed IS NULL;

-- What SCRAM-SHA-512 needs of a key (RFC 5802, section 3); never the key itself.
CREATE TABLE api_keys (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    -- NULL: all of the account's.
    roles TEXT CHECK (roles IS NULL OR json_valid(roles)),
    created INTEGER NOT NULL,     -- milliseconds
    expires INTEGER,              -- milliseconds; NULL: never
    revoked INTEGER,              -- milliseconds; NULL while the key is good
    salt BLOB NOT NULL,
    iterations INTEGER NOT NULL,
    stored_key BLOB NOT NULL,
    server_key BLOB NOT NULL
) STRICT;

CREATE INDEX api_keys_account ON api_keys (account_id) WHERE revoked IS NULL;

-- Logins that logged out while reconnect tokens of theirs may still be about.
CREATE TABLE ended_logins (
    login_id TEXT PRIMARY KEY,
    until INTEGER NOT NULL        -- milliseconds; no token of it lives longer
) STRICT;
