//! Restore points of data services.
