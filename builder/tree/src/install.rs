//! From packages to a tree, the way dpkg would.

mod relation;
mod runs;
mod source;
mod unpack;
mod volatile;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use relation::replaces;
use runs::Installation;
pub use runs::{RecordScriptsError, Recorded, Recorder, UnknownRun, record_scripts, unknown_scripts};
pub use source::{SourceFile, place_sources};
pub(crate) use unpack::place_of;

use builder_inputs::{AccountKind, AccountRequest};
use bundles_release::{
    lock::{Accounts, PackageName},
    sbom::ScriptLevel,
};
use registry_wire::Digest;

use crate::{
    AccountEffects, Entry, InstallError, Kind, Owner, Package, PackageError, Payloads, Recordings,
    ScriptName, Tree, TreePath,
    effect::{Names, Verb, accounts_configuration, accounts_of_configuration, know, scripts_of},
    record,
};

/// What decides about a tree besides its packages.
#[derive(Debug, Clone)]
pub struct InstallOptions<'a> {
    /// Ids of users and groups that packages make.
    pub accounts: &'a Accounts,
    /// Whole seconds since 1970: the time of generated files, and the latest time of any file.
    pub epoch: i64,
    /// What unknown scripts did.
    pub recordings: &'a Recordings,
}

/// Users and groups that the scripts of `packages` make, in the order in which they would.
///
/// `read` gives the content of a file of a package, for those that list their accounts in one. Of a script that is neither
/// known nor recorded nobody knows what it makes.
pub fn accounts_needed(
    packages: &[Package],
    recordings: &Recordings,
    read: impl Fn(&Package, &TreePath) -> Result<Option<Vec<u8>>, PackageError>,
) -> Result<Vec<AccountRequest>, InstallError> {
    let fixed = Names::fixed();
    let mut requests = Vec::new();
    for package in packages {
        for verb in account_verbs(package, recordings) {
            match &verb {
                Verb::SystemUsers { name, .. } => {
                    let path = accounts_configuration(name);
                    let wrong = |reason| InstallError::Accounts {
                        package: package.name.clone(),
                        path: path.clone(),
                        reason,
                    };
                    let bytes = read(package, &path)
                        .map_err(|source| InstallError::Package { source: Box::new(source) })?
                        .ok_or_else(|| wrong("the package does not bring it".to_owned()))?;
                    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
                    let verbs = accounts_of_configuration(&text).map_err(wrong)?;
                    requests.extend(verbs.iter().filter_map(|verb| request(verb, &fixed)));
                }
                verb => requests.extend(request(verb, &fixed)),
            }
        }
    }
    Ok(requests)
}

/// What the scripts of a package do, as far as it is declared or recorded.
fn account_verbs(package: &Package, recordings: &Recordings) -> Vec<Verb> {
    // What is declared may be recorded too, for images in which it cannot be done.
    let of = |(name, text): (ScriptName, &str)| {
        let declared = know(name, text, &package.architecture).map(|known| known.verbs).unwrap_or_default();
        let recorded = recordings.account_verbs(package, name, Digest::of(text.as_bytes()));
        declared.into_iter().chain(recorded.into_iter().cloned()).collect::<Vec<_>>()
    };
    scripts_of(package).flat_map(of).collect()
}

impl AccountEffects {
    /// The accounts that need ids.
    pub fn requests(&self) -> Vec<AccountRequest> {
        let fixed = Names::fixed();
        self.verbs().iter().filter_map(|verb| request(verb, &fixed)).collect()
    }
}

/// The account that a verb makes.
fn request(verb: &Verb, fixed: &Names) -> Option<AccountRequest> {
    let (name, kind) = match verb {
        Verb::User { name, group: Some(group), .. } => match fixed.group(group) {
            Some(group) => (name, AccountKind::User { group }),
            None => match group.parse() {
                Ok(group) if group != *name => (name, AccountKind::UserIn { group }),
                _ => (name, AccountKind::UserWithGroup),
            },
        },
        Verb::User { name, .. } => (name, AccountKind::UserWithGroup),
        Verb::Group { name, .. } => (name, AccountKind::Group),
        _ => return None,
    };
    Some(AccountRequest { name: name.clone(), kind })
}

/// What was made of packages.
#[derive(Debug, Clone)]
pub struct Installed {
    /// The files.
    pub tree: Tree,
    /// The packages of which a recording had a part in them.
    recorded: BTreeSet<PackageName>,
}

impl Installed {
    /// How it was known what the scripts of a package do. Of all that is neither declared nor recorded nothing is made.
    pub fn script_level(&self, package: &Package) -> ScriptLevel {
        if scripts_of(package).next().is_none() {
            ScriptLevel::None
        } else if self.recorded.contains(&package.name) {
            ScriptLevel::Recorded
        } else {
            ScriptLevel::Declared
        }
    }
}

/// Makes the tree of `packages`, in the order in which they are configured.
///
/// `payloads` must know the payload of every package.
pub fn install(
    packages: &[Package],
    payloads: &Payloads,
    options: &InstallOptions<'_>,
) -> Result<Installed, InstallError> {
    if packages.is_empty() {
        return Ok(Installed { tree: Tree::new(options.epoch), recorded: BTreeSet::new() });
    }
    let mut image = Installation::begin(packages, payloads, options)?.run()?;
    image.finish()?;
    record::write(&mut image)?;
    image.check_left()?;
    let recorded = std::mem::take(&mut image.recorded);
    let mut tree = image.into_tree();
    volatile::remove_volatile(&mut tree);
    clamp(&mut tree, options.epoch);
    Ok(Installed { tree, recorded })
}

/// /usr is merged before anything is unpacked, so that no package's /lib replaces the link.
fn merge_usr(tree: &mut Tree, packages: &[Package], epoch: i64) {
    let has_lib64 = packages.iter().any(|package| package.architecture.as_str() == "amd64");
    let owner = Owner::Generated("merged-usr".into());
    let entry = |kind, mode| Entry { kind, mode, uid: 0, gid: 0, mtime: epoch, owner: owner.clone() };
    for name in ["bin", "lib", "lib64", "sbin"] {
        if name != "lib64" || has_lib64 {
            let target = format!("usr/{name}");
            tree.insert(TreePath::known(&target), entry(Kind::Directory, 0o755));
            tree.insert(TreePath::known(name), entry(Kind::Symlink(target), 0o777));
        }
    }
}

fn clamp(tree: &mut Tree, epoch: i64) {
    let paths: Vec<TreePath> =
        tree.iter().filter(|(_, entry)| entry.mtime > epoch).map(|(path, _)| path.clone()).collect();
    for path in paths {
        if let Some(entry) = tree.get_mut(&path) {
            entry.mtime = epoch;
        }
    }
}

/// A diversion of dpkg: what other packages than `package` bring to one path goes to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diversion {
    pub(crate) package: PackageName,
    pub(crate) to: TreePath,
}

/// Diversions by diverted path.
pub(crate) type Diversions = BTreeMap<TreePath, Diversion>;
