//! Client of any OCI registry.
//!
//! Invariants: bytes are given out only with the digest that they were asked by; every body has a limit; *absent* is
//! said only when the registry said so in its own words, every other failure is an error, so that nothing is ever
//! taken for gone because it could not be asked for; requests are repeated only where a repetition changes nothing;
//! credentials go to the registry's own origin and to no other. Deliberately absent: reading the `urls` of a
//! descriptor, and any default registry.
//!
//! ```no_run
//! use registry_client::{Registry, Scheme};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::new("registry.internal:5000".parse()?, Scheme::Https)?;
//! let manifest = registry.get_manifest(&"shop/api".parse()?, &"v1".parse()?).await?;
//! # Ok(())
//! # }
//! ```

mod attempts;
mod authentication;
mod blobs;
mod error;
mod listing;
mod manifests;
mod options;
mod referrers;
mod source;
mod tls;
mod transport;

pub use blobs::{Mounted, Pushed};
pub use error::ClientError;
pub use manifests::ManifestChange;
pub use options::{Credentials, Options, Progress, Scheme, SchemeError};
pub use source::BlobSource;
pub use transport::Registry;
