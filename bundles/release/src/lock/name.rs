//! Checked names of Debian's world and of ours.

use std::{fmt, str::FromStr};

use registry_wire::{checked_text, serde_as_text};

const fn lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// First byte a lower-case letter or digit, the rest of those or of `extra`, `least..=most` bytes long.
fn shaped(text: &str, least: usize, most: usize, extra: &[u8]) -> bool {
    let bytes = text.as_bytes();
    (least..=most).contains(&bytes.len())
        && lower_or_digit(bytes[0])
        && bytes.iter().all(|byte| lower_or_digit(*byte) || extra.contains(byte))
}

checked_text!(
    /// Name of a Debian package (Debian policy, section 5.6.1).
    PackageName,
    PackageNameError,
    "a Debian package name: at least two of a-z, 0-9, +, - and ., starting with a letter or digit",
    |text| shaped(text, 2, 128, b"+-.")
);

checked_text!(
    /// A Debian architecture, or `all`.
    Architecture,
    ArchitectureError,
    "a Debian architecture such as amd64",
    |text| shaped(text, 2, 32, b"-")
);

checked_text!(
    /// Name under which a suite is asked for: the folder below `dists`, such as `bookworm`.
    SuiteName,
    SuiteNameError,
    "a suite such as bookworm or bookworm/updates",
    |text| shaped(text, 1, 64, b"+-._/") && !text.split('/').any(|part| matches!(part, "" | "." | ".."))
);

checked_text!(
    /// The Codename of a signed Release.
    Codename,
    CodenameError,
    "a code name such as bookworm",
    |text| shaped(text, 1, 64, b"+-._/")
);

checked_text!(
    /// A component of a suite.
    Component,
    ComponentError,
    "a component such as main",
    |text| shaped(text, 1, 64, b"+-._/") && !text.split('/').any(|part| matches!(part, "" | "." | ".."))
);

checked_text!(
    /// The Origin or Label of a signed Release.
    ReleaseField,
    ReleaseFieldError,
    "one line of 1 to 128 printable characters",
    |text| (1..=128).contains(&text.len()) && text.trim() == text && !text.chars().any(char::is_control)
);

checked_text!(
    /// Fingerprint of an `OpenPGP` key: 40 (version 4) or 64 (version 6) upper-case hexadecimal digits.
    Fingerprint,
    FingerprintError,
    "an OpenPGP fingerprint: 40 or 64 upper-case hexadecimal digits",
    |text| matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'))
);

checked_text!(
    /// Name of a recipe: a DNS label.
    RecipeName,
    RecipeNameError,
    "a recipe name: at most 63 of a-z, 0-9 and -, starting with a letter, not ending with -",
    |text| shaped(text, 1, 63, b"-") && text.as_bytes()[0].is_ascii_lowercase() && !text.ends_with('-')
);

checked_text!(
    /// Name of a user or group.
    AccountName,
    AccountNameError,
    "a user or group name: at most 32 of letters, digits, _ and -, starting with a letter or _",
    |text| {
        // Upper case as in `Debian-exim`.
        let bytes = text.as_bytes();
        (1..=32).contains(&bytes.len())
            && (bytes[0].is_ascii_alphabetic() || bytes[0] == b'_')
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    }
);

checked_text!(
    /// Identifies an encoder whose bytes are hashed, such as `tar1`.
    EncoderId,
    EncoderIdError,
    "an encoder id such as tar1",
    |text| shaped(text, 1, 32, b"-")
);

impl Architecture {
    /// Whether it is that of packages that belong to each architecture.
    pub fn is_all(&self) -> bool {
        self.as_str() == "all"
    }
}

impl ReleaseField {
    /// What Debian calls itself.
    pub fn debian() -> Self {
        Self("Debian".into())
    }
}

impl Component {
    /// The component of free software.
    pub fn main() -> Self {
        Self("main".into())
    }
}

/// Priority of a Debian package (Debian policy, section 2.5), most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Needed for the system to work at all.
    Required,
    /// Expected on any Unix-like system.
    Important,
    /// Installed by default.
    Standard,
    /// All the rest.
    Optional,
    /// A deprecated lower grade of `optional`.
    Extra,
}

impl Priority {
    /// The word of the control field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Important => "important",
            Self::Standard => "standard",
            Self::Optional => "optional",
            Self::Extra => "extra",
        }
    }
}

/// A text that is not a priority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a priority: required, important, standard, optional or extra")]
pub struct PriorityError {
    text: String,
}

impl FromStr for Priority {
    type Err = PriorityError;

    fn from_str(text: &str) -> Result<Self, PriorityError> {
        [Self::Required, Self::Important, Self::Standard, Self::Optional, Self::Extra]
            .into_iter()
            .find(|priority| priority.as_str() == text)
            .ok_or_else(|| PriorityError { text: text.to_owned() })
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

serde_as_text!(Priority);
