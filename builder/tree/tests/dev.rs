//! Development.
#![allow(warnings)]
#[path = "oracle/compare.rs"]
mod compare;
#[path = "oracle/listing.rs"]
mod listing;
use builder_inputs::allocate_accounts;
use builder_tree::*;
use bundles_release::lock::Accounts;
use listing::*;
use registry_wire::Digest;
#[test]
fn dev() {
    for (suite, image) in [
        ("bookworm", "bookworm-essential"),
        ("bookworm", "redis"),
        ("trixie", "trixie-essential"),
        ("trixie", "node"),
    ] {
        let list = std::fs::read_to_string(format!("/tmp/deb/{image}.list")).unwrap();
        let oracle =
            Listing::of_archive(std::fs::File::open(format!("/tmp/deb/oracle/{image}.tar")).unwrap());
        let mut packages = vec![];
        let mut payloads = Payloads::new();
        let dir = tempfile::tempdir().unwrap();
        for line in list.lines() {
            let (name, version) = line.split_once('=').unwrap();
            let mut found = None;
            for arch in ["amd64", "all"] {
                let deb = std::path::PathBuf::from(format!(
                    "/tmp/deb/apt-{suite}/debs/{name}_{}_{arch}.deb",
                    version.replace(':', "%3a")
                ));
                if deb.exists() {
                    found = Some((deb, arch));
                }
            }
            let (deb, arch) = found.unwrap();
            let input = PackageInput {
                name: name.parse().unwrap(),
                version: version.parse().unwrap(),
                architecture: arch.parse().unwrap(),
                sha256: Digest::of(&std::fs::read(&deb).unwrap()),
                deb,
            };
            let path = dir.path().join(name);
            let mut payload = std::fs::File::create(&path).unwrap();
            packages.push(Package::unpack(&input, &mut payload).unwrap().package);
            payloads.add(input.sha256, path);
        }
        let mut accounts = Accounts::default();
        for n in accounts_needed(&packages).unwrap() {
            accounts.users.push(bundles_release::lock::LockedUser {
                name: n.name.clone(),
                id: 100,
                group: 101,
            });
            accounts.groups.push(bundles_release::lock::LockedGroup { name: n.name, id: 101 });
        }
        let t = std::time::Instant::now();
        let tree = match install(
            &packages,
            &payloads,
            &InstallOptions { accounts: &accounts, epoch: 1_700_000_000 },
        ) {
            Ok(t) => t,
            Err(e) => {
                let mut s: &dyn std::error::Error = &e;
                println!("{s}");
                while let Some(n) = s.source() {
                    println!("{n}");
                    s = n;
                }
                panic!()
            }
        };
        println!("== {image} install {:?} {} paths", t.elapsed(), tree.len());
        let ours = Listing::of_tree(&tree, &payloads);
        let d = compare::differences(&ours, &oracle, &tree);
        for u in &d.unexpected {
            println!("{u}");
        }
        println!("== {} unused {:?}", d.unexpected.len(), d.unused);
        let out = format!("/tmp/deb/ours-{image}");
        let _ = std::fs::remove_dir_all(&out);
        for (p, n) in &ours.nodes {
            if let Node::File { content, .. } = n {
                if d.unexpected.iter().any(|u| u.starts_with(&format!("{p}:"))) || p == "etc/ld.so.cache" {
                    let f = format!("{out}/{p}");
                    std::fs::create_dir_all(std::path::Path::new(&f).parent().unwrap()).unwrap();
                    std::fs::write(f, content).unwrap();
                }
            }
        }
    }
}
