//! Layer plan, tar and gzip encoders, OCI images.
//!
//! The bytes of an image depend on its tree and on nothing else: not on the machine, its clock, its file system or the
//! number of threads. [`TAR_ENCODER`] and [`GZIP_ENCODER`] name the two encodings; golden bytes in the tests pin them,
//! and a change of the bytes is a new name.

mod config;
mod fragment;
mod gzip;
mod layer;
mod layout;
mod manifest;
mod tar;

pub use config::{ImageConfig, Process};
pub use fragment::{Fragment, FragmentIndex, plan};
pub use gzip::{GZIP_ENCODER, GzipEncoder, gunzip_member};
pub use layer::{Layer, LayerError, LayerWriter};
pub use layout::{LayoutError, NamedImage, export_layout};
pub use manifest::{EncodedImage, EncodedIndex};
pub use tar::{END, EncodeError, TAR_ENCODER, encode_segment};
