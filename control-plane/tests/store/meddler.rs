//! A wire to Postgres that can be meddled with.

use crate::harness::Database;
use sqlx::postgres::PgConnectOptions;
use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    task::{AbortHandle, JoinSet},
};

/// What happens to what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Meddling {
    /// Nothing.
    Off,
    /// Connections stand, and nothing comes through any more.
    Silence,
    /// The next commit does not reach the server, and its connection breaks. Then nothing.
    LoseCommit,
    /// The next commit reaches the server, and its connection breaks before the answer. Then nothing.
    LoseAnswer,
}

/// A wire to the server of a database.
pub(crate) struct Meddler {
    meddling: Arc<AtomicU8>,
    accepting: AbortHandle,
    /// The database over this wire.
    pub(crate) url: String,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

// === impl Meddler ===

impl Meddler {
    pub(crate) async fn before(database: &Database) -> Meddler {
        let server = PgConnectOptions::from_str(&database.url).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("postgres://{}@{address}/{}?sslmode=disable", server.get_username(), database.name());
        let meddling = Arc::new(AtomicU8::new(Meddling::Off as u8));
        let shared = meddling.clone();
        let accepting = tokio::spawn(async move {
            let mut wires = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                wires.spawn(carry(client, connect(server.clone()).await, shared.clone()));
            }
        });
        Meddler { meddling, accepting: accepting.abort_handle(), url }
    }

    pub(crate) fn set(&self, meddling: Meddling) {
        self.meddling.store(meddling as u8, Ordering::SeqCst);
    }

    pub(crate) fn is(&self, meddling: Meddling) -> bool {
        self.meddling.load(Ordering::SeqCst) == meddling as u8
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connect(server: PgConnectOptions) -> Box<dyn Stream> {
    match server.get_socket() {
        Some(folder) => {
            let path = folder.join(format!(".s.PGSQL.{}", server.get_port()));
            Box::new(UnixStream::connect(path).await.unwrap())
        }
        None => Box::new(TcpStream::connect((server.get_host(), server.get_port())).await.unwrap()),
    }
}

async fn carry(client: TcpStream, server: Box<dyn Stream>, meddling: Arc<AtomicU8>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let is = |wanted: Meddling| meddling.load(Ordering::SeqCst) == wanted as u8;
    let silence = async || {
        while is(Meddling::Silence) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let out = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            silence().await;
            // As the simple protocol has it: a text that ends with a zero.
            let commit = buffer[..length].windows(7).any(|window| window == b"commit\0");
            if commit && is(Meddling::LoseCommit) {
                meddling.store(Meddling::Off as u8, Ordering::SeqCst);
                return;
            }
            if to_server.write_all(&buffer[..length]).await.is_err() {
                return;
            }
            if commit && is(Meddling::LoseAnswer) {
                meddling.store(Meddling::Off as u8, Ordering::SeqCst);
                return;
            }
        }
    };
    let back = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            silence().await;
            if to_client.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    // Whichever end goes first, the whole wire breaks.
    tokio::select! {
        () = out => {}
        () = back => {}
    }
}
