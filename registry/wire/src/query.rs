//! Query strings and percent-encoding (RFC 3986). A `+` stands for itself: media types hold it and no value here
//! holds a space.

/// The pairs of a query string, decoded.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = Result<(String, String), NotText>> + '_ {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(key)?, decode(value)?))
    })
}

/// An escape that is cut short, or bytes that are not UTF-8.
#[derive(Debug)]
pub(crate) struct NotText;

/// Undoes percent-encoding.
pub(crate) fn decode(text: &str) -> Result<String, NotText> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).ok_or(NotText);
            let value = digit()? << 4 | digit()?;
            bytes.push(u8::try_from(value).map_err(|_| NotText)?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| NotText)
}

/// Builds a query string.
#[derive(Debug, Default)]
pub(crate) struct Query(String);

impl Query {
    /// Adds `key=value`; only unreserved characters stay as they are.
    pub(crate) fn push(&mut self, key: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(key);
        self.0.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                self.0.push(char::from(byte));
            } else {
                self.0.push('%');
                for half in [byte >> 4, byte & 15] {
                    self.0.push(char::from_digit(u32::from(half), 16).unwrap_or('0').to_ascii_uppercase());
                }
            }
        }
    }

    /// The query with its question mark; nothing when it is empty.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(values in prop::collection::vec(("[a-z]{1,8}", any::<String>()), 0..5)) {
            let mut query = Query::default();
            for (key, value) in &values {
                query.push(key, value);
            }
            let text = query.as_str().strip_prefix('?').unwrap_or_default();
            prop_assert!(text.is_ascii());
            let back: Vec<_> = pairs(text).map(|pair| pair.unwrap()).collect();
            prop_assert_eq!(back, values);
        }
    }

    #[test]
    fn plus_is_plus_and_broken_escapes_are_refused() {
        assert_eq!(decode("a+b%2Bc").unwrap(), "a+b+c");
        for bad in ["%", "%2", "%zz", "%ff"] {
            assert!(decode(bad).is_err(), "{bad}");
        }
    }
}
