-- Groups of roles. Ids are never reused, so an account never holds another one's.
CREATE TABLE privileges (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    roles TEXT NOT NULL CHECK (json_valid(roles)),
    created INTEGER NOT NULL      -- milliseconds
) STRICT;

-- The ids of the privileges that the account holds.
ALTER TABLE accounts ADD COLUMN privileges TEXT NOT NULL DEFAULT '[]'
    CHECK (json_valid(privileges));
ALTER TABLE accounts ADD COLUMN expires INTEGER;           -- milliseconds; NULL: never
ALTER TABLE accounts ADD COLUMN password_changed INTEGER;  -- milliseconds
ALTER TABLE accounts ADD COLUMN must_change_password INTEGER NOT NULL DEFAULT 0
    CHECK (must_change_password IN (0, 1));
-- What auth.set_attribute keeps for clients.
ALTER TABLE accounts ADD COLUMN attributes TEXT NOT NULL DEFAULT '{}'
    CHECK (json_valid(attributes));

UPDATE accounts SET password_changed = created WHERE password_hash IS NOT NULL;
