//! Step graph and store: from a locked platform to images.
