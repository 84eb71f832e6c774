//! What maintainer scripts do, without running them.
//!
//! A script is known by the SHA-256 of its text, or by its shape: it consists of generated parts that are known but for
//! their parameters. `effects/*.toml` lists what each does on a first installation into an empty system, as verbs with
//! parameters; the verbs are carried out here for one image. A verb whose program is not in the image (there is no dpkg,
//! no init) leaves out the state that only this program reads.

mod accounts;
mod alternatives;
mod apache;
mod architecture;
mod certificates;
mod distinguished_name;
mod files;
mod here_document;
mod keystore;
mod knowledge;
mod loader;
mod loader_cache;
mod local;
mod locales;
mod name_service;
mod names;
mod nginx;
mod pam;
mod php;
#[cfg(test)]
mod reference;
mod services;
mod shape;
mod shells;
mod system_users;
mod table;
mod temporary;
mod ucf;
mod verb;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use bundles_release::lock::{AccountName, Accounts, PackageName};

use crate::{
    Content, Entry, InstallError, InstallOptions, Kind, Owner, Package, PayloadError, Payloads, StatOverride,
    Tree, TreePath,
    install::{Diversion, Diversions},
    recorded::Left,
};

pub(crate) use knowledge::{Known, know, scripts_of};
pub use knowledge::{Level, ScriptKnowledge, UnknownPart, script_knowledge};
pub(crate) use names::Names;
pub use names::fixed_user;
pub(crate) use system_users::{
    accounts as accounts_of_configuration, configuration as accounts_configuration,
};
pub(crate) use verb::Verb;

/// Longest file that a verb reads.
const READ_LIMIT: u64 = 8 << 20;

/// Why an effect cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum EffectError {
    /// A user or group that the lock does not know.
    #[error("{kind} {name} has no id in the lock")]
    Account {
        /// `user` or `group`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A user or group that is neither in the lock nor in base-passwd.
    #[error("there is no {kind} {name}")]
    UnknownName {
        /// `user` or `group`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A path that must be a file is none.
    #[error("{path} is not a file of the image")]
    NotFile {
        /// The path.
        path: TreePath,
    },
    /// A file has not the form that the verb reads.
    #[error("{path} cannot be understood: {reason}")]
    Form {
        /// The path.
        path: TreePath,
        /// Why.
        reason: String,
    },
    /// A script that the table knows has no such here-document.
    #[error("there is no here-document {number} for {path} in the script")]
    HereDocument {
        /// The path.
        path: TreePath,
        /// Which one, counted from 1.
        number: usize,
    },
    /// A program would have to run.
    #[error("the image holds {path}, which would have to run: {reason}")]
    Runs {
        /// The program, or what asks for it.
        path: TreePath,
        /// What it makes.
        reason: String,
    },
    /// A path that must be free is taken.
    #[error("{path} is taken")]
    Taken {
        /// The path.
        path: TreePath,
    },
    /// A path leads through links that go round.
    #[error("{path} leads through links that never end")]
    Links {
        /// The path.
        path: TreePath,
    },
    /// A content cannot be read.
    #[error("{path} cannot be read")]
    Payload {
        /// The path.
        path: TreePath,
        /// Why.
        source: PayloadError,
    },
}

impl EffectError {
    /// What to do about it.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Account { .. } => Some("run `bundle lock`, which allocates ids"),
            _ => None,
        }
    }
}

/// An image while its packages are installed.
#[derive(Clone)]
pub(crate) struct Image<'a> {
    pub(crate) tree: Tree,
    pub(crate) packages: &'a [Package],
    pub(crate) payloads: &'a Payloads,
    pub(crate) options: &'a InstallOptions<'a>,
    pub(crate) accounts: Cow<'a, Accounts>,
    pub(crate) names: Names,
    /// The place of the package whose scripts run; none when all are through.
    pub(crate) configuring: Option<usize>,
    /// What recordings left.
    pub(crate) left: Left,
    /// The packages of which a recording had a part in it.
    pub(crate) recorded: BTreeSet<PackageName>,
    pub(crate) diversions: Diversions,
    /// In the order in which they were made.
    pub(crate) overrides: Vec<StatOverride>,
    pub(crate) alternatives: BTreeMap<String, alternatives::Group>,
    enabled_units: Vec<String>,
    /// Services that do not start by themselves.
    disabled: BTreeSet<String>,
    pending: Pending,
}

/// A program that would have to run, and what it makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) path: TreePath,
    pub(crate) reason: String,
}

/// What runs once, after all scripts.
#[derive(Default, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a trigger of its own")]
struct Pending {
    /// Whether real paths come last.
    shells: Option<bool>,
    more_shells: Vec<String>,
    /// Accounts that systemd-sysusers would make.
    locked: BTreeSet<String>,
    expired: BTreeSet<String>,
    /// Users and the groups that they join; a group may come from a package that is configured later.
    members: Vec<(String, String)>,
    pam: bool,
    shadow: bool,
    certificates: bool,
    java_certificates: bool,
    php: php::Php,
}

impl Pending {
    fn lock(&mut self, name: &AccountName, locked: bool) {
        if locked {
            self.locked.insert(name.to_string());
        }
    }
}

impl<'a> Image<'a> {
    pub(crate) fn new(
        tree: Tree,
        packages: &'a [Package],
        payloads: &'a Payloads,
        options: &'a InstallOptions<'a>,
    ) -> Self {
        Self {
            tree,
            packages,
            payloads,
            options,
            accounts: Cow::Borrowed(options.accounts),
            names: Names::new(options.accounts),
            configuring: None,
            left: Left::new(),
            recorded: BTreeSet::new(),
            diversions: Diversions::new(),
            overrides: Vec::new(),
            alternatives: BTreeMap::new(),
            enabled_units: Vec::new(),
            disabled: BTreeSet::new(),
            pending: Pending::default(),
        }
    }

    pub(crate) fn into_tree(self) -> Tree {
        self.tree
    }

    /// A package of the image by name.
    pub(crate) fn package(&self, name: &str) -> Option<&'a Package> {
        self.packages.iter().find(|package| package.name.as_str() == name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.package(name).is_some()
    }

    /// Takes note of the diversions that a script makes.
    pub(crate) fn note_diversions(&mut self, package: &Package, script: &Known) {
        for verb in &script.verbs {
            if let Verb::Divert { path, to } = verb {
                let diversion = Diversion { package: package.name.clone(), to: to.clone() };
                self.diversions.insert(path.clone(), diversion);
            }
        }
    }

    /// The program that would have to run for what is known of a script, if the image holds one.
    pub(crate) fn needed_program(&self, script: &Known) -> Option<Program> {
        script.verbs.iter().find_map(|verb| self.program(verb))
    }

    fn program(&self, verb: &Verb) -> Option<Program> {
        let (path, reason) = match verb {
            Verb::Without { path, reason } => (self.tree.lookup(path).map(|_| path.clone()), reason),
            Verb::WithoutAny { directory, suffix, reason } => {
                let directory = self.tree.follow(directory)?;
                let mut files = self.tree.below(&directory).map(|(path, _)| path);
                (files.find(|path| path.name().ends_with(suffix)).cloned(), reason)
            }
            _ => return None,
        };
        path.map(|path| Program { path, reason: reason.clone() })
    }

    /// Carries out what a script does.
    pub(crate) fn apply(&mut self, package: &Package, script: &Known) -> Result<(), EffectError> {
        self.carry_out(package, script, &script.verbs)
    }

    /// Carries out one verb that needs nothing of its script.
    pub(crate) fn carry_out_verb(&mut self, package: &Package, verb: &Verb) -> Result<(), EffectError> {
        self.carry_out(package, &Known::of_nothing(), std::slice::from_ref(verb))
    }

    fn carry_out(&mut self, package: &Package, script: &Known, verbs: &[Verb]) -> Result<(), EffectError> {
        let owner = Owner::Generated(package.name.as_str().into());
        for verb in verbs {
            match verb {
                Verb::Divert { .. } => {}
                Verb::Directory { path, mode, owner: names } => {
                    self.directory(&owner, path, *mode, names.as_deref())?;
                }
                Verb::File { path, mode, owner: names, beside } => {
                    if beside.as_ref().is_none_or(|beside| self.is_file(beside)) {
                        self.empty_file(&owner, path, *mode, names.as_deref())?;
                    }
                }
                Verb::Text { path, text } => self.new_file(&owner, path, text.clone())?,
                Verb::HereDocument { path, number } => {
                    let text = package.control_text(script.name.as_str()).unwrap_or_default();
                    let missing = || EffectError::HereDocument { path: path.clone(), number: *number };
                    let document = here_document::nth(text, *number).ok_or_else(missing)?;
                    self.new_file(&owner, path, document)?;
                }
                Verb::Copy { from, to } => self.copy(&owner, from, to)?,
                Verb::Symlink { path, target } => self.symlink(&owner, path, target)?,
                Verb::Permissions { path, mode, owner: names } => {
                    self.permissions(path, *mode, names.as_deref())?;
                }
                Verb::Owner { path, owner: names, deep } => self.own(path, names, *deep)?,
                Verb::Override { path, mode, owner: names } => self.dpkg_override(path, *mode, names)?,
                Verb::Capabilities { path, capabilities } => self.capabilities(path, *capabilities)?,
                Verb::RemoveEmpty { directory, prefix, suffix } => {
                    self.remove_empty(directory, prefix, suffix);
                }
                Verb::Alternative(alternative) => self.alternative(alternative),
                Verb::AlternativeArguments { arguments } => self.alternative(arguments.alternative()),
                Verb::ManualAlternative { folder, master } => {
                    self.manual_alternative(package, folder, master);
                }
                Verb::User { name, home, shell, group, comment, plain, locked, expired } => {
                    let comment = if *plain { comment.clone() } else { self.comment(comment) };
                    // Whoever is there already stays as he is.
                    if !self.is_listed("etc/passwd", name)? {
                        self.pending.lock(name, *locked);
                        if *expired {
                            self.pending.expired.insert(name.to_string());
                        }
                    }
                    self.user(name, home, shell, group.as_deref(), &comment)?;
                }
                Verb::Group { name, locked } => {
                    if !self.is_listed("etc/group", name)? {
                        self.pending.lock(name, *locked);
                    }
                    self.group(name)?;
                }
                Verb::SystemUsers { optional: true, .. } if !self.has_sysusers() => {}
                Verb::SystemUsers { name, .. } => {
                    let verbs = self.system_users(name)?;
                    self.carry_out(package, script, &verbs)?;
                }
                Verb::Member { user, group } => self.pending.members.push((user.clone(), group.clone())),
                Verb::LocalDirectories { list } => self.local_directories(&owner, list)?,
                Verb::TemporaryFiles { names } => self.temporary_files(names)?,
                Verb::Disabled { service } => {
                    self.disabled.insert(service.clone());
                }
                Verb::InitScript { name, levels } => {
                    self.init_script(&owner, name, levels.unwrap_or_default())?;
                }
                Verb::Unit { name, enabled } => self.unit(package, name, *enabled)?,
                Verb::UserUnit { name, enabled } => self.user_unit(package, name, *enabled)?,
                Verb::NginxModule { pair } => self.nginx_module(&owner, pair)?,
                Verb::ApacheConfiguration { name } => self.apache(&owner, name, &apache::CONFIGURATION)?,
                Verb::ApacheModule { name } => self.apache(&owner, name, &apache::MODULE)?,
                Verb::PhpModules { version, package, folder, modules } => {
                    self.php_modules(&owner, version, package, folder, modules)?;
                }
                Verb::PhpInterface { version, package, interface } => {
                    self.php_interface(&owner, version, package, interface)?;
                }
                Verb::RunitService { name } => self.runit_service(&owner, name)?,
                Verb::Ucf { package, from, to } => self.ucf(&owner, package, from, to)?,
                Verb::Without { .. } | Verb::WithoutAny { .. } => {
                    if let Some(Program { path, reason }) = self.program(verb) {
                        return Err(EffectError::Runs { path, reason });
                    }
                }
                Verb::NameService { service, databases } => self.name_service(&owner, service, databases)?,
                Verb::NativeArchitecture => self.native_architecture(package)?,
                Verb::Shells { real_last } => self.pending.shells = Some(*real_last),
                Verb::AddShell { path } => self.pending.more_shells.push(path.to_string()),
                Verb::Locales => {
                    let text = package.control_text(script.name.as_str()).unwrap_or_default();
                    self.locales(&owner, text)?;
                }
                Verb::Shadow => self.pending.shadow = true,
                Verb::Pam => self.pending.pam = true,
                Verb::Certificates => self.pending.certificates = true,
                Verb::JavaCertificates => self.pending.java_certificates = true,
            }
        }
        Ok(())
    }

    /// Carries out what runs once after all scripts.
    pub(crate) fn finish(&mut self) -> Result<(), InstallError> {
        let in_trigger = |trigger| move |source| InstallError::Trigger { trigger, source };
        self.enable_php_modules().map_err(in_trigger("phpenmod"))?;
        self.write_alternatives().map_err(in_trigger("update-alternatives"))?;
        if let Some(real_last) = self.pending.shells {
            self.write_shells(real_last).map_err(in_trigger("update-shells"))?;
        }
        self.add_shells().map_err(in_trigger("add-shell"))?;
        if self.pending.pam {
            self.write_pam().map_err(in_trigger("pam-auth-update"))?;
        }
        for (user, group) in std::mem::take(&mut self.pending.members) {
            self.member(&user, &group).map_err(in_trigger("adduser"))?;
        }
        if self.pending.shadow {
            self.write_shadow().map_err(in_trigger("shadowconfig"))?;
        } else {
            self.write_locked().map_err(in_trigger("systemd-sysusers"))?;
        }
        if self.pending.certificates {
            self.write_certificates().map_err(in_trigger("update-ca-certificates"))?;
        }
        if self.has("libc6") {
            self.write_loader_cache().map_err(in_trigger("ldconfig"))?;
        }
        Ok(())
    }

    /// The text of a file, links followed.
    fn text(&self, path: &TreePath) -> Result<String, EffectError> {
        let form = || EffectError::Form { path: path.clone(), reason: "it is not UTF-8".to_owned() };
        String::from_utf8(self.bytes(path)?).map_err(|_| form())
    }

    /// The content of a file, links followed.
    fn bytes(&self, path: &TreePath) -> Result<Vec<u8>, EffectError> {
        let not_file = || EffectError::NotFile { path: path.clone() };
        let (_, entry) = self.tree.lookup(path).ok_or_else(not_file)?;
        let Kind::File { content, .. } = &entry.kind else { return Err(not_file()) };
        let bytes = self
            .payloads
            .read(content, READ_LIMIT)
            .map_err(|source| EffectError::Payload { path: path.clone(), source })?;
        bytes.ok_or_else(|| EffectError::Form { path: path.clone(), reason: "it is too long".to_owned() })
    }

    /// Whether there is a file, links followed.
    fn is_file(&self, path: &TreePath) -> bool {
        self.tree.lookup(path).is_some_and(|(_, entry)| matches!(entry.kind, Kind::File { .. }))
    }

    /// Writes a file; what was there is replaced and keeps mode and owner.
    pub(crate) fn write(
        &mut self,
        by: &Owner,
        path: &TreePath,
        bytes: Vec<u8>,
        mode: u32,
    ) -> Result<(), EffectError> {
        let at = self.tree.follow(path).ok_or_else(|| EffectError::Links { path: path.clone() })?;
        let (mode, uid, gid) = match self.tree.get(&at) {
            Some(entry) if matches!(entry.kind, Kind::Directory) => {
                return Err(EffectError::Taken { path: path.clone() });
            }
            Some(entry) => (entry.mode, entry.uid, entry.gid),
            None => (mode, 0, 0),
        };
        let kind = Kind::File { content: Content::bytes(bytes), linked: false };
        self.tree.insert(at, Entry { kind, mode, uid, gid, mtime: self.options.epoch, owner: by.clone() });
        Ok(())
    }

    /// The numeric form of `user:group`.
    fn ids(&self, names: Option<&str>) -> Result<(u32, u32), EffectError> {
        let Some((user, group)) = names.and_then(|names| names.split_once(':')) else { return Ok((0, 0)) };
        let unknown = |kind, name: &str| EffectError::UnknownName { kind, name: name.to_owned() };
        let uid = self.names.user(user).ok_or_else(|| unknown("user", user))?;
        let gid = self.names.group(group).ok_or_else(|| unknown("group", group))?;
        Ok((uid, gid))
    }
}
