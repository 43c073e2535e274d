-- What holds a secret is sealed; the same as on Postgres, where the comments are.

alter table resources add column sealed_by text;
alter table changes add column sealed_by text;

create index changes_by_key on changes (sealed_by) where sealed_by is not null;
