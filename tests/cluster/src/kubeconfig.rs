//! Kubeconfig files. JSON is YAML, so no writer of YAML is needed.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::Error;
use crate::authority::Identity;

/// How a client proves who it is.
pub(crate) enum Credential {
    Certificate(Identity),
    Token(String),
}

/// Writes a kubeconfig that holds all it needs.
pub(crate) fn write(
    path: &Path,
    server: &str,
    authority: &str,
    credential: &Credential,
) -> Result<(), Error> {
    let user = match credential {
        Credential::Certificate(identity) => json!({
            "client-certificate-data": STANDARD.encode(&identity.certificate),
            "client-key-data": STANDARD.encode(&identity.key),
        }),
        Credential::Token(token) => json!({ "token": token }),
    };
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bed", "cluster": {
            "server": server, "certificate-authority-data": STANDARD.encode(authority),
        }}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": "user"}}],
        "current-context": "bed",
    });
    write_file(path, document.to_string().as_bytes())
}

/// Writes a file and the folders above it.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let written =
        path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(path, bytes));
    written.map_err(|source| Error::FileNotWritten { path: path.to_owned(), source })
}
