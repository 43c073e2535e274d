-- The trace in which a revision was made, so that it can be followed to the nodes that run it.

-- As W3C Trace Context writes it; null: nobody traced it.
alter table revisions add column traceparent text;
