//! Repetitions of what may be repeated.

use std::time::Duration;

use crate::{ClientError, Options};

/// No registry makes us wait longer than this before a repetition.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Counts the attempts of one operation.
#[derive(Debug)]
pub(crate) struct Attempts {
    left: u32,
    allowed: u32,
    first_pause: Duration,
    pause: Duration,
}

impl Attempts {
    pub(crate) fn new(options: &Options) -> Self {
        let allowed = options.attempts.max(1);
        Self { left: allowed, allowed, first_pause: options.pause, pause: options.pause }
    }

    /// Waits before the next attempt, or gives the error back when there is none or when it would not help.
    pub(crate) async fn after(&mut self, error: ClientError) -> Result<(), ClientError> {
        self.left = self.left.saturating_sub(1);
        if !error.is_transient() || self.left == 0 {
            return Err(error);
        }
        let pause = error.retry_after().unwrap_or(self.pause).min(LONGEST_PAUSE);
        tracing::debug!(%error, ?pause, left = self.left, "another attempt follows");
        tokio::time::sleep(pause).await;
        self.pause = self.pause.saturating_mul(2);
        Ok(())
    }

    /// Bytes came: the next failure is a new one.
    pub(crate) const fn progressed(&mut self) {
        self.left = self.allowed;
        self.pause = self.first_pause;
    }
}
