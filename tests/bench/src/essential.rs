//! `essential`: the essential base of Debian 12 from cached packages, gzip included.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use test_interop::platform;

use crate::{
    debian::{Archive, Relations, installed_versions, locked_versions, without_network},
    figures::{Goal, Pair, Report, Unit},
    measure::{note, run_with_usage},
    workshop::{BASE, Workshop, size, warm, wrapped},
};

const RATIO: f64 = 4.0;
const TARGET: f64 = 3.0;

pub(crate) fn run_bench(workshop: &Workshop, rounds: u32) -> Result<Report> {
    let stocked = workshop.platform("essential", &[BASE])?;
    let recipe = "base".parse()?;
    let folder = workshop.empty("mmdebstrap")?;
    let archive = Archive::make(
        &folder.join("archive"),
        &stocked.lock,
        &recipe,
        &stocked.downloads(),
        Relations::Kept,
    )?;
    let target = folder.join("base.tar.gz");
    let locked = locked_versions(&stocked.lock, &recipe);
    stocked.empty_store()?;
    warm("ours", &mut wrapped(without_network()?, &stocked.build()?))?;
    warm("mmdebstrap", &mut archive.essential(&target)?)?;
    let (mut times, mut processor, mut sizes) = (Pair::default(), Pair::default(), Pair::default());
    for round in 1..=rounds {
        stocked.empty_store()?;
        let ours = run_with_usage(&wrapped(without_network()?, &stocked.build()?), &folder)?;
        let image = built(&ours.output)?;
        remove(&target)?;
        let peer = run_with_usage(&archive.essential(&target)?, &folder)?;
        ensure!(
            installed_versions(&target)? == locked,
            "mmdebstrap installs the locked versions and no others"
        );
        note(&format!("round {round} of {rounds}: ours {:.2} s, peer {:.2} s", ours.seconds, peer.seconds));
        times.push(ours.seconds, peer.seconds);
        processor.push(ours.processor, peer.processor);
        sizes.push(image, size(&target)?);
    }
    let count = archive.len();
    Ok(Report {
        ours: format!(
            "bundle build of one image with the essential set: {count} cached .debs and an empty store → an OCI image \
             whose layer is compressed with gzip, each blob synced to disk; no network"
        ),
        peers: vec![format!(
            "mmdebstrap --variant=essential --dpkgopt=force-unsafe-io base.tar.gz: the same {count} .debs through apt's copy: method from a \
             local archive without signatures → dpkg in a new tree → tar → gzip; no network; installed versions \
             compared with the lock in every round"
        )],
        rows: vec![
            times.row(
                "time",
                Unit::Seconds,
                "mmdebstrap",
                vec![Goal::TimesLess(RATIO), Goal::AtMost(TARGET)],
            ),
            processor.row("processor time of all processes", Unit::Seconds, "mmdebstrap", Vec::new()),
            sizes.row("compressed size", Unit::Bytes, "mmdebstrap", Vec::new()),
        ],
    })
}

/// Bytes of the one image that a command says it built just now.
pub(crate) fn built(output: &[u8]) -> Result<f64> {
    let document = serde_json::from_slice(output)?;
    ensure!(
        platform::images(&document)?.values().all(|image| image.built),
        "the store was empty: {document}"
    );
    document["images"][0]["size"].as_f64().context("an image has a size")
}

pub(crate) fn remove(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_file(path)?;
    }
    Ok(())
}
