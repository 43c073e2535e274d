-- Who may use the admin API, and who did what with it; the same as on Postgres, where the comments are.

alter table head add column access integer not null default 0;

-- Times are milliseconds since 1970 here, for they are compared.
create table tokens (
    name text not null,
    id blob not null,
    digest blob not null,
    role text not null,
    created_at integer not null,
    created_by text not null,
    expires_at integer,
    last_used_at integer,
    constraint tokens_pk primary key (name),
    constraint tokens_id_is_unique unique (id),
    constraint tokens_digest_is_unique unique (digest),
    constraint tokens_id_has_16_bytes check (length(id) = 16),
    constraint tokens_digest_has_32_bytes check (length(digest) = 32)
) strict;

create table audit (
    id integer not null,
    at integer not null,
    actor text not null,
    role text not null,
    peer text,
    request_id text not null,
    method text not null,
    path text not null,
    reason text,
    revision integer,
    changes integer not null,
    changes_so_far integer not null,
    constraint audit_pk primary key (id)
) strict;

create table audit_changes (
    audit integer not null,
    kind text not null,
    name text not null,
    what text not null,
    constraint audit_changes_pk primary key (audit, kind, name)
) strict;
