//! The access log: one JSON object a line, named as OpenTelemetry names attributes.
//!
//! A worker formats lines into its own buffer and hands full blocks to one writer thread by a bounded channel. When the
//! disk does not keep up, blocks are dropped and their lines counted; a request never waits for its log line.
//! What may be secret (queries, credentials, cookies, bodies) is not in it at all.

use crate::{context::hex, json, pool::Phases, settings::AccessLog};
use std::{
    cell::{Cell, RefCell},
    fs::OpenOptions,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How large a block grows before it is handed off.
const BLOCK: usize = 48 * 1024;
/// How many blocks may wait for the writer.
const BLOCKS: usize = 64;
/// How long the end of the process waits for what is still to be written.
const FLUSH: Duration = Duration::from_secs(2);

/// The writer thread.
#[derive(Debug)]
pub(crate) struct LogWriter {
    blocks: SyncSender<Block>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Block {
    Lines(Vec<u8>),
    // The sender's drop says that all before it is written.
    Flush(SyncSender<()>),
}

/// One worker's lines.
#[derive(Debug)]
pub(crate) struct LogBuffer {
    // None: the log is off.
    blocks: Option<SyncSender<Block>>,
    dropped: Arc<AtomicU64>,
    lines: Cell<u64>,
    buffer: RefCell<Vec<u8>>,
    clock: RefCell<WallClock>,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a [u8],
    pub(crate) host: &'a [u8],
    pub(crate) client: &'a str,
    pub(crate) user_agent: &'a [u8],
    pub(crate) request_id: &'a [u8],
    pub(crate) trace: u128,
    pub(crate) span: u64,
    pub(crate) status: u16,
    pub(crate) route: Option<(&'a str, &'a str)>,
    pub(crate) upstream: Option<&'a str>,
    pub(crate) endpoint: Option<&'a str>,
    pub(crate) duration: Duration,
    pub(crate) phases: Option<Phases>,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) retries: u32,
    pub(crate) reason: Option<&'a str>,
    pub(crate) revision: u64,
}

// The time as text, made from the monotonic clock: one reading serves the duration and the time.
#[derive(Debug)]
struct WallClock {
    base: (Instant, Duration),
    second: u64,
    text: [u8; 20],
}

// === impl LogWriter ===

impl LogWriter {
    /// Starts the writer, if there is anything to write to.
    pub(crate) fn open(log: &AccessLog) -> io::Result<Option<LogWriter>> {
        let output: Box<dyn Write + Send> = match log {
            AccessLog::Off => return Ok(None),
            AccessLog::Stdout => Box::new(io::stdout()),
            AccessLog::File(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        };
        let (blocks, receiver) = sync_channel(BLOCKS);
        let dropped = Arc::<AtomicU64>::default();
        let counter = dropped.clone();
        std::thread::Builder::new().name("access-log".into()).spawn(move || write(output, &receiver, &counter))?;
        Ok(Some(LogWriter { blocks, dropped }))
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    pub(crate) fn flush(&self) {
        let (done, wait) = sync_channel(0);
        let until = Instant::now() + FLUSH;
        let mut block = Block::Flush(done);
        // Nobody may read what is written: the process ends all the same.
        while let Err(TrySendError::Full(back)) = self.blocks.try_send(block) {
            if Instant::now() >= until {
                return;
            }
            block = back;
            std::thread::sleep(FLUSH / 100);
        }
        // It ends with the sender's drop, not with a message.
        wait.recv_timeout(FLUSH).ok();
    }
}

fn write(mut output: Box<dyn Write + Send>, blocks: &Receiver<Block>, dropped: &AtomicU64) {
    for block in blocks {
        match block {
            Block::Lines(lines) => {
                if let Err(error) = output.write_all(&lines).and_then(|()| output.flush()) {
                    dropped.fetch_add(lines.iter().filter(|byte| **byte == b'\n').count() as u64, Relaxed);
                    tracing::warn!(%error, "failed to write the access log");
                }
            }
            Block::Flush(done) => drop(done),
        }
    }
}

// === impl LogBuffer ===

impl LogBuffer {
    pub(crate) fn new(writer: Option<&LogWriter>) -> LogBuffer {
        LogBuffer {
            blocks: writer.map(|writer| writer.blocks.clone()),
            dropped: writer.map(|writer| writer.dropped.clone()).unwrap_or_default(),
            lines: Cell::new(0),
            buffer: RefCell::default(),
            clock: RefCell::new(WallClock::new()),
        }
    }

    /// Writes a line.
    pub(crate) fn write(&self, now: Instant, line: &Line<'_>) {
        if self.blocks.is_none() {
            return;
        }
        let mut buffer = self.buffer.borrow_mut();
        line.format(&mut self.clock.borrow_mut(), now, &mut buffer);
        self.lines.set(self.lines.get() + 1);
        if buffer.len() >= BLOCK {
            drop(buffer);
            self.hand_off();
        }
    }

    /// Hands what there is to the writer; a worker does so now and then, and at its end.
    pub(crate) fn hand_off(&self) {
        // The system's clock may have been set since.
        self.clock.replace(WallClock::new());
        let Some(blocks) = &self.blocks else { return };
        let mut buffer = self.buffer.borrow_mut();
        if buffer.is_empty() {
            return;
        }
        let block = std::mem::replace(&mut *buffer, Vec::with_capacity(BLOCK + 4096));
        let lines = self.lines.replace(0);
        if blocks.try_send(Block::Lines(block)).is_err() {
            self.dropped.fetch_add(lines, Relaxed);
        }
    }
}

// === impl Line ===

impl Line<'_> {
    fn format(&self, clock: &mut WallClock, now: Instant, out: &mut Vec<u8>) {
        let mut number = itoa::Buffer::new();
        out.extend_from_slice(b"{\"timestamp\":\"");
        clock.append(now, out);
        text(out, b"\",\"http.request.method\":\"", self.method.as_bytes());
        text(out, b"\",\"url.path\":\"", self.path);
        out.extend_from_slice(b"\",\"http.response.status_code\":");
        out.extend_from_slice(number.format(self.status).as_bytes());
        out.extend_from_slice(b",\"duration\":");
        seconds(self.duration, out);
        if let Some(phases) = &self.phases {
            let Phases { gateway, tries, connect, upstream, body } = *phases;
            for (name, phase) in [
                (&b",\"phase.gateway\":"[..], Some(gateway)),
                (b",\"phase.tries\":", Some(tries).filter(|tries| !tries.is_zero())),
                (b",\"phase.connect\":", connect),
                (b",\"phase.upstream\":", Some(upstream)),
                (b",\"phase.body\":", Some(body)),
            ] {
                let Some(phase) = phase else { continue };
                out.extend_from_slice(name);
                seconds(phase, out);
            }
        }
        text(out, b",\"client.address\":\"", self.client.as_bytes());
        text(out, b"\",\"server.address\":\"", self.host);
        text(out, b"\",\"user_agent.original\":\"", &self.user_agent[..self.user_agent.len().min(256)]);
        text(out, b"\",\"request_id\":\"", self.request_id);
        out.extend_from_slice(b"\",\"trace_id\":\"");
        digits::<32>(self.trace, out);
        out.extend_from_slice(b"\",\"span_id\":\"");
        digits::<16>(self.span.into(), out);
        if let Some((name, label)) = self.route {
            text(out, b"\",\"route\":\"", name.as_bytes());
            text(out, b"\",\"http.route\":\"", label.as_bytes());
        }
        if let Some(upstream) = self.upstream {
            text(out, b"\",\"upstream\":\"", upstream.as_bytes());
        }
        if let Some(endpoint) = self.endpoint {
            text(out, b"\",\"endpoint\":\"", endpoint.as_bytes());
        }
        if let Some(reason) = self.reason {
            text(out, b"\",\"reason\":\"", reason.as_bytes());
        }
        out.push(b'"');
        for (name, value) in [
            (&b",\"http.request.body.size\":"[..], self.received),
            (b",\"http.response.body.size\":", self.sent),
            (b",\"retries\":", u64::from(self.retries)),
            (b",\"revision\":", self.revision),
        ] {
            out.extend_from_slice(name);
            out.extend_from_slice(number.format(value).as_bytes());
        }
        out.extend_from_slice(b"}\n");
    }
}

// Begins a field of text; whoever comes next closes it.
fn text(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    json::escape(value, out);
}

fn digits<const N: usize>(number: u128, out: &mut Vec<u8>) {
    let mut digits = [0; N];
    hex(number, &mut digits);
    out.extend_from_slice(&digits);
}

// Seconds with six decimals.
fn seconds(duration: Duration, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(duration.as_secs()).as_bytes());
    out.push(b'.');
    push_digits(duration.subsec_micros(), 100_000, out);
}

fn push_digits(number: u32, mut unit: u32, out: &mut Vec<u8>) {
    while unit > 0 {
        out.push(b'0' + (number / unit % 10) as u8);
        unit /= 10;
    }
}

// === impl WallClock ===

impl WallClock {
    fn new() -> WallClock {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallClock { base: (Instant::now(), epoch), second: u64::MAX, text: [0; 20] }
    }

    fn append(&mut self, now: Instant, out: &mut Vec<u8>) {
        let epoch = self.base.1 + now.saturating_duration_since(self.base.0);
        if epoch.as_secs() != self.second {
            self.second = epoch.as_secs();
            self.text = date(self.second);
        }
        out.extend_from_slice(&self.text);
        push_digits(epoch.subsec_millis(), 100, out);
        out.push(b'Z');
    }
}

// `2026-11-24T08:30:00.`: the proleptic Gregorian calendar, counted from a first of March so that leap days come last.
fn date(second: u64) -> [u8; 20] {
    let (days, second) = (second / 86_400 + 719_468, (second % 86_400) as u32);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month + 2) / 5 + 1) as u32;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let mut out = Vec::with_capacity(20);
    push_digits((era * 400 + year_of_era + carry) as u32, 1000, &mut out);
    for (mark, number) in
        [(b'-', month as u32), (b'-', day), (b'T', second / 3600), (b':', second / 60 % 60), (b':', second % 60)]
    {
        out.push(mark);
        push_digits(number, 10, &mut out);
    }
    out.push(b'.');
    out.try_into().unwrap_or([b'0'; 20])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line<'static> {
        let second = Duration::from_secs(1);
        Line {
            method: "GET",
            path: b"/a\"\n",
            host: b"api.example",
            client: "10.0.0.1",
            user_agent: b"curl",
            request_id: b"7",
            trace: 0xa1,
            span: 2,
            status: 200,
            route: Some(("orders", "/orders/*")),
            upstream: Some("orders"),
            endpoint: Some("o:80"),
            duration: Duration::from_micros(1_002_003),
            phases: Some(Phases {
                gateway: second,
                tries: Duration::ZERO,
                connect: None,
                upstream: second,
                body: second,
            }),
            received: 1,
            sent: 2,
            retries: 3,
            reason: None,
            revision: 4,
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let check = |second, expect: &str| assert_eq!(std::str::from_utf8(&date(second)).unwrap(), expect);
        check(0, "1970-01-01T00:00:00.");
        check(951_782_399, "2000-02-28T23:59:59.");
        check(951_782_400, "2000-02-29T00:00:00.");
        check(1_795_509_001, "2026-11-24T08:30:01.");
        check(4_102_444_800, "2100-01-01T00:00:00.");
    }

    #[test]
    fn a_line_is_one_json_object() {
        let mut out = Vec::new();
        line().format(&mut WallClock::new(), Instant::now(), &mut out);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["url.path"], "/a\"\n");
        assert_eq!(value["duration"], 1.002003);
        assert_eq!((&value["phase.upstream"], &value["phase.tries"]), (&1.0.into(), &serde_json::Value::Null));
        assert_eq!((&value["retries"], &value["revision"]), (&3.into(), &4.into()));
        assert_eq!(value["trace_id"], "000000000000000000000000000000a1");
        assert_eq!(value["span_id"], "0000000000000002");
        let reason = Line { reason: Some("no_route"), route: None, upstream: None, endpoint: None, ..line() };
        out.clear();
        reason.format(&mut WallClock::new(), Instant::now(), &mut out);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).unwrap()["reason"], "no_route");
    }

    #[test]
    fn what_the_writer_cannot_take_is_dropped_and_counted() {
        let (blocks, _receiver) = sync_channel(1);
        let writer = LogWriter { blocks, dropped: Arc::default() };
        let buffer = LogBuffer::new(Some(&writer));
        for _ in 0..3 {
            buffer.write(Instant::now(), &line());
            buffer.write(Instant::now(), &line());
            buffer.hand_off();
        }
        assert_eq!(writer.dropped(), 4);
    }

    #[test]
    fn lines_reach_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let writer = LogWriter::open(&AccessLog::File(path.clone())).unwrap().unwrap();
        let buffer = LogBuffer::new(Some(&writer));
        buffer.write(Instant::now(), &line());
        buffer.hand_off();
        writer.flush();
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1);
    }
}
