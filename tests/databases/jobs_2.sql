-- A database of a server that was killed, with version 2 of the tables of jobs.
-- jobs.key: NVNST2VvclJPZGI5WlNldS1XTUswOXRHZEVrTDZZWTVlTW5RLV96UEtUcz0=
BEGIN TRANSACTION;
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
, privileges TEXT NOT NULL DEFAULT '[]'
    CHECK (json_valid(privileges)), expires INTEGER, password_changed INTEGER, must_change_password INTEGER NOT NULL DEFAULT 0
    CHECK (must_change_password IN (0, 1)), attributes TEXT NOT NULL DEFAULT '{}'
    CHECK (json_valid(attributes))) STRICT;
INSERT INTO "accounts" VALUES(1,'d599b8f9-841c-464f-bb5c-82d27833ebb0','admin','',NULL,'["FULL_ADMIN"]',0,0,1795684706610,NULL,'[]',NULL,NULL,0,'{}');
INSERT INTO "accounts" VALUES(2,'4a49b1c8-f9c1-44cd-8c48-a98611f4173c','ann','','$argon2id$v=19$m=19456,t=2,p=1$svkLy1pwgfaY+qn1H/GOCg$QWUlBOdLf837AvpnR4vDCT+oWnItYxQW1y9bLHsjhG0','["FULL_ADMIN"]',0,0,1795684708142,NULL,'[]',NULL,1795684708142,0,'{}');
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
CREATE TABLE database_epoch (
        one INTEGER PRIMARY KEY CHECK (one = 1), epoch TEXT NOT NULL
    ) STRICT
    ;
INSERT INTO "database_epoch" VALUES(1,'89f2726f7f10f559');
CREATE TABLE ended_logins (
    login_id TEXT PRIMARY KEY,
    until INTEGER NOT NULL        -- milliseconds; no token of it lives longer
) STRICT;
CREATE TABLE job_ids (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    next INTEGER NOT NULL
) STRICT;
INSERT INTO "job_ids" VALUES(1,1001);
CREATE TABLE jobs (
    id                    INTEGER PRIMARY KEY,
    uid                   TEXT NOT NULL,
    method                TEXT NOT NULL,
    message_ids           TEXT NOT NULL,
    arguments             TEXT NOT NULL,
    description           TEXT,
    abortable             INTEGER NOT NULL,
    logs_path             TEXT,
    logs_excerpt          TEXT,
    progress              TEXT NOT NULL,
    result                TEXT NOT NULL,
    result_encoding_error TEXT NOT NULL,
    error                 TEXT,
    exception             TEXT,
    exc_info              TEXT NOT NULL,
    state                 TEXT NOT NULL,
    time_created          INTEGER NOT NULL,
    time_started          INTEGER,
    time_finished         INTEGER,
    credentials           TEXT NOT NULL,
    owner                 INTEGER,
    attempt               INTEGER NOT NULL,
    lock                  TEXT,
    abort                 TEXT NOT NULL,
    -- Params in clear, for a restart; sealed when one is a secret; null once final.
    params                BLOB
, child_pid INTEGER, child_started TEXT) STRICT;
INSERT INTO "jobs" VALUES(1,'4a9faf05-9269-4d18-89af-279610784412','old.say','["d58bec80-e905-4204-b3db-ba1070713630"]','["hello"]','Say hello',0,'/var/lib/middlewared/logs/1.log','2026-11-26T09:18:28.164Z INFO said hello
','{"percent":100,"description":"half","extra":{"n":1}}','{"said":"hello"}','null',NULL,NULL,'null','SUCCESS',1795684708162,1795684708162,1795684708165,'{"type":"UNIX_SOCKET","data":{"username":"root","login_id":"0829f14c-e902-4f57-8dc0-06c70dc2ca99","login_at":{"$date":1795684707945}}}',NULL,1,NULL,'null',NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(2,'23dfcac9-ded8-499c-8f1c-1f8c4508acca','old.fail','["282f01c8-9ff3-4457-bd59-4124fd9fb90a"]','["no luck"]',NULL,0,NULL,NULL,'{"percent":0,"description":"","extra":null}','null','null','[EACCES] no luck','Traceback (most recent call last):
  File "/opt/middlewared/plugins/middlewared_jobs/body.py", line 95, in _in_loop
    value = await method.params.call(method.handler, run.job, run.values)
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/opt/middlewared/plugins/middlewared_old.py", line 21, in fail
    raise CallError(text, 13, {"why": "old"})
middlewared.errors.CallError: [EACCES] no luck
','{"repr":"CallError(''no luck'', 13, {''why'': ''old''})","type":"CallError","errno":13,"extra":{"why":"old"}}','FAILED',1795684708165,1795684708165,1795684708171,'{"type":"UNIX_SOCKET","data":{"username":"root","login_id":"0829f14c-e902-4f57-8dc0-06c70dc2ca99","login_at":{"$date":1795684707945}}}',NULL,1,NULL,'null',NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(3,'8369ed83-7917-4bf1-b48c-a1e6ba9cadd0','old.hold','["53169b9e-ab88-40f6-b74d-1b3100c7882d"]','["aborted"]',NULL,1,NULL,NULL,'{"percent":0,"description":"","extra":null}','null','null',NULL,NULL,'null','ABORTED',1795684708172,1795684708172,1795684708680,'{"type":"UNIX_SOCKET","data":{"username":"root","login_id":"0829f14c-e902-4f57-8dc0-06c70dc2ca99","login_at":{"$date":1795684707945}}}',NULL,1,'old','{"by":"root","at":{"$date":1795684708680},"overdue":false}',NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(4,'e26d5563-da1d-4552-837c-1972e6fded74','old.hold','["d7a70c8c-f574-4e94-a3fa-3c19d4c78270"]','["running"]',NULL,1,NULL,NULL,'{"percent":0,"description":"","extra":null}','null','null',NULL,NULL,'null','RUNNING',1795684708680,1795684708684,NULL,'{"type":"UNIX_SOCKET","data":{"username":"root","login_id":"0829f14c-e902-4f57-8dc0-06c70dc2ca99","login_at":{"$date":1795684707945}}}',NULL,1,'old','null',X'5B2272756E6E696E67225D',NULL,NULL);
INSERT INTO "jobs" VALUES(5,'86ea08e0-c608-4d2e-9567-49853288364f','old.gone','["1f1f9506-8709-4a10-a40d-737ca50c9ee5"]','["gone"]',NULL,0,NULL,NULL,'{"percent":0,"description":"","extra":null}','null','null',NULL,NULL,'null','WAITING',1795684709200,NULL,NULL,'{"type":"UNIX_SOCKET","data":{"username":"root","login_id":"0829f14c-e902-4f57-8dc0-06c70dc2ca99","login_at":{"$date":1795684707945}}}',NULL,0,'old','null',X'5B22676F6E65225D',NULL,NULL);
INSERT INTO "jobs" VALUES(6,'16178935-5841-4f7f-b646-059ee6897c12','old.changed','["60cfb141-5fd4-40f5-ac62-67c1e1ced1da"]','["changed"]',NULL,0,NULL,NULL,'{"percent":0,"description":"","extra":null}','null','null',NULL,NULL,'null','WAITING',1795684709202,NULL,NULL,'{"type":"UNIX_SOCKET","data":{"username":"root","login_id":"0829f14c-e902-4f57-8dc0-06c70dc2ca99","login_at":{"$date":1795684707945}}}',NULL,0,'old','null',X'5B226368616E676564225D',NULL,NULL);
INSERT INTO "jobs" VALUES(7,'2b1948ff-b6b6-4eca-ac01-87bfbd58eb5c','old.kept','["6e8076fc-334d-4db5-b58c-483414bf2e99"]','["kept"]',NULL,0,NULL,NULL,'{"percent":0,"description":"","extra":null}','null','null',NULL,NULL,'null','WAITING',1795684709207,NULL,NULL,'{"type":"UNIX_SOCKET","data":{"username":"root","login_id":"0829f14c-e902-4f57-8dc0-06c70dc2ca99","login_at":{"$date":1795684707945}}}',NULL,0,'old','null',X'5B226B657074225D',NULL,NULL);
INSERT INTO "jobs" VALUES(8,'6550002e-8b88-4a78-bb3c-cb5c7e7695c6','old.sealed','["869cca71-aec9-43a6-98a8-c39c023c3b0d"]','["********"]',NULL,0,NULL,NULL,'{"percent":0,"description":"","extra":null}','null','null',NULL,NULL,'null','WAITING',1795684709211,NULL,NULL,'{"type":"UNIX_SOCKET","data":{"username":"root","login_id":"0829f14c-e902-4f57-8dc0-06c70dc2ca99","login_at":{"$date":1795684707945}}}',NULL,0,'old','null',X'6741414141414272425F6C6C7262594E473464344C58625343344A4870594F43444B51486162627A2D6539334677446645495846794278416B646A636B4971743348315A584F427177306F324D395A5067326D69746374567A42384B546F777767673D3D',NULL,NULL);
CREATE TABLE privileges (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    roles TEXT NOT NULL CHECK (json_valid(roles)),
    created INTEGER NOT NULL      -- milliseconds
) STRICT;
CREATE TABLE schema_version (owner TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT;
INSERT INTO "schema_version" VALUES('auth',2);
INSERT INTO "schema_version" VALUES('jobs',2);
CREATE UNIQUE INDEX accounts_username ON accounts (username) WHERE removed IS NULL;
CREATE INDEX api_keys_account ON api_keys (account_id) WHERE revoked IS NULL;
CREATE INDEX jobs_state ON jobs (state, id);
CREATE INDEX jobs_method ON jobs (method, id);
CREATE INDEX jobs_owner ON jobs (owner, id);
CREATE INDEX jobs_time_created ON jobs (time_created);
CREATE INDEX jobs_time_started ON jobs (time_started);
CREATE INDEX jobs_time_finished ON jobs (time_finished);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('accounts',2);
COMMIT;
