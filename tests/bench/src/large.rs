//! `large`: most resident memory and time of an image of more than 5 GB.

use anyhow::Result;

use crate::{
    debian::{Archive, Relations},
    essential::{built, remove},
    figures::{Goal, Pair, Report, Unit},
    measure::{note, run_with_memory},
    memory::LIMIT,
    workshop::{Recipe, Workshop},
};

const LARGE: Recipe = ("large", include_str!("../platforms/large/recipe.toml"));

pub(crate) fn run_bench(workshop: &Workshop, rounds: u32) -> Result<Report> {
    let stocked = workshop.platform("large", &[LARGE])?;
    let recipe = LARGE.0.parse()?;
    let folder = workshop.empty("large-peer")?;
    let archive = Archive::make(
        &folder.join("archive"),
        &stocked.lock,
        &recipe,
        &stocked.downloads(),
        Relations::Dropped,
    )?;
    let target = folder.join("tree.tar.gz");
    let (mut largest, mut sum, mut seconds) = (Pair::default(), Pair::default(), Pair::default());
    for round in 1..=rounds {
        stocked.empty_store()?;
        let (ours, ours_at_once) = run_with_memory(&stocked.build()?, &folder)?;
        let image = built(&ours.output)?;
        remove(&target)?;
        let (peer, peer_at_once) = run_with_memory(&archive.extract(&target)?, &folder)?;
        note(&format!(
            "round {round} of {rounds}: ours {:.0} MB, {:.1} s, image {:.0} MB; peer {:.0} MB, all {:.0} MB, {:.1} s",
            ours.largest / 1e6,
            ours.seconds,
            image / 1e6,
            peer.largest / 1e6,
            peer_at_once / 1e6,
            peer.seconds
        ));
        largest.push(ours.largest, peer.largest);
        sum.push(ours_at_once, peer_at_once);
        seconds.push(ours.seconds, peer.seconds);
    }
    Ok(Report {
        ours: "bundle build of kicad-packages3d, 5.6 GB in files, from an empty store; one process"
            .to_owned(),
        peers: vec![
            "mmdebstrap --variant=extract tree.tar.gz of the same packages, nothing of them run".to_owned(),
        ],
        rows: vec![
            largest.row(
                "largest process, by the kernel's count",
                Unit::Bytes,
                "mmdebstrap",
                vec![Goal::AtMost(LIMIT)],
            ),
            sum.row(
                "all processes at one moment, looked at every 4 ms",
                Unit::Bytes,
                "mmdebstrap",
                Vec::new(),
            ),
            seconds.row("time, while watched", Unit::Seconds, "mmdebstrap", Vec::new()),
        ],
    })
}
