//! Where archives are, from the machine's apt configuration. Only a locator: what an archive is, its signed Release
//! tells.

mod proxy;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use bundles_release::lock::SuiteName;

use crate::{
    deb822::{Deb822Error, Item, Reader},
    transport::{BaseUri, ProxySettings},
};

/// The folder of apt's configuration.
pub const APT_FOLDER: &str = "/etc/apt";

const SOURCES_LIMIT: u64 = 1 << 20;

/// Where archives may be found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locations {
    sources: Vec<Source>,
    keys: Vec<KeySource>,
    proxies: ProxySettings,
}

/// Where apt is told to find the keys of a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeySource {
    /// A keyring.
    File(PathBuf),
    /// An armored key that stands in the source itself.
    Inline(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    base: BaseUri,
    /// Empty: any suite may be there.
    suites: Vec<String>,
}

/// Why apt's configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AptError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A `.sources` file is malformed.
    #[error("{} is malformed", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where.
        source: Deb822Error,
    },
    /// Nothing in it locates an archive.
    #[error("{} names no source of packages", folder.display())]
    Empty {
        /// The folder.
        folder: PathBuf,
    },
}

impl AptError {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        "see sources.list(5), or name a base address with `bundle lock --from URI`"
    }
}

impl Locations {
    /// Only these base addresses.
    pub fn explicit(bases: impl IntoIterator<Item = BaseUri>) -> Self {
        let sources = bases.into_iter().map(|base| Source { base, suites: Vec::new() }).collect();
        Self { sources, ..Self::default() }
    }

    /// Reads `sources.list`, `sources.list.d` and the proxy settings below a folder such as `/etc/apt`.
    pub fn of_apt(folder: &Path) -> Result<Self, AptError> {
        let mut found = Self::default();
        if let Some(text) = read(&folder.join("sources.list"))? {
            one_line(&text, &mut found);
        }
        for path in files(&folder.join("sources.list.d"))? {
            let Some(ending) = path.extension().and_then(|ending| ending.to_str()) else { continue };
            if !matches!(ending, "list" | "sources") {
                continue;
            }
            let Some(text) = read(&path)? else { continue };
            if ending == "list" {
                one_line(&text, &mut found);
            } else {
                deb822(&text, &mut found).map_err(|source| AptError::Syntax { path, source })?;
            }
        }
        if found.sources.is_empty() {
            return Err(AptError::Empty { folder: folder.to_owned() });
        }
        let trusted = files(&folder.join("trusted.gpg.d"))?.into_iter();
        let is_keyring =
            |path: &PathBuf| path.extension().is_some_and(|ending| ending == "gpg" || ending == "asc");
        found.keys.extend(trusted.filter(is_keyring).map(KeySource::File));
        found.keys.sort();
        found.keys.dedup();
        let mut configuration = files(&folder.join("apt.conf.d"))?;
        configuration.retain(|path| is_configuration(path));
        configuration.push(folder.join("apt.conf"));
        for path in configuration {
            if let Some(text) = read(&path)? {
                proxy::read(&text, &mut found.proxies);
            }
        }
        Ok(found)
    }

    /// Where apt finds keys: those of all sources and those that it trusts for any. Keys only, no trust: which of them
    /// may vouch for a suite, the platform says.
    pub fn keys(&self) -> &[KeySource] {
        &self.keys
    }

    /// The proxies that apt is told to use.
    pub const fn proxies(&self) -> &ProxySettings {
        &self.proxies
    }

    /// Base addresses where a suite may be: those that list it, then all others, in the order of the configuration.
    pub fn of_suite(&self, suite: &SuiteName) -> Vec<&BaseUri> {
        let lists = |source: &&Source| source.suites.iter().any(|listed| listed == suite.as_str());
        let mut seen = BTreeSet::new();
        let listed = self.sources.iter().filter(lists);
        let others = self.sources.iter().filter(|source| !lists(source));
        listed.chain(others).map(|source| &source.base).filter(|base| seen.insert(*base)).collect()
    }
}

fn read(path: &Path) -> Result<Option<String>, AptError> {
    let failed = |source| AptError::Read { path: path.to_owned(), source };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed(source)),
        Ok(metadata) if metadata.len() > SOURCES_LIMIT => {
            Err(failed(io::Error::other("it is longer than 1 MiB")))
        }
        Ok(_) => fs::read_to_string(path).map(Some).map_err(failed),
    }
}

/// The files of a folder in the order of their names; none if there is no folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>, AptError> {
    let failed = |source| AptError::Read { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        // Names that apt ignores (apt.conf(5), "run-parts" rules).
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if entry.file_name().to_str().is_some_and(|name| !name.starts_with('.') && name.bytes().all(plain)) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// apt reads files without an ending or with `.conf`.
fn is_configuration(path: &Path) -> bool {
    path.extension().is_none_or(|ending| ending == "conf")
}

fn add(found: &mut Locations, uri: &str, suites: &[String]) {
    // Media, Tor and mirror lists are not for us; suites that are paths have no Release with an identity.
    if let Ok(base) = uri.parse() {
        let suites: Vec<String> = suites.iter().filter(|suite| !suite.ends_with('/')).cloned().collect();
        if !suites.is_empty() {
            found.sources.push(Source { base, suites });
        }
    }
}

/// The keyrings of a `Signed-By`. It may name fingerprints too, which limit apt and not us.
fn signed_by(value: &str, found: &mut Locations) {
    if value.trim_ascii_start().starts_with("-----BEGIN") {
        // An empty line is written as a dot.
        let lines = value.lines().map(str::trim_ascii);
        let lines: Vec<&str> = lines.map(|line| if line == "." { "" } else { line }).collect();
        found.keys.push(KeySource::Inline(lines.join("\n") + "\n"));
        return;
    }
    let words = value.split([',', ' ', '\t', '\n', '\r']);
    let paths = words.filter(|word| word.starts_with('/')).map(|path| KeySource::File(path.into()));
    found.keys.extend(paths);
}

/// Reads the one-line format: `deb [options] URI suite component…`.
fn one_line(text: &str, found: &mut Locations) {
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim_ascii();
        let Some(rest) = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t'])) else {
            continue;
        };
        let mut rest = rest.trim_ascii_start();
        if let Some(inner) = rest.strip_prefix('[') {
            let Some((options, after)) = inner.split_once(']') else { continue };
            for option in options.split_ascii_whitespace() {
                if let Some((name, value)) = option.split_once('=')
                    && name.eq_ignore_ascii_case("signed-by")
                {
                    signed_by(value, found);
                }
            }
            rest = after;
        }
        let mut words = rest.split_ascii_whitespace();
        if let (Some(uri), Some(suite)) = (words.next(), words.next()) {
            add(found, uri, &[suite.to_owned()]);
        }
    }
}

/// Reads the deb822 format.
fn deb822(text: &str, found: &mut Locations) -> Result<(), Deb822Error> {
    let mut reader = Reader::new(text);
    let (mut types, mut uris, mut suites, mut enabled, mut keys) = ("", "", "", "", "");
    while let Some(item) = reader.read()? {
        match item {
            Item::Field(field) => match field.name.to_ascii_lowercase().as_str() {
                "types" => types = field.value,
                "uris" => uris = field.value,
                "suites" => suites = field.value,
                "enabled" => enabled = field.value,
                "signed-by" => keys = field.value,
                _ => {}
            },
            Item::End => {
                let off =
                    matches!(enabled.to_ascii_lowercase().as_str(), "no" | "false" | "0" | "off" | "disable");
                if !off && types.split_ascii_whitespace().any(|kind| kind == "deb") {
                    let words: Vec<String> = suites.split_ascii_whitespace().map(str::to_owned).collect();
                    uris.split_ascii_whitespace().for_each(|uri| add(found, uri, &words));
                    signed_by(keys, found);
                }
                (types, uris, suites, enabled, keys) = ("", "", "", "", "");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
