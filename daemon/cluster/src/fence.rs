//! The fence around a lease: nobody writes after losing it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::ClusterError;

/// Says whether this process may still write. A lease that could not be renewed in time counts as lost *before* it
/// runs out for others, so two writers never overlap as long as a request takes less than the difference.
#[derive(Debug, Clone)]
pub struct Fence(Option<Arc<Mutex<Instant>>>);

impl Fence {
    /// A fence that is always open: for commands of people, which need no lease.
    pub const fn open() -> Self {
        Self(None)
    }

    pub(crate) fn until(instant: Instant) -> Self {
        Self(Some(Arc::new(Mutex::new(instant))))
    }

    pub(crate) fn extend(&self, instant: Instant) {
        if let Some(until) = &self.0 {
            *until.lock().unwrap_or_else(PoisonError::into_inner) = instant;
        }
    }

    /// Whether writing is allowed now.
    pub fn is_open(&self) -> bool {
        self.remaining().is_none_or(|left| !left.is_zero())
    }

    /// How long writing stays allowed without another renewal; none without a limit.
    pub fn remaining(&self) -> Option<Duration> {
        let until = self.0.as_ref()?;
        let until = *until.lock().unwrap_or_else(PoisonError::into_inner);
        Some(until.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn check(&self, object: &str) -> Result<(), ClusterError> {
        if self.is_open() { Ok(()) } else { Err(ClusterError::LeaseLost { object: object.to_owned() }) }
    }
}
