//! Names of architectures in scripts and in the table.
//!
//! Some scripts have the names of the architecture that they were built for, in paths such as
//! `/usr/lib/x86_64-linux-gnu`. The table knows them as they are on amd64. The script of another architecture is the same
//! if it is that text with the other names in it; what it does, then, is done under these names.

use bundles_release::lock::Architecture;

/// Debian's names: of the architecture, and in paths of libraries. The first is the one of the table.
pub(super) const MULTIARCH: [(&str, &str); 2] =
    [("amd64", "x86_64-linux-gnu"), ("arm64", "aarch64-linux-gnu")];

/// The names of an architecture that is not the table's.
#[derive(Debug, Clone, Copy)]
pub(super) struct OtherNames {
    architecture: &'static str,
    triplet: &'static str,
}

impl OtherNames {
    /// Those of an architecture; none for the table's own, for packages of all architectures, and for ones that no image
    /// is for.
    pub(super) fn of(architecture: &Architecture) -> Option<Self> {
        let (architecture, triplet) =
            MULTIARCH[1..].iter().find(|(name, _)| *name == architecture.as_str()).copied()?;
        Some(Self { architecture, triplet })
    }

    /// The text as the table has it.
    pub(super) fn to_table(self, text: &str) -> String {
        let (architecture, triplet) = MULTIARCH[0];
        text.replace(self.triplet, triplet).replace(self.architecture, architecture)
    }

    /// A text of the table with these names in it.
    pub(super) fn of_table(self, text: &str) -> String {
        let (architecture, triplet) = MULTIARCH[0];
        text.replace(triplet, self.triplet).replace(architecture, self.architecture)
    }

    /// The same for all texts of a value.
    pub(super) fn rename(self, value: &mut toml::Value) {
        match value {
            toml::Value::String(text) => *text = self.of_table(text),
            toml::Value::Array(values) => values.iter_mut().for_each(|value| self.rename(value)),
            toml::Value::Table(table) => table.iter_mut().for_each(|(_, value)| self.rename(value)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_to_the_table_and_back() {
        let names = OtherNames::of(&"arm64".parse().unwrap()).unwrap();
        let text = "/usr/lib/aarch64-linux-gnu /usr/lib/jvm/java-17-openjdk-arm64";
        assert_eq!(names.to_table(text), "/usr/lib/x86_64-linux-gnu /usr/lib/jvm/java-17-openjdk-amd64");
        assert_eq!(names.of_table(&names.to_table(text)), text);
        for other in ["amd64", "all", "riscv64"] {
            assert!(OtherNames::of(&other.parse().unwrap()).is_none(), "{other}");
        }
    }
}
