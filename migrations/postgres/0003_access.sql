-- Who may use the admin API, and who did what with it.

-- Counts changes of who is let in, so that every process learns of them as it learns of revisions.
alter table head add column access bigint not null default 0;

create table tokens (
    name text collate "C" not null,
    -- Tells this token from another one that has or had the same name.
    id bytea not null,
    -- SHA-256 of the token, which itself is nowhere.
    digest bytea not null,
    role text not null,
    created_at timestamptz not null,
    created_by text not null,
    -- Null: never.
    expires_at timestamptz,
    -- To a few minutes; null: not yet.
    last_used_at timestamptz,
    constraint tokens_pk primary key (name),
    constraint tokens_id_is_unique unique (id),
    constraint tokens_digest_is_unique unique (digest),
    constraint tokens_id_has_16_bytes check (octet_length(id) = 16),
    constraint tokens_digest_has_32_bytes check (octet_length(digest) = 32)
);

-- One row for each thing done, written with it in one transaction; only appended to, and the oldest go.
create table audit (
    -- Without gaps, in the order of all commits.
    id bigint not null,
    at timestamptz not null,
    -- The name of the token, which may be gone since.
    actor text not null,
    role text not null,
    -- Where the request came from; null: from inside of the process.
    peer text,
    request_id text not null,
    method text not null,
    -- As the API describes it, `/v1/routes/{name}`.
    path text not null,
    reason text,
    -- The revision that it made, if it made one.
    revision bigint,
    -- How many rows of `audit_changes` it has.
    changes bigint not null,
    -- How many it and all before it had, so that all of them together have a limit.
    changes_so_far bigint not null,
    constraint audit_pk primary key (id)
);

-- What it was done to.
create table audit_changes (
    audit bigint not null,
    kind text collate "C" not null,
    name text collate "C" not null,
    what text not null,
    constraint audit_changes_pk primary key (audit, kind, name)
);
