//! How a program is told to stop: SIGTERM or SIGINT once to end in good order, twice to end at once.

use crate::failure::Failure;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Begins to listen for signals, and returns what resolves at the first. From then on a second one ends the process.
pub(crate) fn stop() -> Result<impl Future<Output = ()>, Failure> {
    let listen =
        |kind| signal(kind).map_err(|error| Failure::Runtime(format!("failed to listen for signals: {error}")));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    // A node reads its file again; whoever has nothing to read again is not ended by it.
    let mut hang_up = listen(SignalKind::hangup())?;
    tokio::spawn(async move { while hang_up.recv().await.is_some() {} });
    Ok(async move {
        let name = next(&mut terminate, &mut interrupt).await.name;
        tracing::info!(signal = name, "stopping; once more to stop at once");
        tokio::spawn(async move {
            let last = next(&mut terminate, &mut interrupt).await;
            tracing::warn!(signal = last.name, "stopping at once");
            std::process::exit(128 + last.number);
        });
    })
}

struct Stop {
    name: &'static str,
    number: i32,
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> Stop {
    tokio::select! {
        _ = terminate.recv() => Stop { name: "SIGTERM", number: SignalKind::terminate().as_raw_value() },
        _ = interrupt.recv() => Stop { name: "SIGINT", number: SignalKind::interrupt().as_raw_value() },
    }
}
