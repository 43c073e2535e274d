-- What nodes report, so that every control plane knows every node.

-- One row a node, written by the control plane that its newest stream is at. Nothing is told of a change here: status
-- wakes nobody. All times are of this server's clock, so that those of control planes need not agree.
create table node_status (
    id text collate "C" not null,
    -- The process that wrote it, by an id that it makes anew at each start.
    replica bytea not null,
    -- What that process calls itself.
    control_plane text not null,
    -- Which of that process's writes it was, so that a statement that comes late undoes nothing.
    written bigint not null,
    -- Whether its stream stands.
    connected boolean not null,
    -- Since when its last stream stands or stood; of two control planes the one with the newer stream knows better.
    since_at timestamptz not null,
    -- When it last said anything.
    seen_at timestamptz not null,
    -- Since when it runs what it runs; null: nothing.
    running_at timestamptz,
    -- When it refused what it last refused; null: nothing.
    refused_at timestamptz,
    -- JSON: who it is, what it runs and what it refused. Short, for it is read while somebody waits.
    summary text not null,
    -- JSON: why it refused, and the health of its upstreams.
    detail text not null,
    constraint node_status_pk primary key (id),
    constraint node_status_replica_has_16_bytes check (octet_length(replica) = 16)
)
-- Rows change every few seconds and no index has what changes, so that a page with room takes the next version too.
with (fillfactor = 50);
