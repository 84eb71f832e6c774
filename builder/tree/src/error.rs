//! Why packages do not make a tree.

use bundles_release::lock::PackageName;
use registry_wire::Digest;

use crate::{EffectError, PayloadError, TreePath};

/// Why packages do not make a tree.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A path leads through links that go round.
    #[error("package {package}: {path} leads through links that never end")]
    Links {
        /// The package.
        package: PackageName,
        /// The path.
        path: TreePath,
    },
    /// Two owners want one path.
    #[error("{path} belongs to {first} ({first_kind}) and to package {second} ({second_kind}); {rule}")]
    Conflict {
        /// The path.
        path: TreePath,
        /// Who had it.
        first: String,
        /// What it is there.
        first_kind: &'static str,
        /// Who wants it too.
        second: PackageName,
        /// What it is there.
        second_kind: &'static str,
        /// The rule that refuses it.
        rule: &'static str,
    },
    /// A hard link to a path that is gone.
    #[error("package {package}: {path} is a hard link to {target}, which is not in the tree")]
    HardLink {
        /// The package.
        package: PackageName,
        /// The path.
        path: TreePath,
        /// What it should link to.
        target: TreePath,
    },
    /// A maintainer script that the table does not know.
    #[error("package {package}: its {script} ({digest}) is not known, so what it does is not known either; it seems to use {}", verbs.join(", "))]
    UnknownScript {
        /// The package.
        package: PackageName,
        /// `preinst`, `postinst` or `config`.
        script: &'static str,
        /// SHA-256 of its text.
        digest: Digest,
        /// Programs that its text names.
        verbs: Vec<&'static str>,
    },
    /// What a script does cannot be done.
    #[error("package {package}: what its {script} does cannot be done")]
    Effect {
        /// The package.
        package: PackageName,
        /// `preinst` or `postinst`.
        script: &'static str,
        /// Why.
        source: EffectError,
    },
    /// What runs once after all scripts cannot be done.
    #[error("{trigger} cannot be done")]
    Trigger {
        /// What should run.
        trigger: &'static str,
        /// Why.
        source: EffectError,
    },
    /// A content could not be read.
    #[error("package {package}: a file cannot be read")]
    Payload {
        /// The package.
        package: PackageName,
        /// Why.
        source: PayloadError,
    },
    /// A file of the recipe has no place.
    #[error("{path} of the recipe cannot be placed: {reason}")]
    Source {
        /// Path in the image.
        path: TreePath,
        /// Why.
        reason: &'static str,
    },
}

impl InstallError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownScript { package, .. } => Some(format!(
                "leave {package} out of the recipe, or add its script to the table of effects after reading it"
            )),
            Self::Effect { source, .. } | Self::Trigger { source, .. } => source.hint().map(str::to_owned),
            Self::Conflict { .. } => Some("leave one of the two out of the recipe".to_owned()),
            _ => None,
        }
    }
}
