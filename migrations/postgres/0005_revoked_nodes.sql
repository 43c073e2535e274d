-- Nodes that are not let in any more, whatever they show.

create table revoked_nodes (
    id text collate "C" not null,
    revoked_at timestamptz not null,
    -- The name of the token.
    revoked_by text not null,
    constraint revoked_nodes_pk primary key (id)
);
