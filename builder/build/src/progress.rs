//! What a build tells while it runs.

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Packages are decompressed and checked.
    Unpack,
    /// Layers are encoded.
    Encode,
}

/// Told how a build goes. Called from several threads.
pub trait Progress: Send + Sync {
    /// A stage of `image` begins, with as many parts.
    fn begin(&self, image: &str, stage: Stage, parts: usize);
    /// One part of a stage is done.
    fn advance(&self, image: &str, stage: Stage);
}

/// Tells nobody.
impl Progress for () {
    fn begin(&self, _: &str, _: Stage, _: usize) {}

    fn advance(&self, _: &str, _: Stage) {}
}
