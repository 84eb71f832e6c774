//! Uploads between their requests. What is in memory only saves hashing anew: after a restart an upload goes on from
//! its file.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use http::StatusCode;
use registry_blobs::{BlobStore, Upload};
use registry_wire::{ErrorCode, SessionId};

use crate::{answer::blocking, fault::Fault};

/// Uploads that are kept open between requests. Others go on from their file, which costs hashing it anew; nobody can
/// use up our file handles by beginning uploads.
const KEPT: usize = 128;

/// Who has an upload now.
#[derive(Debug)]
enum Slot {
    /// Nobody; it waits for the next request.
    Idle(Upload),
    /// A request that is under way.
    Busy,
}

/// The uploads that this process knows.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<SessionId, Slot>>);

impl Sessions {
    /// Takes an upload for one request. Two requests never write to one upload.
    pub(crate) async fn take(&self, blobs: &BlobStore, session: &SessionId) -> Result<Upload, Fault> {
        match self.replace(session, Some(Slot::Busy)) {
            Some(Slot::Idle(upload)) => return Ok(upload),
            Some(Slot::Busy) => {
                let message = format!("another request is writing to upload {session}");
                return Err(Fault::refused(StatusCode::CONFLICT, ErrorCode::BlobUploadInvalid, message));
            }
            None => {}
        }
        let (blobs, owned) = (blobs.clone(), session.clone());
        let resumed = blocking(move || blobs.resume_upload(&owned)).await;
        if resumed.is_err() {
            self.forget(session);
        }
        resumed
    }

    /// Gives an upload back after a request.
    pub(crate) fn put(&self, session: &SessionId, upload: Upload) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= KEPT {
            let idle = slots.iter().find(|(_, slot)| matches!(slot, Slot::Idle(_))).map(|(id, _)| id.clone());
            if let Some(idle) = idle {
                slots.remove(&idle);
            }
        }
        slots.insert(session.clone(), Slot::Idle(upload));
    }

    /// Forgets an upload that has ended.
    pub(crate) fn forget(&self, session: &SessionId) {
        self.replace(session, None);
    }

    fn replace(&self, session: &SessionId, slot: Option<Slot>) -> Option<Slot> {
        // Nothing under this lock can panic; a map is whole whatever happened to another thread.
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match slot {
            Some(slot) => slots.insert(session.clone(), slot),
            None => slots.remove(session),
        }
    }
}
