//! The error document of the distribution API.

use serde::{Deserialize, Serialize};

/// Codes of the specification, and what others say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "the specification names and explains them")]
pub enum ErrorCode {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    Denied,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    NotFound,
    RangeInvalid,
    SizeInvalid,
    TagInvalid,
    #[serde(rename = "TOOMANYREQUESTS")]
    TooManyRequests,
    Unauthorized,
    Unsupported,
    /// Any other code.
    #[serde(other)]
    Unknown,
}

/// One error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorEntry {
    /// Its code.
    pub code: ErrorCode,
    /// What happened, for people.
    #[serde(default)]
    pub message: String,
}

/// The body of an answer that refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDocument {
    /// The errors; at least one.
    pub errors: Vec<ErrorEntry>,
}

impl ErrorDocument {
    /// A document with one error.
    pub fn of(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { errors: vec![ErrorEntry { code, message: message.into() }] }
    }

    /// Reads an error document; anything else, and one without errors, is `None`.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|document: &Self| !document.errors.is_empty())
    }

    /// The document as JSON.
    #[allow(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "texts and names only, so JSON can always hold them"
    )]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an error document is plain JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_foreign_codes() {
        let document = ErrorDocument::of(ErrorCode::ManifestBlobUnknown, "x");
        assert_eq!(ErrorDocument::parse(&document.to_json()), Some(document.clone()));
        let text = String::from_utf8(document.to_json()).unwrap();
        assert_eq!(text, r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"x"}]}"#);
        let foreign = ErrorDocument::parse(br#"{"errors":[{"code":"TOO_COLD","detail":{}}]}"#).unwrap();
        assert_eq!(foreign.errors[0].code, ErrorCode::Unknown);
        for other in ["", "{}", "[]", r#"{"errors":[]}"#, "<html>"] {
            assert_eq!(ErrorDocument::parse(other.as_bytes()), None, "{other}");
        }
    }
}
