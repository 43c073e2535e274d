//! What is secret does not go over a network in cleartext, whatever else does.

use crate::{
    front::{Admin, Answer, Running},
    harness::{Database, on_both},
};
use http::{Method, StatusCode};
use proto::{example::example, resource::Kind};
use std::net::{SocketAddr, UdpSocket};

on_both!(a_configuration_with_secrets_is_not_sent_to_other_machines_in_cleartext, what_stays_on_this_machine_is_sent,);

/// An address of this machine that others reach it by; nothing is sent to find it out. A machine without a network has
/// none, and nobody to hide from.
fn own_address() -> Option<SocketAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().unwrap();
    (!address.ip().is_loopback() && !address.ip().is_unspecified()).then(|| SocketAddr::new(address.ip(), 0))
}

const CERTIFICATE: &str = "/v1/certificates/example";

async fn put_secret(admin: &mut Admin) -> Answer {
    admin.call(Method::PUT, &format!("{CERTIFICATE}?wait=all"), Some(example(Kind::Certificate))).await
}

async fn a_configuration_with_secrets_is_not_sent_to_other_machines_in_cleartext(database: Database) {
    let Some(address) = own_address() else {
        println!("left out: this machine has no network");
        return;
    };
    let running = Running::listening(&database, &address.to_string(), &["--insecure-cleartext"]).await;
    running.until_ready().await;
    let mut admin = running.admin().await;
    let mut node = running.node("node-1", None).await;
    let (empty, _) = node.whole().await;
    node.runs(&empty).await;
    // Whoever waits learns at once that the node does not get it, and why.
    let answer = put_secret(&mut admin).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let told = &answer.body["wait"]["lagging"][0];
    assert_eq!((&told["live"], &told["running"]["revision"]), (&true.into(), &0.into()), "{told:#}");
    let detail = told["refused"]["errors"][0]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("holds secrets") && detail.contains("--tls-ca-dir"), "{told:#}");
    // Neither does one that comes anew, nor one with something else beside it.
    let mut other = running.node("node-2", None).await;
    admin.put("a", "1", "").await;
    let revision = admin.call(Method::DELETE, CERTIFICATE, None).await;
    assert_eq!(revision.status, StatusCode::NO_CONTENT, "{revision:?}");
    // The first that they get is the first without it.
    for node in [&mut node, &mut other] {
        let (identity, snapshot) = node.whole().await;
        assert_eq!((identity.revision, snapshot.len()), (3, 1));
        node.runs(&identity).await;
    }
    running.stop().await;
}

async fn what_stays_on_this_machine_is_sent(database: Database) {
    let running = Running::ready(&database).await;
    let mut node = running.node("node-1", None).await;
    let (empty, _) = node.whole().await;
    node.runs(&empty).await;
    let mut admin = running.admin().await;
    let writing = tokio::spawn(async move { put_secret(&mut admin).await });
    let (identity, snapshot) = node.whole().await;
    node.runs(&identity).await;
    assert_eq!((identity.revision, snapshot.len()), (1, 1));
    assert_eq!(writing.await.unwrap().status, StatusCode::CREATED);
    running.stop().await;
}
