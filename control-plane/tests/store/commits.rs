//! What a proposal comes to, alone and among others.

use crate::harness::{Database, Instance, body_of, key, on_both, proposal, route};
use control_plane::commit::{CommitError, Committed, Proposal, Refusal};
use proto::{resource::Change, snapshot::Snapshot};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

on_both!(
    a_change_makes_the_next_revision,
    the_same_again_makes_no_revision,
    a_refused_change_leaves_nothing_behind,
    a_plan_sees_what_others_committed,
    no_update_is_lost_among_writers,
    thirty_two_writers_make_contiguous_revisions,
    a_key_carries_a_request_out_once,
    a_key_is_carried_out_once_among_racing_requests,
    a_key_holds_for_what_changed_nothing,
    a_large_configuration_shrinks_only_when_that_is_meant,
    a_text_that_json_in_the_database_cannot_hold_is_kept,
    ten_thousand_resources_are_one_revision,
);

async fn a_change_makes_the_next_revision(database: Database) {
    let instance = database.instance().await;
    let before = instance.publisher.head();
    assert_eq!(before.identity.revision, 0);
    let committed = instance.put([route("a", "1")]).await.unwrap();
    assert!(committed.changed);
    assert_eq!(committed.identity.revision, 1);
    assert_eq!(committed.identity.history, before.identity.history);
    assert_eq!(committed.identity.root, committed.snapshot.root());
    assert_eq!(instance.publisher.head().identity, committed.identity);
    let revision = instance.store.revision(1).await.unwrap().unwrap();
    assert_eq!((revision.author.as_str(), revision.resources, revision.at), ("test", 1, committed.at));
}

async fn the_same_again_makes_no_revision(database: Database) {
    let instance = database.instance().await;
    let first = instance.put([route("a", "1")]).await.unwrap();
    let again = instance.put([route("a", "1")]).await.unwrap();
    assert!(!again.changed);
    assert_eq!((again.identity, again.at), (first.identity, first.at));
    let nothing = instance.delete(key("absent")).await.unwrap();
    assert!(!nothing.changed);
    assert_eq!(database.hand().await.count("select count(*) from revisions").await, 2);
}

async fn a_refused_change_leaves_nothing_behind(database: Database) {
    let instance = database.instance().await;
    let clash = || {
        let mut twin = route("b", "1");
        twin.payload = route("a", "1").payload;
        twin
    };
    let error = instance.put([route("a", "1"), clash()]).await.unwrap_err();
    assert!(matches!(error, CommitError::Refused(Refusal::Invalid(_))), "{error}");
    let error = instance.commit(Box::new(|_| Err(Refusal::NotFound(key("x"))))).await.unwrap_err();
    assert!(matches!(error, CommitError::Refused(Refusal::NotFound(_))), "{error}");
    assert_eq!(instance.publisher.head().identity.revision, 0);
    assert_eq!(database.hand().await.count("select count(*) from changes").await, 0);
}

async fn a_plan_sees_what_others_committed(database: Database) {
    let (one, two) = (database.instance().await, database.instance().await);
    one.put([route("a", "1")]).await.unwrap();
    // The second instance may not have learnt of it, and refuses or changes nothing all the same only as is true now.
    let create = || {
        Box::new(|snapshot: &Snapshot| match snapshot.get(&key("a")) {
            Some(_) => Err(Refusal::Exists(key("a"))),
            None => Ok(vec![Change::Put(route("a", "2"))]),
        })
    };
    let error = two.commit(create()).await.unwrap_err();
    assert!(matches!(error, CommitError::Refused(Refusal::Exists(_))), "{error}");
    one.delete(key("a")).await.unwrap();
    assert!(two.put([route("a", "1")]).await.unwrap().changed);
}

async fn no_update_is_lost_among_writers(database: Database) {
    let instances = [Arc::new(database.instance().await), Arc::new(database.instance().await)];
    instances[0].put([route("counter", "0")]).await.unwrap();
    let increment = |snapshot: &Snapshot| {
        let count: u64 = body_of(&snapshot.get(&key("counter")).unwrap().resource.payload).parse().unwrap();
        Ok(vec![Change::Put(route("counter", &(count + 1).to_string()))])
    };
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let instance = instances[writer % 2].clone();
        writers.spawn(async move {
            for _ in 0..5 {
                retrying(&instance, || proposal(Box::new(increment))).await;
            }
        });
    }
    writers.join_all().await;
    let head = instances[0].head_when(|head| head.identity.revision == 41).await;
    assert_eq!(body_of(&head.snapshot.get(&key("counter")).unwrap().resource.payload), "40");
}

async fn thirty_two_writers_make_contiguous_revisions(database: Database) {
    let instances = [Arc::new(database.instance().await), Arc::new(database.instance().await)];
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..32 {
        let instance = instances[writer % 2].clone();
        writers.spawn(async move {
            let mut made = Vec::new();
            for step in 0..4 {
                tokio::time::sleep(Duration::from_micros(fastrand::u64(0..3_000))).await;
                let name = format!("writer-{writer}-{}", step % 2);
                let propose = || {
                    let name = name.clone();
                    proposal(Box::new(move |_| Ok(vec![Change::Put(route(&name, &step.to_string()))])))
                };
                made.push(retrying(&instance, propose).await.identity.revision);
            }
            made
        });
    }
    let made: Vec<Vec<u64>> = writers.join_all().await;
    assert!(made.iter().all(|made| made.is_sorted()), "a writer's revisions are in its order");
    let all: BTreeSet<u64> = made.into_iter().flatten().collect();
    assert_eq!(all, (1..=128).collect(), "each acknowledged write has a revision of its own, without gaps");
    assert_history_adds_up(&database, &instances[0], 128).await;
    let [one, two] = &instances;
    let (one, two) = (
        one.head_when(|head| head.identity.revision == 128).await,
        two.head_when(|head| head.identity.revision == 128).await,
    );
    assert_eq!(one.identity, two.identity);
}

async fn a_key_carries_a_request_out_once(database: Database) {
    let instance = database.instance().await;
    let keyed = |digest: u8, name: &'static str| Proposal {
        idempotency: Some(("once".into(), [digest; 32])),
        ..proposal(Box::new(move |snapshot| match snapshot.get(&key(name)) {
            Some(_) => Err(Refusal::Exists(key(name))),
            None => Ok(vec![Change::Put(route(name, "1"))]),
        }))
    };
    let first = instance.committer.commit(keyed(1, "a")).await.unwrap();
    assert!(!first.replayed);
    instance.put([route("later", "1")]).await.unwrap();
    let again = instance.committer.commit(keyed(1, "a")).await.unwrap();
    assert!(again.replayed);
    assert_eq!((again.identity, again.at), (first.identity, first.at));
    assert!(again.snapshot.get(&key("later")).is_none(), "the answer is as it was then");
    let error = instance.committer.commit(keyed(2, "b")).await.unwrap_err();
    assert!(matches!(error, CommitError::IdempotencyReused), "{error}");
    assert_eq!(instance.publisher.head().identity.revision, 2);
}

async fn a_key_is_carried_out_once_among_racing_requests(database: Database) {
    let instances = [Arc::new(database.instance().await), Arc::new(database.instance().await)];
    let mut requests = tokio::task::JoinSet::new();
    for request in 0..8 {
        let instance = instances[request % 2].clone();
        requests.spawn(async move {
            let propose = || Proposal {
                idempotency: Some(("race".into(), [1; 32])),
                ..proposal(Box::new(move |_| Ok(vec![Change::Put(route("a", &request.to_string()))])))
            };
            retrying(&instance, propose).await
        });
    }
    let answers: Vec<Committed> = requests.join_all().await;
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.identity.revision == 1));
}

async fn a_key_holds_for_what_changed_nothing(database: Database) {
    let instance = database.instance().await;
    instance.put([route("a", "1")]).await.unwrap();
    let same = || Proposal {
        idempotency: Some(("same".into(), [1; 32])),
        ..proposal(Box::new(|_| Ok(vec![Change::Put(route("a", "1"))])))
    };
    let first = instance.committer.commit(same()).await.unwrap();
    assert!(!first.changed && !first.replayed);
    instance.put([route("a", "2")]).await.unwrap();
    let again = instance.committer.commit(same()).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.identity.revision, 1);
    assert_eq!(instance.publisher.head().identity.revision, 2);
}

async fn a_large_configuration_shrinks_only_when_that_is_meant(database: Database) {
    let instance = database.instance().await;
    instance.put((0..101).map(|at| route(&format!("r-{at}"), "1"))).await.unwrap();
    let fewer = |confirm_shrink| Proposal {
        confirm_shrink,
        ..proposal(Box::new(|snapshot| {
            let keys = snapshot.entries().map(|entry| entry.resource.key.clone());
            Ok(keys.take(51).map(Change::Delete).collect())
        }))
    };
    let error = instance.committer.commit(fewer(false)).await.unwrap_err();
    assert!(matches!(error, CommitError::Shrinks { from: 101, to: 50 }), "{error}");
    assert_eq!(instance.publisher.head().identity.revision, 1);
    instance.committer.commit(fewer(true)).await.unwrap();
    let revisions = instance.store.revisions(None, 10).await.unwrap();
    assert_eq!(revisions.iter().map(|revision| revision.confirmed_shrink).collect::<Vec<_>>(), [true, false, false]);
}

async fn a_text_that_json_in_the_database_cannot_hold_is_kept(database: Database) {
    let instance = database.instance().await;
    let odd = route("odd", "nul \0, backslash \\u0000, and \u{10ffff}");
    let change = odd.clone();
    let why = Proposal {
        reason: Some("nul \0".into()),
        ..proposal(Box::new(move |_| Ok(vec![Change::Put(change.clone())])))
    };
    instance.committer.commit(why).await.unwrap();
    let again = database.instance().await;
    assert_eq!(again.publisher.head().snapshot.get(&key("odd")).unwrap().resource, odd);
}

async fn ten_thousand_resources_are_one_revision(database: Database) {
    let instance = database.instance().await;
    let committed = instance.put((0..10_000).map(|at| route(&format!("r-{at}"), "1"))).await.unwrap();
    assert_eq!((committed.identity.revision, committed.snapshot.len()), (1, 10_000));
    let again = database.instance().await;
    assert_eq!(again.publisher.head().identity, committed.identity);
}

/// The history replayed, the tables, and the memory say the same.
pub(crate) async fn assert_history_adds_up(database: &Database, instance: &Instance, head: u64) {
    let changes = instance.store.changes(0, head).await.unwrap();
    assert!(changes.is_sorted_by_key(|(revision, _)| *revision));
    let replayed = Snapshot::empty().with(changes.into_iter().map(|(_, change)| change)).unwrap();
    let tables = database.instance().await;
    let memory = instance.head_when(|known| known.identity.revision == head).await;
    assert_eq!(replayed.root(), memory.identity.root);
    assert_eq!(tables.publisher.head().identity, memory.identity);
    let revisions = instance.store.revisions(None, u32::MAX).await.unwrap();
    let numbers: Vec<u64> = revisions.iter().rev().map(|revision| revision.revision).collect();
    assert_eq!(numbers, (0..=head).collect::<Vec<_>>());
    assert_eq!(revisions[0].root, memory.identity.root);
    tables.end().await;
}

/// What a client does on 503.
pub(crate) async fn retrying(instance: &Instance, propose: impl Fn() -> Proposal) -> Committed {
    for _ in 0..20 {
        match instance.committer.commit(propose()).await {
            Ok(committed) => return committed,
            // Only for what passes by itself.
            Err(CommitError::Unavailable { detail }) => assert!(!detail.contains("cannot be"), "{detail}"),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("unavailable twenty times");
}
