//! The file of a package's recordings: text that a person can read, and contents beside it under their SHA-256.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use bundles_release::lock::{Architecture, PackageName};
use registry_wire::Digest;
use serde::{Deserialize, Serialize};

use super::{
    AccountEffects, Change, HostNames, Outcome, Recording, ScriptName, ScriptRun, StatOverride, State,
    change::ROOT,
};
use crate::{Capabilities, Content, TreePath, effect::Verb};

/// The form of the file.
const FORMAT: u32 = 1;
/// The longest text that stands in the file itself.
const TEXT_LIMIT: usize = 4 << 10;

/// A file and the contents beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What is in the file.
    pub text: String,
    /// What lies beside it, by name.
    pub contents: BTreeMap<String, Content>,
}

/// A file that says no recordings.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It is not of its form.
    #[error("it is not a file of recorded effects")]
    Form(#[source] toml::de::Error),
    /// It is of another version of the form.
    #[error("it has format {found}; this program reads {FORMAT}")]
    Format {
        /// What it says.
        found: u32,
    },
    /// A change is not said in full.
    #[error("the change of {path} is not one: {reason}")]
    Change {
        /// The path.
        path: TreePath,
        /// Why.
        reason: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    package: PackageName,
    #[serde(default)]
    script: Vec<ScriptDocument>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptDocument {
    name: ScriptName,
    arguments: Vec<String>,
    script: Digest,
    /// That of the image.
    architecture: Architecture,
    sandbox: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    triggers: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    overrides: Vec<StatOverride>,
    #[serde(default, rename = "host-names", skip_serializing_if = "are_not_asked")]
    host_names: HostNames,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    account: Vec<Verb>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    change: Vec<ChangeDocument>,
    #[serde(default)]
    reads: BTreeMap<TreePath, State>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn are_not_asked(host_names: &HostNames) -> bool {
    *host_names == HostNames::NotAsked
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Removed,
    Directory,
    File,
    Link,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeDocument {
    path: TreePath,
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capabilities: Option<Capabilities>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// What lies beside the file under this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

/// The file of a package's recordings.
pub(super) fn write(package: &PackageName, recordings: &[Recording]) -> Stored {
    let mut contents = BTreeMap::new();
    let script = recordings
        .iter()
        .map(|recording| ScriptDocument {
            name: recording.run.name,
            arguments: recording.run.arguments.clone(),
            script: recording.run.script,
            architecture: recording.run.architecture.clone(),
            sandbox: recording.sandbox.clone(),
            triggers: recording.triggers.clone(),
            overrides: recording.overrides.clone(),
            host_names: recording.host_names,
            account: recording.accounts.verbs().to_vec(),
            change: recording.changes.iter().map(|change| change_document(change, &mut contents)).collect(),
            reads: recording.reads.clone(),
        })
        .collect();
    let file = File { format: FORMAT, package: package.clone(), script };
    let mut text = format!(
        "# Written by `bundle effects record {package}`: what scripts did when they ran once, in a sandbox. Read it,\n\
         # commit it, do not edit it. It holds as long as everything below `reads` is as it was.\n"
    );
    match toml::to_string_pretty(&file) {
        Ok(body) => text.push_str(&body),
        // A file that cannot be read again is noticed at once, and no name or number has another form in TOML.
        Err(error) => {
            let _infallible = write!(text, "# {error}");
        }
    }
    Stored { text, contents }
}

fn change_document(change: &Change, contents: &mut BTreeMap<String, Content>) -> ChangeDocument {
    let mut document = ChangeDocument {
        path: change.path.clone(),
        kind: Kind::Removed,
        mode: None,
        owner: None,
        capabilities: None,
        target: None,
        text: None,
        content: None,
        size: None,
    };
    let octal = |mode: u32| Some(format!("{mode:04o}"));
    match &change.outcome {
        Outcome::Removed => {}
        Outcome::Directory { mode, owner } => {
            document.kind = Kind::Directory;
            (document.mode, document.owner) = (octal(*mode), Some(owner.clone()));
        }
        Outcome::Link { target, owner } => {
            (document.kind, document.target) = (Kind::Link, Some(target.clone()));
            document.owner = Some(owner.clone()).filter(|owner| owner != ROOT);
        }
        Outcome::File { mode, owner, content, capabilities } => {
            document.kind = Kind::File;
            (document.mode, document.owner) = (octal(*mode), Some(owner.clone()));
            document.capabilities = *capabilities;
            match content {
                Content::Bytes(bytes) if readable(bytes).is_some() => {
                    document.text = readable(bytes).map(str::to_owned);
                }
                content => {
                    let digest = match content {
                        Content::Bytes(bytes) => Digest::of(bytes),
                        Content::Host { digest, .. } => *digest,
                        // What a script wrote lies in no package.
                        Content::Payload { package, .. } => *package,
                    };
                    (document.content, document.size) = (Some(digest), Some(content.length()));
                    contents.insert(digest.hex(), content.clone());
                }
            }
        }
    }
    document
}

/// A text that may stand in the file.
fn readable(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok().filter(|_| bytes.len() <= TEXT_LIMIT)?;
    let is_plain = |character: char| !character.is_control() || matches!(character, '\n' | '\t');
    text.chars().all(is_plain).then_some(text)
}

/// The recordings of a file. What lies beside it is in `folder`, and is hashed when it is read.
pub(super) fn parse(text: &str, folder: &Path) -> Result<Vec<Recording>, RecordingError> {
    let file: File = toml::from_str(text).map_err(RecordingError::Form)?;
    if file.format != FORMAT {
        return Err(RecordingError::Format { found: file.format });
    }
    let recording = |script: ScriptDocument| {
        let changes = script.change.into_iter().map(|change| of_document(change, folder));
        Ok(Recording {
            run: ScriptRun {
                package: file.package.clone(),
                name: script.name,
                arguments: script.arguments,
                script: script.script,
                architecture: script.architecture,
            },
            sandbox: script.sandbox,
            reads: script.reads,
            accounts: AccountEffects::of_verbs(script.account),
            changes: changes.collect::<Result<_, RecordingError>>()?,
            triggers: script.triggers,
            overrides: script.overrides,
            host_names: script.host_names,
        })
    };
    file.script.into_iter().map(recording).collect()
}

fn of_document(change: ChangeDocument, folder: &Path) -> Result<Change, RecordingError> {
    let path = change.path;
    let wrong = |reason| RecordingError::Change { path: path.clone(), reason };
    let permissions = || {
        let mode = change.mode.as_deref().and_then(|mode| u32::from_str_radix(mode, 8).ok());
        let mode = mode.filter(|mode| *mode <= 0o7777).ok_or_else(|| wrong("it has no mode"))?;
        Ok((mode, change.owner.clone().ok_or_else(|| wrong("it has no owner"))?))
    };
    if path.is_root() {
        return Err(wrong("the root is no change"));
    }
    let outcome = match change.kind {
        Kind::Removed => Outcome::Removed,
        Kind::Directory => {
            let (mode, owner) = permissions()?;
            Outcome::Directory { mode, owner }
        }
        Kind::Link => {
            let target = change.target.filter(|target| !target.is_empty());
            let owner = change.owner.clone().unwrap_or_else(|| ROOT.to_owned());
            Outcome::Link { target: target.ok_or_else(|| wrong("it has no target"))?, owner }
        }
        Kind::File => {
            let (mode, owner) = permissions()?;
            let content = match (change.text, change.content, change.size) {
                (Some(text), None, None) => Content::bytes(text.into_bytes()),
                (None, Some(digest), Some(length)) => {
                    Content::Host { path: folder.join(digest.hex()), digest, length }
                }
                _ => return Err(wrong("it has neither a text nor a content of known size")),
            };
            Outcome::File { mode, owner, content, capabilities: change.capabilities }
        }
    };
    Ok(Change { path, outcome })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::{AccountFiles, Recordings};

    fn path(text: &str) -> TreePath {
        text.parse().unwrap()
    }

    fn recording() -> Recording {
        let file = |content, capabilities| Outcome::File {
            mode: 0o4755,
            owner: "root:mail".into(),
            content,
            capabilities,
        };
        let change = |name: &str, outcome| Change { path: path(name), outcome };
        let after = AccountFiles { group: "mail:x:101:\n".into(), ..AccountFiles::default() };
        Recording {
            run: ScriptRun {
                package: "one".parse().unwrap(),
                name: ScriptName::Postinst,
                arguments: vec!["configure".into(), String::new()],
                script: Digest::of(b"script"),
                architecture: "arm64".parse().unwrap(),
            },
            sandbox: "full".into(),
            reads: BTreeMap::from([
                (path("/etc"), State::Absent),
                (path("/bin"), State::Link("usr/bin".into())),
            ]),
            accounts: AccountEffects::between(&AccountFiles::default(), &after).unwrap(),
            changes: vec![
                change("/a", Outcome::Removed),
                change("/b", Outcome::Directory { mode: 0o1777, owner: "root:7".into() }),
                change("/b/text", file(Content::bytes(*b"one\n\"two\"\n"), None)),
                change("/b/binary", file(Content::bytes([0, 1, 2]), "cap_chown+ep".parse().ok())),
                change("/c", Outcome::Link { target: "../b".into(), owner: "root:root".into() }),
                change("/d", Outcome::Link { target: "../b".into(), owner: "mail:7".into() }),
            ],
            triggers: vec!["ldconfig".into()],
            overrides: vec!["root mail 2755 /b/text".parse().unwrap()],
            host_names: HostNames::Unanswered,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = recording();
        let stored = Recordings::store(&wanted.run.package, std::slice::from_ref(&wanted));
        assert_eq!(stored.contents.len(), 1);
        let mut read = parse(&stored.text, folder.path()).unwrap();
        let binary = Digest::of(&[0, 1, 2]);
        let Outcome::File { content, .. } = &mut read[0].changes[3].outcome else { panic!("a file") };
        let expected = Content::Host { path: folder.path().join(binary.hex()), digest: binary, length: 3 };
        assert_eq!(*content, expected);
        *content = Content::bytes([0, 1, 2]);
        assert_eq!(read, std::slice::from_ref(&wanted));
        // It is read as people write: a text on lines of its own.
        assert!(stored.text.contains("one\n\"two\"\n"), "{}", stored.text);
        let identity = |recordings: &Recordings, names: &[&str]| {
            recordings.identity(names.iter().map(|name| name.parse().unwrap()))
        };
        let of = |recording: Recording| {
            let mut recordings = Recordings::none();
            recordings.add(recording);
            recordings
        };
        // Only what is recorded of these packages counts, and all of that.
        let (none, one) = (Recordings::none(), of(wanted.clone()));
        assert_eq!(identity(&one, &["two"]), identity(&none, &["two"]));
        assert_ne!(identity(&one, &["one"]), identity(&none, &["one"]));
        let mut other = wanted;
        other.reads.insert(path("/etc/more"), State::Absent);
        assert_ne!(identity(&of(other), &["one"]), identity(&one, &["one"]));
    }

    #[test]
    fn half_a_file_is_refused() {
        let text = Recordings::store(&"one".parse().unwrap(), &[recording()]).text;
        for (from, to, expected) in [
            ("format = 1", "format = 2", "format 2"),
            ("kind = \"removed\"", "kind = \"gone\"", "not a file of recorded effects"),
            ("mode = \"1777\"", "", "no mode"),
            ("mode = \"1777\"", "mode = \"17777\"", "no mode"),
            ("owner = \"root:7\"", "", "no owner"),
            ("target = \"../b\"", "", "no target"),
            ("size = 3", "", "neither a text"),
            ("\"/b/text\"", "\"/\"", "the root"),
            ("root mail 2755", "root mail", "not a file of recorded effects"),
            ("\"unanswered\"", "\"known\"", "not a file of recorded effects"),
            ("\"/b/text\"", "\"/../x\"", "not a file of recorded effects"),
        ] {
            assert!(text.contains(from), "{from}");
            let error = parse(&text.replacen(from, to, 1), Path::new("/")).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
