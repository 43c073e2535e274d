-- What nodes report; the same table as on Postgres, where the comments are. Times are milliseconds since 1970.

create table node_status (
    id text not null,
    replica blob not null,
    control_plane text not null,
    written integer not null,
    connected integer not null,
    since_at integer not null,
    seen_at integer not null,
    running_at integer,
    refused_at integer,
    summary text not null,
    detail text not null,
    constraint node_status_pk primary key (id),
    constraint node_status_replica_has_16_bytes check (length(replica) = 16)
) strict;
