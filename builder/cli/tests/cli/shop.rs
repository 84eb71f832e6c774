//! A platform of one small service, in a registry, and the keys of four owners.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::{
    archive::Archive,
    session::{Serving, Session},
};

pub(crate) const RECIPE: &str = r#"
[image]
packages = []
user = "65532:65532"
entrypoint = ["/app/serve"]

[[image.files]]
source = "app"
target = "/app"

[service]
ports = { http = 8080 }
resources = { cpu = "10m", memory = "16Mi" }
health = { ready = { tcp = "http" } }
"#;

const TRUST: &str = r#"product = "shop"
expires = "2099-12-31T00:00:00Z"

[owners]
alice = { keys = ["alice.pub"] }
bob = { keys = ["bob.pub"] }
carol = { keys = ["carol.pub"] }
ci = { keys = ["ci.pub"] }

[roles]
root = { owners = ["alice", "bob", "carol"], threshold = 2 }
release = { owners = ["ci"], threshold = 1 }

[roles.channel]
production = { owners = ["alice", "bob", "carol"], threshold = 2 }
"#;

/// The platform and its surroundings.
pub(crate) struct Shop {
    pub(crate) session: Session,
    pub(crate) archive: Archive,
}

impl Shop {
    /// Writes the platform; nothing is locked.
    pub(crate) fn new() -> Self {
        Self::beside(Archive::write)
    }

    /// Writes the platform beside an archive.
    pub(crate) fn beside(archive: impl FnOnce(&Path) -> Archive) -> Self {
        let session = Session::new();
        let archive = archive(&session.path("archive"));
        let shop = Self { session, archive };
        shop.write_version("0.1.0");
        shop.session.write("shop/web/recipe.toml", RECIPE);
        shop.session.write("shop/web/app/serve", "for 0.1.0\n");
        let program = fs::Permissions::from_mode(0o755);
        fs::set_permissions(shop.session.path("work/shop/web/app/serve"), program).unwrap();
        shop.session.write("shop/environments/test.toml", "");
        shop
    }

    /// The same, locked.
    pub(crate) fn locked() -> Self {
        let shop = Self::new();
        shop.lock();
        shop
    }

    /// Locks the platform.
    pub(crate) fn lock(&self) {
        self.session.json(&format!("lock --platform shop {}", self.archive.sources().join(" ")));
    }

    /// Writes `bundle.toml` for a version.
    pub(crate) fn write_version(&self, version: &str) {
        let text = format!(
            r#"
[platform]
name = "shop"
version = "{version}"
repository = "shop"
default-suite = "stable"

[suites.stable]
origin = "Test"
label = "Test"
codename = "stable"
components = ["main"]
keys = ["{}"]
"#,
            self.archive.fingerprint
        );
        self.session.write("shop/bundle.toml", &text);
    }

    /// Builds and pushes the release of a version; returns its reference.
    pub(crate) fn release(&self, version: &str, serving: &Serving) -> String {
        self.write_version(version);
        self.session.write("shop/web/app/serve", &format!("for {version}\n"));
        let line = format!("release --platform shop --scheme http --registry {}", serving.address);
        self.session.json(&line)["reference"].as_str().unwrap().to_owned()
    }

    /// Makes the keys of all owners and writes `trust.toml`.
    pub(crate) fn make_keys(&self) {
        for owner in ["alice", "bob", "carol", "ci"] {
            self.session.json(&format!("key generate {owner}"));
        }
        self.write_trust();
    }

    /// Writes `trust.toml`.
    pub(crate) fn write_trust(&self) {
        self.session.write("trust.toml", TRUST);
    }

    /// Makes the trust root of `trust.toml`.
    pub(crate) fn make_root(&self) {
        self.make_keys();
        self.session.json("trust init trust.toml --key alice.key --key bob.key");
    }
}

/// Ends what `bundle up` left, also when a test fails.
impl Drop for Shop {
    fn drop(&mut self) {
        drop(self.session.command(["down"]).output());
    }
}
