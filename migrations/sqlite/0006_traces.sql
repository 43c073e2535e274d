-- The trace in which a revision was made; the same as on Postgres, where the comments are.

alter table revisions add column traceparent text;
