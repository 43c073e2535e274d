use super::*;
use std::sync::atomic::AtomicBool;

const TERMS: Terms =
    Terms { refresh: Duration::from_secs(300), floor: Duration::from_secs(10), max_age: Duration::from_secs(3600) };

/// Somebody else's server.
#[derive(Default)]
struct Server {
    document: Mutex<Vec<&'static str>>,
    loads: AtomicUsize,
    is_down: AtomicBool,
    delay: Mutex<Duration>,
}

impl Server {
    async fn load(self: Arc<Server>) -> Result<Vec<&'static str>, String> {
        self.loads.fetch_add(1, Relaxed);
        let (document, delay) = (self.document.lock().unwrap().clone(), *self.delay.lock().unwrap());
        sleep(delay).await;
        if self.is_down.load(Relaxed) { Err("down".into()) } else { Ok(document) }
    }

    fn serves(&self, document: &[&'static str]) {
        *self.document.lock().unwrap() = document.to_vec();
    }

    fn loads(&self) -> usize {
        self.loads.load(Relaxed)
    }
}

type Document = Remote<Vec<&'static str>>;

fn start(terms: Terms) -> (Arc<Server>, Arc<Document>, tokio::task::JoinHandle<()>) {
    let (server, remote) = (Arc::new(Server::default()), Arc::new(Remote::new(terms)));
    let asked = server.clone();
    let load = move |_| asked.clone().load();
    let keeper = tokio::spawn(keep(Arc::downgrade(&remote), |remote: &Document| remote, "test".into(), load));
    (server, remote, keeper)
}

/// What a request does that needs something.
async fn need(remote: &Document, what: &'static str) -> Looked {
    let has = || remote.current().is_some_and(|document| document.contains(&what));
    if has() {
        return Looked::Again;
    }
    let looked = remote.look_for(what).await;
    if looked == Looked::Again && !has() {
        remote.note_missing(what);
        return Looked::Missing;
    }
    looked
}

#[tokio::test(start_paused = true)]
async fn the_first_load_is_waited_for() {
    let (server, remote, _keeper) = start(TERMS);
    server.serves(&["a"]);
    *server.delay.lock().unwrap() = Duration::from_secs(3);
    assert!(remote.current().is_none());
    assert_eq!(need(&remote, "a").await, Looked::Again);
    assert_eq!((server.loads(), remote.generation()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_is_not_waited_for_longer_than_that() {
    let (server, remote, _keeper) = start(TERMS);
    *server.delay.lock().unwrap() = Duration::from_secs(1000);
    let began = tokio::time::Instant::now();
    assert_eq!(need(&remote, "a").await, Looked::Unknown);
    assert_eq!(began.elapsed(), TERMS.floor + PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn what_is_new_is_loaded_once_for_all_who_need_it_and_nobody_is_turned_away() {
    let (server, remote, _keeper) = start(TERMS);
    server.serves(&["a"]);
    assert_eq!(need(&remote, "a").await, Looked::Again);
    // Right after a load: it takes until the floor, and comes.
    server.serves(&["a", "b"]);
    let waiting = (0..100).map(|_| need(&remote, "b"));
    let looked = futures_util::future::join_all(waiting).await;
    assert!(looked.iter().all(|looked| *looked == Looked::Again), "{looked:?}");
    assert_eq!(server.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_was_under_way_is_not_enough() {
    let (server, remote, _keeper) = start(TERMS);
    server.serves(&["a"]);
    assert_eq!(need(&remote, "a").await, Looked::Again);
    sleep(TERMS.floor * 2).await;
    *server.delay.lock().unwrap() = Duration::from_millis(500);
    let wants = tokio::spawn({
        let remote = remote.clone();
        async move { need(&remote, "x").await }
    });
    sleep(Duration::from_millis(100)).await;
    // The server has made up its answer without it.
    server.serves(&["a", "b"]);
    assert_eq!(need(&remote, "b").await, Looked::Again);
    assert_eq!(wants.await.unwrap(), Looked::Missing);
    assert_eq!(server.loads(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_what_is_not_there_is_a_load_in_each_time_of_the_floor() {
    let (server, remote, _keeper) = start(TERMS);
    server.serves(&["a"]);
    assert_eq!(need(&remote, "a").await, Looked::Again);
    let began = tokio::time::Instant::now();
    for round in 0..20 {
        let names = (0..500).map(|n| &*Box::leak(format!("{round}-{n}").into_boxed_str()));
        let looked = futures_util::future::join_all(names.map(|name| need(&remote, name))).await;
        assert!(looked.iter().all(|looked| *looked == Looked::Missing), "{looked:?}");
    }
    let most = began.elapsed().as_secs() / TERMS.floor.as_secs() + 2;
    assert!(server.loads() as u64 <= most, "{} of {most}", server.loads());
    assert!(remote.held().missing.len() <= MAX_MISSING && remote.held().order.len() <= MAX_MISSING);
    // What was looked for is not looked for again.
    let (loads, now) = (server.loads(), tokio::time::Instant::now());
    assert_eq!(need(&remote, "19-499").await, Looked::Missing);
    assert_eq!((server.loads(), now.elapsed()), (loads, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn only_so_many_wait() {
    let (server, remote, _keeper) = start(TERMS);
    *server.delay.lock().unwrap() = Duration::from_secs(1);
    server.serves(&["a"]);
    let waiting: Vec<_> = (0..MAX_WAITING + 10).map(|_| need(&remote, "a")).collect();
    let looked = futures_util::future::join_all(waiting).await;
    assert_eq!(looked.iter().filter(|looked| **looked == Looked::Unknown).count(), 10);
    assert_eq!(remote.waiting.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn what_there_was_is_kept_while_the_server_is_down() {
    let (server, remote, _keeper) = start(TERMS);
    server.serves(&["a"]);
    assert_eq!(need(&remote, "a").await, Looked::Again);
    server.is_down.store(true, Relaxed);
    sleep(TERMS.refresh * 2).await;
    assert!(server.loads() > 2);
    assert_eq!(need(&remote, "a").await, Looked::Again);
    // Nobody can say whether it is there, and nobody waits to hear that.
    let now = tokio::time::Instant::now();
    assert_eq!(need(&remote, "b").await, Looked::Unknown);
    assert_eq!(now.elapsed(), Duration::ZERO);
    let figures = remote.figures();
    assert_eq!(figures.loaded + figures.failed, server.loads() as u64);
    assert_eq!(figures.loaded, 1);

    server.is_down.store(false, Relaxed);
    server.serves(&["b"]);
    sleep(TERMS.floor).await;
    assert_eq!(need(&remote, "b").await, Looked::Again);
    assert_eq!(need(&remote, "a").await, Looked::Missing, "it was taken away");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_nothing() {
    let (server, remote, _keeper) = start(Terms { max_age: Duration::ZERO, ..TERMS });
    server.serves(&["a"]);
    sleep(Duration::from_secs(1)).await;
    std::thread::sleep(Duration::from_millis(2));
    assert!(remote.current().is_none());
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_its_last_holder() {
    let (server, remote, keeper) = start(TERMS);
    sleep(Duration::from_secs(1)).await;
    drop(remote);
    keeper.await.unwrap();
    assert!(server.loads() <= 2);
}
