-- What holds a secret is sealed.

-- The id of the key that `payload` is sealed with; null: it stands in the clear.
alter table resources add column sealed_by text collate "C";
alter table changes add column sealed_by text collate "C";

create index changes_by_key on changes (sealed_by) where sealed_by is not null;
