//! Documents in the cluster: immutable `ConfigMaps` under 1 MiB, named by content, owned by what needs them.

use std::collections::{BTreeMap, BTreeSet};

use bundles_release::names::SUBSCRIPTION_LABEL;
use daemon_plan::{
    chunk::{self, Chunk, ChunkError},
    names::ShortName,
};
use k8s_openapi::{
    ByteString,
    api::core::v1::ConfigMap,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Resource, ResourceExt,
    api::{DeleteParams, ListParams, PostParams, Preconditions},
};
use registry_wire::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Cluster, ClusterError, Release, Subscription, Verb, error::status_of};

const OWNER_LABEL: &str = "bundle.build/document-of";
const DIGEST_ANNOTATION: &str = "bundle.build/document";
const PLACE_ANNOTATION: &str = "bundle.build/piece";
const DATA_KEY: &str = "piece";

/// Names a document that is kept in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DocumentReference {
    /// Digest of the whole.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// How many pieces it is stored in.
    pub chunks: usize,
}

/// What a document is kept for. It goes when its owner goes.
#[derive(Debug, Clone)]
pub struct DocumentOwner {
    reference: OwnerReference,
    label: ShortName,
    subscription: String,
}

impl DocumentOwner {
    /// Documents of a release.
    pub fn release(release: &Release) -> Option<Self> {
        Some(Self {
            reference: release.owner_ref(&())?,
            label: ShortName::of(&["release", &release.name_any()]),
            subscription: release.spec.subscription.clone(),
        })
    }

    /// Documents of a subscription.
    pub fn subscription(subscription: &Subscription) -> Option<Self> {
        Some(Self {
            reference: subscription.owner_ref(&())?,
            label: ShortName::of(&["subscription", &subscription.name_any()]),
            subscription: subscription.name_any(),
        })
    }

    pub(crate) const fn reference(&self) -> &OwnerReference {
        &self.reference
    }

    fn piece_name(&self, document: &Digest, index: usize) -> ShortName {
        ShortName::of(&["doc", self.label.as_str(), &document.short(), &index.to_string()])
    }
}

impl Cluster {
    /// Keeps a document. Keeping it again changes nothing.
    ///
    /// # Atomicity
    ///
    /// A crash leaves some pieces; they are immutable and named by content, so the next attempt completes them.
    pub async fn store_document(
        &self,
        owner: &DocumentOwner,
        bytes: &[u8],
    ) -> Result<DocumentReference, ClusterError> {
        let pieces = chunk::split(bytes, chunk::CHUNK_LIMIT);
        let reference = DocumentReference { digest: Digest::of(bytes), chunks: pieces.len() };
        let api = self.own::<ConfigMap>();
        for piece in pieces {
            let name = owner.piece_name(&piece.document, piece.index);
            let object = format!("document piece {name}");
            self.fence().check(&object)?;
            let map = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(name.to_string()),
                    labels: Some(BTreeMap::from([
                        (OWNER_LABEL.to_owned(), owner.label.to_string()),
                        (SUBSCRIPTION_LABEL.to_owned(), owner.subscription.clone()),
                    ])),
                    annotations: Some(BTreeMap::from([
                        (DIGEST_ANNOTATION.to_owned(), piece.document.to_string()),
                        (PLACE_ANNOTATION.to_owned(), format!("{}/{}", piece.index, piece.count)),
                    ])),
                    owner_references: Some(vec![owner.reference.clone()]),
                    ..ObjectMeta::default()
                },
                immutable: Some(true),
                binary_data: Some(BTreeMap::from([(DATA_KEY.to_owned(), ByteString(piece.bytes.clone()))])),
                ..ConfigMap::default()
            };
            match api.create(&PostParams::default(), &map).await {
                Ok(_) => {}
                Err(error) if status_of(&error).is_some_and(|status| status.code == 409) => {
                    let stored = self.read_piece(name.as_str(), &piece.document).await?;
                    if stored.as_ref() != Some(&piece) {
                        let found = Digest::of(&stored.map(|stored| stored.bytes).unwrap_or_default());
                        let source = ChunkError::Changed { document: piece.document, found };
                        return Err(ClusterError::Document { source });
                    }
                }
                Err(source) => return Err(ClusterError::request(Verb::Create, object, source)),
            }
        }
        Ok(reference)
    }

    /// Reads a document; every piece and the whole are checked.
    pub async fn load_document(
        &self,
        owner: &DocumentOwner,
        reference: &DocumentReference,
    ) -> Result<Vec<u8>, ClusterError> {
        let mut pieces = Vec::with_capacity(reference.chunks);
        for index in 0..reference.chunks {
            let name = owner.piece_name(&reference.digest, index);
            pieces.extend(self.read_piece(name.as_str(), &reference.digest).await?);
        }
        chunk::join(reference.digest, &pieces).map_err(|source| ClusterError::Document { source })
    }

    /// Deletes documents of the owner that are not among those to keep.
    pub async fn drop_documents(
        &self,
        owner: &DocumentOwner,
        keep: &BTreeSet<Digest>,
    ) -> Result<(), ClusterError> {
        let api = self.own::<ConfigMap>();
        let parameters = ListParams::default().labels(&format!("{OWNER_LABEL}={}", owner.label));
        // Names and annotations are enough; the pieces themselves are large.
        let pieces = api
            .list_metadata(&parameters)
            .await
            .map_err(|source| ClusterError::request(Verb::List, "document pieces", source))?;
        for piece in pieces {
            let digest =
                piece.annotations().get(DIGEST_ANNOTATION).and_then(|text| text.parse::<Digest>().ok());
            if digest.is_none_or(|digest| keep.contains(&digest)) {
                continue;
            }
            let name = piece.name_any();
            let object = format!("document piece {name}");
            self.fence().check(&object)?;
            let parameters = DeleteParams {
                preconditions: Some(Preconditions { uid: piece.uid(), resource_version: None }),
                ..DeleteParams::default()
            };
            match api.delete(&name, &parameters).await {
                Ok(_) => {}
                Err(error) if status_of(&error).is_some_and(|status| matches!(status.code, 404 | 409)) => {}
                Err(source) => return Err(ClusterError::request(Verb::Delete, object, source)),
            }
        }
        Ok(())
    }

    async fn read_piece(&self, name: &str, document: &Digest) -> Result<Option<Chunk>, ClusterError> {
        let found =
            self.own::<ConfigMap>().get_opt(name).await.map_err(|source| {
                ClusterError::request(Verb::Get, format!("document piece {name}"), source)
            })?;
        Ok(found.and_then(|map| piece_of(map, document)))
    }
}

fn piece_of(mut map: ConfigMap, document: &Digest) -> Option<Chunk> {
    let annotations = map.annotations();
    let stored: Digest = annotations.get(DIGEST_ANNOTATION)?.parse().ok()?;
    let (index, count) = annotations.get(PLACE_ANNOTATION)?.split_once('/')?;
    let (index, count) = (index.parse().ok()?, count.parse().ok()?);
    let bytes = map.binary_data.as_mut()?.remove(DATA_KEY)?.0;
    (stored == *document).then_some(Chunk { document: stored, index, count, bytes })
}
