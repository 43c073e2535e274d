-- The configuration and its history; the same tables as on Postgres, where the comments are.

create table head (
    -- No default: SQLite would count up instead.
    single integer not null,
    history blob not null,
    revision integer not null,
    root blob not null,
    at text not null,
    constraint head_pk primary key (single),
    constraint head_is_single check (single = 1),
    constraint head_history_has_16_bytes check (length(history) = 16),
    constraint head_revision_counts_from_0 check (revision >= 0),
    constraint head_root_has_32_bytes check (length(root) = 32)
) strict;

create table resources (
    kind text not null,
    name text not null,
    payload blob not null,
    requires text not null,
    spec text not null,
    revision integer not null,
    constraint resources_pk primary key (kind, name),
    constraint resources_payload_has_a_limit check (length(payload) <= 262144)
) strict;

create table revisions (
    revision integer not null,
    commit_id blob not null,
    at text not null,
    author text not null,
    reason text,
    root blob not null,
    resources integer not null,
    confirmed_shrink integer not null,
    constraint revisions_pk primary key (revision),
    constraint revisions_commit_id_is_unique unique (commit_id),
    constraint revisions_root_has_32_bytes check (length(root) = 32)
) strict;

create table changes (
    revision integer not null,
    kind text not null,
    name text not null,
    payload blob,
    requires text not null,
    constraint changes_pk primary key (revision, kind, name)
) strict;

create index changes_by_resource on changes (kind, name, revision);

-- Times are seconds since 1970 here, for they are compared.
create table idempotency_keys (
    key text not null,
    digest blob not null,
    revision integer not null,
    expires_at integer not null,
    constraint idempotency_keys_pk primary key (key)
) strict;

create index idempotency_keys_by_expiry on idempotency_keys (expires_at);
