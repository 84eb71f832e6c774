//! The lock: every input by hash, and how it was authenticated.
