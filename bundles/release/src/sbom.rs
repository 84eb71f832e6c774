//! The bill of materials: SPDX 2.3 in JSON, wholly derived from the lock. Equal locks give equal bytes: the document is
//! named by the digest of the lock and dated by its newest suite.

mod document;

use std::{collections::BTreeMap, fmt, fmt::Write as _};

use jiff::Timestamp;
use registry_wire::Digest;
use serde::{Deserialize, Serialize};

use self::document::{
    Checksum, CreationInfo, ExternalReference, Package, Relationship, RelationshipKind, SpdxDocument,
};
use crate::{
    ProductName, canonical,
    lock::{Lock, LockedPackage, LockedSuite, PackageKey, PackageName, RecipeName},
};

/// How it is known what the maintainer scripts of a package did in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScriptLevel {
    /// It has none.
    None,
    /// Their effects are declared, and none of them ran.
    Declared,
    /// One of them ran once, in a sandbox, and what it did was recorded.
    Recorded,
}

impl fmt::Display for ScriptLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "none",
            Self::Declared => "declared",
            Self::Recorded => "recorded",
        })
    }
}

/// The levels of the packages of each image.
pub type ScriptLevels = BTreeMap<RecipeName, BTreeMap<PackageName, ScriptLevel>>;

/// A lock of which no bill of materials can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SbomError {
    /// The lock has no suite whose date could date the document.
    #[error("the lock {lock} has no suite, so its bill of materials has no date")]
    NoDate {
        /// Digest of the lock.
        lock: Digest,
    },
    /// A package comes from a suite that the lock does not have.
    #[error("the package {package} of the lock {lock} comes from a suite that the lock does not have")]
    NoSuite {
        /// Digest of the lock.
        lock: Digest,
        /// The package.
        package: PackageKey,
    },
    /// A recipe lists a package that the lock does not have.
    #[error("the recipe {recipe} lists the package {package}, which the lock {lock} does not have")]
    NoPackage {
        /// Digest of the lock.
        lock: Digest,
        /// The recipe.
        recipe: RecipeName,
        /// The package.
        package: PackageKey,
    },
}

/// The bill of materials of `product`: one package for each locked Debian package, with the name that vulnerability
/// databases know it by (package URL), its hash and its source package, contained in the recipes that install it. How
/// what its maintainer scripts did in an image is known stands beside that, as far as `scripts` says.
pub fn spdx(lock: &Lock, product: &ProductName, scripts: &ScriptLevels) -> Result<Vec<u8>, SbomError> {
    let digest = lock.digest();
    let created = lock
        .epoch()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or(SbomError::NoDate { lock: digest })?;
    let product_id = "SPDXRef-Product".to_owned();
    let mut packages = vec![Package::of_ours(product_id.clone(), product.to_string(), "APPLICATION")];
    let mut relationships = vec![Relationship::new(
        document::DOCUMENT_ID.to_owned(),
        RelationshipKind::Describes,
        product_id.clone(),
    )];
    for name in lock.recipes.keys() {
        let id = recipe_id(name);
        packages.push(Package::of_ours(id.clone(), name.to_string(), "CONTAINER"));
        relationships.push(Relationship::new(product_id.clone(), RelationshipKind::Contains, id));
    }
    let mut locked: Vec<&LockedPackage> = lock.packages.iter().collect();
    locked.sort_by_key(|package| package.key());
    for package in locked {
        let suite = lock
            .suite(&package.suite)
            .ok_or_else(|| SbomError::NoSuite { lock: digest, package: package.key() })?;
        packages.push(debian_package(package, suite));
    }
    for (name, recipe) in &lock.recipes {
        for key in recipe.packages() {
            if lock.package(key).is_none() {
                return Err(SbomError::NoPackage {
                    lock: digest,
                    recipe: name.clone(),
                    package: key.clone(),
                });
            }
            let level = scripts.get(name).and_then(|packages| packages.get(&key.name));
            relationships.push(
                Relationship::new(recipe_id(name), RelationshipKind::Contains, package_id(key))
                    .with_comment(level.map(|level| format!("maintainer scripts: {level}"))),
            );
        }
    }
    Ok(canonical::write(&SpdxDocument {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: document::DOCUMENT_ID,
        name: product.to_string(),
        namespace: format!("https://bundle.build/spdx/{product}/{}", digest.hex()),
        creation: CreationInfo { created: created.to_string(), creators: vec!["Tool: bundle".to_owned()] },
        packages,
        relationships,
    }))
}

fn debian_package(package: &LockedPackage, suite: &LockedSuite) -> Package {
    let purl = |name: &str, version: &str, architecture: &str| {
        let url = format!(
            "pkg:deb/{}/{}@{}?arch={}&distro={}",
            percent_encoded(&suite.origin.as_str().to_lowercase()),
            percent_encoded(name),
            percent_encoded(version),
            percent_encoded(architecture),
            percent_encoded(suite.codename.as_str()),
        );
        ExternalReference { category: "PACKAGE-MANAGER", kind: "purl", locator: url }
    };
    let source = &package.source;
    Package {
        name: package.name.to_string(),
        id: package_id(&package.key()),
        version: Some(package.version.as_str().to_owned()),
        file_name: Some(package.path.as_str().rsplit('/').next().unwrap_or_default().to_owned()),
        supplier: Some(format!("Organization: {}", suite.origin)),
        checksums: vec![Checksum { algorithm: "SHA256", value: package.sha256.hex() }],
        source: Some(format!("built from the source package {} {}", source.name, source.version.as_str())),
        references: vec![
            purl(package.name.as_str(), package.version.as_str(), package.architecture.as_str()),
            purl(source.name.as_str(), source.version.as_str(), "source"),
        ],
        ..Package::unknown()
    }
}

fn recipe_id(name: &RecipeName) -> String {
    format!("SPDXRef-Recipe-{name}")
}

/// Identifiers allow letters, digits, dots and dashes only; the hash keeps `g++` and `g--` apart.
fn package_id(key: &PackageKey) -> String {
    let plain = |text: &str| -> String {
        text.chars()
            .map(|letter| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' })
            .collect()
    };
    let hash = Digest::of(key.to_string().as_bytes()).short();
    format!(
        "SPDXRef-Package-{}-{}-{}-{hash}",
        plain(key.suite.as_str()),
        plain(key.name.as_str()),
        key.architecture
    )
}

/// Percent-encodes one component of a package URL; colons stay as they are.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            #[allow(clippy::expect_used, reason = "writing to a string cannot fail")]
            write!(encoded, "%{byte:02X}").expect("a string takes everything");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_of_package_urls() {
        for (text, encoded) in [
            ("libstdc++6", "libstdc%2B%2B6"),
            ("5:7.0.15-1~deb12u1", "5:7.0.15-1~deb12u1"),
            ("1.2+dfsg", "1.2%2Bdfsg"),
            ("a b/c", "a%20b%2Fc"),
        ] {
            assert_eq!(percent_encoded(text), encoded);
        }
    }

    #[test]
    fn identifiers_differ_where_their_letters_do_not() {
        let id = |key: &str| package_id(&key.parse().unwrap());
        assert_ne!(id("trixie/g++:amd64"), id("trixie/g--:amd64"));
        assert!(
            id("bookworm/updates/libstdc++6:amd64")
                .starts_with("SPDXRef-Package-bookworm-updates-libstdc--6-amd64-")
        );
    }
}
