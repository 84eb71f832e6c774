//! A proxy in front of the API server that numbers what changes the cluster, and can stop the world at one such call.
//!
//! Each process of the daemon comes in through a [`Door`] of its own, so every call is known by the process that made
//! it. The credential is the caller's: the proxy passes it on and adds nothing, so the API server sees the daemon's
//! account with the daemon's rights.
//!
//! Counted is every request that changes something (`POST`, `PUT`, `PATCH`, `DELETE`), with two exceptions: dry runs,
//! which change nothing, and the lease, which is written by the clock and not by a rollout.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result, anyhow};
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, Uri, header, request::Parts},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
};

/// The largest request that is carried: the API server takes 3 MiB.
const LARGEST: usize = 4 << 20;

/// One counted call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its number, from 1.
    pub number: usize,
    /// The door that it came through.
    pub door: usize,
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// The body; null if it is no JSON.
    pub body: Value,
    /// Whether the API server got it.
    pub forwarded: bool,
    /// What the API server answered, once it has.
    pub status: Option<u16>,
}

/// Where in a call the world stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The API server never saw the request.
    Before,
    /// The API server has answered, and the caller never saw the answer.
    After,
}

/// What happens to the other calls of the same door when a call is caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// They stand still as well: the process behind the door is about to be killed.
    Freeze,
    /// They go on.
    GoOn,
}

/// A call that is held.
#[derive(Debug)]
pub struct Caught {
    /// The call.
    pub call: Call,
    /// Lets it go on: to the API server, or back without the answer. Without it, the caller waits for ever.
    pub go_on: oneshot::Sender<()>,
}

struct Trap {
    wanted: Box<dyn FnMut(&Call) -> bool + Send>,
    moment: Moment,
    others: Others,
    caught: oneshot::Sender<Caught>,
}

#[derive(Default)]
struct Book {
    calls: Vec<Call>,
    trap: Option<Trap>,
    doors: usize,
}

/// The proxy.
#[derive(Clone)]
pub struct Proxy {
    client: reqwest::Client,
    server: String,
    kubeconfig: Value,
    book: Arc<Mutex<Book>>,
}

impl Proxy {
    /// A proxy to the API server of a kubeconfig with a token.
    pub fn new(kubeconfig: &Path) -> Result<Self> {
        let kubeconfig: Value = serde_json::from_str(&fs::read_to_string(kubeconfig)?)?;
        let cluster = &kubeconfig["clusters"][0]["cluster"];
        let server = cluster["server"].as_str().context("the kubeconfig names a server")?.to_owned();
        let authority = cluster["certificate-authority-data"].as_str().context("and its authority")?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .tls_backend_preconfigured(trusting(&STANDARD.decode(authority)?)?)
            .build()?;
        Ok(Self { client, server, kubeconfig, book: Arc::default() })
    }

    /// Opens a door for one process, and writes the kubeconfig that leads through it into `folder`.
    pub async fn door(&self, folder: &Path) -> Result<Door> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let number = {
            let mut book = self.book();
            book.doors += 1;
            book.doors
        };
        let mut kubeconfig = self.kubeconfig.clone();
        kubeconfig["clusters"][0]["cluster"] =
            json!({ "server": format!("http://{}", listener.local_addr()?) });
        let path = folder.join(format!("door-{number}.kubeconfig"));
        fs::write(&path, kubeconfig.to_string())?;
        let passage = Passage { proxy: self.clone(), number, frozen: watch::Sender::new(false) };
        let router = Router::new().fallback(carry).with_state(Arc::new(passage));
        let task = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Door { number, kubeconfig: path, task })
    }

    /// Catches the next call that is wanted. At most one trap is set; a new one replaces it.
    pub fn catch(
        &self,
        moment: Moment,
        others: Others,
        wanted: impl FnMut(&Call) -> bool + Send + 'static,
    ) -> oneshot::Receiver<Caught> {
        let (caught, hearing) = oneshot::channel();
        self.book().trap = Some(Trap { wanted: Box::new(wanted), moment, others, caught });
        hearing
    }

    /// Takes the trap away.
    pub fn disarm(&self) {
        self.book().trap = None;
    }

    /// How many calls there were so far.
    pub fn count(&self) -> usize {
        self.book().calls.len()
    }

    /// The calls with numbers above `number`.
    pub fn calls_since(&self, number: usize) -> Vec<Call> {
        self.book().calls[number..].to_vec()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers a call; gives the trap if it is the one that is waited for.
    fn note(&self, call: Call) -> (usize, Option<Trap>) {
        let mut book = self.book();
        let number = book.calls.len() + 1;
        let call = Call { number, ..call };
        let trap = book.trap.take_if(|trap| (trap.wanted)(&call));
        book.calls.push(call);
        (number, trap)
    }

    fn change(&self, number: usize, change: impl FnOnce(&mut Call)) -> Option<Call> {
        let mut book = self.book();
        let call = book.calls.get_mut(number.checked_sub(1)?)?;
        change(call);
        Some(call.clone())
    }
}

/// The way in for one process. It is shut with this value.
pub struct Door {
    /// Its number, from 1.
    pub number: usize,
    /// The kubeconfig that leads through it; its context is that of the bed.
    pub kubeconfig: PathBuf,
    task: JoinHandle<std::io::Result<()>>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Passage {
    proxy: Proxy,
    number: usize,
    frozen: watch::Sender<bool>,
}

impl Passage {
    /// Passes unless the door is frozen, and never after that.
    async fn thaw(&self) {
        if *self.frozen.borrow() {
            std::future::pending::<()>().await;
        }
    }

    /// Tells of the caught call and waits for the word to go on.
    async fn hold(&self, trap: Trap, number: usize) {
        if trap.others == Others::Freeze {
            self.frozen.send_replace(true);
        }
        let (go_on, word) = oneshot::channel();
        if let Some(call) = self.proxy.change(number, |_| {}) {
            // Whoever set the trap may have left; then there is nobody to let the call go on.
            drop(trap.caught.send(Caught { call, go_on }));
        }
        if word.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Whether a request changes something for good that is not the lease.
fn is_counted(method: &Method, uri: &Uri) -> bool {
    let changes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method);
    let dry = uri.query().unwrap_or_default().split('&').any(|pair| pair == "dryRun=All");
    changes && !dry && !uri.path().starts_with("/apis/coordination.k8s.io/")
}

async fn carry(State(passage): State<Arc<Passage>>, request: Request) -> Response {
    let proxy = &passage.proxy;
    passage.thaw().await;
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST).await else { return lost("the request was cut off") };
    if !is_counted(&head.method, &head.uri) {
        let answer = proxy.forward(&head, body).await;
        passage.thaw().await;
        return match answer {
            Ok(answer) => {
                let (status, headers) = (answer.status(), answer.headers().clone());
                reply(status, &headers, Body::from_stream(answer.bytes_stream()))
            }
            Err(error) => lost(&error.to_string()),
        };
    }
    let (number, trap) = proxy.note(Call {
        number: 0,
        door: passage.number,
        method: head.method.clone(),
        path: head.uri.path().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        forwarded: false,
        status: None,
    });
    let (before, after) = match trap {
        Some(trap) if trap.moment == Moment::Before => (Some(trap), None),
        other => (None, other),
    };
    if let Some(trap) = before {
        passage.hold(trap, number).await;
    }
    passage.thaw().await;
    proxy.change(number, |call| call.forwarded = true);
    let answer = proxy.forward_whole(&head, body).await;
    let status = answer.as_ref().ok().map(|(status, ..)| status.as_u16());
    proxy.change(number, |call| call.status = status);
    match after {
        Some(trap) if answer.is_ok() => {
            passage.hold(trap, number).await;
            return lost("the answer was lost on the way");
        }
        // There was no answer to lose.
        Some(trap) => {
            proxy.book().trap.get_or_insert(trap);
        }
        None => {}
    }
    passage.thaw().await;
    match answer {
        Ok((status, headers, body)) => reply(status, &headers, Body::from(body)),
        Err(error) => lost(&error.to_string()),
    }
}

impl Proxy {
    async fn forward(&self, head: &Parts, body: Bytes) -> reqwest::Result<reqwest::Response> {
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let request = self.client.request(head.method.clone(), format!("{}{target}", self.server));
        request.headers(carried(&head.headers)).body(body).send().await
    }

    async fn forward_whole(
        &self,
        head: &Parts,
        body: Bytes,
    ) -> reqwest::Result<(StatusCode, HeaderMap, Bytes)> {
        let answer = self.forward(head, body).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        Ok((status, headers, answer.bytes().await?))
    }
}

/// The headers that are not about one connection.
fn carried(headers: &HeaderMap) -> HeaderMap {
    let own = [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH];
    let mut headers = headers.clone();
    for name in own {
        headers.remove(name);
    }
    headers
}

fn reply(status: StatusCode, headers: &HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = carried(headers);
    response
}

/// What a load balancer says when it has no answer.
fn lost(why: &str) -> Response {
    let mut response = Response::new(Body::from(why.to_owned()));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

fn trusting(authority: &[u8]) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority) {
        roots.add(certificate.map_err(|error| anyhow!("the authority is no certificate: {error}"))?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
