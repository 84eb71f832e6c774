//! What can go wrong between the daemon and the API server.

use std::fmt;

/// What was asked of the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read all objects of a kind.
    List,
    /// Make an object.
    Create,
    /// Apply an object.
    Apply,
    /// Replace an object or its status.
    Replace,
    /// Delete an object.
    Delete,
}

impl fmt::Display for Verb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Get => "read",
            Self::List => "list",
            Self::Create => "create",
            Self::Apply => "apply",
            Self::Replace => "replace",
            Self::Delete => "delete",
        })
    }
}

/// What can go wrong between the daemon and the API server. After any of these it is not known whether a write took
/// place: read before repeating.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no kubeconfig, or none with this context.
    #[error("the kubeconfig has no usable context `{context}`")]
    Context {
        /// The context.
        context: String,
        /// What the reader says.
        source: Box<kube::config::KubeconfigError>,
    },
    /// The kubeconfig cannot be read.
    #[error("cannot read kubeconfig {path}")]
    Kubeconfig {
        /// The file.
        path: String,
        /// What the reader says.
        source: Box<kube::config::KubeconfigError>,
    },
    /// This process does not run in a pod.
    #[error("there is no service account of a pod to reach the API server with")]
    NotInCluster {
        /// What is missing.
        source: Box<kube::config::InClusterError>,
    },
    /// The configuration makes no client.
    #[error("cannot make a client for the API server")]
    Client {
        /// Why.
        source: Box<kube::Error>,
    },
    /// The API server says that it does not do what was asked.
    #[error("cannot {verb} {object}: {}", said(answer))]
    Answer {
        /// What was asked.
        verb: Verb,
        /// Of which object.
        object: String,
        /// The answer.
        answer: Box<kube::core::Status>,
    },
    /// What was asked of the API server had no answer, or none that can be read.
    #[error("cannot {verb} {object}")]
    Request {
        /// What was asked.
        verb: Verb,
        /// Of which object.
        object: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// Another writer was faster.
    #[error("{object} was changed by another writer meanwhile")]
    Stale {
        /// The object.
        object: String,
    },
    /// The API server does not serve the kind.
    #[error("the cluster does not serve {kind} ({api_version})")]
    NotServed {
        /// API version.
        api_version: String,
        /// The kind.
        kind: String,
    },
    /// An object of the API server is not of the expected form.
    #[error("{object} cannot be read")]
    Form {
        /// The object.
        object: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A stored document is incomplete or changed.
    #[error("a document stored in the cluster cannot be put together")]
    Document {
        /// Why.
        source: daemon_plan::chunk::ChunkError,
    },
    /// Other releases have every name that the object of this one could have.
    #[error("the names of release {release} are taken by other releases; nothing of theirs is overwritten")]
    NamesTaken {
        /// The release.
        release: registry_wire::Digest,
    },
    /// Another process leads now; nothing more may be written.
    #[error("the lease is lost, so {object} is not written")]
    LeaseLost {
        /// What was to be written.
        object: String,
    },
}

/// Most characters of an answer that are shown.
const LONGEST_ANSWER: usize = 1000;

impl ClusterError {
    /// What became of a request that failed.
    pub fn request(verb: Verb, object: impl Into<String>, source: kube::Error) -> Self {
        let object = object.into();
        match source {
            kube::Error::Api(answer) => Self::Answer { verb, object, answer },
            source => Self::Request { verb, object, source: Box::new(source) },
        }
    }

    /// What to do about it, if anything is known.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Context { .. } => Some("list the contexts with `kubectl config get-contexts`"),
            Self::Kubeconfig { .. } => Some("name a kubeconfig with `--kubeconfig FILE` or in KUBECONFIG"),
            Self::NotInCluster { .. } => {
                Some("outside of a cluster name a context: `bundle daemon --context NAME`")
            }
            Self::NotServed { .. } => {
                Some("`bundle subscribe` installs the daemon with its custom resource definitions")
            }
            _ => None,
        }
    }

    /// Whether the API server said that it may not be done.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Answer { answer, .. } if answer.is_forbidden())
    }
}

/// What an answer says, in one line: whatever stands before the API server may answer with a page, or with nothing.
fn said(answer: &kube::core::Status) -> String {
    let line = answer.message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line: String = line.chars().take(LONGEST_ANSWER).collect();
    match (line.is_empty(), answer.code) {
        (true, code) => format!("HTTP status {code}"),
        (false, _) => line,
    }
}

/// The status of an answer, if there was an answer.
pub(crate) fn status_of(error: &kube::Error) -> Option<&kube::core::Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn an_answer_is_one_line() {
        let answer = |message: &str, code: u16| {
            let status = Status { message: message.to_owned(), code, ..Status::default() };
            ClusterError::request(Verb::List, "pods", kube::Error::Api(Box::new(status))).to_string()
        };
        let forbidden = "pods is forbidden: User \"shop\" cannot list resource \"pods\"";
        assert_eq!(answer(forbidden, 403), format!("cannot list pods: {forbidden}"));
        assert_eq!(answer("", 503), "cannot list pods: HTTP status 503");
        assert_eq!(answer("\n<html>\n<body>no</body>\n", 502), "cannot list pods: <html>");
        assert!(answer(&"x".repeat(9000), 500).len() < 1100);
    }
}
