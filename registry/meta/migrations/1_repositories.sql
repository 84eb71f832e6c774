CREATE TABLE repository (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- Manifests stay as received. `referrer` is the descriptor under which a list of referrers shows the manifest.
CREATE TABLE manifest (
    repository    INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    digest        TEXT    NOT NULL,
    media_type    TEXT    NOT NULL,
    bytes         BLOB    NOT NULL,
    subject       TEXT,
    artifact_type TEXT,
    referrer      TEXT    NOT NULL,
    PRIMARY KEY (repository, digest)
) STRICT;

CREATE INDEX manifest_by_subject ON manifest (repository, subject, digest) WHERE subject IS NOT NULL;

CREATE TABLE tag (
    repository INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    digest     TEXT    NOT NULL,
    PRIMARY KEY (repository, name),
    FOREIGN KEY (repository, digest) REFERENCES manifest (repository, digest) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX tag_by_manifest ON tag (repository, digest);

-- The only grant of access to a blob.
CREATE TABLE repository_blob (
    repository INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    digest     TEXT    NOT NULL,
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE upload (
    repository INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    session    TEXT    NOT NULL,
    PRIMARY KEY (repository, session)
) STRICT, WITHOUT ROWID;
