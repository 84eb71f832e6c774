//! The fence around a lease: nobody writes after losing it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::Request;
use kube::{Client, client::Body};
use tokio::time::{Instant, sleep};
use tower::{BoxError, service_fn};

use crate::ClusterError;

/// Says whether this process may still write. A lease that could not be renewed in time counts as lost *before* it
/// runs out for others, and a write that is not answered by then is given up: two writers overlap only where the API
/// server itself goes on with a request for longer than the difference.
#[derive(Debug, Clone)]
pub struct Fence(Option<Arc<Mutex<Instant>>>);

/// A request that was under way when the lease ran out.
#[derive(Debug, thiserror::Error)]
#[error("the lease ran out before the answer came, so the request was given up")]
struct GivenUp;

impl Fence {
    /// A fence that is always open: for commands of people, which need no lease.
    pub const fn open() -> Self {
        Self(None)
    }

    pub(crate) fn until(instant: Instant) -> Self {
        Self(Some(Arc::new(Mutex::new(instant))))
    }

    pub(crate) fn extend(&self, instant: Instant) {
        if let Some(until) = &self.0 {
            *until.lock().unwrap_or_else(PoisonError::into_inner) = instant;
        }
    }

    /// Whether writing is allowed now.
    pub fn is_open(&self) -> bool {
        self.remaining().is_none_or(|left| !left.is_zero())
    }

    /// How long writing stays allowed without another renewal; none without a limit.
    pub fn remaining(&self) -> Option<Duration> {
        let until = self.0.as_ref()?;
        let until = *until.lock().unwrap_or_else(PoisonError::into_inner);
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// A client whose changing requests are given up when the fence closes. What was given up may have been done.
    pub(crate) fn around(&self, client: Client) -> Client {
        let (fence, namespace) = (self.clone(), client.default_namespace().to_owned());
        let service = service_fn(move |request: Request<Body>| {
            let (client, fence) = (client.clone(), fence.clone());
            async move {
                let is_safe = request.method().is_safe();
                let sent = client.send(request);
                if is_safe {
                    return sent.await.map_err(BoxError::from);
                }
                tokio::select! {
                    biased;
                    () = fence.closed() => Err(BoxError::from(GivenUp)),
                    answer = sent => answer.map_err(BoxError::from),
                }
            }
        });
        Client::new(service, namespace)
    }

    /// Ends when the fence is closed, however often it is extended until then.
    async fn closed(&self) {
        while let Some(left) = self.remaining() {
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
        std::future::pending::<()>().await;
    }

    pub(crate) fn check(&self, object: &str) -> Result<(), ClusterError> {
        if self.is_open() { Ok(()) } else { Err(ClusterError::LeaseLost { object: object.to_owned() }) }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Api, Config, api::PostParams};
    use tokio::{io::AsyncReadExt as _, net::TcpListener, time::timeout};

    use super::*;

    /// An API server that takes a request and does not answer.
    #[tokio::test]
    async fn a_write_under_way_ends_with_the_lease() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let client = Client::try_from(Config::new(address.parse().unwrap())).unwrap();
        let fence = Fence::until(Instant::now() + Duration::from_millis(200));
        let api: Api<ConfigMap> = Api::namespaced(fence.around(client), "shop");
        let renewal = fence.clone();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Renewed while the request is under way: it has until then.
            renewal.extend(Instant::now() + Duration::from_millis(300));
            let mut received = Vec::new();
            stream.read_to_end(&mut received).await.unwrap();
            (received, renewal.is_open())
        });
        let map = ConfigMap::default();
        let written = timeout(Duration::from_mins(1), api.create(&PostParams::default(), &map)).await;
        let error = written.expect("it is given up").unwrap_err();
        assert!(matches!(&error, kube::Error::Service(cause) if cause.is::<GivenUp>()), "{error:?}");
        let (received, was_open) = server.await.unwrap();
        assert!(received.starts_with(b"POST /api/v1/namespaces/shop/configmaps"), "it was sent");
        assert!(!was_open, "it was given up while the lease was held");
    }
}
