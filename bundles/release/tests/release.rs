//! Releases: equal parts give equal bytes, and nothing but what was assembled is read back.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use bundles_release::{
    AssembledRelease, EnvironmentParts, PartObjects, Release, ReleaseError, ReleaseImage, ReleaseLimits,
    ReleaseParts, Requirements,
    names::{ENVIRONMENT_ANNOTATION, LOCK, OBJECTS, RELEASE, SPDX},
};
use proptest::prelude::*;
use registry_wire::{Descriptor, Digest, MediaType, Platform, StoredManifest};
use serde_json::{Value, json};

fn image(name: &str) -> ReleaseImage {
    let digest = Digest::of(name.as_bytes());
    let platform = Platform { architecture: "amd64".to_owned(), os: "linux".to_owned(), variant: None };
    ReleaseImage {
        name: name.parse().unwrap(),
        media_type: MediaType::IMAGE_MANIFEST,
        digest,
        size: 400,
        platforms: vec![(platform, digest)],
    }
}

fn part(name: &str, replicas: u32) -> PartObjects {
    let image = format!("bundle.invalid/{name}@{}", image(name).digest);
    PartObjects {
        part: name.parse().unwrap(),
        policy: json!({"deadline": "90s", "backup": null}),
        objects: vec![json!({
            "kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": name},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": name, "image": image}]}}}
        })],
    }
}

fn parts() -> ReleaseParts {
    let environment = |name: &str, replicas| EnvironmentParts {
        name: name.parse().unwrap(),
        parts: vec![part("cache", 1), part("api", replicas)],
    };
    ReleaseParts {
        product: "shop".parse().unwrap(),
        version: "1.4.2".parse().unwrap(),
        images: vec![image("cache"), image("api")],
        requires: Requirements { daemon: ">=0.1".parse().unwrap(), kubernetes: ">=1.29".parse().unwrap() },
        environments: vec![environment("test", 1), environment("production", 3)],
        lock: b"format = 1\n".to_vec(),
        sbom: b"{}".to_vec(),
    }
}

type Change = fn(&mut Value);

fn config(assembled: &AssembledRelease) -> Vec<u8> {
    let digest = Release::config_of(assembled.release.manifest()).unwrap().digest;
    assembled.blobs.iter().find(|(blob, _)| blob.digest == digest).unwrap().1.clone()
}

/// The same release with another manifest and configuration, each changed as JSON.
fn changed(
    change_manifest: impl Fn(&mut Value),
    change_config: impl Fn(&mut Value),
) -> Result<Release, ReleaseError> {
    let assembled = Release::assemble(parts()).unwrap();
    let mut config: Value = serde_json::from_slice(&config(&assembled)).unwrap();
    change_config(&mut config);
    let config = serde_json::to_vec(&config).unwrap();
    let mut manifest: Value = serde_json::from_slice(assembled.release.manifest().bytes()).unwrap();
    manifest["config"]["digest"] = Digest::of(&config).to_string().into();
    manifest["config"]["size"] = config.len().into();
    change_manifest(&mut manifest);
    let bytes = serde_json::to_vec(&manifest).unwrap();
    Release::parse(StoredManifest::parse(MediaType::IMAGE_MANIFEST, bytes).unwrap(), &config)
}

#[test]
fn golden_bytes() {
    let assembled = Release::assemble(parts()).unwrap();
    let release = &assembled.release;
    let manifest: Value = serde_json::from_slice(release.manifest().bytes()).unwrap();
    assert_eq!(manifest["artifactType"], RELEASE.as_str());
    assert_eq!(
        String::from_utf8(config(&assembled)).unwrap(),
        include_str!("release.config.golden.json").trim_end(),
        "the form of the configuration changed: that is a new format version"
    );
    assert_eq!(
        String::from_utf8(release.manifest().bytes().to_vec()).unwrap(),
        include_str!("release.manifest.golden.json").trim_end(),
        "the form of the manifest changed: that is a new format version"
    );
}

#[test]
fn equal_parts_give_equal_bytes() {
    let one = Release::assemble(parts()).unwrap();
    let mut reordered = parts();
    reordered.images.reverse();
    reordered.environments.reverse();
    for environment in &mut reordered.environments {
        for part in &mut environment.parts {
            // The same objects with their keys in another order.
            for object in &mut part.objects {
                let members = object.as_object_mut().unwrap();
                let first = members.shift_remove("kind").unwrap();
                members.insert("kind".to_owned(), first);
            }
        }
    }
    let other = Release::assemble(reordered).unwrap();
    assert_eq!(one.release, other.release);
    assert_eq!(one.blobs, other.blobs);
    for (descriptor, bytes) in &one.blobs {
        assert_eq!((descriptor.digest, descriptor.size), (Digest::of(bytes), bytes.len() as u64));
    }
}

#[test]
fn every_layer_is_found_by_environment_and_part() {
    let assembled = Release::assemble(parts()).unwrap();
    let release = Release::parse(assembled.release.manifest().clone(), &config(&assembled)).unwrap();
    assert_eq!(release, assembled.release);
    let names: Vec<_> =
        release.environments().iter().map(|environment| environment.name().as_str()).collect();
    assert_eq!(names, ["production", "test"]);
    let mut read = 0;
    for environment in release.environments() {
        let order: Vec<_> = environment.parts().iter().map(|(part, _)| part.as_str()).collect();
        assert_eq!(order, ["cache", "api"], "parts keep the order in which they are applied");
        for (part, layer) in environment.parts() {
            assert_eq!(layer.media_type, OBJECTS);
            let bytes = &assembled.blobs.iter().find(|(blob, _)| blob.digest == layer.digest).unwrap().1;
            let document = release.read_objects(environment.name(), part, bytes).unwrap();
            assert_eq!(document.objects[0]["metadata"]["name"], part.as_str());
            assert_eq!(document.policy["deadline"], "90s");
            read += 1;
            let refused = release.read_objects(environment.name(), part, &bytes[1..]);
            assert!(matches!(refused, Err(ReleaseError::Bytes { .. })), "{refused:?}");
        }
    }
    assert_eq!(read, 4);
    assert_eq!(release.lock().media_type, LOCK);
    assert_eq!(release.sbom().media_type, SPDX);
    let absent = release.read_objects(&"staging".parse().unwrap(), &"api".parse().unwrap(), b"");
    assert!(matches!(absent, Err(ReleaseError::NoSuchPart { .. })));
    assert!(
        release.requires().kubernetes.is_met_by(1, 30) && !release.requires().kubernetes.is_met_by(1, 28)
    );
}

#[test]
fn the_carrier_lists_the_release_and_its_images_and_has_no_artifact_type() {
    let release = Release::assemble(parts()).unwrap().release;
    let carrier = release.carrier();
    let listed: Vec<_> = carrier.index().unwrap().manifests.iter().map(|entry| entry.digest).collect();
    assert_eq!(listed, [release.digest(), image("api").digest, image("cache").digest]);
    assert!(!String::from_utf8_lossy(carrier.bytes()).contains("artifactType"));
    assert_eq!((release.tag().as_str(), release.carrier_tag().as_str()), ("1.4.2", "1.4.2-all"));
}

#[test]
fn parts_that_make_no_release() {
    type Change = fn(&mut ReleaseParts);
    type Check = fn(&ReleaseError) -> bool;
    let cases: [(&str, Change, Check); 7] = [
        (
            "two images of one name",
            |parts| parts.images.push(image("api")),
            |error| matches!(error, ReleaseError::ImageOrder { .. }),
        ),
        (
            "an image without platforms",
            |parts| parts.images[0].platforms.clear(),
            |error| matches!(error, ReleaseError::Image { .. }),
        ),
        (
            "an image that is a layer",
            |parts| parts.images[0].media_type = MediaType::LAYER_TAR_GZIP,
            |error| matches!(error, ReleaseError::Image { .. }),
        ),
        (
            "objects of an image that is left out",
            |parts| drop(parts.images.remove(0)),
            |error| matches!(error, ReleaseError::UnknownImage { .. }),
        ),
        (
            "a placeholder that names no digest",
            |parts| {
                parts.environments[0].parts[0].objects.push(json!({"image": "bundle.invalid/api:latest"}));
            },
            |error| matches!(error, ReleaseError::UnknownImage { image, .. } if image.ends_with("api:latest")),
        ),
        (
            "an environment twice",
            |parts| parts.environments[1].name = parts.environments[0].name.clone(),
            |error| matches!(error, ReleaseError::EnvironmentOrder { .. }),
        ),
        (
            "a part twice",
            |parts| {
                let part = parts.environments[0].parts[0].clone();
                parts.environments[0].parts.push(part);
            },
            |error| matches!(error, ReleaseError::PartTwice { .. }),
        ),
    ];
    for (name, change, check) in cases {
        let mut parts = parts();
        change(&mut parts);
        let error = Release::assemble(parts).unwrap_err();
        assert!(check(&error), "{name}: {error}");
    }
    let mut large = parts();
    large.environments[0].parts[0]
        .objects
        .push(json!("x".repeat(usize::try_from(ReleaseLimits::OBJECTS).unwrap())));
    assert!(matches!(Release::assemble(large), Err(ReleaseError::TooLarge { what: "objects", .. })));
}

#[test]
fn stored_bytes_that_are_no_release() {
    let same = |_: &mut Value| {};
    changed(same, same).unwrap();
    let manifests: [(&str, Change); 11] = [
        ("another artifact type", |manifest| manifest["artifactType"] = "application/x".into()),
        ("another configuration type", |manifest| manifest["config"]["mediaType"] = "application/x".into()),
        ("a subject", |manifest| manifest["subject"] = manifest["config"].clone()),
        ("another product in the annotation", |manifest| {
            manifest["annotations"]["org.opencontainers.image.title"] = "x".into();
        }),
        ("a clock", |manifest| {
            manifest["annotations"]["org.opencontainers.image.created"] = "2026-01-01T00:00:00Z".into();
        }),
        ("a layer too few", |manifest| drop(manifest["layers"].as_array_mut().unwrap().pop())),
        ("a layer too many", |manifest| {
            let layers = manifest["layers"].as_array_mut().unwrap();
            layers.push(layers[0].clone());
        }),
        ("layers in another order", |manifest| manifest["layers"].as_array_mut().unwrap().swap(0, 2)),
        ("a layer for another environment", |manifest| {
            manifest["layers"][0]["annotations"][ENVIRONMENT_ANNOTATION] = "test".into();
        }),
        ("a lock that the configuration does not name", |manifest| {
            manifest["layers"][4]["digest"] = Digest::of(b"other").to_string().into();
        }),
        ("a bill of materials over its limit", |manifest| {
            manifest["layers"][5]["size"] = (ReleaseLimits::SBOM + 1).into();
        }),
    ];
    for (name, change) in manifests {
        assert!(changed(change, same).is_err(), "{name}");
    }
    let configs: [(&str, Change); 8] = [
        ("an unknown field", |config| config["sequence"] = 1.into()),
        ("a later format", |config| config["formatVersion"] = 2.into()),
        ("another version than the annotation", |config| config["version"] = "1.4.3".into()),
        ("an unknown requirement", |config| config["requires"]["moon"] = ">=1.0".into()),
        ("images out of order", |config| config["images"].as_array_mut().unwrap().reverse()),
        ("environments out of order", |config| config["environments"].as_array_mut().unwrap().reverse()),
        ("an image that does not list itself", |config| {
            config["images"][0]["platforms"][0]["digest"] = Digest::of(b"other").to_string().into();
        }),
        ("a part without a layer", |config| {
            config["environments"][1]["parts"].as_array_mut().unwrap().push("web".into());
        }),
    ];
    for (name, change) in configs {
        assert!(changed(same, change).is_err(), "{name}");
    }
    let assembled = Release::assemble(parts()).unwrap();
    let refused = Release::parse(assembled.release.manifest().clone(), b"{}");
    assert!(matches!(refused, Err(ReleaseError::Bytes { .. })));
    let descriptor = Descriptor::of(MediaType::IMAGE_MANIFEST, b"");
    let index = StoredManifest::from_index(registry_wire::Index {
        schema_version: 2,
        media_type: MediaType::IMAGE_INDEX,
        artifact_type: Some(RELEASE),
        manifests: vec![descriptor],
        subject: None,
        annotations: [].into(),
    });
    assert!(matches!(Release::config_of(&index), Err(ReleaseError::NotARelease { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// A release is its bytes: whatever is changed in them, the digest or the reader tells.
    #[test]
    fn no_changed_configuration_is_read(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let assembled = assembled();
        let mut bytes = config(assembled);
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
        }
        prop_assert!(Release::parse(assembled.release.manifest().clone(), &bytes).is_err());
    }
}

fn assembled() -> &'static AssembledRelease {
    static ASSEMBLED: std::sync::OnceLock<AssembledRelease> = std::sync::OnceLock::new();
    ASSEMBLED.get_or_init(|| Release::assemble(parts()).unwrap())
}
