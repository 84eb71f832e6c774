//! The image part of a recipe: what is in the image and how its process starts.

use std::{collections::BTreeMap, fmt, str::FromStr};

use bundles_objects::{
    AbsolutePath, Port, Service, SourcePath, TextError, UserId, VariableName, text_type_traits,
};
use bundles_release::lock::{AccountName, Constraint, PackageName, SuiteName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ImagePlatform, SourcePattern,
    name::{ConstraintText, PackageNameText, SuiteNameText},
};

/// A recipe: one image and how it runs as a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "recipe.toml")]
pub struct RecipeDocument {
    /// What is in the image and how its process starts.
    pub image: Image,
    /// How the image runs. A recipe without it makes an image only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
}

/// What is in the image and how its process starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Image {
    /// The suite that packages come from; the platform's default unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<SuiteNameText>")]
    pub suite: Option<SuiteName>,
    /// Debian packages by name. Versions and hashes are in `bundle.lock`, as is what these packages depend on.
    #[schemars(with = "Vec<PackageNameText>")]
    pub packages: Vec<PackageName>,
    /// Whether all packages marked essential are in the image, as in an installed Debian system. Without them only
    /// base-files, base-passwd and what `packages` need are.
    #[serde(default)]
    pub essential: bool,
    /// Those of `packages` of which what they recommend is in the image too, as far as it can be installed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<PackageNameText>")]
    pub recommends: Vec<PackageName>,
    /// Versions that a package may have, such as `"= 5:7.0.15-1~deb12u5"` or `"<< 6"`. It need not be one of `packages`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<PackageNameText, ConstraintText>")]
    pub pins: BTreeMap<PackageName, Constraint>,
    /// Packages that keep the version of `bundle.lock` when it moves on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<PackageNameText>")]
    pub holds: Vec<PackageName>,
    /// Files of the recipe's folder that are in the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileRule>,
    /// Who the process runs as: `uid:gid` or the name of an account that a package makes. Never root.
    pub user: ImageUser,
    /// The program and its first arguments. There is no shell.
    #[schemars(length(min = 1))]
    pub entrypoint: Vec<String>,
    /// Further arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Environment variables that belong to the image. What differs between environments is in `[service.env]`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<VariableName, String>,
    /// Ports that the process listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// The folder that the process starts in; / unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<AbsolutePath>,
    /// What the image is built for. For several it is an index with an image for each; nothing of them is run, so any
    /// machine builds all of them. Their order carries no meaning.
    #[serde(default = "default_platforms")]
    #[schemars(length(min = 1))]
    pub platforms: Vec<ImagePlatform>,
}

fn default_platforms() -> Vec<ImagePlatform> {
    vec![ImagePlatform::default()]
}

/// Files of the recipe's folder that are in the image. They belong to root and have mode 0644, or 0755 when their
/// owner may execute them; folders have mode 0755.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FileRule {
    /// A file, a folder with all that is in it, or a pattern with `*`, `?` and `**`.
    pub source: SourcePattern,
    /// Where a file goes, or the folder that the content of a folder or the matches of a pattern go to.
    pub target: AbsolutePath,
}

/// A file of the recipe's folder and its place in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Path in the recipe's folder.
    pub source: SourcePath,
    /// Path in the image.
    pub target: AbsolutePath,
    /// Whether its mode is 0755; otherwise 0644.
    pub executable: bool,
}

impl SourceFile {
    /// The mode in the image.
    pub const fn mode(&self) -> u32 {
        if self.executable { 0o755 } else { 0o644 }
    }
}

/// The user that the process of an image runs as.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ImageUser {
    /// By numbers.
    Numeric(UserId),
    /// By the name of an account that a package makes; the lock says its numbers.
    Account(AccountName),
}

impl ImageUser {
    const EXPECTED: &str =
        "a user: uid:gid with two numbers above 0, or the name of an account other than root";
}

impl FromStr for ImageUser {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let numeric = text.parse().map(Self::Numeric);
        let account =
            || text.parse().ok().filter(|name: &AccountName| name.as_str() != "root").map(Self::Account);
        numeric.ok().or_else(account).ok_or_else(|| TextError::new(text, Self::EXPECTED))
    }
}

impl fmt::Display for ImageUser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numeric(user) => user.fmt(formatter),
            Self::Account(name) => name.fmt(formatter),
        }
    }
}

text_type_traits!(
    ImageUser,
    "^([1-9][0-9]*:[1-9][0-9]*|[A-Za-z_][A-Za-z0-9_-]{0,31})$",
    ImageUser::EXPECTED,
    "65532:65532"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users() {
        for good in ["65532:65532", "redis", "_apt", "www-data", "Debian-exim"] {
            assert_eq!(good.parse::<ImageUser>().map(|user| user.to_string()).as_deref(), Ok(good));
        }
        for bad in ["root", "0:0", "0:65532", "65532", "", "1redis", "a b"] {
            assert!(bad.parse::<ImageUser>().is_err(), "{bad}");
        }
    }
}
