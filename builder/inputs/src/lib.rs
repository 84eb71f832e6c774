//! Lock and fetch of Debian packages.
