//! Referrers: manifests that say something about another one (distribution specification, "Listing referrers").

use crate::{Descriptor, Digest, Index, ManifestDocument, MediaType, StoredManifest, Tag};

impl StoredManifest {
    /// How a list of referrers shows this manifest: with its artifact type (the configuration's media type stands in
    /// for it) and its annotations.
    pub fn referrer_descriptor(&self) -> Descriptor {
        let mut descriptor = self.descriptor();
        let annotations = match self.document() {
            ManifestDocument::Image(manifest) => {
                descriptor.artifact_type.get_or_insert_with(|| manifest.config.media_type.clone());
                &manifest.annotations
            }
            ManifestDocument::Index(index) => &index.annotations,
        };
        descriptor.annotations.clone_from(annotations);
        descriptor
    }
}

impl Index {
    /// A list of manifests and nothing else, as referrers are listed.
    pub const fn of(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: MediaType::IMAGE_INDEX,
            artifact_type: None,
            manifests,
            subject: None,
            annotations: std::collections::BTreeMap::new(),
        }
    }
}

impl Tag {
    /// The tag under which the referrers of `subject` are listed where the registry has no list of its own.
    #[allow(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "71 letters, digits and a dash are always a tag"
    )]
    pub fn of_referrers(subject: &Digest) -> Self {
        format!("sha256-{}", subject.hex()).parse().expect("the fallback tag is a tag")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptor_of_a_referrer() {
        let config = Descriptor::of(MediaType::from_static("application/x"), b"{}");
        let text = serde_json::json!({"schemaVersion": 2, "config": config, "layers": [], "annotations": {"k": "v"}});
        let manifest =
            StoredManifest::parse(MediaType::IMAGE_MANIFEST, text.to_string().into_bytes()).unwrap();
        let descriptor = manifest.referrer_descriptor();
        assert_eq!(descriptor.artifact_type, Some(MediaType::from_static("application/x")));
        assert_eq!(descriptor.annotations["k"], "v");
        assert_eq!(descriptor.size, manifest.bytes().len() as u64);
        let tag = Tag::of_referrers(&Digest::of(b""));
        assert_eq!(tag.as_str(), "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
