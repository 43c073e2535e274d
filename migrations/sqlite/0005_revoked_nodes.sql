-- Nodes that are not let in any more; the same as on Postgres, where the comments are.

-- Times are milliseconds since 1970 here.
create table revoked_nodes (
    id text not null,
    revoked_at integer not null,
    revoked_by text not null,
    constraint revoked_nodes_pk primary key (id)
) strict;
