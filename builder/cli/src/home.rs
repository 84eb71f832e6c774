//! Where `bundle` keeps what it makes for a user of this machine.

use std::path::PathBuf;

/// Folders of one user: downloads and store can be deleted at any time, keys and registry cannot.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    root: PathBuf,
}

impl Home {
    /// Uses `root`.
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Verified downloads by hash, and indices.
    pub(crate) fn downloads(&self) -> PathBuf {
        self.root.join("downloads")
    }

    /// Results of build steps.
    pub(crate) fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// The embedded registry: its data and the record of its process.
    pub(crate) fn registry(&self) -> PathBuf {
        self.root.join("registry")
    }

    /// Keys and trust root of a product, made for development.
    pub(crate) fn keys(&self, product: &str) -> PathBuf {
        self.root.join("keys").join(product)
    }
}

/// The default root: `$BUNDLE_HOME`, else `$XDG_DATA_HOME/bundle`, else `~/.local/share/bundle`. The first may be relative.
pub(crate) fn default_root(environment: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let own = environment("BUNDLE_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    own.or_else(|| absolute("XDG_DATA_HOME").map(|data| data.join("bundle")))
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share/bundle")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_of_the_environment_holds() {
        type Variables = &'static [(&'static str, &'static str)];
        let cases: [(Variables, Option<&str>); 6] = [
            (&[("BUNDLE_HOME", "here"), ("XDG_DATA_HOME", "/data"), ("HOME", "/home/a")], Some("here")),
            (&[("BUNDLE_HOME", ""), ("XDG_DATA_HOME", "/data"), ("HOME", "/home/a")], Some("/data/bundle")),
            (&[("XDG_DATA_HOME", "data"), ("HOME", "/home/a")], Some("/home/a/.local/share/bundle")),
            (&[("HOME", "/home/a")], Some("/home/a/.local/share/bundle")),
            (&[("HOME", "a")], None),
            (&[], None),
        ];
        for (variables, expected) in cases {
            let value = |name: &str| {
                variables
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| std::ffi::OsString::from(value))
            };
            assert_eq!(default_root(value), expected.map(PathBuf::from), "{variables:?}");
        }
    }
}
