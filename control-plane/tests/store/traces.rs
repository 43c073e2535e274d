//! The trace in which a revision was made stands beside it, for every control plane.

use crate::{
    front::NoNode,
    harness::{Database, on_both, proposal, route, until},
};
use control_plane::{
    author::Author,
    commit::{Committer, Proposal},
    telemetry::Telemetry,
};
use otel::{Endpoint, Service, Settings, Spans, TraceContext};
use proto::resource::Change;
use std::sync::Arc;

on_both!(a_revision_keeps_the_trace_in_which_it_was_made,);

async fn a_revision_keeps_the_trace_in_which_it_was_made(database: Database) {
    let (here, there) = (database.instance().await, database.instance().await);
    let settings = Settings { otlp_endpoint: Endpoint::parse("http://127.0.0.1:1").ok(), ..Settings::default() };
    let service = Service { name: "portico-control-plane", version: "0", instance: "test".into() };
    let (spans, _exporter) = Spans::new(&settings, &service).unwrap();
    let telemetry = Arc::new(Telemetry::new(spans));
    let committer = Committer::new(here.store.clone(), here.publisher.clone(), telemetry, Arc::new(NoNode));

    let asked = TraceContext::begin();
    let author = Author { trace: Some(asked), ..Author::inside("test") };
    let put = |name: &str| {
        let route = route(name, "1");
        proposal(Box::new(move |_| Ok(vec![Change::Put(route.clone())])))
    };
    committer.commit(Proposal { author, ..put("traced") }).await.unwrap();
    let made = here.publisher.head().trace.expect("it is traced");
    assert_eq!((made.id, made.sampled), (asked.id, true));
    assert_ne!(made.span, asked.span, "the commit is a span of its own");
    until("the other one knows", || there.publisher.head().identity.revision == 1).await;
    assert_eq!(there.publisher.head().trace, Some(made));
    assert_eq!(database.instance().await.publisher.head().trace, Some(made), "one that starts later");

    committer.commit(put("untraced")).await.unwrap();
    assert_eq!(here.publisher.head().trace, None);
    until("the other one knows", || there.publisher.head().identity.revision == 2).await;
    assert_eq!(there.publisher.head().trace, None);
}
