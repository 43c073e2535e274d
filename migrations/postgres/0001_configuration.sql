-- The configuration and its history.

-- The head: one row. Whoever writes locks it first, so its lock is the order of all commits and its revision their
-- counter. All that is needed of the head is in this row: a join would be evaluated again after a wait for the lock, and
-- the rows of other tables that the other writer made are not seen then.
create table head (
    single boolean not null default true,
    -- Changes when this database turns out to be older than what was handed out: restored, or replaced.
    history bytea not null,
    revision bigint not null,
    -- The root of the hash tree over `resources`.
    root bytea not null,
    -- When the revision was made.
    at timestamptz not null,
    constraint head_pk primary key (single),
    constraint head_is_single check (single),
    constraint head_history_has_16_bytes check (octet_length(history) = 16),
    constraint head_revision_counts_from_0 check (revision >= 0),
    constraint head_root_has_32_bytes check (octet_length(root) = 32)
);

-- The configuration at the head.
create table resources (
    kind text collate "C" not null,
    name text collate "C" not null,
    -- The encoded message, as it travels and is hashed.
    payload bytea not null,
    -- Features without which a node must refuse it: a JSON array of strings.
    requires text not null,
    -- The payload as JSON, for people; nothing reads it back.
    spec jsonb not null,
    -- The revision that last changed it.
    revision bigint not null,
    constraint resources_pk primary key (kind, name),
    constraint resources_payload_has_a_limit check (octet_length(payload) <= 262144)
);

-- One row a revision.
create table revisions (
    revision bigint not null,
    -- Known to the writer before the commit, so that it can find out whether a commit without an answer stands.
    commit_id bytea not null,
    at timestamptz not null,
    author text not null,
    reason text,
    root bytea not null,
    -- How many resources it has.
    resources bigint not null,
    -- It took away more than half of a large configuration, and that was confirmed.
    confirmed_shrink boolean not null,
    constraint revisions_pk primary key (revision),
    constraint revisions_commit_id_is_unique unique (commit_id),
    constraint revisions_root_has_32_bytes check (octet_length(root) = 32)
);

-- What each revision changed; only appended to. Of what is older than the oldest row of `revisions`, the last change of
-- each resource is kept: the base from which the revisions after it are folded.
create table changes (
    revision bigint not null,
    kind text collate "C" not null,
    name text collate "C" not null,
    -- Null: taken away.
    payload bytea,
    requires text not null,
    constraint changes_pk primary key (revision, kind, name)
);

create index changes_by_resource on changes (kind, name, revision);

-- Requests that are carried out once, whatever the network makes of them.
create table idempotency_keys (
    key text collate "C" not null,
    -- Of the request, so that a key is not taken for another one.
    digest bytea not null,
    -- The revision that stood when it was carried out.
    revision bigint not null,
    expires_at timestamptz not null,
    constraint idempotency_keys_pk primary key (key)
);

create index idempotency_keys_by_expiry on idempotency_keys (expires_at);
