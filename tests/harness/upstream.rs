//! Servers behind the gateway: one that tells what it saw, and ones that misbehave as a test says.

use super::http::{read_chunks, read_headers, read_line};
use serde_json::json;
use std::{
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// What a server read.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A running server; it takes no more connections when it is dropped.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl Seen {
    /// Reads a request; `None` when the connection ends before one.
    pub(crate) fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Seen>> {
        let line = match read_line(stream) {
            Ok(line) => line,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default().to_string();
        let (method, target) = (word(), word());
        let headers = read_headers(stream)?;
        let mut seen = Seen { method, target, headers, body: Vec::new() };
        if seen.header("transfer-encoding").is_some() {
            seen.body = read_chunks(stream)?;
        } else if let Some(length) = seen.header("content-length").and_then(|length| length.parse().ok()) {
            seen.body.resize(length, 0);
            stream.read_exact(&mut seen.body)?;
        }
        Ok(Some(seen))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Upstream {
    /// A server that answers each request with what it saw, as JSON, and with its own name.
    pub(crate) fn echo(name: &'static str) -> Upstream {
        Upstream::answering(move |seen| {
            let body = json!({
                "upstream": name,
                "method": seen.method,
                "target": seen.target,
                "headers": seen.headers,
                "body_bytes": seen.body.len(),
            });
            let body = body.to_string();
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                .into_bytes()
        })
    }

    /// A server that keeps connections alive and answers with these bytes.
    pub(crate) fn answering(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Upstream {
        Upstream::scripted(move |stream| {
            let mut stream = BufReader::new(stream);
            while let Some(seen) = Seen::read(&mut stream)? {
                stream.get_mut().write_all(&answer(&seen))?;
            }
            Ok(())
        })
    }

    /// A server that does with each connection what the script says.
    pub(crate) fn scripted(script: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let upstream = Upstream { address, stopped: stopped.clone() };
        let script = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                // A thread must not outlive the test by more than this.
                let _ = stream.set_read_timeout(Some(Duration::from_secs(120)));
                let _ = stream.set_nodelay(true);
                let script = script.clone();
                thread::spawn(move || drop(script(stream)));
            }
        });
        upstream
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}
