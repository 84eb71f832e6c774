//! How a registry is reached.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

/// Plain or encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP: for a registry on this machine or in a closed network.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// The name that stands before `://`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A text that is neither `http` nor `https`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is neither http nor https")]
pub struct SchemeError {
    text: String,
}

impl FromStr for Scheme {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        match text {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            _ => Err(SchemeError { text: text.to_owned() }),
        }
    }
}

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The password or access token.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "credentials of {}", self.username)
    }
}

/// Is told how many bytes of blobs have just been moved, in either direction. A repetition counts again.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// What a client may be told beside the address.
#[derive(Clone)]
pub struct Options {
    /// Who asks; nobody by default.
    pub credentials: Option<Credentials>,
    /// Origins (`https://auth.example`) of token services beside the registry's own that may be asked.
    pub token_services: Vec<String>,
    /// PEM texts of further certificate authorities to trust; those of the system are trusted always.
    pub authorities: Vec<Vec<u8>>,
    /// How often a request that may be repeated is sent at most.
    pub attempts: u32,
    /// Pause before the first repetition; it doubles each time.
    pub pause: Duration,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Time without a byte after which an answer counts as cut.
    pub read_timeout: Duration,
    /// Is told of moved bytes.
    pub progress: Option<Progress>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            credentials: None,
            token_services: Vec::new(),
            authorities: Vec::new(),
            attempts: 4,
            pause: Duration::from_millis(100),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_mins(1),
            progress: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("credentials", &self.credentials)
            .field("token_services", &self.token_services)
            .field("attempts", &self.attempts)
            .field("pause", &self.pause)
            .finish_non_exhaustive()
    }
}
