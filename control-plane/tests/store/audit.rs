//! The audit: no change without its line, no line without its change.

use crate::{
    commits::retrying,
    front::NoNode,
    harness::{Database, Instance, key, on_both, proposal, route},
};
use control_plane::{
    access::{Access, TokenSpec},
    author::{Author, Role},
    commit::{Committer, Proposal},
    settings::Token,
    store::{AuditFilter, AuditLine, Done},
    telemetry::Telemetry,
};
use proto::{name::Name, resource::Change};
use std::{sync::Arc, time::Duration};

on_both!(
    a_line_tells_what_was_done_and_when,
    nothing_is_done_without_its_line,
    lines_are_in_the_order_of_revisions_without_gaps,
    the_oldest_lines_go,
    a_limit_that_was_lowered_is_met_a_few_lines_at_a_time,
    many_changes_take_older_lines_with_them,
    lines_are_found_by_what_is_asked_for,
);

async fn lines(instance: &Instance, filter: AuditFilter) -> Vec<AuditLine> {
    instance.store.audit(&filter, 1_000).await.unwrap()
}

async fn ids(instance: &Instance, filter: AuditFilter) -> Vec<u64> {
    lines(instance, filter).await.iter().map(|line| line.id).collect()
}

/// The same control plane, keeping so many lines.
fn keeping(instance: &Instance, lines: u64) -> Committer {
    let store = instance.store.clone().with_audit_retention(lines);
    Committer::new(store, instance.publisher.clone(), Arc::new(Telemetry::default()), Arc::new(NoNode))
}

fn put(name: &str, body: usize) -> Proposal {
    let route = route(name, &body.to_string());
    proposal(Box::new(move |_| Ok(vec![Change::Put(route.clone())])))
}

async fn a_line_tells_what_was_done_and_when(database: Database) {
    let instance = database.instance().await;
    let author = Author {
        name: "deploy".into(),
        token: None,
        role: Role::Editor,
        peer: Some([10, 0, 0, 9].into()),
        request_id: "r-1".into(),
        method: "POST".into(),
        path: "/v1/apply".into(),
        trace: None,
    };
    let reason = Some("nul \0".into());
    instance.put([route("a", "1"), route("b", "1")]).await.unwrap();
    let change = Proposal {
        author: author.clone(),
        reason,
        ..proposal(Box::new(|_| {
            Ok(vec![Change::Put(route("c", "1")), Change::Put(route("a", "2")), Change::Delete(key("b"))])
        }))
    };
    let committed = instance.committer.commit(change).await.unwrap();
    let line = lines(&instance, AuditFilter::default()).await.swap_remove(0);
    assert_eq!((line.id, line.revision, line.actor.as_str(), line.role), (2, Some(2), "deploy", Role::Editor));
    assert_eq!((line.peer.as_deref(), line.request_id.as_str()), (Some("10.0.0.9"), "r-1"));
    assert_eq!((line.method.as_str(), line.path.as_str()), ("POST", "/v1/apply"));
    assert_eq!(line.reason.as_deref(), Some("nul \u{fffd}"));
    // Two clocks of one machine.
    assert!((line.at - committed.at).abs() < Duration::from_secs(5), "{} {}", line.at, committed.at);
    let done: Vec<(&str, &str, Done)> =
        line.changes.iter().map(|change| (change.kind.as_str(), change.name.as_str(), change.done)).collect();
    let expect = [("route", "a", Done::Replaced), ("route", "b", Done::Deleted), ("route", "c", Done::Created)];
    assert_eq!((done.as_slice(), line.changes_omitted), (&expect[..], 0));
}

async fn nothing_is_done_without_its_line(database: Database) {
    let instance = database.instance().await;
    let access = Access::open(instance.store.clone(), Token::new("x"), Arc::new(Telemetry::default())).await.unwrap();
    let spec = || TokenSpec { name: Name::parse("t").unwrap(), role: Role::Viewer, expires_at: None };
    let mut hand = database.hand().await;
    for table in ["audit", "audit_changes"] {
        hand.run(format!("alter table {table} rename to elsewhere")).await;
        instance.put([route("a", "1")]).await.unwrap_err();
        access.create(&Author::inside("test"), spec()).await.unwrap_err();
        hand.run(format!("alter table elsewhere rename to {table}")).await;
    }
    for count in ["select count(*) from audit", "select count(*) from tokens", "select count(*) from changes"] {
        assert_eq!(hand.count(count).await, 0, "{count}");
    }
    assert_eq!(instance.publisher.head().identity.revision, 0);
    // And the reverse: a change that is not made has no line.
    hand.run("alter table tokens rename to elsewhere; alter table changes rename to nowhere").await;
    instance.put([route("a", "1")]).await.unwrap_err();
    access.create(&Author::inside("test"), spec()).await.unwrap_err();
    hand.run("alter table elsewhere rename to tokens; alter table nowhere rename to changes").await;
    assert_eq!(hand.count("select count(*) from audit").await, 0);
    retrying(&instance, || put("a", 1)).await;
    access.create(&Author::inside("test"), spec()).await.unwrap();
    access.delete(&Author::inside("test"), "t").await.unwrap();
    assert_eq!(ids(&instance, AuditFilter::default()).await, [3, 2, 1]);
}

async fn lines_are_in_the_order_of_revisions_without_gaps(database: Database) {
    let instances = [Arc::new(database.instance().await), Arc::new(database.instance().await)];
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..6 {
        let instance = instances[writer % 2].clone();
        writers.spawn(async move {
            for step in 0..5 {
                retrying(&instance, || put(&format!("w-{writer}"), step)).await;
            }
        });
    }
    writers.join_all().await;
    let lines = lines(&instances[0], AuditFilter::default()).await;
    let told: Vec<(u64, Option<u64>)> = lines.iter().map(|line| (line.id, line.revision)).collect();
    assert_eq!(told, (1..=30).rev().map(|at| (at, Some(at))).collect::<Vec<_>>());
    assert!(lines.is_sorted_by(|newer, older| newer.at >= older.at), "the clock of the database, under the lock");
}

async fn the_oldest_lines_go(database: Database) {
    let instance = database.instance().await;
    let committer = keeping(&instance, 5);
    for step in 0..12 {
        committer.commit(put("a", step)).await.unwrap();
    }
    assert_eq!(ids(&instance, AuditFilter::default()).await, [12, 11, 10, 9, 8]);
    assert_eq!(database.hand().await.count("select count(*) from audit_changes").await, 5);
}

async fn a_limit_that_was_lowered_is_met_a_few_lines_at_a_time(database: Database) {
    let instance = database.instance().await;
    for step in 0..130 {
        instance.committer.commit(put("a", step)).await.unwrap();
    }
    let committer = keeping(&instance, 3);
    committer.commit(put("a", 200)).await.unwrap();
    assert_eq!(ids(&instance, AuditFilter::default()).await.len(), 31);
    committer.commit(put("a", 201)).await.unwrap();
    assert_eq!(ids(&instance, AuditFilter::default()).await, [132, 131, 130]);
}

async fn many_changes_take_older_lines_with_them(database: Database) {
    let instance = database.instance().await;
    let committer = keeping(&instance, 4);
    for step in 0..3 {
        committer.commit(put("a", step)).await.unwrap();
    }
    let many = |body: &'static str, count: usize| {
        proposal(Box::new(move |_| Ok((0..count).map(|at| Change::Put(route(&format!("r-{at}"), body))).collect())))
    };
    // Forty changes may be kept with four lines.
    committer.commit(many("1", 38)).await.unwrap();
    assert_eq!(ids(&instance, AuditFilter::default()).await, [4, 3, 2]);
    committer.commit(many("2", 39)).await.unwrap();
    assert_eq!(ids(&instance, AuditFilter::default()).await, [5]);
    // What is too much alone stays all the same.
    committer.commit(many("3", 90)).await.unwrap();
    assert_eq!(ids(&instance, AuditFilter::default()).await, [6]);
    assert_eq!(database.hand().await.count("select count(*) from audit_changes").await, 90);
}

async fn lines_are_found_by_what_is_asked_for(database: Database) {
    let instance = database.instance().await;
    instance.put([route("a", "1"), route("b", "1")]).await.unwrap();
    let other = Proposal { author: Author::inside("other"), ..put("b", 2) };
    instance.committer.commit(other).await.unwrap();
    instance.put([route("c", "1")]).await.unwrap();
    let all = lines(&instance, AuditFilter::default()).await;
    let text = |text: &str| Some(text.to_owned());
    let filter = AuditFilter::default;
    for (filter, expect) in [
        (AuditFilter { below: Some(3), ..filter() }, vec![2, 1]),
        (AuditFilter { actor: text("other"), ..filter() }, vec![2]),
        (AuditFilter { kind: text("route"), ..filter() }, vec![3, 2, 1]),
        (AuditFilter { kind: text("route"), name: text("b"), ..filter() }, vec![2, 1]),
        (AuditFilter { kind: text("upstream"), name: text("b"), ..filter() }, vec![]),
        (AuditFilter { since: Some(all[1].at), until: Some(all[0].at), ..filter() }, vec![2]),
        (AuditFilter { revision: Some(3), ..filter() }, vec![3]),
        (AuditFilter { revision: Some(3), actor: text("other"), ..filter() }, vec![]),
    ] {
        let asked = format!("{filter:?}");
        assert_eq!(ids(&instance, filter).await, expect, "{asked}");
    }
    let two = instance.store.audit(&filter(), 2).await.unwrap();
    assert_eq!(two.iter().map(|line| line.id).collect::<Vec<_>>(), [3, 2]);
}
