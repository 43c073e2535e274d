//! What is kept of the past.

use crate::harness::{Database, body_of, key, on_both, route};
use proto::{identity::Identity, resource::Change};

on_both!(
    every_revision_can_be_read_again,
    revisions_come_newest_first_in_pages,
    changes_come_in_order_with_their_revision,
    old_revisions_are_forgotten_and_the_rest_stays_whole,
);

async fn every_revision_can_be_read_again(database: Database) {
    let instance = database.instance().await;
    let mut identities: Vec<Identity> = vec![instance.publisher.head().identity];
    for step in 0..12_u64 {
        let committed = match step % 4 {
            3 => instance.delete(key(&format!("r-{}", (step / 4) % 3))).await,
            _ => instance.put([route(&format!("r-{}", step % 3), &step.to_string())]).await,
        };
        identities.push(committed.unwrap().identity);
    }
    for identity in &identities {
        let snapshot = instance.store.snapshot_at(identity.revision).await.unwrap().unwrap();
        assert_eq!(snapshot.root(), identity.root, "revision {}", identity.revision);
    }
    assert!(instance.store.snapshot_at(13).await.unwrap().is_none());
}

async fn revisions_come_newest_first_in_pages(database: Database) {
    let instance = database.instance().await;
    for step in 0..5 {
        instance.put([route("a", &step.to_string())]).await.unwrap();
    }
    let numbers = async |below, limit| {
        let page = instance.store.revisions(below, limit).await.unwrap();
        page.into_iter().map(|revision| revision.revision).collect::<Vec<_>>()
    };
    assert_eq!(numbers(None, 3).await, [5, 4, 3]);
    assert_eq!(numbers(Some(3), 3).await, [2, 1, 0]);
    assert_eq!(numbers(Some(0), 3).await, [0_u64; 0]);
}

async fn changes_come_in_order_with_their_revision(database: Database) {
    let instance = database.instance().await;
    instance.put([route("b", "1"), route("a", "1")]).await.unwrap();
    instance.put([route("a", "2")]).await.unwrap();
    instance.delete(key("b")).await.unwrap();
    let changes = instance.store.changes(0, 3).await.unwrap();
    let expected = [
        (1, Change::Put(route("a", "1"))),
        (1, Change::Put(route("b", "1"))),
        (2, Change::Put(route("a", "2"))),
        (3, Change::Delete(key("b"))),
    ];
    assert_eq!(changes, expected);
    assert_eq!(instance.store.changes(1, 2).await.unwrap(), expected[2..3]);
}

async fn old_revisions_are_forgotten_and_the_rest_stays_whole(database: Database) {
    let instance = database.instance_keeping(5).await;
    let mut identities = Vec::new();
    instance.put([route("fixed", "1")]).await.unwrap();
    for step in 0..20_u64 {
        let committed = match step % 5 {
            4 => instance.delete(key("moving")).await,
            _ => instance.put([route("moving", &step.to_string())]).await,
        };
        identities.push(committed.unwrap().identity);
        instance.store.prune().await.unwrap();
    }
    // Each commit has its store pruned too, and whoever finds another at it leaves the rest to the next.
    let pruned = async {
        while instance.store.revisions(None, 100).await.unwrap().len() > 6 {
            instance.store.prune().await.unwrap();
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), pruned).await.expect("old revisions are forgotten");
    // 16 to 21, of which the changes of 16 are the base.
    let kept = instance.store.revisions(None, 100).await.unwrap();
    assert_eq!(kept.iter().map(|kept| kept.revision).collect::<Vec<_>>(), [21, 20, 19, 18, 17, 16]);
    for identity in identities {
        let snapshot = instance.store.snapshot_at(identity.revision).await.unwrap();
        assert_eq!(snapshot.is_some(), identity.revision >= 16, "revision {}", identity.revision);
        if let Some(snapshot) = snapshot {
            assert_eq!(snapshot.root(), identity.root, "revision {}", identity.revision);
            assert_eq!(body_of(&snapshot.get(&key("fixed")).unwrap().resource.payload), "1");
        }
    }
    let mut hand = database.hand().await;
    assert_eq!(hand.count("select count(*) from changes where revision < 16").await, 1, "only what still counts");
    // Pruned in one go it comes to the same.
    assert_eq!(database.instance().await.publisher.head().identity, instance.publisher.head().identity);
}
