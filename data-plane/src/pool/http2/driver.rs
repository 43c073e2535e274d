//! The task of a connection: moves its frames, and finds out whether the other end is still there.

use super::{super::stream::Stream, Load};
use bytes::Bytes;
use h2::{Ping, PingPong, client::Connection};
use std::{future::pending, io, rc::Rc, time::Duration};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

/// How long the answer to a question may take.
const PONG: Duration = Duration::from_secs(5);

type Frames = Connection<Stream, Bytes>;

// The connection ended.
struct Ended;

/// Drives the connection until it ends: all that used it let go of it, or the other end did.
pub(super) async fn drive(mut frames: Frames, load: Rc<Load>, ping: Option<Duration>) {
    let _seat = load.seat.clone();
    let mut pings = frames.ping_pong();
    let mut ticks = ping.map(|ping| {
        let mut ticks = interval(ping);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    loop {
        tokio::select! {
            biased;
            ended = &mut frames => {
                if let Err(error) = ended {
                    // The streams are told only that there is no connection any more.
                    if let Some(said) = error.get_io() {
                        load.failure.set(io::Error::new(said.kind(), said.to_string())).ok();
                    }
                    tracing::debug!(%error, "a connection of HTTP/2 to an endpoint ended");
                }
                break;
            }
            () = load.doubt.notified() => {}
            () = tick(&mut ticks) => if load.streams.get() == 0 { continue },
        }
        let Some(pings) = &mut pings else { continue };
        match ask(&mut frames, pings).await {
            Ok(true) => load.doubted.set(false),
            Ok(false) => {
                tracing::debug!("a connection of HTTP/2 to an endpoint ends, for nobody is there");
                break;
            }
            Err(Ended) => break,
        }
    }
    // Whoever still uses it learns it when the frames are dropped.
    load.closed.set(true);
}

async fn tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => pending().await,
    }
}

// Whether anybody is there.
async fn ask(frames: &mut Frames, pings: &mut PingPong) -> Result<bool, Ended> {
    let answer = timeout(PONG, pings.ping(Ping::opaque()));
    tokio::select! {
        biased;
        _ = frames => Err(Ended),
        answer = answer => Ok(matches!(answer, Ok(Ok(_)))),
    }
}
