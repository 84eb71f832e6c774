//! Calls, named so that the same call of another rollout has the same name.

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::Value;
use test_daemon::proxy::Call;

use crate::words::Words;

/// One call of a rollout: its name, and which of that name it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NamedCall {
    pub(crate) name: String,
    pub(crate) occurrence: usize,
}

/// The calls of a rollout in their order.
pub(crate) fn named(calls: &[Call], words: &Words) -> Vec<NamedCall> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    calls
        .iter()
        .map(|call| {
            let name = name(call, words);
            let occurrence = seen.entry(name.clone()).or_default();
            *occurrence += 1;
            NamedCall { occurrence: *occurrence, name }
        })
        .collect()
}

/// Verb, resource, object, and what a status or an event says.
pub(crate) fn name(call: &Call, words: &Words) -> String {
    let verb = match call.method {
        Method::POST => "create",
        Method::PUT => "replace",
        Method::PATCH => "apply",
        _ => "delete",
    };
    let mut parts = call.path.split('/').skip_while(|part| *part != "namespaces").skip(2);
    let resource = parts.next().unwrap_or_default();
    let own = call.body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let object = parts.next().unwrap_or(own);
    let status = parts.next();
    let said = match (resource, status) {
        ("events", _) => {
            let about = call.body.pointer("/regarding/kind").and_then(Value::as_str).unwrap_or_default();
            return format!("{verb} event {} about {about}", text(&call.body, "/reason"));
        }
        ("releases", Some(_)) => release_status(&call.body),
        ("subscriptions", Some(_)) => format!(
            " status, Ready: {}, Progressing: {}",
            condition(&call.body, "Ready"),
            condition(&call.body, "Progressing")
        ),
        _ => String::new(),
    };
    format!("{verb} {resource} {}{said}", words.say(object))
}

fn release_status(body: &Value) -> String {
    let phase = text(body, "/status/phase");
    let wave = body
        .pointer("/status/journal/phase/progress/wave")
        .map_or_else(String::new, |wave| format!(" {wave}"));
    let applied = phase == "Applied";
    let healthy = body.pointer("/status/journal/phase/healthySince").is_some();
    let broken = if applied && !healthy { " unhealthy" } else { "" };
    let count = |list: &str| body.pointer(list).and_then(Value::as_array).map_or(0, Vec::len);
    let documents = count("/status/documents");
    let points = count("/status/restorePoints");
    format!(" status {phase}{wave}{broken}, {documents} documents, {points} restore points")
}

fn text<'a>(body: &'a Value, path: &str) -> &'a str {
    body.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn condition<'a>(body: &'a Value, kind: &str) -> &'a str {
    let conditions = body.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|one| one["type"] == kind);
    found.map_or("", |one| text(one, "/reason"))
}
