//! The access log: one JSON object a line, named as OpenTelemetry names attributes.
//!
//! A worker formats lines into its own buffer and hands full blocks to one writer thread by a bounded channel. When the
//! disk does not keep up, blocks are dropped and their lines counted; a request never waits for its log line. What a line
//! costs beyond its text is its share of a block's wake and write: so blocks are large, and come back to be filled again.
//! What may be secret (queries, credentials, cookies, bodies) is not in it at all. A policy may want fewer lines, or others.

mod clock;
mod digits;
mod line;
mod pen;

pub(crate) use line::Line;

use crate::settings::AccessLog;
use clock::WallClock;
use pen::Pen;
use proto::policy;
use std::{
    cell::{Cell, RefCell},
    fs::OpenOptions,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

/// How large a block grows before it is handed off.
const BLOCK: usize = 256 * 1024;
/// How many blocks may wait for the writer.
const BLOCKS: usize = 64;
/// How many written blocks a worker keeps to fill again.
const SPARE: usize = 2;
/// How long the end of the process waits for what is still to be written.
const FLUSH: Duration = Duration::from_secs(2);

/// The writer thread.
#[derive(Debug)]
pub(crate) struct LogWriter {
    blocks: SyncSender<Block>,
    dropped: Arc<AtomicU64>,
}

/// Room, and how much of it has lines in it.
#[derive(Debug, Default)]
struct Lines {
    room: Vec<u8>,
    len: usize,
}

#[derive(Debug)]
enum Block {
    // Lines, and where their room goes when they are written.
    Lines(Lines, SyncSender<Lines>),
    // The sender's drop says that all before it is written.
    Flush(SyncSender<()>),
}

/// One worker's lines.
#[derive(Debug)]
pub(crate) struct LogBuffer {
    // None: the log is off.
    blocks: Option<SyncSender<Block>>,
    dropped: Arc<AtomicU64>,
    // Where no policy says how.
    default: policy::AccessLog,
    // How many lines are in the block.
    count: Cell<u64>,
    block: RefCell<Lines>,
    // Blocks that were written: the writer's end, and where they arrive.
    spent: SyncSender<Lines>,
    spare: Receiver<Lines>,
    clock: RefCell<WallClock>,
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
    // Whether the last line that was written is one in part.
    let mut torn = false;
    let mut failing = false;
    for block in blocks {
        let (mut lines, spent) = match block {
            Block::Lines(lines, spent) => (lines, spent),
            Block::Flush(done) => {
                drop(done);
                continue;
            }
        };
        let text = lines.text();
        let (ended, result) = if torn { put(&mut *output, b"\n") } else { (0, Ok(())) };
        torn &= ended == 0;
        let (written, result) = match result {
            Ok(()) => put(&mut *output, text),
            Err(error) => (0, Err(error)),
        };
        torn = if written == 0 { torn } else { text[written - 1] != b'\n' };
        dropped.fetch_add(text[written..].iter().filter(|byte| **byte == b'\n').count() as u64, Relaxed);
        // A disk that is full stays so for a while, and the program's own log may be on it.
        match &result {
            Err(error) if !failing => tracing::warn!(%error, "failed to write the access log; its lines are dropped"),
            Ok(()) if failing => tracing::info!("the access log can be written again"),
            Err(_) | Ok(()) => {}
        }
        failing = result.is_err();
        lines.len = 0;
        // The worker has enough of them, or has ended.
        spent.try_send(lines).ok();
    }
}

// How much was written, and why not all.
fn put(output: &mut dyn Write, lines: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < lines.len() {
        match output.write(&lines[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, output.flush())
}

// === impl LogBuffer ===

impl LogBuffer {
    pub(crate) fn new(writer: Option<&LogWriter>) -> LogBuffer {
        let (spent, spare) = sync_channel(SPARE);
        LogBuffer {
            blocks: writer.map(|writer| writer.blocks.clone()),
            dropped: writer.map(|writer| writer.dropped.clone()).unwrap_or_default(),
            default: policy::AccessLog::default(),
            count: Cell::new(0),
            block: RefCell::default(),
            spent,
            spare,
            clock: RefCell::new(WallClock::new()),
        }
    }

    /// Writes a line, as the policy has it.
    pub(crate) fn write(&self, now: Instant, policy: Option<&policy::AccessLog>, line: &Line<'_>) {
        let policy = policy.unwrap_or(&self.default);
        if self.blocks.is_none() || !policy.takes(line.trace, line.failed()) {
            return;
        }
        let mut clock = self.clock.borrow_mut();
        while !self.block.borrow_mut().add(|pen| line.format(&policy.form, &mut clock, now, pen)) {
            self.pass_on();
        }
        self.count.set(self.count.get() + 1);
    }

    /// Hands what there is to the writer; a worker does so now and then, and at its end.
    pub(crate) fn hand_off(&self) {
        // The system's clock may have been set since.
        self.clock.replace(WallClock::new());
        self.pass_on();
    }

    fn pass_on(&self) {
        let Some(blocks) = &self.blocks else { return };
        let mut block = self.block.borrow_mut();
        if block.len == 0 {
            return;
        }
        let full = std::mem::replace(&mut *block, self.spare.try_recv().unwrap_or_default());
        let lines = self.count.replace(0);
        if blocks.try_send(Block::Lines(full, self.spent.clone())).is_err() {
            self.dropped.fetch_add(lines, Relaxed);
        }
    }
}

// === impl Lines ===

impl Lines {
    /// Adds a line, or says that there is no room left for it behind the others.
    fn add(&mut self, mut write: impl FnMut(&mut Pen<'_>)) -> bool {
        loop {
            let mut pen = Pen::new(self.room.get_mut(self.len..).unwrap_or_default());
            write(&mut pen);
            match pen.written() {
                Some(written) => {
                    self.len += written;
                    return true;
                }
                None if self.len > 0 => return false,
                // It is new, or the line is longer than any block yet: as long as a head may be.
                None => self.room.resize(BLOCK.max(2 * self.room.len()), 0),
            }
        }
    }

    fn text(&self) -> &[u8] {
        self.room.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{line::tests::line, *};

    #[test]
    fn what_the_writer_cannot_take_is_dropped_and_counted() {
        let (blocks, _receiver) = sync_channel(1);
        let writer = LogWriter { blocks, dropped: Arc::default() };
        let buffer = LogBuffer::new(Some(&writer));
        for _ in 0..3 {
            buffer.write(Instant::now(), None, &line());
            buffer.write(Instant::now(), None, &line());
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
        buffer.write(Instant::now(), None, &line());
        buffer.hand_off();
        writer.flush();
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1);
    }

    #[test]
    fn no_line_is_torn_between_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let writer = LogWriter::open(&AccessLog::File(path.clone())).unwrap().unwrap();
        let buffer = LogBuffer::new(Some(&writer));
        let long = vec![b'x'; 3 * BLOCK];
        for at in 0..1000 {
            // One that is longer than a block too, not as the first and not as the last.
            let path: &[u8] = if at == 500 { &long } else { b"/a" };
            buffer.write(Instant::now(), None, &Line { path, ..line() });
        }
        buffer.hand_off();
        writer.flush();
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), writer.dropped()), (1000, 0));
        assert_eq!(lines[500]["url.path"].as_str().map(str::len), Some(3 * BLOCK));
    }

    // Takes so many bytes, and then none for a while.
    struct Full {
        takes: usize,
        taken: Arc<std::sync::Mutex<Vec<u8>>>,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.takes == 0 {
                self.takes = 100;
                return Err(io::ErrorKind::StorageFull.into());
            }
            let n = bytes.len().min(self.takes);
            self.takes -= n;
            self.taken.lock().unwrap().extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_counted_and_harms_no_other_line() {
        let (taken, dropped) = (Arc::default(), AtomicU64::new(0));
        let (blocks, receiver) = sync_channel(2);
        for lines in [&b"one\ntwo\nthree\n"[..], b"four\n"] {
            let lines = Lines { room: lines.to_vec(), len: lines.len() };
            blocks.send(Block::Lines(lines, sync_channel(0).0)).unwrap();
        }
        drop(blocks);
        write(Box::new(Full { takes: 6, taken: Arc::clone(&taken) }), &receiver, &dropped);
        assert_eq!(*taken.lock().unwrap(), b"one\ntw\nfour\n");
        assert_eq!(dropped.load(Relaxed), 2);
    }
}
