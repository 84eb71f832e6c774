//! Bytes from where archives are: http, https or a folder.

use std::{
    fmt,
    io::SeekFrom,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest time without a byte.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
/// Tries for one file at one place.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);
const FILE_CHUNK: usize = 128 << 10;

/// Where an archive is: the folder above `dists` and `pool`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BaseUri {
    /// An `http:` or `https:` address, without a slash at its end.
    Http(String),
    /// A folder of this machine.
    Folder(PathBuf),
}

/// A text that does not say where an archive is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not where an archive can be: http:, https: or file: is expected")]
pub struct BaseUriError {
    text: String,
}

impl FromStr for BaseUri {
    type Err = BaseUriError;

    fn from_str(text: &str) -> Result<Self, BaseUriError> {
        let trimmed = text.trim_end_matches('/');
        let wrong = || BaseUriError { text: text.to_owned() };
        if let Some(path) = trimmed.strip_prefix("file:") {
            let path = Path::new(path.strip_prefix("//").unwrap_or(path));
            return if path.is_absolute() { Ok(Self::Folder(path.to_owned())) } else { Err(wrong()) };
        }
        match reqwest::Url::parse(trimmed) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                Ok(Self::Http(trimmed.to_owned()))
            }
            Ok(_) | Err(_) => Err(wrong()),
        }
    }
}

impl fmt::Display for BaseUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(base) => formatter.write_str(base),
            Self::Folder(path) => write!(formatter, "file:{}", path.display()),
        }
    }
}

/// Why bytes did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The client for http cannot be made.
    #[error("cannot set up http")]
    Client(#[source] reqwest::Error),
    /// No connection, or it broke.
    #[error("cannot fetch {uri}")]
    Http {
        /// What was asked for.
        uri: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The server answered with an error other than "not found".
    #[error("{uri} was answered with status {status}")]
    Status {
        /// What was asked for.
        uri: String,
        /// The status.
        status: u16,
    },
    /// A file of this machine cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// More bytes than are acceptable.
    #[error("{uri} is longer than {limit} bytes")]
    TooLong {
        /// What was asked for.
        uri: String,
        /// The limit.
        limit: u64,
    },
}

/// Proxies that apt is told to use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// For `http:` addresses.
    pub http: Option<String>,
    /// For `https:` addresses.
    pub https: Option<String>,
}

/// Fetches files of archives.
#[derive(Debug, Clone)]
pub struct Transport {
    client: reqwest::Client,
}

/// Bytes as they arrive.
#[derive(Debug)]
pub(crate) enum Body {
    Http(reqwest::Response),
    File(PathBuf, tokio::fs::File),
}

impl Transport {
    /// Uses apt's proxies, else those of the environment (`http_proxy`, `https_proxy`, `no_proxy`).
    pub fn new(proxies: &ProxySettings) -> Result<Self, TransportError> {
        // Whichever part of the program comes first installs the one provider that is linked; a second try changes
        // nothing and is no error.
        let _first_wins = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("bundle/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT);
        for (proxy, make) in [
            (&proxies.http, reqwest::Proxy::http as fn(String) -> Result<reqwest::Proxy, reqwest::Error>),
            (&proxies.https, reqwest::Proxy::https),
        ] {
            if let Some(address) = proxy {
                let proxy = make(address.clone()).map_err(TransportError::Client)?;
                builder = builder.proxy(proxy.no_proxy(reqwest::NoProxy::from_env()));
            }
        }
        Ok(Self { client: builder.build().map_err(TransportError::Client)? })
    }

    /// Opens a file at byte `from`, or at its beginning where the source cannot do that; says where. Nothing if it is
    /// not there.
    pub(crate) async fn open(
        &self,
        base: &BaseUri,
        path: &str,
        from: u64,
    ) -> Result<Option<(Body, u64)>, TransportError> {
        match base {
            BaseUri::Folder(folder) => {
                let path = folder.join(path);
                let failed = |source| TransportError::File { path: path.clone(), source };
                let mut file = match tokio::fs::File::open(&path).await {
                    Ok(file) => file,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                    Err(source) => return Err(failed(source)),
                };
                file.seek(SeekFrom::Start(from)).await.map_err(failed)?;
                Ok(Some((Body::File(path, file), from)))
            }
            BaseUri::Http(base) => {
                let uri = format!("{base}/{}", escaped(path));
                let failed = |source| TransportError::Http { uri: uri.clone(), source };
                if from > 0 {
                    let range = format!("bytes={from}-");
                    let asked = self.client.get(&uri).header(reqwest::header::RANGE, range);
                    let response = asked.send().await.map_err(failed)?;
                    let promised = response.headers().get(reqwest::header::CONTENT_RANGE);
                    let promised = promised.and_then(|range| range.to_str().ok());
                    let is_rest = promised.is_some_and(|range| range.starts_with(&format!("bytes {from}-")));
                    if response.status().as_u16() == 206 && is_rest {
                        return Ok(Some((Body::Http(response), from)));
                    }
                }
                let response = self.client.get(&uri).send().await.map_err(failed)?;
                match response.status().as_u16() {
                    200 => Ok(Some((Body::Http(response), 0))),
                    404 | 410 => Ok(None),
                    status => Err(TransportError::Status { uri, status }),
                }
            }
        }
    }

    /// Reads a whole file into memory; nothing if it is not there. Broken connections are tried again.
    pub(crate) async fn get(
        &self,
        base: &BaseUri,
        path: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, TransportError> {
        let mut attempt = 1;
        loop {
            match self.get_once(base, path, limit).await {
                Err(error) if error.may_pass() && attempt < TRIES => {
                    tokio::time::sleep(PAUSE * attempt).await;
                }
                result => return result,
            }
            attempt += 1;
        }
    }

    async fn get_once(
        &self,
        base: &BaseUri,
        path: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, TransportError> {
        let Some((mut body, _)) = self.open(base, path, 0).await? else { return Ok(None) };
        let mut bytes = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Err(TransportError::TooLong { uri: format!("{base}/{path}"), limit });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }
}

impl TransportError {
    /// Whether a second try may go better.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Http { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            Self::Client(_) | Self::File { .. } | Self::TooLong { .. } => false,
        }
    }
}

impl Body {
    /// The next bytes; nothing at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        match self {
            Self::Http(response) => {
                let chunk = response.chunk().await;
                chunk.map_err(|source| TransportError::Http { uri: response.url().to_string(), source })
            }
            Self::File(path, file) => {
                let mut chunk = Vec::with_capacity(FILE_CHUNK);
                match file.read_buf(&mut chunk).await {
                    Ok(0) => Ok(None),
                    Ok(_) => Ok(Some(chunk.into())),
                    Err(source) => Err(TransportError::File { path: path.clone(), source }),
                }
            }
        }
    }
}

/// Escapes what servers read differently in a path of an archive: `+` is a space to some, `%` starts an escape.
fn escaped(path: &str) -> String {
    path.replace('%', "%25").replace('+', "%2B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_addresses() {
        for (text, shown) in [
            ("http://mirror.example/debian/", "http://mirror.example/debian"),
            ("https://mirror.example", "https://mirror.example"),
            ("file:/srv/archive/", "file:/srv/archive"),
            ("file:///srv/archive", "file:/srv/archive"),
        ] {
            assert_eq!(text.parse::<BaseUri>().unwrap().to_string(), shown);
        }
        for bad in ["", "cdrom:[x]/", "mirror+file:/x", "file:relative", "ftp://mirror.example/", "/srv"] {
            assert!(bad.parse::<BaseUri>().is_err(), "{bad}");
        }
    }
}
