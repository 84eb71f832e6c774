//! Keys of steps.

use builder_image::{GZIP_ENCODER, TAR_ENCODER};
use registry_wire::Digest;

use crate::{ImageRequest, identity::Identity};

/// SHA-256 of the sources of the rooms that make trees and layers: what they do is an input like any other.
const RULES: &str = env!("BUNDLE_RULES");

/// Unpacking a `.deb` depends on nothing but the file.
pub(crate) fn unpack_key(deb: &Digest) -> Digest {
    Identity::new("step/unpack/1").text(RULES).digest(deb).finish()
}

/// A fragment's bytes depend on its segment.
pub(crate) fn fragment_key(segment: &Digest) -> Digest {
    Identity::new("step/fragment/1").text(RULES).digest(segment).finish()
}

/// An image depends on all that its recipe and its lock say. Its name is not in it, nor is where its files are.
pub(crate) fn image_key(request: &ImageRequest) -> Digest {
    let mut key = Identity::new("step/image/2").text(RULES).text(TAR_ENCODER).text(GZIP_ENCODER);
    key = key.number(request.epoch.cast_unsigned()).number(request.packages.len() as u64);
    for package in &request.packages {
        // What the lock says of a file is compared with it when it is unpacked, and is told of the image.
        key = key.digest(&package.sha256).text(package.name.as_str()).text(package.version.as_str());
        key = key.text(package.architecture.as_str());
        let source = package.source.as_ref();
        let (name, version) = source.map_or(("", ""), |one| (one.name.as_str(), one.version.as_str()));
        key = key.text(name).text(version);
    }
    key = key.number(request.accounts.users.len() as u64);
    for user in &request.accounts.users {
        key = key.text(user.name.as_str()).number(u64::from(user.id)).number(u64::from(user.group));
    }
    key = key.number(request.accounts.groups.len() as u64);
    for group in &request.accounts.groups {
        key = key.text(group.name.as_str()).number(u64::from(group.id));
    }
    key =
        key.digest(&request.recordings.identity(request.packages.iter().map(|package| package.name.clone())));
    key = key.number(request.sources.len() as u64);
    for source in &request.sources {
        key = key.text(&source.target).number(u64::from(source.mode)).digest(&source.digest);
    }
    key = key.number(request.checks.len() as u64);
    for program in &request.checks {
        key = key.text(program);
    }
    // The configuration of an image without layers says all about platform and process.
    key.bytes(&request.config.encode(&[])).finish()
}
