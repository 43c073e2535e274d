//! Admin tokens over one database and several control planes.

use crate::harness::{Database, Instance, PATIENCE, on_both, proposal, route};
use control_plane::{
    access::{Access, AccessError, Holder, MAX_REVOCATIONS, MAX_TOKENS, TokenSpec, Unknown},
    author::{Author, Role},
    commit::{CommitError, Proposal},
    settings::Token,
    telemetry::Telemetry,
};
use proto::{name::Name, resource::Change};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::AbortHandle;

on_both!(
    a_token_opens_and_ceases_to_open_on_every_instance_soon,
    tokens_are_there_again_after_a_restart,
    racing_requests_for_a_name_make_one_token,
    there_are_only_so_many_tokens,
    a_use_is_noted_now_and_then,
    an_instance_that_missed_everything_learns_by_the_poll,
    nothing_is_written_with_a_token_that_is_gone,
    a_node_is_revoked_and_admitted_again_on_every_instance,
    only_so_many_nodes_are_revoked,
);

/// Learns as a control plane does, until it is dropped.
struct Learning(AbortHandle);

impl Drop for Learning {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn open(instance: &Instance) -> Arc<Access> {
    let access = Access::open(instance.store.clone(), Token::new("settings"), Arc::new(Telemetry::default())).await;
    Arc::new(access.unwrap())
}

fn learn(instance: &Instance, access: &Arc<Access>) -> Learning {
    let (access, asked) = (access.clone(), instance.publisher.asks());
    Learning(tokio::spawn(async move { access.run(asked).await }).abort_handle())
}

fn spec(name: &str) -> TokenSpec {
    TokenSpec { name: Name::parse(name).unwrap(), role: Role::Editor, expires_at: None }
}

fn author() -> Author {
    Author::inside("test")
}

/// How long it takes until something holds.
async fn took(what: &str, holds: impl Fn() -> bool) -> Duration {
    let started = Instant::now();
    crate::harness::until(what, holds).await;
    started.elapsed()
}

async fn a_token_opens_and_ceases_to_open_on_every_instance_soon(database: Database) {
    let (here, there) = (database.instance().await, database.instance().await);
    let (one, two) = (open(&here).await, open(&there).await);
    let _learning = (learn(&here, &one), learn(&there, &two));
    let (made, token) = one.create(&author(), spec("deploy")).await.unwrap();
    let holder = Holder { name: "deploy".into(), token: Some(made.id), role: Role::Editor };
    assert_eq!(one.identify(token.as_bytes()), Ok(holder.clone()));
    let opens = took("the other learns of it", || two.identify(token.as_bytes()) == Ok(holder.clone())).await;
    two.delete(&author(), "deploy").await.unwrap();
    assert_eq!(two.identify(token.as_bytes()), Err(Unknown::NoSuchToken));
    let closes = took("the other learns that it is gone", || one.identify(token.as_bytes()).is_err()).await;
    // The poll is every second; the machine may be slow.
    assert!(opens < Duration::from_secs(5) && closes < Duration::from_secs(5), "{opens:?} {closes:?}");
    assert!(one.identify(b"settings").is_ok_and(|holder| holder.role == Role::Admin), "that of the settings stays");
}

async fn tokens_are_there_again_after_a_restart(database: Database) {
    let instance = database.instance().await;
    let access = open(&instance).await;
    let (first, token) = access.create(&author(), spec("a")).await.unwrap();
    let until = time::OffsetDateTime::now_utc() + Duration::from_secs(3_600);
    access.create(&author(), TokenSpec { expires_at: Some(until), ..spec("b") }).await.unwrap();
    instance.end().await;
    let instance = database.instance().await;
    let access = open(&instance).await;
    assert_eq!(access.get("a"), Some(first));
    assert!(access.identify(token.as_bytes()).is_ok());
    let kept = access.get("b").unwrap().expires_at.unwrap();
    assert!((kept - until).abs() < Duration::from_millis(1), "{kept} {until}");
    assert_eq!(access.list().len(), 2);
}

async fn racing_requests_for_a_name_make_one_token(database: Database) {
    let (here, there) = (database.instance().await, database.instance().await);
    let racers = [open(&here).await, open(&there).await];
    let mut requests = tokio::task::JoinSet::new();
    for at in 0..6 {
        let access = racers[at % 2].clone();
        requests.spawn(async move {
            loop {
                match access.create(&author(), spec("one")).await {
                    Err(AccessError::Unavailable(_)) => {}
                    other => return other,
                }
            }
        });
    }
    let answers = tokio::time::timeout(PATIENCE, requests.join_all()).await.unwrap();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let taken = |answer: &Result<_, AccessError>| matches!(answer, Err(AccessError::NameTaken(_)));
    assert_eq!(answers.iter().filter(|answer| taken(answer)).count(), 5);
    let lines = here.store.audit(&Default::default(), 10).await.unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
}

async fn there_are_only_so_many_tokens(database: Database) {
    let instance = database.instance().await;
    let (time, id, digest) = match database.is_postgres() {
        true => ("now()", "decode(lpad(to_hex(n), 32, '0'), 'hex')", "sha256(to_hex(n)::bytea)"),
        false => ("0", "cast(printf('%016d', n) as blob)", "cast(printf('%032d', n) as blob)"),
    };
    database
        .hand()
        .await
        .run(format!(
            "insert into tokens (name, id, digest, role, created_at, created_by)
             with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < {})
             select 't' || n, {id}, {digest}, 'viewer', {time}, 'test' from numbers",
            MAX_TOKENS - 1
        ))
        .await;
    let access = open(&instance).await;
    access.create(&author(), spec("last")).await.unwrap();
    let error = access.create(&author(), spec("one-more")).await.unwrap_err();
    assert!(matches!(error, AccessError::TooMany(MAX_TOKENS)), "{error}");
    assert_eq!(access.list().len(), MAX_TOKENS);
    access.delete(&author(), "t7").await.unwrap();
    access.create(&author(), spec("one-more")).await.unwrap();
}

async fn a_use_is_noted_now_and_then(database: Database) {
    let instance = database.instance().await;
    let access = open(&instance).await;
    let (made, token) = access.create(&author(), spec("a")).await.unwrap();
    access.create(&author(), spec("unused")).await.unwrap();
    assert_eq!(made.last_used_at, None);
    access.identify(token.as_bytes()).unwrap();
    let used = access.get("a").unwrap().last_used_at;
    assert!(used.is_some());
    access.note_uses().await.unwrap();
    let others = open(&instance).await;
    assert_eq!(others.get("a").unwrap().last_used_at, used);
    assert_eq!(others.get("unused").unwrap().last_used_at, None);
    // A use soon after is not worth a write.
    let count = "select count(*) from tokens where last_used_at is not null";
    let mut hand = database.hand().await;
    assert_eq!(hand.count(count).await, 1);
    hand.run("update tokens set last_used_at = null").await;
    access.identify(token.as_bytes()).unwrap();
    access.note_uses().await.unwrap();
    assert_eq!(hand.count(count).await, 0);
}

async fn an_instance_that_missed_everything_learns_by_the_poll(database: Database) {
    let (here, there) = (database.instance().await, database.instance().await);
    let (one, two) = (open(&here).await, open(&there).await);
    let (_, token) = one.create(&author(), spec("a")).await.unwrap();
    one.delete(&author(), "a").await.unwrap();
    let (_, other) = one.create(&author(), spec("b")).await.unwrap();
    // It begins to learn only now, and nobody notifies any more.
    let _learning = learn(&there, &two);
    took("it knows what stands", || two.identify(other.as_bytes()).is_ok()).await;
    assert!(two.identify(token.as_bytes()).is_err());
}

async fn a_node_is_revoked_and_admitted_again_on_every_instance(database: Database) {
    let (here, there) = (database.instance().await, database.instance().await);
    let (one, two) = (open(&here).await, open(&there).await);
    let _learning = (learn(&here, &one), learn(&there, &two));
    let made = one.revoke(&author(), "n-1").await.unwrap();
    assert_eq!((made.id.as_str(), made.revoked_by.as_str()), ("n-1", "test"));
    assert!(one.is_revoked("n-1") && !one.is_revoked("n-2"));
    let learnt = took("the other learns of it", || two.is_revoked("n-1")).await;
    assert!(learnt < Duration::from_secs(5), "{learnt:?}");
    // Twice is once.
    assert_eq!(two.revoke(&author(), "n-1").await.unwrap(), made);
    assert_eq!(open(&there).await.revocations(), [made]);
    two.readmit(&author(), "n-1").await.unwrap();
    took("the other learns that it is admitted", || !one.is_revoked("n-1")).await;
    let error = one.readmit(&author(), "n-1").await.unwrap_err();
    assert!(matches!(error, AccessError::NotFound(_)), "{error}");
    let lines = here.store.audit(&Default::default(), 10).await.unwrap();
    let told: Vec<String> = lines
        .iter()
        .flat_map(|line| &line.changes)
        .map(|change| format!("{} {} {}", change.kind, change.name, change.done.as_str()))
        .collect();
    assert_eq!(told, ["node n-1 readmitted", "node n-1 revoked"]);
}

async fn only_so_many_nodes_are_revoked(database: Database) {
    let instance = database.instance().await;
    let time = if database.is_postgres() { "now()" } else { "0" };
    database
        .hand()
        .await
        .run(format!(
            "insert into revoked_nodes (id, revoked_at, revoked_by)
             with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < {MAX_REVOCATIONS})
             select 'n' || n, {time}, 'test' from numbers"
        ))
        .await;
    let access = open(&instance).await;
    let error = access.revoke(&author(), "one-more").await.unwrap_err();
    assert!(matches!(error, AccessError::TooMany(MAX_REVOCATIONS)), "{error}");
    access.revoke(&author(), "n7").await.unwrap();
    access.readmit(&author(), "n7").await.unwrap();
    access.revoke(&author(), "one-more").await.unwrap();
}

async fn nothing_is_written_with_a_token_that_is_gone(database: Database) {
    let (here, there) = (database.instance().await, database.instance().await);
    let (one, two) = (open(&here).await, open(&there).await);
    let (made, token) = one.create(&author(), spec("a")).await.unwrap();
    two.note_uses().await.unwrap();
    let holder = two.identify(token.as_bytes()).unwrap();
    let with_it = Author { token: holder.token, ..Author::inside(&holder.name) };
    let change =
        || Proposal { author: with_it.clone(), ..proposal(Box::new(|_| Ok(vec![Change::Put(route("a", "1"))]))) };
    // It takes itself away, and this control plane has not learnt of it.
    one.delete(&Author { token: Some(made.id), ..author() }, "a").await.unwrap();
    assert!(two.identify(token.as_bytes()).is_ok());
    let error = there.committer.commit(change()).await.unwrap_err();
    assert!(matches!(&error, CommitError::Unavailable { detail } if detail.contains("deleted")), "{error}");
    two.create(&with_it, spec("b")).await.unwrap_err();
    two.revoke(&with_it, "n").await.unwrap_err();
    let mut hand = database.hand().await;
    for (count, expect) in [
        ("select count(*) from changes", 0),
        ("select count(*) from tokens", 0),
        ("select count(*) from revoked_nodes", 0),
        ("select count(*) from audit", 2),
    ] {
        assert_eq!(hand.count(count).await, expect, "{count}");
    }
}
