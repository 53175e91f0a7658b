-- A database of a server that was killed, with version 5 of the tables of jobs.
-- jobs.key: bW14aTNVR3hwNG56bE93NmNfMnJVMHR1WEtGRU84TEhxM293cWJCZlNUcz0=
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
INSERT INTO "accounts" VALUES(1,'ebd4b875-52fb-4162-9892-a83974585c68','admin','',NULL,'["FULL_ADMIN"]',0,0,1795684700596,NULL,'[]',NULL,NULL,0,'{}');
INSERT INTO "accounts" VALUES(2,'04aa1228-7dbb-4b9c-bbc6-f588a1f59981','ann','','$argon2id$v=19$m=19456,t=2,p=1$Ytvv2yiwV1awZ/QeAB9KnA$5r6C3cp7ULJz3rqRjvPKRsv29qjqAza1BDG8g/wzjak','["FULL_ADMIN"]',0,0,1795684702340,NULL,'[]',NULL,1795684702339,0,'{}');
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
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,        -- milliseconds
    event TEXT NOT NULL,
    outcome TEXT NOT NULL,
    username TEXT,
    account_id INTEGER,
    credentials TEXT,             -- how the login proved itself
    api_key INTEGER,
    login_id TEXT,
    origin TEXT,                  -- IP address or UNIX_SOCKET; NULL inside the server
    method TEXT,
    params TEXT CHECK (params IS NULL OR json_valid(params)),
    job_id INTEGER,
    detail TEXT
) STRICT;
INSERT INTO "audit" VALUES(1,1795684702349,'CALL','OK','root',NULL,'UNIX_SOCKET',NULL,'1c739143-ca02-48c8-83f5-a9db109a0591','UNIX_SOCKET','user.create','[{"username":"ann","password":"********","roles":["FULL_ADMIN"],"privileges":[],"full_name":"","locked":false,"expires":null,"must_change_password":false}]',NULL,NULL);
INSERT INTO "audit" VALUES(2,1795684702358,'JOB','OK','root',NULL,'UNIX_SOCKET',NULL,'1c739143-ca02-48c8-83f5-a9db109a0591','UNIX_SOCKET','old.say','["hello"]',1,NULL);
INSERT INTO "audit" VALUES(3,1795684702363,'JOB','OK','root',NULL,'UNIX_SOCKET',NULL,'1c739143-ca02-48c8-83f5-a9db109a0591','UNIX_SOCKET','old.fail','["no luck"]',2,NULL);
INSERT INTO "audit" VALUES(4,1795684702366,'JOB','OK','root',NULL,'UNIX_SOCKET',NULL,'1c739143-ca02-48c8-83f5-a9db109a0591','UNIX_SOCKET','old.hold','["aborted"]',3,NULL);
INSERT INTO "audit" VALUES(5,1795684702868,'CALL','OK','root',NULL,'UNIX_SOCKET',NULL,'1c739143-ca02-48c8-83f5-a9db109a0591','UNIX_SOCKET','core.job_abort','[3]',NULL,NULL);
INSERT INTO "audit" VALUES(6,1795684702879,'JOB','OK','root',NULL,'UNIX_SOCKET',NULL,'1c739143-ca02-48c8-83f5-a9db109a0591','UNIX_SOCKET','old.hold','["running"]',4,NULL);
INSERT INTO "audit" VALUES(7,1795684703396,'JOB','OK','root',NULL,'UNIX_SOCKET',NULL,'1c739143-ca02-48c8-83f5-a9db109a0591','UNIX_SOCKET','old.gone','["gone"]',5,NULL);
INSERT INTO "audit" VALUES(8,1795684703414,'JOB','OK','root',NULL,'UNIX_SOCKET',NULL,'1c739143-ca02-48c8-83f5-a9db109a0591','UNIX_SOCKET','old.changed','["changed"]',6,NULL);
INSERT INTO "audit" VALUES(9,1795684703424,'JOB','OK','root',NULL,'UNIX_SOCKET',NULL,'1c739143-ca02-48c8-83f5-a9db109a0591','UNIX_SOCKET','old.kept','["kept"]',7,NULL);
INSERT INTO "audit" VALUES(10,1795684703448,'JOB','OK','root',NULL,'UNIX_SOCKET',NULL,'1c739143-ca02-48c8-83f5-a9db109a0591','UNIX_SOCKET','old.sealed','["********"]',8,NULL);
CREATE TABLE database_epoch (
        one INTEGER PRIMARY KEY CHECK (one = 1), epoch TEXT NOT NULL
    ) STRICT
    ;
INSERT INTO "database_epoch" VALUES(1,'233303535ebdfa7a');
CREATE TABLE demo_companies (
    id           TEXT PRIMARY KEY,
    company_name TEXT NOT NULL
) STRICT;
INSERT INTO "demo_companies" VALUES('1','IBM');
INSERT INTO "demo_companies" VALUES('2','Microsoft');
CREATE TABLE dialect_organisation (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    uuid TEXT NOT NULL
) STRICT;
INSERT INTO "dialect_organisation" VALUES(1,'45c1cac2-af43-4e53-aeee-8033ec485f09');
CREATE TABLE ended_logins (
    login_id TEXT PRIMARY KEY,
    until INTEGER NOT NULL        -- milliseconds; no token of it lives longer
) STRICT;
CREATE TABLE job_events (
    seq    INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    job    INTEGER NOT NULL,
    msg    TEXT NOT NULL,
    change TEXT,
    -- About how many bytes the event has on the wire.
    size   INTEGER NOT NULL,
    -- Of removed jobs, which have no row: who may know of them.
    owner  INTEGER,
    method TEXT
) STRICT;
INSERT INTO "job_events" VALUES(1,1795684702351,1,'added','{"message_ids":["c3efebfa-c6f4-4527-bd9a-dbe1eef87fc2"],"description":"Say hello","time_modified":{"$date":1795684702351}}',643,NULL,NULL);
INSERT INTO "job_events" VALUES(2,1795684702351,1,'changed','{"message_ids":["c3efebfa-c6f4-4527-bd9a-dbe1eef87fc2"],"description":"Say hello","logs_path":"/var/lib/middlewared/logs/1.log","state":"RUNNING","time_started":{"$date":1795684702351},"attempt":1,"phase":"running","time_modified":{"$date":1795684702351},"node":"example"}',786,NULL,NULL);
INSERT INTO "job_events" VALUES(3,1795684702360,2,'added','{"message_ids":["0cf9cbda-544b-4d87-be2a-d22f10c072e9"],"time_modified":{"$date":1795684702359}}',619,NULL,NULL);
INSERT INTO "job_events" VALUES(4,1795684702360,2,'changed','{"message_ids":["0cf9cbda-544b-4d87-be2a-d22f10c072e9"],"state":"RUNNING","time_started":{"$date":1795684702359},"attempt":1,"phase":"running","time_modified":{"$date":1795684702360},"node":"example"}',718,NULL,NULL);
INSERT INTO "job_events" VALUES(5,1795684702362,1,'changed',NULL,578,NULL,NULL);
INSERT INTO "job_events" VALUES(6,1795684702364,2,'changed',NULL,967,NULL,NULL);
INSERT INTO "job_events" VALUES(7,1795684702364,3,'added','{"message_ids":["7d5830d4-4bb6-4f9c-a6f3-d6f8d40daaa6"],"time_modified":{"$date":1795684702364}}',619,NULL,NULL);
INSERT INTO "job_events" VALUES(8,1795684702364,3,'changed','{"message_ids":["7d5830d4-4bb6-4f9c-a6f3-d6f8d40daaa6"],"state":"RUNNING","time_started":{"$date":1795684702364},"attempt":1,"phase":"running","time_modified":{"$date":1795684702364},"node":"example"}',718,NULL,NULL);
INSERT INTO "job_events" VALUES(9,1795684702868,3,'changed',NULL,527,NULL,NULL);
INSERT INTO "job_events" VALUES(10,1795684702872,4,'added','{"message_ids":["5147e24d-9397-4b3a-8bb8-1616a60b7ee2"],"time_modified":{"$date":1795684702872}}',619,NULL,NULL);
INSERT INTO "job_events" VALUES(11,1795684702878,4,'changed','{"message_ids":["5147e24d-9397-4b3a-8bb8-1616a60b7ee2"],"state":"RUNNING","time_started":{"$date":1795684702878},"attempt":1,"phase":"running","time_modified":{"$date":1795684702878},"node":"example"}',718,NULL,NULL);
INSERT INTO "job_events" VALUES(12,1795684703382,5,'added','{"message_ids":["e9455310-d42e-448f-a984-ab34418163b8"],"time_modified":{"$date":1795684703382}}',616,NULL,NULL);
INSERT INTO "job_events" VALUES(13,1795684703397,6,'added','{"message_ids":["31b8986f-8e5e-44b0-b270-04866f74b128"],"time_modified":{"$date":1795684703397}}',619,NULL,NULL);
INSERT INTO "job_events" VALUES(14,1795684703414,7,'added','{"message_ids":["7facde3e-8c2b-4fd6-bba2-2ddfc45df9c9"],"time_modified":{"$date":1795684703414}}',616,NULL,NULL);
INSERT INTO "job_events" VALUES(15,1795684703441,8,'added','{"message_ids":["92cf3dba-288b-47c5-abf5-c20eb2c3b3fd"],"time_modified":{"$date":1795684703441}}',620,NULL,NULL);
CREATE TABLE job_home (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    logs  TEXT NOT NULL,
    epoch TEXT NOT NULL
) STRICT;
INSERT INTO "job_home" VALUES(1,'/var/lib/middlewared/logs','233303535ebdfa7a');
CREATE TABLE job_ids (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    next INTEGER NOT NULL
) STRICT;
INSERT INTO "job_ids" VALUES(1,1001);
CREATE TABLE job_item_errors (
    job      INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    item     TEXT NOT NULL,
    code     TEXT NOT NULL,
    text     TEXT NOT NULL,
    key      TEXT NOT NULL,
    location TEXT,
    severity TEXT NOT NULL,
    time     INTEGER,
    PRIMARY KEY (job, seq)
) STRICT, WITHOUT ROWID;
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
, child_pid INTEGER, child_started TEXT, phase TEXT NOT NULL DEFAULT 'pending', exit TEXT NOT NULL DEFAULT 'null', instance INTEGER, is_restart INTEGER NOT NULL DEFAULT 0, restart_of INTEGER, parent INTEGER, schedule INTEGER, priority INTEGER NOT NULL DEFAULT 0, run_at INTEGER, key TEXT, tracking_id TEXT, app_id TEXT, time_modified INTEGER, node TEXT, details TEXT) STRICT;
INSERT INTO "jobs" VALUES(1,'a42c6134-b217-419c-abb1-bebff59b8d40','old.say','["c3efebfa-c6f4-4527-bd9a-dbe1eef87fc2"]','["hello"]','Say hello',0,'/var/lib/middlewared/logs/1.log','2026-11-26T09:18:22.359Z INFO said hello
','{"percent":100,"description":"half","extra":{"n":1}}','{"said":"hello"}','null',NULL,NULL,'null','SUCCESS',1795684702351,1795684702351,1795684702362,'{"type":"UNIX_SOCKET","data":{"username":"root","login_id":"1c739143-ca02-48c8-83f5-a9db109a0591","login_at":{"$date":1795684702196}}}',NULL,1,NULL,'null',NULL,NULL,NULL,'finished','{"kind":"COMPLETED","code":"OK","message":null}',1,0,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1795684702362,'example',NULL);
INSERT INTO "jobs" VALUES(2,'eb1c160d-16b8-46f0-b768-209d815190f3','old.fail','["0cf9cbda-544b-4d87-be2a-d22f10c072e9"]','["no luck"]',NULL,0,NULL,NULL,'{"percent":0,"description":"","extra":null}','null','null','[EACCES] no luck','Traceback (most recent call last):
  File "/opt/middlewared/plugins/middlewared_jobs/body.py", line 118, in _in_loop
    value = await method.params.call(method.handler, run.job, run.values)
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/opt/middlewared/plugins/middlewared_old.py", line 21, in fail
    raise CallError(text, 13, {"why": "old"})
middlewared.errors.CallError: [EACCES] no luck
','{"repr":"CallError(''no luck'', 13, {''why'': ''old''})","type":"CallError","errno":13,"extra":{"why":"old"}}','FAILED',1795684702359,1795684702359,1795684702363,'{"type":"UNIX_SOCKET","data":{"username":"root","login_id":"1c739143-ca02-48c8-83f5-a9db109a0591","login_at":{"$date":1795684702196}}}',NULL,1,NULL,'null',NULL,NULL,NULL,'finished','{"kind":"FAILED","code":"ERROR","message":"[EACCES] no luck"}',2,0,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1795684702364,'example',NULL);
INSERT INTO "jobs" VALUES(3,'478bd4f6-71ef-4ac9-9263-ce0620447a6e','old.hold','["7d5830d4-4bb6-4f9c-a6f3-d6f8d40daaa6"]','["aborted"]',NULL,1,NULL,NULL,'{"percent":0,"description":"","extra":null}','null','null',NULL,NULL,'null','ABORTED',1795684702364,1795684702364,1795684702868,'{"type":"UNIX_SOCKET","data":{"username":"root","login_id":"1c739143-ca02-48c8-83f5-a9db109a0591","login_at":{"$date":1795684702196}}}',NULL,1,'old','{"by":"root","at":{"$date":1795684702868},"overdue":false}',NULL,NULL,NULL,'aborted','{"kind":"STOPPED","code":"ABORTED","message":null}',3,0,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1795684702868,'example',NULL);
INSERT INTO "jobs" VALUES(4,'5d472afc-1f56-4a18-b6cd-f9601d8010d1','old.hold','["5147e24d-9397-4b3a-8bb8-1616a60b7ee2"]','["running"]',NULL,1,NULL,NULL,'{"percent":0,"description":"","extra":null}','null','null',NULL,NULL,'null','RUNNING',1795684702872,1795684702878,NULL,'{"type":"UNIX_SOCKET","data":{"username":"root","login_id":"1c739143-ca02-48c8-83f5-a9db109a0591","login_at":{"$date":1795684702196}}}',NULL,1,'old','null',X'5B2272756E6E696E67225D',NULL,NULL,'running','null',4,0,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1795684702878,'example',NULL);
INSERT INTO "jobs" VALUES(5,'39fcc860-bc80-405c-9269-c439d23c6878','old.gone','["e9455310-d42e-448f-a984-ab34418163b8"]','["gone"]',NULL,0,NULL,NULL,'{"percent":0,"description":"","extra":null}','null','null',NULL,NULL,'null','WAITING',1795684703382,NULL,NULL,'{"type":"UNIX_SOCKET","data":{"username":"root","login_id":"1c739143-ca02-48c8-83f5-a9db109a0591","login_at":{"$date":1795684702196}}}',NULL,0,'old','null',X'5B22676F6E65225D',NULL,NULL,'pending','null',5,0,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1795684703382,NULL,NULL);
INSERT INTO "jobs" VALUES(6,'481ab0eb-77ff-4c34-8faf-a6bdc2e7e725','old.changed','["31b8986f-8e5e-44b0-b270-04866f74b128"]','["changed"]',NULL,0,NULL,NULL,'{"percent":0,"description":"","extra":null}','null','null',NULL,NULL,'null','WAITING',1795684703396,NULL,NULL,'{"type":"UNIX_SOCKET","data":{"username":"root","login_id":"1c739143-ca02-48c8-83f5-a9db109a0591","login_at":{"$date":1795684702196}}}',NULL,0,'old','null',X'5B226368616E676564225D',NULL,NULL,'pending','null',6,0,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1795684703397,NULL,NULL);
INSERT INTO "jobs" VALUES(7,'7b567c0e-bd10-40f6-b6fc-adb17032630e','old.kept','["7facde3e-8c2b-4fd6-bba2-2ddfc45df9c9"]','["kept"]',NULL,0,NULL,NULL,'{"percent":0,"description":"","extra":null}','null','null',NULL,NULL,'null','WAITING',1795684703414,NULL,NULL,'{"type":"UNIX_SOCKET","data":{"username":"root","login_id":"1c739143-ca02-48c8-83f5-a9db109a0591","login_at":{"$date":1795684702196}}}',NULL,0,'old','null',X'5B226B657074225D',NULL,NULL,'pending','null',7,0,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1795684703414,NULL,NULL);
INSERT INTO "jobs" VALUES(8,'8d2484bc-286c-4254-9073-0167e83cf338','old.sealed','["92cf3dba-288b-47c5-abf5-c20eb2c3b3fd"]','["********"]',NULL,0,NULL,NULL,'{"percent":0,"description":"","extra":null}','null','null',NULL,NULL,'null','WAITING',1795684703424,NULL,NULL,'{"type":"UNIX_SOCKET","data":{"username":"root","login_id":"1c739143-ca02-48c8-83f5-a9db109a0591","login_at":{"$date":1795684702196}}}',NULL,0,'old','null',X'6741414141414272425F6C665241472D63344662756D73684C75525F377A4A66596F63586D61654A57722D534E50795376786E746E52354A73322D744C7069584F6D496663616A7A4968354578344D59637371726F6B5963304B694B613535416F413D3D',NULL,NULL,'pending','null',8,0,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1795684703441,NULL,NULL);
CREATE TABLE privileges (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    roles TEXT NOT NULL CHECK (json_valid(roles)),
    created INTEGER NOT NULL      -- milliseconds
) STRICT;
CREATE TABLE schedules (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    name         TEXT NOT NULL,
    owner        INTEGER,
    username     TEXT NOT NULL,
    roles        TEXT NOT NULL,
    method       TEXT NOT NULL,
    arguments    BLOB NOT NULL,
    -- Params in clear, or sealed when one is a secret.
    params       BLOB NOT NULL,
    sealed       INTEGER NOT NULL,
    options      TEXT NOT NULL,
    cron         TEXT,
    timezone     TEXT,
    interval     INTEGER,
    "start"      INTEGER,
    "end"        INTEGER,
    jitter       REAL NOT NULL,
    delay        INTEGER NOT NULL,
    missed       TEXT NOT NULL,
    overlap      INTEGER NOT NULL,
    enabled      INTEGER NOT NULL,
    due          INTEGER,
    handled      INTEGER,
    last_run     INTEGER,
    last_job     INTEGER,
    last_state   TEXT,
    last_skipped INTEGER,
    last_error   TEXT,
    created      INTEGER NOT NULL,
    modified     INTEGER NOT NULL
) STRICT;
CREATE TABLE schema_version (owner TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT;
INSERT INTO "schema_version" VALUES('audit',1);
INSERT INTO "schema_version" VALUES('auth',2);
INSERT INTO "schema_version" VALUES('jobs',5);
INSERT INTO "schema_version" VALUES('demo',1);
INSERT INTO "schema_version" VALUES('dialects',1);
INSERT INTO "schema_version" VALUES('schedules',1);
CREATE INDEX audit_time ON audit (time);
CREATE INDEX audit_username ON audit (username, id) WHERE username IS NOT NULL;
CREATE INDEX audit_job ON audit (job_id) WHERE job_id IS NOT NULL;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is only added to');
END;
CREATE TRIGGER audit_leaves_in_order BEFORE DELETE ON audit
WHEN OLD.id > (SELECT min(id) FROM audit)
BEGIN
    SELECT RAISE(ABORT, 'the audit log leaves from its oldest end');
END;
CREATE UNIQUE INDEX accounts_username ON accounts (username) WHERE removed IS NULL;
CREATE INDEX api_keys_account ON api_keys (account_id) WHERE revoked IS NULL;
CREATE INDEX jobs_state ON jobs (state, id);
CREATE INDEX jobs_method ON jobs (method, id);
CREATE INDEX jobs_owner ON jobs (owner, id);
CREATE INDEX jobs_time_created ON jobs (time_created);
CREATE INDEX jobs_time_started ON jobs (time_started);
CREATE INDEX jobs_time_finished ON jobs (time_finished);
CREATE UNIQUE INDEX jobs_key ON jobs (ifnull(owner, -1), method, key) WHERE key IS NOT NULL;
CREATE INDEX jobs_instance ON jobs (instance, id) WHERE is_restart;
CREATE INDEX jobs_parent ON jobs (parent, id) WHERE parent IS NOT NULL;
CREATE INDEX jobs_schedule ON jobs (schedule, id) WHERE schedule IS NOT NULL;
CREATE INDEX jobs_tracking_id ON jobs (tracking_id, id) WHERE tracking_id IS NOT NULL;
CREATE INDEX job_events_removed ON job_events (job) WHERE msg = 'removed';
CREATE INDEX jobs_ended ON jobs (state, time_finished) WHERE time_finished IS NOT NULL;
CREATE UNIQUE INDEX schedules_name ON schedules (ifnull(owner, -1), name);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('accounts',2);
INSERT INTO "sqlite_sequence" VALUES('audit',10);
COMMIT;
