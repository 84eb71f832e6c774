//! `bundle trust`: who may sign what.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use builder_recipe::{Problem, RoleOwners, TrustFile};
use bundles_trust::{
    Document as _, Owner, Payload, Revoked, Role, RoleKeys, RootRefusal, SignatureBundle, Signed, SignedRoot,
    TrustRoot, TrustRootParts, TrustedKey, TrustedRoot,
};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    command::Context,
    error::{CommandError, Kind, OfKind as _},
    keys::{self, KeyFileAccessError},
    root_file::{self, RootFile},
};

/// A trust root has less than 64 keys.
const LONGEST_FILE: u64 = 64 << 10;

/// Make and show trust roots: who may sign what.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make the first trust root of a product from trust.toml, signed with root keys. An existing root is kept.
    Init {
        /// trust.toml: product, owners with their public keys, roles; `bundle schema trust` describes it.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// A private key of an owner of the role root (repeatable). The password comes from `BUNDLE_PASSWORD` or
        /// `COSIGN_PASSWORD`, else from the terminal, for each key.
        #[arg(long = "key", value_name = "FILE", required = true)]
        keys: Vec<PathBuf>,
        /// Where to write it [default: trust-root.json beside FILE].
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Make the next version of a trust root from a changed trust.toml: for other owners, keys or roles, or a later
    /// expiry. Enough owners of the root keys of both versions sign it; promote with both once, then with it.
    Next {
        /// The changed trust.toml.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The trust root that it follows.
        #[arg(long, value_name = "FILE")]
        previous: PathBuf,
        /// A private key of an owner of the role root, in the previous version or in this one (repeatable). The password
        /// comes from `BUNDLE_PASSWORD` or `COSIGN_PASSWORD`, else from the terminal, for each key.
        #[arg(long = "key", value_name = "FILE", required = true)]
        keys: Vec<PathBuf>,
        /// Where to write it [default: trust-root-VERSION.json beside FILE].
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print who may sign what.
    Show {
        /// A trust root, as `init` writes it.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    file: PathBuf,
    digest: String,
    product: String,
    version: u64,
    expires: String,
    development: bool,
    roles: Vec<RoleDocument>,
    keys: Vec<KeyDocument>,
}

#[derive(Serialize)]
struct RoleDocument {
    role: String,
    threshold: u32,
    owners: Vec<String>,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct KeyDocument {
    owner: String,
    key: String,
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    let path = match &arguments.verb {
        Verb::Init { file, keys, output } => {
            let output = output.clone().unwrap_or_else(|| file.with_file_name("trust-root.json"));
            write_once(&output, &first(file, keys)?)?;
            output
        }
        Verb::Next { file, previous, keys, output } => {
            let root = next(file, &root_file::read(previous)?, keys)?;
            let name = format!("trust-root-{}.json", root.document().version());
            let output = output.clone().unwrap_or_else(|| file.with_file_name(name));
            write_once(&output, &root)?;
            output
        }
        Verb::Show { file } => file.clone(),
    };
    let document = describe(path)?;
    context.report.result(&document, || lines(&document)).of_kind(Kind::Machine)
}

fn first(path: &Path, key_paths: &[PathBuf]) -> Result<SignedRoot, CommandError> {
    let signed = sign(path, &read(path, None)?, key_paths)?;
    TrustedRoot::pin(&signed, signed.digest()).map_err(|refusal| {
        let owners = owners_of(signed.document(), &Role::Root).join(", ");
        CommandError::new(Kind::Trust, refusal)
            .hint(format!("the same command with --key FILE of more owners of the role root: {owners}"))
    })?;
    Ok(signed)
}

fn next(path: &Path, previous: &RootFile, key_paths: &[PathBuf]) -> Result<SignedRoot, CommandError> {
    let before = previous.trusted.root();
    let signed = sign(path, &read(path, Some(before))?, key_paths)?;
    previous.trusted.advance(&signed).map_err(|refusal| {
        let of = |root: &TrustRoot| owners_of(root, &Role::Root).join(", ");
        let hint = match &refusal {
            RootRefusal::OwnSignatures { .. } | RootRefusal::PreviousSignatures { .. } => format!(
                "the same command with --key FILE of more owners of the role root: before {}, now {}",
                of(before),
                of(signed.document())
            ),
            RootRefusal::Product { expected, .. } => {
                format!(
                    "{} is to say product = \"{expected}\"; another product has a root of its own",
                    path.display()
                )
            }
            refusal => refusal.hint().to_owned(),
        };
        CommandError::new(Kind::Trust, refusal).hint(hint)
    })?;
    Ok(signed)
}

fn sign(path: &Path, root: &TrustRoot, key_paths: &[PathBuf]) -> Result<SignedRoot, CommandError> {
    if root.expires() <= Timestamp::now() {
        let message = format!("{}: a trust root until {} would trust nobody", path.display(), root.expires());
        return Err(CommandError::new(Kind::Input, message).hint("write a later `expires`"));
    }
    let payload = Payload::new(root).of_kind(Kind::Input)?;
    let mut bundles: Vec<_> = keys::open_all(key_paths)?.iter().map(|key| payload.sign(key)).collect();
    // A key that was named twice signs once: signatures are deterministic.
    bundles.sort_by_key(SignatureBundle::hint);
    bundles.dedup();
    Signed::new(payload, bundles).of_kind(Kind::Trust)
}

/// Writes a trust root where there is none.
fn write_once(output: &Path, signed: &SignedRoot) -> Result<(), CommandError> {
    match fs::read(output) {
        Ok(there) if there == signed.manifest().bytes() => Ok(()),
        Ok(_) => {
            let message =
                format!("{} is there and is another file: a trust root is not replaced", output.display());
            Err(CommandError::new(Kind::Input, message).hint("--output FILE, or move it away"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(root_file::write(output, signed)?),
        Err(source) => Err(root_file::RootFileError::Read { path: output.to_owned(), source }.into()),
    }
}

/// Reads trust.toml and the public keys that it names, as the version after `previous`. What that has revoked stays so.
fn read(path: &Path, previous: Option<&TrustRoot>) -> Result<TrustRoot, CommandError> {
    let name = path.display().to_string();
    let unread = |why: String| {
        CommandError::new(Kind::Input, format!("{name} cannot be read: {why}"))
            .hint("`bundle schema trust` describes what it holds")
    };
    let length = fs::metadata(path).map_err(|error| unread(error.to_string()))?.len();
    if length > LONGEST_FILE {
        return Err(unread(format!("it has more than {LONGEST_FILE} bytes")));
    }
    let text = fs::read_to_string(path).map_err(|error| unread(error.to_string()))?;
    let file = TrustFile::parse(&name, &text).of_kind(Kind::Input)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut trusted = Vec::new();
    let mut by_owner: BTreeMap<&Owner, Vec<_>> = BTreeMap::new();
    for (owner, listed) in &file.content().owners {
        for (index, key) in listed.keys.iter().enumerate() {
            let key = keys::read_public(&folder.join(key))
                .map_err(|error| wrong_key(&file, owner, index, &error))?;
            by_owner.entry(owner).or_default().push(key.hint());
            trusted.push(TrustedKey { owner: owner.clone(), key, not_after: None });
        }
    }
    let role_keys = |owners: &RoleOwners| RoleKeys {
        keys: owners.owners.iter().filter_map(|owner| by_owner.get(owner)).flatten().copied().collect(),
        threshold: owners.threshold,
    };
    let parts = TrustRootParts {
        product: file.content().product.clone(),
        version: previous.map_or(1, |root| root.version().saturating_add(1)),
        expires: file.content().expires,
        development: previous.is_some_and(TrustRoot::is_development),
        keys: trusted,
        roles: file.roles().map(|(role, owners)| (role, role_keys(owners))).collect(),
        revoked: previous.map_or_else(Revoked::default, |root| root.to_parts().revoked),
    };
    TrustRoot::new(parts).map_err(|fault| of_problem(&file.fault_problem(&fault)))
}

fn wrong_key(file: &TrustFile, owner: &Owner, index: usize, error: &KeyFileAccessError) -> CommandError {
    let message = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let problem = Problem {
        help: Some(
            "bundle key generate NAME makes NAME.key and NAME.pub; the public half is named here".to_owned(),
        ),
        ..file.key_problem(owner, index, message)
    };
    of_problem(&problem)
}

fn of_problem(problem: &Problem) -> CommandError {
    CommandError::new(Kind::Input, problem.to_string())
}

fn owners_of(root: &TrustRoot, role: &Role) -> Vec<String> {
    root.owners(role).iter().map(ToString::to_string).collect()
}

fn describe(file: PathBuf) -> Result<Document, CommandError> {
    let read = root_file::read(&file)?;
    let root = read.trusted.root();
    let parts = root.to_parts();
    let mut keys: Vec<_> = parts
        .keys
        .iter()
        .map(|key| KeyDocument { key: key.key.hint().to_string(), owner: key.owner.to_string() })
        .collect();
    keys.sort();
    Ok(Document {
        file,
        digest: read.signed.digest().to_string(),
        product: root.product().to_string(),
        version: root.version(),
        expires: root.expires().to_string(),
        development: root.is_development(),
        roles: parts
            .roles
            .iter()
            .map(|(role, members)| RoleDocument {
                role: role.to_string(),
                threshold: members.threshold,
                owners: owners_of(root, role),
            })
            .collect(),
        keys,
    })
}

fn lines(document: &Document) -> String {
    let Document { file, digest, product, version, expires, .. } = document;
    let marked = if document.development { ", made for development" } else { "" };
    let mut lines = vec![format!(
        "{}: trust root of {product}, version {version}, until {expires}{marked}",
        file.display()
    )];
    lines.push(format!("  digest {digest}"));
    for RoleDocument { role, threshold, owners } in &document.roles {
        lines.push(format!("  {role}: {threshold} of {}", owners.join(", ")));
    }
    for KeyDocument { key, owner } in &document.keys {
        lines.push(format!("  key {key} of {owner}"));
    }
    lines.join("\n")
}
