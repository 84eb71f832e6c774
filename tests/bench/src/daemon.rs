//! `daemon`: the daemon with a kept release on a real cluster, in which nothing changes.
//!
//! It is a process of this machine, with the rights of its account in the cluster and nothing else. One *look* is one
//! turn of its loop: it reads the channel, its journal, every object of the release with their pods, and decides that
//! there is nothing to do. Before the rounds begin, the one in the cluster that installed the release has stopped.

mod drift;
mod objects;
mod stage;
mod watch;

use anyhow::{Result, ensure};
use jiff::Timestamp;

use crate::{
    figures::{Goal, Pair, Report, Unit},
    measure::{most_resident, note, processor_time, resident, run_with_usage},
    workshop::Workshop,
};
use stage::Stage;
use watch::{Kind, Look};

/// 50 MB.
const RESIDENT: f64 = 50e6;
/// Looks of the daemon in one round.
const LOOKS: usize = 10;

pub(crate) fn run_bench(workshop: &Workshop, rounds: u32) -> Result<Report> {
    let stage = Stage::set_up(workshop)?;
    let result = measure(&stage, rounds);
    match result {
        Ok(report) => stage.stop().map(|()| report),
        Err(error) => Err(error.context(stage.story())),
    }
}

fn measure(stage: &Stage, rounds: u32) -> Result<Report> {
    let (daemon, scheduler, dns) =
        (stage.daemon(), stage.program("kube-scheduler")?, stage.program("coredns")?);
    let mut columns: [Pair; 11] = Default::default();
    let [writes, own, requests, time, processor, memory, of_scheduler, of_dns, most, repair, repair_time] =
        &mut columns;
    let mut count = 0;
    for round in 1..=rounds {
        let (since, before) = (Timestamp::now(), processor_time(daemon)?);
        let looks = stage.looks(since, LOOKS)?;
        let spent = (processor_time(daemon)? - before) / number(looks.len());
        let (to_objects, to_own) = stage.daemon_writes(since)?;
        let (now, peak) = (resident(daemon)?, most_resident(daemon)?);

        let since = Timestamp::now();
        let applied = run_with_usage(&stage.apply()?, stage.folder())?;
        let asked = stage.requests(since, Kind::Kubectl)?;
        let patches = asked.iter().filter(|event| event.is_write()).count();
        count = stage.objects();
        ensure!(patches == count, "kubectl applies {count} objects, not {patches}");

        let repaired = stage.repair()?;
        ensure!(repaired.writes > 0, "the daemon repaired without a write");

        let seconds = median_of(&looks, Look::seconds);
        note(&format!(
            "round {round} of {rounds}: {} looks, {to_objects} writes, {:.1} ms each, {:.1} MB; kubectl {patches} writes, \
             {:.0} ms, {:.1} MB; repaired with {} writes in {:.1} s",
            looks.len(),
            seconds * 1e3,
            now / 1e6,
            applied.seconds * 1e3,
            applied.largest / 1e6,
            repaired.writes,
            repaired.took.as_secs_f64(),
        ));
        writes.push(number(to_objects), number(patches));
        own.push(number(to_own), number(patches));
        requests.push(median_of(&looks, |look| number(look.requests)), number(asked.len()));
        time.push(seconds, applied.seconds);
        processor.push(spent, applied.processor);
        memory.push(now, applied.largest);
        of_scheduler.push(now, resident(scheduler)?);
        of_dns.push(now, resident(dns)?);
        most.push(peak, most_resident(scheduler)?);
        repair.push(number(repaired.writes), number(patches));
        repair_time.push(repaired.took.as_secs_f64(), applied.seconds);
    }
    let [writes, own, requests, time, processor, memory, of_scheduler, of_dns, most, repair, repair_time] =
        columns;
    let kubectl = "kubectl apply";
    Ok(Report {
        ours: format!(
            "bundle daemon as a process of its own with a kept release of {count} objects that nobody changes, one \
             second from look to look; {LOOKS} looks or more a round"
        ),
        peers: vec![
            format!(
                "kubectl apply --server-side of the same {count} objects under the same field manager, which changes \
                 none of them: what a loop around it would do in place of one look; a process of its own each time"
            ),
            "kube-scheduler and CoreDNS of the same cluster: controllers that run all the time, as ours does"
                .to_owned(),
        ],
        rows: vec![
            of_scheduler.row(
                "resident memory, with the scheduler",
                Unit::Bytes,
                "kube-scheduler",
                vec![Goal::AtMost(RESIDENT)],
            ),
            of_dns.row("resident memory, with CoreDNS", Unit::Bytes, "coredns", Vec::new()),
            most.row("most resident memory since start", Unit::Bytes, "kube-scheduler", Vec::new()),
            memory.row("resident memory, with one kubectl", Unit::Bytes, kubectl, Vec::new()),
            writes.row(
                "write requests for objects of the release, all looks of a round, by the audit log",
                Unit::Number,
                kubectl,
                vec![Goal::AtMost(0.0)],
            ),
            own.row(
                "write requests for objects of its own but the lease, all looks of a round, by the audit log",
                Unit::Number,
                kubectl,
                Vec::new(),
            ),
            requests.row("requests of one look, by the audit log", Unit::Number, kubectl, Vec::new()),
            time.row(
                "time of one look: first request to last answer by the audit log; kubectl from start to end",
                Unit::Seconds,
                kubectl,
                Vec::new(),
            ),
            processor.row("processor time of one look", Unit::Seconds, kubectl, Vec::new()),
            repair.row(
                "write requests until an image changed by `kubectl set image` and a deleted Service stand again",
                Unit::Number,
                kubectl,
                Vec::new(),
            ),
            repair_time.row(
                "time from that change until both stand again, nobody called; kubectl when a person runs it",
                Unit::Seconds,
                kubectl,
                Vec::new(),
            ),
        ],
    })
}

fn median_of(looks: &[Look], figure: impl Fn(&Look) -> f64) -> f64 {
    crate::figures::median(&looks.iter().map(figure).collect::<Vec<_>>())
}

#[expect(clippy::cast_precision_loss, reason = "nothing here is counted to 2^52")]
const fn number(count: usize) -> f64 {
    count as f64
}
