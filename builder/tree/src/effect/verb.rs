//! The verbs: everything that a script can be declared to do. `docs/effects.md` is made of this page.

use bundles_release::lock::AccountName;
use serde::{Deserialize, Serialize};

use super::{
    alternatives::{Alternative, AlternativeArguments},
    local::LocalDirectories,
    services::Levels,
};
use crate::{Capabilities, TreePath};

/// What a script does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "verb", deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub(crate) enum Verb {
    /// A directory, if there is none.
    Directory { path: TreePath, mode: u32, owner: Option<String> },
    /// An empty file, if there is none; mode and owner in any case. With `beside` only if that file is there.
    File { path: TreePath, mode: u32, owner: Option<String>, beside: Option<TreePath> },
    /// A file with that text, if there is none yet.
    Text { path: TreePath, text: String },
    /// A file with a here-document of the script, counted from 1, if there is none yet.
    HereDocument { path: TreePath, number: usize },
    /// A copy with mode and owner, if there is no file yet.
    Copy { from: TreePath, to: TreePath },
    /// A symbolic link in place of whatever file was there.
    Symlink { path: TreePath, target: String },
    /// Mode and owner of what exists.
    Permissions { path: TreePath, mode: u32, owner: Option<String> },
    /// Owner of what exists; of all below too with `deep`.
    Owner {
        path: TreePath,
        owner: String,
        #[serde(default)]
        deep: bool,
    },
    /// Mode and owner, and dpkg remembers it.
    Override { path: TreePath, mode: u32, owner: String },
    /// What a program may do without being root's, as `setcap` takes it, in place of the setuid bit; that bit where the
    /// image has no `setcap`.
    Capabilities { path: TreePath, capabilities: Capabilities },
    /// Empty directories directly in `directory` go.
    RemoveEmpty { directory: TreePath, prefix: String, suffix: String },
    /// Other packages' files at `path` go to `to`.
    Divert { path: TreePath, to: TreePath },
    /// A choice between programs of one purpose.
    Alternative(Alternative),
    /// The same, as the arguments of `update-alternatives --install`.
    AlternativeArguments { arguments: AlternativeArguments },
    /// The manual pages that the package brings in `folder`, there in `man` of the version that its name ends with, as one
    /// alternative: `master` and, with it, all others. The higher version wins.
    ManualAlternative { folder: TreePath, master: String },
    /// A system user, with a group of its own name or in an existing one.
    User {
        name: AccountName,
        home: TreePath,
        shell: TreePath,
        group: Option<String>,
        #[serde(default)]
        comment: String,
        /// Whether useradd makes it, which takes the comment as it is.
        #[serde(default)]
        plain: bool,
        /// Whether systemd-sysusers would make it, which marks the password in another way.
        #[serde(default)]
        locked: bool,
        /// Whether it has expired as well.
        #[serde(default)]
        expired: bool,
    },
    /// A system group.
    Group {
        name: AccountName,
        #[serde(default)]
        locked: bool,
    },
    /// The accounts of a configuration of systemd-sysusers; with `optional` only if the image has that program.
    SystemUsers {
        name: String,
        #[serde(default)]
        optional: bool,
    },
    /// A user becomes a member of a group.
    Member { user: String, group: String },
    /// Directories below /usr/local, as `dh_usrlocal` lists them: path and `default`, or path, mode, user and group.
    LocalDirectories { list: LocalDirectories },
    /// Configurations of temporary files are carried out together, if the image has systemd-tmpfiles.
    TemporaryFiles { names: String },
    /// Links for an init script in the directories of its run levels; `levels` as `update-rc.d` takes it.
    InitScript { name: String, levels: Option<Levels> },
    /// A service is not to start by itself, though a generated part of the same script enables it.
    Disabled { service: String },
    /// A systemd unit is enabled, or only noted.
    Unit {
        name: String,
        #[serde(default = "yes")]
        enabled: bool,
    },
    /// A unit of users' systemd is enabled for all users, or only noted.
    UserUnit {
        name: String,
        #[serde(default = "yes")]
        enabled: bool,
    },
    /// A module of nginx is linked into its configuration; `pair` is the file, a colon, and the name of the link.
    NginxModule { pair: String },
    /// A configuration of Apache is enabled, if the image has Apache.
    ApacheConfiguration { name: String },
    /// A module of Apache is enabled, if the image has Apache.
    ApacheModule { name: String },
    /// Modules of PHP get their configurations and are enabled in every interface of that version.
    PhpModules { version: String, package: String, folder: String, modules: String },
    /// An interface of PHP gets its configuration, and the modules of its version.
    PhpInterface { version: String, package: String, interface: String },
    /// A service of runit is enabled.
    RunitService { name: String },
    /// A configuration that ucf keeps is copied and noted.
    Ucf { package: String, from: TreePath, to: TreePath },
    /// Nothing, as long as this file is not in the image: the script would run a program whose result is not known.
    Without { path: TreePath, reason: String },
    /// Nothing, as long as no file of this kind is directly in the folder.
    WithoutAny { directory: TreePath, suffix: String, reason: String },
    /// A service of names comes last in these databases.
    NameService { service: String, databases: Vec<String> },
    /// dpkg writes down its own architecture.
    NativeArchitecture,
    /// The list of shells is made.
    Shells {
        #[serde(default)]
        real_last: bool,
    },
    /// One more shell is listed.
    AddShell { path: TreePath },
    /// The locales that could be made are listed below the first here-document of the script; none is made.
    Locales,
    /// Passwords move to files of their own.
    Shadow,
    /// The common PAM configuration is made.
    Pam,
    /// The certificates of authorities are listed and collected.
    Certificates,
    /// The same certificates enter Java's store, if the image has Java.
    JavaCertificates,
}

const fn yes() -> bool {
    true
}

impl Verb {
    /// The verb and its parameters on one line.
    pub(crate) fn line(&self) -> String {
        let Ok(table) = toml::Table::try_from(self) else { return format!("{self:?}") };
        let verb = table.get("verb").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        let show = |(key, value): (&String, &toml::Value)| match value {
            toml::Value::String(text) => format!(" {key}={text}"),
            toml::Value::Integer(mode) if key == "mode" => format!(" {key}={mode:04o}"),
            other => format!(" {key}={other}"),
        };
        table.iter().filter(|(key, _)| *key != "verb").map(show).fold(verb, |line, part| line + &part)
    }
}
