//! What a client of HTTP/2 sends besides requests, counted by frames as they come.
//!
//! Frames that cost the client nothing and the server something are how HTTP/2 is abused: streams that are opened and
//! reset at once (CVE-2023-44487), SETTINGS and PING that want an answer each, frames that are empty. How many there may
//! be is a matter of time, so it is counted by windows of ten seconds. What a frame says is not looked at here.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// How long one count lasts.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;
const END_HEADERS: u8 = 0x4;
/// The smallest frame of data has ten bytes, and may be worth two updates.
const BYTES_PER_UPDATE: usize = 5;
/// The most updates that may be saved up.
const MOST_UPDATES: u64 = 1 << 20;

/// How many there may be in a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Streams that the client resets.
    pub(super) resets: u32,
    /// Frames that carry nothing of a request.
    pub(super) control: u32,
}

/// Why a client is let go of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abuse {
    /// It resets too many streams.
    Resets,
    /// It sends too many frames that carry nothing.
    Control,
}

/// The counts of one connection; the other end is the connection's driver.
#[derive(Debug)]
pub(super) struct Meter {
    state: Cell<State>,
    began: Cell<Instant>,
    resets: Cell<u32>,
    control: Cell<u32>,
    // How many updates of windows are worth something: so many as answer what was sent.
    updates: Cell<u64>,
    // Since when a block of headers is under way.
    block: Cell<Option<Instant>>,
    budget: Budget,
    abuse: Cell<Option<Abuse>>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    // So many bytes of the preface are still to come.
    Preface(usize),
    // So many bytes of a frame's header came.
    Header([u8; FRAME_HEADER], usize),
    // So many bytes of a frame are still to come; whether a block of headers ends with it.
    Payload(usize, bool),
}

// === impl Meter ===

impl Meter {
    pub(super) fn new(budget: Budget, now: Instant) -> Meter {
        Meter {
            state: Cell::new(State::Preface(PREFACE)),
            began: Cell::new(now),
            resets: Cell::new(0),
            control: Cell::new(0),
            updates: Cell::new(0),
            block: Cell::new(None),
            budget,
            abuse: Cell::new(None),
        }
    }

    /// What it had too much of, once it had.
    pub(super) fn abuse(&self) -> Option<Abuse> {
        self.abuse.get()
    }

    /// Since when a block of headers is under way.
    pub(super) fn block(&self) -> Option<Instant> {
        self.block.get()
    }

    /// Bytes were written: a client may tell for each frame of data that it took it, on its stream and its connection.
    pub(super) fn written(&self, bytes: usize) {
        let more = (bytes / BYTES_PER_UPDATE) as u64;
        self.updates.set(self.updates.get().saturating_add(more).min(MOST_UPDATES));
    }

    /// Bytes came.
    pub(super) fn read(&self, mut bytes: &[u8], now: Instant) {
        if now.duration_since(self.began.get()) >= WINDOW {
            self.began.set(now);
            self.resets.set(0);
            self.control.set(0);
        }
        let mut state = self.state.get();
        while !bytes.is_empty() {
            state = match state {
                State::Preface(left) => {
                    let taken = left.min(bytes.len());
                    bytes = &bytes[taken..];
                    match left - taken {
                        0 => State::Header([0; FRAME_HEADER], 0),
                        left => State::Preface(left),
                    }
                }
                State::Header(mut header, have) => {
                    let taken = (FRAME_HEADER - have).min(bytes.len());
                    header[have..have + taken].copy_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    match have + taken {
                        FRAME_HEADER => self.frame(header, now),
                        have => State::Header(header, have),
                    }
                }
                State::Payload(left, ends) => {
                    let taken = left.min(bytes.len());
                    bytes = &bytes[taken..];
                    self.payload(left - taken, ends)
                }
            };
        }
        self.state.set(state);
    }

    fn frame(&self, [high, middle, low, kind, flags, ..]: [u8; FRAME_HEADER], now: Instant) -> State {
        let len = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let mut ends = false;
        match kind {
            // DATA: without bytes it is worth something only as the end.
            0x0 if len == 0 && flags & 0x1 == 0 => self.control(),
            // HEADERS and CONTINUATION; how many there may be of these, the codec limits.
            0x1 | 0x9 => {
                self.block.set(self.block.get().or(Some(now)));
                ends = flags & END_HEADERS != 0;
            }
            // RST_STREAM.
            0x3 => {
                self.resets.set(self.resets.get() + 1);
                if self.resets.get() > self.budget.resets {
                    self.abuse.set(self.abuse.get().or(Some(Abuse::Resets)));
                }
            }
            // DATA with bytes.
            0x0 => {}
            // WINDOW_UPDATE, which whoever downloads sends often, but nobody else.
            0x8 => match self.updates.get().checked_sub(1) {
                Some(left) => self.updates.set(left),
                None => self.control(),
            },
            // SETTINGS, PING, PRIORITY, and what nobody knows.
            _ => self.control(),
        }
        self.payload(len, ends)
    }

    fn payload(&self, left: usize, ends: bool) -> State {
        if left > 0 {
            return State::Payload(left, ends);
        }
        if ends {
            self.block.set(None);
        }
        State::Header([0; FRAME_HEADER], 0)
    }

    fn control(&self) {
        self.control.set(self.control.get() + 1);
        if self.control.get() > self.budget.control {
            self.abuse.set(self.abuse.get().or(Some(Abuse::Control)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BUDGET: Budget = Budget { resets: 2, control: 3 };

    fn frame(kind: u8, flags: u8, len: usize) -> Vec<u8> {
        let mut frame = vec![0, 0, len as u8, kind, flags, 0, 0, 0, 1];
        frame.resize(FRAME_HEADER + len, 0xff);
        frame
    }

    fn verdict(frames: &[Vec<u8>], piece: usize) -> (Option<Abuse>, bool) {
        let now = Instant::now();
        let meter = Meter::new(BUDGET, now);
        let bytes = [vec![0xff; PREFACE], frames.concat()].concat();
        bytes.chunks(piece).for_each(|piece| meter.read(piece, now));
        (meter.abuse(), meter.block().is_some())
    }

    #[test]
    fn what_costs_nothing_is_counted() {
        let check = |frames: Vec<Vec<u8>>, expect| {
            for piece in [1, 2, 7, 10_000] {
                assert_eq!(verdict(&frames, piece), expect, "{piece}");
            }
        };
        check(vec![frame(0x1, 0x4, 20), frame(0x0, 0x1, 0), frame(0x8, 0, 4), frame(0x0, 0, 200)], (None, false));
        check(vec![frame(0x3, 0, 4); 2], (None, false));
        check(vec![frame(0x3, 0, 4); 3], (Some(Abuse::Resets), false));
        check(vec![frame(0x6, 0, 8); 3], (None, false));
        check(vec![frame(0x8, 0, 4); 4], (Some(Abuse::Control), false));
        check(
            vec![frame(0x6, 0, 8), frame(0x4, 0, 0), frame(0x0, 0, 0), frame(0x2, 0, 5)],
            (Some(Abuse::Control), false),
        );
        check(vec![frame(0x1, 0, 5), frame(0x9, 0, 5)], (None, true));
        check(vec![frame(0x1, 0, 5), frame(0x9, 0x4, 5)], (None, false));
        check(vec![frame(0x1, 0x4, 50)[..20].to_vec()], (None, true));
    }

    #[test]
    fn whoever_takes_data_may_say_so() {
        let now = Instant::now();
        let meter = Meter::new(BUDGET, now);
        meter.read(&[0; PREFACE], now);
        for _ in 0..100 {
            meter.written(10);
            meter.read(&frame(0x8, 0, 4).repeat(2), now);
        }
        assert_eq!(meter.abuse(), None);
        meter.read(&frame(0x8, 0, 4).repeat(4), now);
        assert_eq!(meter.abuse(), Some(Abuse::Control));
    }

    #[test]
    fn a_window_ends() {
        let now = Instant::now();
        let meter = Meter::new(BUDGET, now);
        meter.read(&[0; PREFACE], now);
        for second in [0, 0, 11, 11, 22, 22] {
            meter.read(&frame(0x3, 0, 4), now + Duration::from_secs(second));
        }
        assert_eq!(meter.abuse(), None);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(frames in prop::collection::vec((0_u8..11, 0_u8..6, 0_usize..9), 0..9), piece in 1_usize..20) {
            let frames: Vec<_> = frames.into_iter().map(|(kind, flags, len)| frame(kind, flags, len)).collect();
            prop_assert_eq!(verdict(&frames, piece), verdict(&frames, 10_000));
        }
    }
}
