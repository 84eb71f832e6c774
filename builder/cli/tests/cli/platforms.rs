//! An image for several platforms.

use std::fs;

use insta::assert_snapshot;
use serde_json::Value;

use crate::{
    archive::{Archive, Named},
    session::with_filters,
    shop::Shop,
};

/// What every image has, on two architectures.
const BASE: [Named; 4] = [
    ("base-files", "1.0", "amd64"),
    ("base-files", "1.0", "arm64"),
    ("base-passwd", "1.0", "amd64"),
    ("base-passwd", "1.0", "arm64"),
];

/// The shop, its service for two platforms, beside an archive with these packages too.
fn shop(more: &[Named], asked: &str) -> Shop {
    let packages = [&BASE, more].concat();
    let shop = Shop::beside(|folder| Archive::of(folder, &packages));
    ask(&shop, asked);
    shop
}

fn ask(shop: &Shop, asked: &str) {
    let recipe = shop.session.read("shop/web/recipe.toml");
    let start = recipe.find("packages = ").unwrap();
    let end = recipe.find("user = ").unwrap();
    let platforms = "platforms = [\"linux/amd64\", \"linux/arm64\"]";
    let recipe = format!("{}packages = {asked}\n{platforms}\n{}", &recipe[..start], &recipe[end..]);
    shop.session.write("shop/web/recipe.toml", &recipe);
}

fn lock(shop: &Shop) -> String {
    shop.session.run(&format!("lock --platform shop {}", shop.archive.sources().join(" ")))
}

/// A manifest of a layout.
fn manifest(shop: &Shop, digest: &Value) -> Value {
    let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
    serde_json::from_slice(&fs::read(shop.session.path("work/layout/blobs/sha256").join(hex)).unwrap())
        .unwrap()
}

#[test]
fn is_an_index_with_an_image_for_each() {
    let more = [("tool", "1.0", "amd64"), ("tool", "1.0", "arm64"), ("data", "1.0", "all")];
    let shop = shop(&more, "[\"tool\", \"data\"]");
    let session = &shop.session;
    let locked = lock(&shop);
    assert!(locked.contains("written, 7 packages"), "{locked}");
    with_filters(|| {
        assert_snapshot!(session.run("build --platform shop --output layout"), @r"
        web          sha256:[DIGEST]     [SIZE]  built
          linux/amd64 sha256:[DIGEST]     [SIZE]  built
          linux/arm64 sha256:[DIGEST]     [SIZE]  built
        web for linux/amd64: unpacking, 4 parts
        web for linux/amd64: encoding layers, 7 parts
        web for linux/arm64: unpacking, 4 parts
        web for linux/arm64: encoding layers, 7 parts
        ");
        assert_snapshot!(session.run("build --platform shop"), @r"
        web          sha256:[DIGEST]     [SIZE]  unchanged
          linux/amd64 sha256:[DIGEST]     [SIZE]  unchanged
          linux/arm64 sha256:[DIGEST]     [SIZE]  unchanged
        ");
    });
    let layout: Value = serde_json::from_str(&session.read("layout/index.json")).unwrap();
    assert_eq!(layout["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "web");
    let index = manifest(&shop, &layout["manifests"][0]["digest"]);
    let platforms: Vec<&Value> =
        index["manifests"].as_array().unwrap().iter().map(|one| &one["platform"]).collect();
    assert_eq!(
        serde_json::to_value(platforms).unwrap(),
        serde_json::json!([
            { "architecture": "amd64", "os": "linux" },
            { "architecture": "arm64", "os": "linux", "variant": "v8" },
        ])
    );
    for one in index["manifests"].as_array().unwrap() {
        let image = manifest(&shop, &one["digest"]);
        let config = manifest(&shop, &image["config"]["digest"]);
        assert_eq!(config["architecture"], one["platform"]["architecture"]);
        assert_eq!(config["variant"], one["platform"]["variant"]);
        assert!(config["config"]["Labels"]["build.bundle.index"].is_string(), "{config}");
    }
    // The layer of the recipe's own files is the same.
    let layers = |at: usize| manifest(&shop, &index["manifests"][at]["digest"])["layers"].clone();
    assert_eq!(layers(0)[1], layers(1)[1]);
    assert_ne!(layers(0)[0], layers(1)[0]);

    // For one platform it is a manifest again, as if it had never been more.
    let recipe = session.read("shop/web/recipe.toml").replace(", \"linux/arm64\"]", "]");
    session.write("shop/web/recipe.toml", &recipe);
    let stale = session.run("build --platform shop");
    assert!(stale.contains("recipe web asks for other packages than bundle.lock holds"), "{stale}");
    lock(&shop);
    assert!(!session.read("shop/bundle.lock").contains("architecture.amd64"));
    session.run("build --platform shop --output layout");
    let layout: Value = serde_json::from_str(&session.read("layout/index.json")).unwrap();
    let image = manifest(&shop, &layout["manifests"][0]["digest"]);
    assert_eq!(image["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert!(manifest(&shop, &image["config"]["digest"])["config"]["Labels"].is_null());
}

#[test]
fn has_one_version_of_a_source_where_that_can_be() {
    let held = [("tool", "1.0", "amd64"), ("tool", "2.0", "amd64"), ("tool", "1.0", "arm64")];
    let told = lock(&shop(&held, "[\"tool\"]"));
    assert!(told.contains("recipe web takes tool 1.0 on amd64: arm64 has no 2.0"), "{told}");
    assert!(!told.contains("\n! "), "{told}");

    let apart = shop(&[("tool", "2.0", "amd64"), ("tool", "1.0", "arm64")], "[\"tool\"]");
    let told = lock(&apart);
    assert!(told.contains("\n! recipe web has source tool 2.0 on amd64, 1.0 on arm64\n"), "{told}");
    let again = lock(&apart);
    assert!(again.contains("up to date, 6 packages") && again.contains("\n! recipe web"), "{again}");

    // A lock that is there keeps its version on the architecture that comes later.
    let more = [
        ("tool", "1.0", "amd64"),
        ("tool", "1.0", "arm64"),
        ("tool", "2.0", "amd64"),
        ("tool", "2.0", "arm64"),
    ];
    let shop = shop(&more, "[\"tool\"]");
    let both = shop.session.read("shop/web/recipe.toml");
    let one = both.replace("platforms = [\"linux/amd64\", \"linux/arm64\"]", "pins = { tool = \"= 1.0\" }");
    shop.session.write("shop/web/recipe.toml", &one);
    lock(&shop);
    shop.session.write("shop/web/recipe.toml", &both);
    lock(&shop);
    let text = shop.session.read("shop/bundle.lock");
    assert!(!text.contains("version = \"2.0\""), "{text}");
}

#[test]
fn says_what_an_architecture_lacks() {
    let shop = shop(&[("tool", "1.0", "amd64")], "[\"tool\"]");
    with_filters(|| {
        assert_snapshot!(lock(&shop), @r#"
        exit 3
        fetching 1 file: [SIZE]
        fetching 1 file: [SIZE]
        error: recipe web asks for package tool, which suite stable has for amd64 but not for arm64
         --> web/recipe.toml:3:13
          |
        3 | packages = ["tool"]
          |             ^^^^^^
          try: correct `packages` or `platforms` in the recipe, then `bundle lock`
        "#);
        ask(&shop, "[\"toll\"]");
        assert_snapshot!(lock(&shop), @r#"
        exit 3
        error: recipe web asks for package toll, which suite stable does not have
         --> web/recipe.toml:3:13
          |
        3 | packages = ["toll"]
          |             ^^^^^^
          try: correct `packages` in the recipe, then `bundle lock`
        "#);
    });
    let without = Shop::new();
    ask(&without, "[]");
    with_filters(|| {
        assert_snapshot!(lock(&without), @r#"
        exit 3
        fetching 1 file: [SIZE]
        error: the Release of suite stable has no index of component main for arm64
         --> web/recipe.toml:4:29
          |
        4 | platforms = ["linux/amd64", "linux/arm64"]
          |                             ^^^^^^^^^^^^^
          try: leave the platform out, or take the packages from a suite that has it
        "#);
    });
}
