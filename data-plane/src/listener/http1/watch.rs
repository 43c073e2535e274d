//! Whether a client that waits is still there.
//!
//! A client that says it has nothing more to send may be gone, or may have closed its half and wait for the answer: the
//! kernel tells no difference until something is sent. So something harmless is sent, once: `100 Continue`, which every
//! client of HTTP/1.1 has to pass over, or a zero more before a chunk's size. Whoever is gone resets the connection.

use super::answering::Answering;
use crate::inbound::{End, Inbound};
use http::Version;
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Interval, interval};

/// How often the kernel is asked whether the connection was reset; only of a client that closed its half.
const TICK: Duration = Duration::from_millis(50);

/// What is known of a client that waits.
#[derive(Debug, Default)]
pub(super) struct Watch {
    ticks: Option<Pin<Box<Interval>>>,
    // What is sent to it now would show.
    probed: bool,
    gone: bool,
}

impl Watch {
    /// Ready when the client is gone, before anything of an answer was sent.
    pub(super) fn poll_gone(&mut self, inbound: &Inbound, version: Version, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_half(inbound, cx));
        if !self.gone && !self.probed && version == Version::HTTP_11 {
            self.probed = true;
            inbound.probe(cx);
        }
        self.poll_reset(inbound, cx)
    }

    /// Ready when the client left, in the middle of an answer.
    pub(super) fn poll_left(&mut self, inbound: &Inbound, answering: &mut Answering, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_half(inbound, cx));
        if !self.gone && !self.probed {
            self.probed = true;
            answering.probe();
            cx.waker().wake_by_ref();
        }
        self.poll_reset(inbound, cx)
    }

    // Ready when the client has closed its half, or is gone.
    fn poll_half(&mut self, inbound: &Inbound, cx: &mut Context<'_>) -> Poll<()> {
        if self.ticks.is_none() && !self.gone {
            match ready!(inbound.poll_end(cx)) {
                End::Finished => self.ticks = Some(Box::pin(interval(TICK))),
                End::Reset => self.gone = true,
            }
        }
        Poll::Ready(())
    }

    fn poll_reset(&mut self, inbound: &Inbound, cx: &mut Context<'_>) -> Poll<()> {
        while !self.gone {
            self.gone = inbound.is_reset();
            if let (false, Some(ticks)) = (self.gone, &mut self.ticks) {
                ready!(ticks.poll_tick(cx));
            }
        }
        Poll::Ready(())
    }
}
