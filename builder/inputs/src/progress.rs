//! What a person sees while bytes arrive.

/// Told how fetching goes. Called from several threads.
pub trait Progress: Send + Sync {
    /// So many files with so many bytes will be fetched, on top of those announced before.
    fn begin(&self, files: usize, bytes: u64);

    /// So many more bytes have arrived. Less than announced may come when a file is taken from elsewhere.
    fn advance(&self, bytes: u64);

    /// A file is there and verified.
    fn done(&self, name: &str);

    /// Something worth a line, such as a damaged file that is fetched again.
    fn note(&self, text: &str);
}

/// Tells nobody.
impl Progress for () {
    fn begin(&self, _files: usize, _bytes: u64) {}

    fn advance(&self, _bytes: u64) {}

    fn done(&self, _name: &str) {}

    fn note(&self, _text: &str) {}
}
