//! A running registry.

use std::{
    fs::{self, File, TryLockError},
    future::IntoFuture as _,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::serve::ListenerExt as _;
use registry_blobs::{BlobError, BlobStore};
use registry_meta::{MetaError, MetaStore};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot},
    task::JoinHandle,
};

use crate::{
    answer::blocking,
    router::{State, router},
    sessions::Sessions,
};

/// How often old uploads are looked for.
const SWEEP: Duration = Duration::from_hours(1);
/// Uploads that write at the same time; more wait.
const UPLOADS: u32 = 64;

/// Where a registry serves, and from what.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Address to listen on; port 0 takes a free one.
    pub address: SocketAddr,
    /// The folder that holds everything; made when it is absent.
    pub root: PathBuf,
    /// No blob may be longer.
    pub blob_limit: u64,
    /// Uploads that nothing was added to for so long are dropped.
    pub upload_age: Duration,
    /// An upload whose request brings nothing for so long is cut; it can be resumed.
    pub upload_silence: Duration,
    /// How long `stop` waits for requests that are under way.
    pub grace: Duration,
}

impl ServerOptions {
    /// The usual limits.
    pub fn new(address: SocketAddr, root: PathBuf) -> Self {
        Self {
            address,
            root,
            blob_limit: 64 * 1024 * 1024 * 1024,
            upload_age: Duration::from_hours(7 * 24),
            upload_silence: Duration::from_mins(1),
            grace: Duration::from_secs(5),
        }
    }
}

/// A registry that does not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The folder cannot be made.
    #[error("cannot make the registry's folder {}", path.display())]
    Root {
        /// The folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The folder's lock cannot be made.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Another registry serves the folder.
    #[error("another registry serves {}", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The files cannot be opened.
    #[error("cannot open the registry's blobs")]
    Blobs {
        /// The reason.
        source: BlobError,
    },
    /// The database cannot be opened.
    #[error("cannot open the registry's records")]
    Meta {
        /// The reason.
        source: MetaError,
    },
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
    /// The registry ended by itself.
    #[error("the registry on {address} ended by itself")]
    Ended {
        /// The address.
        address: SocketAddr,
    },
}

impl ServerError {
    /// What to do about it.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::InUse { .. } => Some("stop it with `bundle down`, or give another folder"),
            Self::Listen { .. } => Some("give another address; port 0 takes a free one"),
            _ => None,
        }
    }
}

/// A running registry. It runs until [`Server::stop`], or until the runtime that it was started in ends.
#[derive(Debug)]
#[must_use = "a server that is dropped cannot be stopped"]
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
    grace: Duration,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
    sweeper: JoinHandle<()>,
    /// Held open: the lock ends with the process at the latest.
    lock: File,
}

impl Server {
    /// Opens the folder and starts to serve. When this returns, requests are answered.
    pub async fn start(options: ServerOptions) -> Result<Self, ServerError> {
        let ServerOptions { address, root, blob_limit, upload_age, upload_silence, grace } = options;
        fs::create_dir_all(&root).map_err(|source| ServerError::Root { path: root.clone(), source })?;
        let lock_path = root.join("lock");
        let lock_failed = |source| ServerError::Lock { path: lock_path.clone(), source };
        let lock = File::create(&lock_path).map_err(lock_failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => ServerError::InUse { path: root.clone() },
            TryLockError::Error(source) => lock_failed(source),
        })?;
        let blobs = BlobStore::open(&root).map_err(|source| ServerError::Blobs { source })?;
        let meta = MetaStore::open(&root.join("meta.sqlite")).await;
        let meta = meta.map_err(|source| ServerError::Meta { source })?;
        let listener = TcpListener::bind(address).await;
        let listen_failed = |source| ServerError::Listen { address, source };
        let listener = listener.map_err(listen_failed)?;
        let address = listener.local_addr().map_err(listen_failed)?;
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "answers may wait for the network");
            }
        });
        let state = Arc::new(State {
            blobs,
            meta,
            sessions: Sessions::default(),
            uploads: Semaphore::new(UPLOADS as usize),
            upload_silence,
            blob_limit,
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = axum::serve(listener, router(Arc::clone(&state))).with_graceful_shutdown(async {
            // A sender that was dropped is not a wish to stop.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        let task = tokio::spawn(serve.into_future());
        let sweeper = tokio::spawn(sweep(state.blobs.clone(), upload_age));
        tracing::info!(%address, root = %root.display(), "the registry serves");
        Ok(Self { address, state, grace, stop, task, sweeper, lock })
    }

    /// The address that is listened on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, waits a while for those under way, and closes the folder.
    pub async fn stop(self) -> Result<(), ServerError> {
        let Self { address, state, grace, stop, mut task, sweeper, lock } = self;
        sweeper.abort();
        if stop.send(()).is_err() {
            return Err(ServerError::Ended { address });
        }
        if tokio::time::timeout(grace, &mut task).await.is_err() {
            tracing::info!(%address, "requests under way are given up");
            task.abort();
        }
        // No upload may write once another server may open the folder.
        if tokio::time::timeout(grace, state.uploads.acquire_many(UPLOADS)).await.is_err() {
            tracing::info!(%address, "uploads under way are given up");
        }
        state.meta.close().await;
        drop(lock);
        Ok(())
    }
}

/// Drops uploads that nobody goes on with. One that a request is writing to is never that old.
async fn sweep(blobs: BlobStore, age: Duration) {
    let mut hours = tokio::time::interval(SWEEP);
    loop {
        hours.tick().await;
        let Some(before) = SystemTime::now().checked_sub(age) else { continue };
        let blobs = blobs.clone();
        match blocking(move || blobs.sweep_uploads(before)).await {
            Ok(dropped) => tracing::debug!(dropped, "old uploads"),
            Err(error) => tracing::error!(%error, "old uploads stay"),
        }
    }
}
