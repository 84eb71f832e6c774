//! From a locked platform to images: step keys, the store, and the order of the steps.
//!
//! Three kinds of steps: *unpack* (one `.deb` → its payload and what it lists), *fragment* (one package's part of a
//! layer → compressed bytes), *image* (everything a recipe says → layers, configuration, manifest). The key of a step is
//! the hash of its kind, its parameters and the content of its inputs, so a step whose inputs did not change is not
//! run, whatever times or names changed around it.
//!
//! Invariants: no network; nothing is visible in the store before it is complete; a result is found by key only if the
//! store vouches for its bytes; two builds never work in one store at the same time.

mod builder;
mod error;
mod identity;
mod program;
mod progress;
mod roots;
mod source;
mod step;
mod store;

pub use builder::{BuildRequest, Builder, BuiltImage, ImageRequest, Origin};
pub use error::BuildError;
pub use program::ProgramError;
pub use progress::{Progress, Stage};
pub use roots::{Collected, Keep};
pub use source::{SourceError, SourceInput};
pub use store::{Store, StoreError};
