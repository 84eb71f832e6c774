//! Says whether the loop turns: two answers to any request, so no HTTP server is needed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

/// A loop that has not turned for this long hangs.
const PATIENCE: Duration = Duration::from_mins(1);
const REQUEST_LIMIT: usize = 4096;

/// The beat of the loop.
#[derive(Clone)]
pub(crate) struct Pulse {
    start: Instant,
    last: Arc<AtomicU64>,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), last: Arc::new(AtomicU64::new(0)) }
    }

    pub(crate) fn beat(&self) {
        self.last.store(self.start.elapsed().as_secs(), Ordering::Relaxed);
    }

    fn is_alive(&self) -> bool {
        let last = Duration::from_secs(self.last.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(last) < PATIENCE
    }
}

/// Answers until it is dropped.
pub(crate) async fn serve(listener: TcpListener, pulse: Pulse) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let pulse = pulse.clone();
                tokio::spawn(async move {
                    if let Ok(Err(error)) = timeout(Duration::from_secs(3), answer(stream, &pulse)).await {
                        tracing::debug!(%error, "a health question was cut off");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot take a health question");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, pulse: &Pulse) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut block = [0; 512];
    while !request.ends_with(b"\r\n\r\n") && request.len() < REQUEST_LIMIT {
        let length = stream.read(&mut block).await?;
        if length == 0 {
            break;
        }
        request.extend_from_slice(&block[..length]);
    }
    let (status, body) =
        if pulse.is_alive() { ("200 OK", "ok\n") } else { ("503 Service Unavailable", "hangs\n") };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(pulse: Pulse) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, pulse));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        server.abort();
        answer
    }

    #[tokio::test]
    async fn a_loop_that_stands_still_is_told() {
        assert!(ask(Pulse::new()).await.starts_with("HTTP/1.1 200 "));
        let still = Pulse { start: Instant::now().checked_sub(PATIENCE).unwrap(), ..Pulse::new() };
        assert!(ask(still.clone()).await.starts_with("HTTP/1.1 503 "));
        still.beat();
        assert!(ask(still).await.starts_with("HTTP/1.1 200 "));
    }
}
