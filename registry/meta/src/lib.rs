//! Repositories, tags, manifests and uploads in a database.
