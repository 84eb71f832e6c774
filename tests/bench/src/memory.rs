//! `memory`: most resident memory while both images of the reference platform are built from an empty store.

use anyhow::{Result, ensure};
use test_interop::platform;

use crate::{
    debian::{Archive, Relations},
    figures::{Goal, Pair, Report, Unit},
    measure::{note, run_with_memory},
    workshop::Workshop,
};

/// 256 MiB.
pub(crate) const LIMIT: f64 = 268_435_456.0;

pub(crate) fn run_bench(workshop: &Workshop, rounds: u32) -> Result<Report> {
    let stocked = workshop.reference()?;
    let folder = workshop.empty("mmdebstrap")?;
    let mut archives = Vec::new();
    for recipe in stocked.lock.recipes.keys() {
        let root = folder.join(recipe.as_str());
        archives.push(Archive::make(&root, &stocked.lock, recipe, &stocked.downloads(), Relations::Dropped)?);
    }
    let (mut largest, mut sum, mut seconds) = (Pair::default(), Pair::default(), Pair::default());
    for round in 1..=rounds {
        stocked.empty_store()?;
        let (built, at_once) = run_with_memory(&stocked.build()?, &folder)?;
        let document = serde_json::from_slice(&built.output)?;
        ensure!(
            platform::images(&document)?.values().all(|image| image.built),
            "the store was empty: {document}"
        );
        let mut peer = [0.0_f64; 3];
        for archive in &archives {
            let (usage, at_once) = run_with_memory(&archive.extract(&folder.join("tree.tar.gz"))?, &folder)?;
            peer = [peer[0].max(usage.largest), peer[1].max(at_once), peer[2] + usage.seconds];
        }
        let ours = [built.largest, at_once, built.seconds];
        let shown = |[largest, sum, seconds]: [f64; 3]| {
            format!("{:.0} MB, all {:.0} MB, {seconds:.1} s", largest / 1e6, sum / 1e6)
        };
        note(&format!("round {round} of {rounds}: ours {}; peer {}", shown(ours), shown(peer)));
        for (index, column) in [&mut largest, &mut sum, &mut seconds].into_iter().enumerate() {
            column.push(ours[index], peer[index]);
        }
    }
    let peer = "mmdebstrap";
    let packages: usize = archives.iter().map(Archive::len).sum();
    Ok(Report {
        ours: format!(
            "bundle build of recipes/ from an empty store: {} images of {packages} packages, their layers compressed \
             with gzip; one process",
            archives.len()
        ),
        peers: vec![
            "mmdebstrap --variant=extract tree.tar.gz: the same packages of one image after the other, unpacked and \
             compressed with gzip, nothing of them run; the larger of both runs"
                .to_owned(),
        ],
        rows: vec![
            largest.row(
                "largest process, by the kernel's count",
                Unit::Bytes,
                peer,
                vec![Goal::AtMost(LIMIT)],
            ),
            sum.row("all processes at one moment, looked at every 4 ms", Unit::Bytes, peer, Vec::new()),
            seconds.row("time, while watched", Unit::Seconds, peer, Vec::new()),
        ],
    })
}
