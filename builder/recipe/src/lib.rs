//! The recipe language: parse, check, resolve environments.
//!
//! A platform is a folder: `bundle.toml`, `environments/*.toml`, and one folder for each recipe with its
//! `recipe.toml` and its own files. All of it is data. [`Platform::parse`] is pure; [`Platform::load`] reads the
//! folder first. `trust.toml`, which need not lie there, says who may sign what. Every problem is reported with file, line, column and a way out, all problems at once.

mod check;
mod document;
mod folder;
mod image;
mod image_platform;
mod load;
mod manifest;
mod name;
mod pattern;
mod platform;
mod problem;
mod reader;
mod rules;
mod schema;
mod trust;

pub use document::{Document, Location};
pub use folder::{FolderEntry, PlatformFolder};
pub use image::{FileRule, Image, ImageUser, RecipeDocument, SourceFile};
pub use image_platform::ImagePlatform;
pub use load::LoadError;
pub use manifest::{
    EnvironmentDocument, Off, PlatformDocument, PlatformManifest, SandboxPolicy, ScalingOverride,
    ScriptPolicy, ServiceOverride, Suite,
};
pub use pattern::SourcePattern;
pub use platform::{Environment, Platform, Recipe};
pub use problem::{Problem, Problems};
pub use schema::{environment_schema, platform_schema, recipe_schema, trust_schema};
pub use trust::{OwnerKeys, RoleOwners, TrustDocument, TrustFile, TrustRoles};
