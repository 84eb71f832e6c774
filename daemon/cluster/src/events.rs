//! Events: the story of a rollout in `kubectl describe`.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

/// The longest note that the API server takes.
const NOTE_LIMIT: usize = 1000;

/// Whether an event is good or bad news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// All as it should be.
    Normal,
    /// A person may want to look.
    Warning,
}

/// Writes events. They are for people only: one that cannot be written is logged and forgotten.
#[derive(Clone)]
pub struct Events {
    client: Client,
    reporter: Reporter,
}

impl Events {
    /// Events in the name of one process.
    pub fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter { controller: "bundle.build/daemon".to_owned(), instance: Some(instance) };
        Self { client, reporter }
    }

    /// Writes an event about an object.
    pub async fn publish(&self, about: &ObjectReference, kind: EventKind, reason: &str, note: &str) {
        let mut note = note.to_owned();
        if note.len() > NOTE_LIMIT {
            let end = (0..=NOTE_LIMIT - 4).rev().find(|end| note.is_char_boundary(*end)).unwrap_or(0);
            note.truncate(end);
            note.push('…');
        }
        let event = Event {
            type_: match kind {
                EventKind::Normal => EventType::Normal,
                EventKind::Warning => EventType::Warning,
            },
            reason: reason.to_owned(),
            note: Some(note),
            action: reason.to_owned(),
            secondary: None,
        };
        // A recorder counts an event of the same reason on and keeps the note of the first, which named another release.
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        if let Err(error) = recorder.publish(&event, about).await {
            tracing::warn!(reason, error = &error as &dyn std::error::Error, "cannot write an event");
        }
    }
}
