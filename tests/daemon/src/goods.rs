//! What the shop sells: images, and releases of them whose settings have a new name each time.

use std::path::Path;

use anyhow::Result;
use bundles_release::Release;
use registry_client::Registry;
use registry_wire::Digest;
use serde_json::json;
use test_cluster::program;

use crate::{
    image::Image,
    lab::NODE_REGISTRY,
    shop::{Shop, api, cache, labels},
};

/// How a release behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// It gets ready.
    Good,
    /// Its `api` ends with an error as soon as it starts.
    Crashing,
}

/// The images of all releases.
#[derive(Debug, Clone)]
pub struct Goods {
    guest: Digest,
    api: (Digest, u64),
    crashing: (Digest, u64),
    cache: (Digest, u64),
}

/// Seconds that a good release has. Controllers of Kubernetes ask again only after up to a minute where the API server went
/// away twice (client-go's reflectors double their pause to 30 s and add as much by chance).
const PATIENT: u32 = 120;

impl Goods {
    /// Pushes the images. `guest` is the program with the guest verbs.
    pub async fn push(registry: &Registry, guest: &Path) -> Result<Self> {
        let crashing = Image::of_program(guest, "crash")?;
        Ok(Self {
            guest: Image::of_program(guest, "guest")?.push(registry, &"daemon".parse()?).await?.0,
            api: Image::of_program(&program("probe")?, "probe")?.push(registry, &"shop/api".parse()?).await?,
            crashing: crashing.push(registry, &"shop/api".parse()?).await?,
            cache: Image::of_redis()?.push(registry, &"shop/cache".parse()?).await?,
        })
    }

    /// The image with the guest verbs, as nodes pull it.
    pub fn guest(&self) -> String {
        format!("{NODE_REGISTRY}/daemon@{}", self.guest)
    }

    /// Every image with a word for it.
    pub const fn words(&self) -> [(Digest, &'static str); 4] {
        [
            (self.guest, "GUEST"),
            (self.api.0, "API"),
            (self.crashing.0, "CRASHING-API"),
            (self.cache.0, "CACHE"),
        ]
    }

    /// Makes a release of `api` with `settings-VERSION`, and `cache`, and pushes it.
    pub async fn release(
        &self,
        shop: &Shop,
        version: &str,
        behaviour: Behaviour,
        sign: bool,
    ) -> Result<Release> {
        let ready =
            ("readinessProbe", json!({ "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1 }));
        let mut part = match behaviour {
            Behaviour::Good => api(self.api, version, &[ready], PATIENT),
            Behaviour::Crashing => {
                let command = ("command", json!(["/program", "-no-such-flag"]));
                api(self.crashing, version, &[command, ready], 60)
            }
        };
        part.objects.push(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": format!("settings-{version}"), "labels": labels("api") },
            "data": { "version": version },
        }));
        shop.release(version, vec![part, cache(self.cache)], sign).await
    }
}
