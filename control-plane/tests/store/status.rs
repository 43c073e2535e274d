//! What nodes report, as control planes tell each other through the database.

use crate::harness::{Database, on_both, route};
use control_plane::store::{
    Store,
    status::{Replica, Sign, StatusRow},
};
use std::time::{Duration, Instant};
use uuid::Uuid;

on_both!(
    what_was_written_is_read_by_the_others,
    the_newer_stream_is_believed,
    a_stream_that_stands_replaces_one_that_has_ended,
    a_statement_that_comes_late_undoes_nothing,
    a_sign_counts_only_for_the_row_that_it_is_about,
    nodes_that_are_gone_are_forgotten,
    many_nodes_are_written_by_one_statement,
    what_nodes_report_is_no_configuration,
);

fn replica(name: &str) -> Replica {
    Replica { id: Uuid::new_v4(), name: name.into() }
}

/// A node whose stream began so many seconds ago, and that was heard of half as long ago.
fn row(id: &str, written: u64, since: u64) -> StatusRow {
    let since = Duration::from_secs(since);
    StatusRow {
        id: id.into(),
        control_plane: String::new(),
        written,
        connected: true,
        since,
        seen: since / 2,
        running: Some(since / 4),
        refused: None,
        summary: format!("{{\"of\":\"{id}\",\"written\":{written}}}"),
        detail: format!("{{\"detail\":\"{id}\"}}"),
    }
}

async fn read(store: &Store, by: &Replica) -> Vec<StatusRow> {
    store.statuses_of_others(by).await.unwrap()
}

/// What the one node's row says, as somebody sees it who has written nothing.
async fn only(store: &Store) -> (String, u64, bool) {
    let rows = read(store, &replica("reader")).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    (rows[0].control_plane.clone(), rows[0].written, rows[0].connected)
}

#[track_caller]
fn assert_near(age: Duration, expect: u64) {
    let expect = Duration::from_secs(expect);
    assert!(age >= expect && age < expect + Duration::from_secs(5), "{age:?} instead of {expect:?}");
}

async fn what_was_written_is_read_by_the_others(database: Database) {
    let instance = database.instance().await;
    let (a, b) = (replica("a"), replica("b"));
    let refuses = StatusRow { refused: Some(Duration::from_secs(3)), running: None, ..row("n-2", 1, 40) };
    let rows = [row("n-1", 1, 80), refuses.clone()];
    assert_eq!(instance.store.put_statuses(&a, &rows, Instant::now()).await.unwrap(), ["n-1", "n-2"]);
    assert_eq!(instance.store.put_statuses(&b, &[row("n-3", 1, 8)], Instant::now()).await.unwrap(), ["n-3"]);

    let seen = read(&instance.store, &b).await;
    assert_eq!(seen.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["n-1", "n-2"], "nothing of its own");
    let [first, second] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((first.control_plane.as_str(), first.written, first.connected), ("a", 1, true));
    assert_eq!(first.summary, rows[0].summary);
    assert_eq!(first.detail, "", "details are read apart");
    assert_near(first.since, 80);
    assert_near(first.seen, 40);
    assert_near(first.running.unwrap(), 20);
    assert_eq!((first.refused, second.running), (None, None));
    assert_near(second.refused.unwrap(), 3);
    let details = instance.store.status_details(&["n-2", "n-1", "none"]).await.unwrap();
    assert_eq!(details, [("n-1".to_owned(), rows[0].detail.clone()), ("n-2".to_owned(), refuses.detail)]);
}

async fn the_newer_stream_is_believed(database: Database) {
    let instance = database.instance().await;
    let (a, b) = (replica("a"), replica("b"));
    let put = async |by: &Replica, row: StatusRow| {
        instance.store.put_statuses(by, &[row], Instant::now()).await.unwrap().len()
    };
    assert_eq!(put(&a, row("n", 1, 60)).await, 1);
    // It moved; what the other one still writes of it, and that its stream has ended, is too late.
    assert_eq!(put(&b, row("n", 1, 30)).await, 1);
    assert_eq!(put(&a, StatusRow { seen: Duration::ZERO, ..row("n", 2, 60) }).await, 0);
    assert_eq!(put(&a, StatusRow { connected: false, ..row("n", 3, 60) }).await, 0);
    assert_eq!(only(&instance.store).await, ("b".into(), 1, true));
    // And back.
    assert_eq!(put(&a, row("n", 4, 1)).await, 1);
    assert_eq!(only(&instance.store).await, ("a".into(), 4, true));
}

async fn a_stream_that_stands_replaces_one_that_has_ended(database: Database) {
    let instance = database.instance().await;
    let (a, b) = (replica("a"), replica("b"));
    let put = async |by: &Replica, row: StatusRow| {
        instance.store.put_statuses(by, &[row], Instant::now()).await.unwrap().len()
    };
    let ended = StatusRow { connected: false, seen: Duration::from_secs(20), ..row("n", 1, 30) };
    assert_eq!(put(&a, ended).await, 1);
    let silent = StatusRow { seen: Duration::from_secs(25), ..row("n", 1, 60) };
    assert_eq!(put(&b, silent).await, 0, "it was heard of at the other since");
    let heard = StatusRow { seen: Duration::from_secs(1), ..row("n", 2, 60) };
    assert_eq!(put(&b, heard).await, 1);
    assert_eq!(only(&instance.store).await, ("b".into(), 2, true));
}

async fn a_statement_that_comes_late_undoes_nothing(database: Database) {
    let instance = database.instance().await;
    let a = replica("a");
    let put = async |row: StatusRow| instance.store.put_statuses(&a, &[row], Instant::now()).await.unwrap().len();
    assert_eq!(put(StatusRow { connected: false, ..row("n", 7, 30) }).await, 1);
    assert_eq!(put(row("n", 6, 30)).await, 0);
    assert_eq!(put(row("n", 7, 1)).await, 0);
    assert_eq!(only(&instance.store).await, ("a".into(), 7, false));
    assert_eq!(put(row("n", 8, 30)).await, 1);
}

async fn a_sign_counts_only_for_the_row_that_it_is_about(database: Database) {
    let instance = database.instance().await;
    let (a, b) = (replica("a"), replica("b"));
    instance
        .store
        .put_statuses(&a, &[row("n-1", 1, 200), row("n-2", 2, 200), row("n-3", 2, 200)], Instant::now())
        .await
        .unwrap();
    instance.store.put_statuses(&b, &[row("n-3", 2, 100)], Instant::now()).await.unwrap();
    let sign = |id: &str| Sign { id: id.into(), written: 2, seen: Duration::from_secs(9) };
    let signs = [sign("n-1"), sign("n-2"), sign("n-3"), sign("none")];
    assert_eq!(instance.store.touch_statuses(&a, &signs).await.unwrap(), ["n-2"]);
    let rows = read(&instance.store, &replica("reader")).await;
    for (row, expect) in rows.iter().zip([100, 9, 50]) {
        assert_near(row.seen, expect);
    }
    assert_near(rows[1].since, 200);
}

async fn nodes_that_are_gone_are_forgotten(database: Database) {
    let instance = database.instance().await;
    instance.store.put_statuses(&replica("a"), &[row("n-1", 1, 200), row("n-2", 1, 50)], Instant::now()).await.unwrap();
    assert_eq!(instance.store.forget_statuses(Duration::from_secs(60)).await.unwrap(), 1);
    assert_eq!(read(&instance.store, &replica("reader")).await[0].id, "n-2");
    assert_eq!(instance.store.forget_statuses(Duration::from_secs(60)).await.unwrap(), 0);
}

async fn many_nodes_are_written_by_one_statement(database: Database) {
    let instance = database.instance().await;
    let a = replica("a");
    let rows: Vec<StatusRow> = (0..500).map(|at| row(&format!("n-{at:03}"), 1, 10)).collect();
    assert_eq!(instance.store.put_statuses(&a, &rows, Instant::now()).await.unwrap().len(), 500);
    let sign = |row: &StatusRow| Sign { id: row.id.clone(), written: 1, seen: Duration::ZERO };
    let signs: Vec<Sign> = rows.iter().map(sign).collect();
    assert_eq!(instance.store.touch_statuses(&a, &signs).await.unwrap().len(), 500);
    assert_eq!(read(&instance.store, &replica("reader")).await.len(), 500);
}

async fn what_nodes_report_is_no_configuration(database: Database) {
    let instance = database.instance().await;
    let committed = instance.put([route("a", "1")]).await.unwrap();
    let mut heads = instance.publisher.subscribe();
    heads.borrow_and_update();
    let mut listener = match database.is_postgres() {
        true => Some(sqlx::postgres::PgListener::connect(&database.url).await.unwrap()),
        false => None,
    };
    if let Some(listener) = &mut listener {
        listener.listen("portico_revision").await.unwrap();
    }
    instance.store.put_statuses(&replica("a"), &[row("n", 1, 10)], Instant::now()).await.unwrap();
    let next = instance.put([route("a", "2")]).await.unwrap();
    assert_eq!(next.identity.revision, committed.identity.revision + 1);
    // What comes first is of the commit, so the status was not told of.
    if let Some(listener) = &mut listener {
        assert_eq!(listener.recv().await.unwrap().payload(), next.identity.revision.to_string());
    }
    instance.head_when(|head| head.identity == next.identity).await;
    let counted = database.hand().await.count("select count(*) from revisions").await;
    assert_eq!(counted, 3, "revision 0 and the two");
}
