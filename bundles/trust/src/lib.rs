//! Keys, signatures, trust root, channel records and the decisions about them.
