//! Debian versions and their order (Debian policy, section 5.6.12).

use std::{cmp::Ordering, fmt, hash, str::FromStr};

use registry_wire::serde_as_text;

/// A Debian version, kept as written. Equality and order are Debian's: `1.0`, `0:1.0` and `1.0-0` are equal.
#[derive(Clone)]
pub struct Version(Box<str>);

/// A text that is not a Debian version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a Debian version: [epoch:]upstream[-revision]")]
pub struct VersionError {
    text: String,
}

impl Version {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Epoch, upstream version and revision.
    fn parts(&self) -> (u32, &str, &str) {
        let (epoch, rest) = self.0.split_once(':').unwrap_or(("0", &self.0));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        // `FromStr` has checked that the epoch is a number.
        (epoch.parse().unwrap_or(0), upstream, revision)
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let wrong = || VersionError { text: text.to_owned() };
        let rest = match text.split_once(':') {
            None => text,
            Some((epoch, rest)) => {
                let digits = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit());
                if !digits || epoch.parse::<u32>().is_err() {
                    return Err(wrong());
                }
                rest
            }
        };
        let (upstream, revision) = match rest.rsplit_once('-') {
            None => (rest, None),
            Some((upstream, revision)) => (upstream, Some(revision)),
        };
        let allowed = |byte: u8, extra: &[u8]| byte.is_ascii_alphanumeric() || extra.contains(&byte);
        // Policy wants a digit first; archives hold a few versions that start with a letter and dpkg accepts them.
        let good = text.len() <= 256
            && !upstream.is_empty()
            && upstream.bytes().all(|byte| allowed(byte, b".+-~:"))
            && revision.is_none_or(|revision| {
                !revision.is_empty() && revision.bytes().all(|byte| allowed(byte, b".+~"))
            });
        if good { Ok(Self(text.into())) } else { Err(wrong()) }
    }
}

/// Rank of a byte in the parts without digits: `~` before the end, the end before letters, letters before the rest.
fn rank(byte: Option<u8>) -> i32 {
    match byte {
        None => 0,
        Some(b'~') => -1,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(byte),
        Some(byte) => i32::from(byte) + 256,
    }
}

fn compare_part(mut left: &[u8], mut right: &[u8]) -> Ordering {
    let text_length = |bytes: &[u8]| bytes.iter().take_while(|byte| !byte.is_ascii_digit()).count();
    let number_length = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let zeros = |digits: &[u8]| digits.iter().take_while(|digit| **digit == b'0').count();
    while !left.is_empty() || !right.is_empty() {
        let (left_text, left_rest) = left.split_at(text_length(left));
        let (right_text, right_rest) = right.split_at(text_length(right));
        for at in 0..left_text.len().max(right_text.len()) {
            match rank(left_text.get(at).copied()).cmp(&rank(right_text.get(at).copied())) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        let (left_digits, left_rest) = left_rest.split_at(number_length(left_rest));
        let (right_digits, right_rest) = right_rest.split_at(number_length(right_rest));
        let left_digits = &left_digits[zeros(left_digits)..];
        let right_digits = &right_digits[zeros(right_digits)..];
        match left_digits.len().cmp(&right_digits.len()).then_with(|| left_digits.cmp(right_digits)) {
            Ordering::Equal => (left, right) = (left_rest, right_rest),
            unequal => return unequal,
        }
    }
    Ordering::Equal
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let (left, right) = (self.parts(), other.parts());
        left.0
            .cmp(&right.0)
            .then_with(|| compare_part(left.1.as_bytes(), right.1.as_bytes()))
            .then_with(|| compare_part(left.2.as_bytes(), right.2.as_bytes()))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl hash::Hash for Version {
    /// Only the epoch goes in: versions that are equal may be written differently.
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.parts().0.hash(state);
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

serde_as_text!(Version);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn orders_as_policy_says() {
        let ascending = [
            "0~~",
            "0~~a",
            "0~",
            "0",
            "0.1~rc1-1",
            "0.1",
            "0.1-1",
            "0.1-1+b1",
            "0.1a",
            "0.1+1",
            "0.2",
            "0.10",
            "1a",
            "1.0-1~deb12u1",
            "1.0-1",
            "1.0-1.1",
            "1.0-2",
            "1.0.0-1",
            "1:0",
            "1:0.1",
            "2:0~",
        ];
        for pair in ascending.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{} < {}", pair[0], pair[1]);
        }
        for (left, right) in [("1.0", "0:1.0"), ("1.0", "1.0-0"), ("1.01", "1.1"), ("1", "1-"), ("00:1", "1")]
        {
            match right.parse::<Version>() {
                Ok(right) => assert_eq!(version(left), right),
                Err(_) => assert_eq!(right, "1-"),
            }
        }
    }

    #[test]
    fn refuses_what_is_no_version() {
        for bad in
            ["", ":1", "a:1", "1-", "-1", "1 2", "1_2", "1:", "99999999999:1", "1\u{e9}", &"1".repeat(257)]
        {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }

    /// The order of dpkg itself.
    #[test]
    fn orders_as_dpkg_does() {
        let texts = [
            "1",
            "1.0",
            "1.0-0",
            "0:1",
            "1~",
            "1~~",
            "1+",
            "1a",
            "1.a",
            "1.A",
            "1.~a",
            "10",
            "9",
            "09",
            "1:1",
            "1.0-1",
            "1.0-1~bpo",
            "1.0-1+b1",
            "1.0.",
            "1.0.0",
            "1-1-1",
            "1.0+dfsg-1",
            "1.0~dfsg-1",
            "2.36-9+deb12u10",
            "2.36-9+deb12u9",
        ];
        for left in texts {
            for right in texts {
                let sign = match version(left).cmp(&version(right)) {
                    Ordering::Less => "lt",
                    Ordering::Equal => "eq",
                    Ordering::Greater => "gt",
                };
                let dpkg = std::process::Command::new("dpkg")
                    .args(["--compare-versions", left, sign, right])
                    .status();
                assert!(dpkg.expect("apt-get install dpkg").success(), "{left} {sign} {right}");
            }
        }
    }

    proptest! {
        #[test]
        fn is_a_total_order(texts in prop::array::uniform3("[0-9a-z.+~]{1,6}(-[0-9a.+~]{1,3})?")) {
            let [left, middle, right] = texts.map(|text| version(&text));
            prop_assert_eq!(left.cmp(&middle), middle.cmp(&left).reverse());
            if left <= middle && middle <= right {
                prop_assert!(left <= right);
            }
            prop_assert_eq!(version(left.as_str()).cmp(&left), Ordering::Equal);
        }

        #[test]
        fn never_panics(text in "[0-9a.+~: \u{e9}-]{0,12}") {
            let _result = text.parse::<Version>();
        }
    }
}
