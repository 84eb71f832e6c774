//! An open-loop client: requests leave at a fixed rate whether or not earlier ones were answered, each on a connection
//! of its own, and each that is not answered 200 within a second counts as failed.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

/// How long a request may take.
const TIME_OUT: Duration = Duration::from_secs(1);
/// No run is longer, whatever happens to the test.
const LONGEST: Duration = Duration::from_mins(15);

/// What the client saw.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Requests that left.
    pub sent: u64,
    /// Requests that were not answered 200 in time, by reason.
    pub failures: BTreeMap<String, u64>,
    /// When the first and the last failure happened, from the start of the run.
    pub failed_between: Option<(Duration, Duration)>,
}

impl Tally {
    /// Number of failed requests.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

/// A client at work on a thread of its own.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<std::io::Result<Tally>>,
}

impl Load {
    /// Sends `rate` requests a second for `path` to `address` until it is stopped.
    pub fn start(address: SocketAddr, path: &str, rate: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let request = format!("GET {path} HTTP/1.1\r\nHost: load\r\nConnection: close\r\n\r\n");
        let seen_stop = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(run(address, request.into(), rate, &seen_stop)))
        });
        Self { stop, thread }
    }

    /// Stops the client and waits for the answers that are still out.
    ///
    /// # Panics
    /// If the client's thread failed: a run that measured nothing is no result.
    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the client's thread ends").expect("the client runs")
    }
}

async fn run(address: SocketAddr, request: Arc<str>, rate: u32, stop: &AtomicBool) -> Tally {
    let tally = Arc::new(Mutex::new(Tally::default()));
    let started = Instant::now();
    let mut ticks = time::interval(Duration::from_secs(1) / rate);
    // Open loop: ticks that were missed are made up for at once.
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Burst);
    let mut requests = tokio::task::JoinSet::new();
    while !stop.load(Ordering::Relaxed) && started.elapsed() < LONGEST {
        ticks.tick().await;
        let (tally, request) = (Arc::clone(&tally), Arc::clone(&request));
        requests.spawn(async move {
            let outcome = time::timeout(TIME_OUT, one_request(address, &request)).await;
            let failure = match outcome {
                Ok(Ok(200)) => None,
                Ok(Ok(status)) => Some(format!("status {status}")),
                Ok(Err(error)) => Some(format!("{:?}", error.kind())),
                Err(_) => Some("time out".to_owned()),
            };
            let now = started.elapsed();
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.sent += 1;
            if let Some(failure) = failure {
                *tally.failures.entry(failure).or_default() += 1;
                let first = tally.failed_between.map_or(now, |(first, _)| first);
                tally.failed_between = Some((first, now));
            }
        });
        while requests.try_join_next().is_some() {}
    }
    while requests.join_next().await.is_some() {}
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    tally.clone()
}

async fn one_request(address: SocketAddr, request: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    // The whole answer must have come, not only its first line.
    let text = String::from_utf8_lossy(&answer);
    let status =
        text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    status.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}
