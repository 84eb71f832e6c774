//! Maintainer scripts: unknown, recorded, refused.

use std::fs;

use registry_wire::Digest;

use crate::{session::with_filters, shop::Shop};

const RECIPE: &str = r#"
[image]
packages = ["shell", "tool"]
user = "65532:65532"
entrypoint = ["/usr/bin/sh"]

[service]
ports = { http = 8080 }
resources = { cpu = "10m", memory = "16Mi" }
health = { ready = { tcp = "http" } }
"#;

/// A shop whose image needs a package with a script that nobody knows.
fn shop() -> Shop {
    let shop = Shop::new();
    shop.session.write("shop/web/recipe.toml", RECIPE);
    shop
}

/// All parts must be in what is said.
fn says(shop: &Shop, line: &str, parts: &[&str]) {
    let said = shop.session.run(line);
    for part in parts {
        assert!(said.contains(part), "{line}: {part} is missing in:\n{said}");
    }
}

#[test]
fn an_unknown_script_is_recorded_and_then_built() {
    let shop = shop();
    let lock = format!("lock --platform shop {}", shop.archive.sources().join(" "));
    let record = "try: bundle effects record tool --platform shop";
    says(&shop, &lock, &["4 packages", "package tool (amd64): its postinst (sha256:", record]);
    says(
        &shop,
        "build --platform shop",
        &["exit 3", "not known of it: `read line < /usr/share/tool`", record],
    );
    says(
        &shop,
        "effects audit --platform shop",
        &["exit 3", "1 unknown", "bundle effects record tool --platform shop"],
    );
    says(&shop, "effects record absent --platform shop", &["exit 2", "bundle.lock holds no package absent"]);
    says(
        &shop,
        "effects record shell --platform shop",
        &["every script of shell is declared; there is nothing to record"],
    );
    let file = "shop/effects/tool.toml";
    says(
        &shop,
        "effects record tool --platform shop",
        &[file, "postinst configure \"\": looked at ", "changed 1; sandbox full"],
    );
    let recorded = shop.session.read(file);
    for part in [
        "path = \"/usr/share/tool.list\"",
        "\nof the tool\n",
        "\"/usr/share/tool\" = \"file sha256:",
        "\"/usr/bin/sh\" = \"file sha256:",
        "/ld-linux-x86-64.so.2\" = \"file sha256:",
        "\"/bin\" = \"link usr/bin\"",
        "\"/etc\" = \"absent\"",
    ] {
        assert!(recorded.contains(part), "{part} is missing in:\n{recorded}");
    }
    says(&shop, "build --platform shop", &["web", "built"]);
    says(&shop, "build --platform shop", &["web", "unchanged"]);
    says(
        &shop,
        "effects audit --platform shop",
        &["recorded  stable/tool:amd64 1.0: postinst", "1 recorded"],
    );
    let shown = ["recorded in a sandbox of level full", "file /usr/share/tool.list 0644 0:0 12 bytes"];
    says(&shop, "effects show tool --platform shop", &shown);
    says(&shop, "release --platform shop", &["sha256:"]);
    // Again gives the same bytes.
    shop.session.run("effects record tool --platform shop");
    assert_eq!(shop.session.read(file), recorded);

    let bundle = shop.session.read("shop/bundle.toml");
    let of_shop = |text: &str| bundle.replace("[platform]\n", &format!("[platform]\n{text}\n"));
    let of = |bytes: &[u8]| Digest::of(bytes).to_string();
    let changed = recorded.replace(&of(b"of the tool\n"), &of(b"of another tool\n"));
    let weaker = recorded.replace("sandbox = \"full\"", "sandbox = \"isolated\"");
    let only_recorded = "package tool: its postinst (sha256:";
    for (path, text, line, expected) in [
        (
            file,
            changed.as_str(),
            "build",
            &["looked at /usr/share/tool, which has changed: it is `file sha256:", record][..],
        ),
        (
            file,
            &recorded.replace("\"configure\"", "\"triggered\""),
            "build",
            &["was recorded with other arguments: `triggered \"\"`", record],
        ),
        (
            file,
            &weaker,
            "build",
            &["was recorded in a sandbox of level isolated, and the platform asks for full", "bundle doctor"],
        ),
        (file, "format = 9", "build", &["shop/effects/tool.toml cannot be used", "git checkout"]),
        (
            file,
            &recorded.replace("package = \"tool\"", "package = \"shell\""),
            "effects audit",
            &["holds recordings of package shell"],
        ),
        (
            "shop/bundle.toml",
            &of_shop("scripts = \"declared-only\""),
            "build",
            &[
                only_recorded,
                "is only recorded",
                "table of effects, or set `scripts = \"recorded\"` in [platform]",
            ],
        ),
        (
            "shop/bundle.toml",
            &of_shop("scripts = \"all\""),
            "build",
            &["expected: one of `recorded`, `declared-only`"],
        ),
        ("shop/environments/production.toml", "scripts = \"declared-only\"\n", "build", &["unchanged"]),
        (
            "shop/environments/production.toml",
            "scripts = \"declared-only\"\n",
            "release",
            &[
                "image web: the postinst of package tool is only recorded, and environment production has `scripts = \"declared-only\"`",
                "add it to the table of effects, or set `scripts = \"recorded\"` in environments/production.toml",
            ],
        ),
    ] {
        let before = match path {
            "shop/environments/production.toml" => String::new(),
            path => shop.session.read(path),
        };
        shop.session.write(path, text);
        says(&shop, &format!("{line} --platform shop"), expected);
        shop.session.write(path, &before);
    }
    // Where that is refused in a build, the audit refuses it too.
    shop.session.write("shop/bundle.toml", &of_shop("scripts = \"declared-only\""));
    let refused = ["exit 3", "1 packages have scripts that are only recorded", "declared-only"];
    says(&shop, "effects audit --platform shop", &refused);
    shop.session.write("shop/bundle.toml", &bundle);
    // Without a name, all that is not known is recorded.
    says(&shop, "effects record --platform shop", &["every script is declared or recorded"]);
    fs::remove_file(shop.session.path("work").join(file)).unwrap();
    says(&shop, "effects record --platform shop", &["tool.toml: written", "changed 1; sandbox full"]);
    assert_eq!(shop.session.read(file), recorded);
    // Recording again replaces what was recorded here, in whatever sandbox, and nothing else.
    shop.session.write(file, &weaker);
    let again = "then bundle effects record tool --platform shop";
    says(&shop, "build --platform shop", &["asks for full: shop/effects/tool.toml", again]);
    says(&shop, "effects record tool --platform shop", &["changed 1; sandbox full"]);
    assert_eq!(shop.session.read(file), recorded);
    let foreign = recorded.replace("architecture = \"amd64\"", "architecture = \"arm64\"");
    shop.session.write(file, &foreign);
    says(&shop, "build --platform shop", &["was recorded on arm64, and the image is for amd64", record]);
    let foreign = ["exit 3", "1 unknown", "bundle effects record tool --platform shop"];
    says(&shop, "effects audit --platform shop", &foreign);
    says(&shop, "effects show tool:amd64 --platform shop", &["not recorded on amd64"]);
    says(&shop, "effects record tool --platform shop", &["changed 1; sandbox full"]);
    let both = shop.session.read(file);
    assert!(both.contains("architecture = \"amd64\"") && both.contains("architecture = \"arm64\""), "{both}");
    let of_shell = "shop/effects/shell.toml";
    shop.session.write(of_shell, &recorded.replace("package = \"tool\"", "package = \"shell\""));
    says(
        &shop,
        "effects record shell --platform shop",
        &["there is nothing to record", "shop/effects/shell.toml: removed"],
    );
    assert!(!shop.session.path("work").join(of_shell).exists());
    // A recording of an isolated sandbox counts where that is asked for.
    shop.session.write(file, &weaker);
    shop.session.write("shop/bundle.toml", &of_shop("sandbox = \"isolated\""));
    says(&shop, "build --platform shop", &["web", "built"]);
}

#[test]
fn an_image_without_a_shell_records_nothing() {
    let shop = shop();
    shop.session.write("shop/web/recipe.toml", &RECIPE.replace("\"shell\", ", ""));
    shop.lock();
    with_filters(|| {
        insta::assert_snapshot!(shop.session.run("effects record tool --platform shop"), @r#"
        exit 3
        web: unpacking, 3 parts
        recording the scripts of tool in image web
        error: the postinst of package tool, started with `configure ""` needs /bin/sh, which the image does not hold
          try: set `essential = true` in the [image] of the recipe, or add the package that brings it
        "#);
    });
    // The same where no package is named.
    let needs = ["exit 3", "needs /bin/sh, which the image does not hold", "try: set `essential = true`"];
    says(&shop, "effects record --platform shop", &needs);
    let bundle = shop.session.read("shop/bundle.toml");
    let strict = bundle.replace("[platform]\n", "[platform]\nscripts = \"declared-only\"\n");
    shop.session.write("shop/bundle.toml", &strict);
    says(
        &shop,
        "build --platform shop",
        &["exit 3", "try: leave tool out of the recipe, or read its script"],
    );
    std::fs::remove_file(shop.session.path("work/shop/bundle.lock")).unwrap();
    let lock = format!("lock --platform shop {}", shop.archive.sources().join(" "));
    says(
        &shop,
        &lock,
        &["exit 3", "package tool (amd64): its postinst (sha256:", "try: leave tool out of the recipe"],
    );
}
