//! The audit log of the API server: the witness of who did what, and when.

use std::io::BufRead;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::Error;

/// One request, as the API server saw it.
#[derive(Debug, Clone)]
pub struct AuditEvent {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// Who asked.
    pub user: String,
    /// What the client called itself.
    pub user_agent: String,
    /// What it was about, unless it was no object.
    pub object: Option<ObjectReference>,
    /// The path and query.
    pub request_uri: String,
    /// Nothing was to be changed: the query holds `dryRun=All`.
    pub dry_run: bool,
    /// What was sent; only of deletions, whose preconditions stand there.
    pub request: Option<Value>,
    /// `ResponseComplete`; for a watch also `ResponseStarted`.
    pub stage: String,
    /// The HTTP status, 0 if there was none.
    pub code: u16,
    /// When the request came.
    pub received: Timestamp,
    /// When this stage was reached.
    pub at: Timestamp,
}

impl AuditEvent {
    /// Was this to change the cluster, and did it succeed?
    pub fn is_write(&self) -> bool {
        let writes = ["create", "update", "patch", "delete", "deletecollection"];
        writes.contains(&self.verb.as_str()) && !self.dry_run && (200..300).contains(&self.code)
    }
}

/// Which object a request was about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// The API group, empty for the core.
    pub api_group: String,
    /// The API version.
    pub api_version: String,
    /// The plural, such as `deployments`.
    pub resource: String,
    /// Such as `status` or `scale`; often empty.
    pub subresource: String,
    /// Empty for what has none.
    pub namespace: String,
    /// Empty for a list, and for a create that leaves the name to the server.
    pub name: String,
    /// Only where the request gave one.
    pub uid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<ObjectReference>,
    request_object: Option<Value>,
    response_status: Option<Status>,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

/// Reads a log. A last line that is still being written is left out.
pub(crate) fn read(path: &Path) -> Result<Vec<AuditEvent>, Error> {
    let not_read = |source| Error::FileNotRead { path: path.to_owned(), source };
    let mut lines = std::io::BufReader::new(std::fs::File::open(path).map_err(not_read)?);
    let mut events = Vec::new();
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).map_err(not_read)?;
        if !line.ends_with('\n') {
            return Ok(events);
        }
        events.push(parse(&line)?);
    }
}

fn parse(line: &str) -> Result<AuditEvent, Error> {
    let event: Line = serde_json::from_str(line)
        .map_err(|source| Error::LineNotUnderstood { line: line.to_owned(), source })?;
    let query = event.request_uri.split_once('?').map_or("", |(_, query)| query);
    Ok(AuditEvent {
        dry_run: query.split('&').any(|pair| pair == "dryRun=All"),
        verb: event.verb,
        user: event.user.username,
        user_agent: event.user_agent,
        object: event.object_ref,
        request: event.request_object,
        request_uri: event.request_uri,
        stage: event.stage,
        code: event.response_status.map_or(0, |status| status.code),
        received: event.request_received_timestamp,
        at: event.stage_timestamp,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":
        "ResponseComplete","requestURI":"/api/v1/namespaces/a/configmaps?dryRun=All&fieldManager=x","verb":"create",
        "user":{"username":"admin","groups":["system:masters"]},"objectRef":{"resource":"configmaps","namespace":"a",
        "name":"b","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":201},
        "requestReceivedTimestamp":"2026-01-02T03:04:05.000006Z","stageTimestamp":"2026-01-02T03:04:05.100000Z"}"#;

    #[test]
    fn a_dry_run_is_no_write() {
        let event = parse(LINE).unwrap();
        assert!(event.dry_run && !event.is_write() && event.code == 201);
        let event = parse(&LINE.replace("dryRun=All&", "")).unwrap();
        assert!(!event.dry_run && event.is_write());
        assert_eq!(event.object.unwrap().name, "b");
    }

    #[test]
    fn a_deletion_shows_what_was_sent() {
        let line = LINE.replace(
            r#""verb":"create""#,
            r#""verb":"delete","requestObject":{"kind":"DeleteOptions","preconditions":{"uid":"u"}}"#,
        );
        assert_eq!(parse(&line).unwrap().request.unwrap()["preconditions"]["uid"], "u");
        assert_eq!(parse(LINE).unwrap().request, None);
    }

    #[test]
    fn a_refused_write_is_no_write() {
        let event = parse(&LINE.replace("dryRun=All&", "").replace("201", "409")).unwrap();
        assert!(!event.is_write());
    }
}
