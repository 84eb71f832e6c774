//! SPDX 2.3 as it is written: the fields that we fill, in the order in which they are written.

use serde::Serialize;

pub(super) const DOCUMENT_ID: &str = "SPDXRef-DOCUMENT";
const UNKNOWN: &str = "NOASSERTION";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SpdxDocument {
    pub(super) spdx_version: &'static str,
    pub(super) data_license: &'static str,
    #[serde(rename = "SPDXID")]
    pub(super) id: &'static str,
    pub(super) name: String,
    #[serde(rename = "documentNamespace")]
    pub(super) namespace: String,
    #[serde(rename = "creationInfo")]
    pub(super) creation: CreationInfo,
    pub(super) packages: Vec<Package>,
    pub(super) relationships: Vec<Relationship>,
}

#[derive(Serialize)]
pub(super) struct CreationInfo {
    pub(super) created: String,
    pub(super) creators: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Package {
    pub(super) name: String,
    #[serde(rename = "SPDXID")]
    pub(super) id: String,
    #[serde(rename = "versionInfo", skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    #[serde(rename = "packageFileName", skip_serializing_if = "Option::is_none")]
    pub(super) file_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) supplier: Option<String>,
    pub(super) download_location: &'static str,
    pub(super) files_analyzed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) checksums: Vec<Checksum>,
    #[serde(rename = "sourceInfo", skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
    pub(super) license_concluded: &'static str,
    pub(super) license_declared: &'static str,
    pub(super) copyright_text: &'static str,
    #[serde(rename = "externalRefs", skip_serializing_if = "Vec::is_empty")]
    pub(super) references: Vec<ExternalReference>,
    #[serde(rename = "primaryPackagePurpose", skip_serializing_if = "Option::is_none")]
    pub(super) purpose: Option<&'static str>,
}

impl Package {
    /// A package of which nothing is said. Where it comes from is never said: a location is configuration.
    pub(super) const fn unknown() -> Self {
        Self {
            name: String::new(),
            id: String::new(),
            version: None,
            file_name: None,
            supplier: None,
            download_location: UNKNOWN,
            files_analyzed: false,
            checksums: Vec::new(),
            source: None,
            license_concluded: UNKNOWN,
            license_declared: UNKNOWN,
            copyright_text: UNKNOWN,
            references: Vec::new(),
            purpose: None,
        }
    }

    /// The product or one of its recipes.
    pub(super) fn of_ours(id: String, name: String, purpose: &'static str) -> Self {
        Self { name, id, purpose: Some(purpose), ..Self::unknown() }
    }
}

#[derive(Serialize)]
pub(super) struct Checksum {
    pub(super) algorithm: &'static str,
    #[serde(rename = "checksumValue")]
    pub(super) value: String,
}

#[derive(Serialize)]
pub(super) struct ExternalReference {
    #[serde(rename = "referenceCategory")]
    pub(super) category: &'static str,
    #[serde(rename = "referenceType")]
    pub(super) kind: &'static str,
    #[serde(rename = "referenceLocator")]
    pub(super) locator: String,
}

#[derive(Serialize)]
pub(super) struct Relationship {
    #[serde(rename = "spdxElementId")]
    from: String,
    #[serde(rename = "relationshipType")]
    kind: RelationshipKind,
    #[serde(rename = "relatedSpdxElement")]
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

impl Relationship {
    pub(super) const fn new(from: String, kind: RelationshipKind, to: String) -> Self {
        Self { from, kind, to, comment: None }
    }

    pub(super) fn with_comment(self, comment: Option<String>) -> Self {
        Self { comment, ..self }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum RelationshipKind {
    Describes,
    Contains,
}
