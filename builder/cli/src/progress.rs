//! Bars on a terminal; elsewhere a line when a stage ends.

use std::sync::Mutex;

use builder_build::Stage;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report::{self, Report};

/// Shows how fetch, build and push go.
#[derive(Debug)]
pub(crate) struct Progress {
    report: Report,
    bars: MultiProgress,
    current: Mutex<Option<ProgressBar>>,
}

impl Progress {
    /// Shows what happens through `report`.
    pub(crate) fn new(report: Report) -> Self {
        let target =
            if report.draws_bars() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { report, bars: MultiProgress::with_draw_target(target), current: Mutex::default() }
    }

    /// Begins a bar over `length` bytes.
    pub(crate) fn begin_bytes(&self, what: &str, length: u64) {
        if !self.report.draws_bars() && length > 0 {
            self.report.note(&format!("{what}: {}", report::bytes(length)));
        }
        self.begin(what, length, "{msg:24} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}");
    }

    fn begin(&self, what: &str, length: u64, template: &str) {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = self.bars.add(ProgressBar::new(length).with_style(style).with_message(what.to_owned()));
        let before = self.current().replace(bar);
        if let Some(before) = before {
            before.finish_and_clear();
        }
    }

    /// So much more of the current bar is done.
    pub(crate) fn advance(&self, more: u64) {
        if let Some(bar) = &*self.current() {
            bar.inc(more);
        }
    }

    /// Says something above the bars.
    pub(crate) fn note(&self, text: &str) {
        self.bars.suspend(|| self.report.note(text));
    }

    /// Takes the last bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = self.current().take() {
            bar.finish_and_clear();
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl builder_inputs::Progress for Progress {
    fn begin(&self, files: usize, bytes: u64) {
        if files > 0 {
            let noun = if files == 1 { "file" } else { "files" };
            self.begin_bytes(&format!("fetching {files} {noun}"), bytes);
        }
    }

    fn advance(&self, bytes: u64) {
        Self::advance(self, bytes);
    }

    fn done(&self, _: &str) {}

    fn note(&self, text: &str) {
        Self::note(self, text);
    }
}

impl builder_build::Progress for Progress {
    fn begin(&self, image: &str, stage: Stage, parts: usize) {
        let what = match stage {
            Stage::Unpack => format!("{image}: unpacking"),
            Stage::Encode => format!("{image}: encoding layers"),
        };
        if !self.report.draws_bars() {
            self.report.note(&format!("{what}, {parts} parts"));
        }
        Self::begin(self, &what, parts as u64, "{msg:24} {bar:30} {pos}/{len}");
    }

    fn advance(&self, _: &str, _: Stage) {
        Self::advance(self, 1);
    }
}
