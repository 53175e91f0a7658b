-- What the scenario of the demo looks up.
CREATE TABLE demo_companies (
    id           TEXT PRIMARY KEY,
    company_name TEXT NOT NULL
) STRICT;
INSERT INTO demo_companies VALUES ('1', 'IBM'), ('2', 'Microsoft');
