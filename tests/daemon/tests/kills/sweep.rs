//! The sweep over all calls of one kind of rollout, by several lanes at once.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Result, ensure};
use test_daemon::{lab::Lab, proxy::Moment};

use crate::{
    call::NamedCall,
    end_state::EndState,
    lane::{Aim, Lane, Ledger, Run, Scenario},
};

/// How often a point is tried until its call comes. Calls about what was seen in between, such as a pod that is not
/// ready yet, are not made in every rollout.
const TRIES: usize = 4;

/// What became of one point.
#[derive(Debug)]
enum Swept {
    /// The daemon was killed there, and the next came to the same end.
    SameEnd(Duration),
    /// The call never came.
    Missed,
    /// It did not come to the same end.
    Failed(String),
}

/// The sweep of one kind of rollout.
pub(crate) struct Sweep {
    scenario: Scenario,
    calls: Vec<NamedCall>,
    took: Duration,
    wanted: Vec<(usize, Moment)>,
    points: BTreeMap<(usize, Moment), Swept>,
    faults: Vec<String>,
    ledgers: Vec<Ledger>,
}

type Queue = Arc<Mutex<VecDeque<(usize, Moment)>>>;

impl Sweep {
    /// Numbers the calls of one rollout without a kill, then kills at each, before and after.
    pub(crate) async fn run(scenario: Scenario, lanes: Vec<Lane>) -> Self {
        let mut sweep = Self {
            scenario,
            calls: Vec::new(),
            took: Duration::ZERO,
            wanted: Vec::new(),
            points: BTreeMap::new(),
            faults: Vec::new(),
            ledgers: Vec::new(),
        };
        let references: Vec<_> = lanes
            .into_iter()
            .map(|mut lane| tokio::spawn(async move { (undisturbed(scenario, &mut lane).await, lane) }))
            .collect();
        let mut ready = Vec::new();
        let mut reference: Option<EndState> = None;
        for task in references {
            match task.await {
                Ok((Ok(run), lane)) => {
                    match &reference {
                        None => {
                            (sweep.calls, sweep.took) = (run.calls, run.took);
                            reference = Some(run.end);
                        }
                        Some(first) if *first != run.end => sweep.fault(&format!(
                            "two rollouts without a kill came to different ends:\n{}",
                            first.differences(&run.end)
                        )),
                        Some(_) => {}
                    }
                    ready.push(lane);
                }
                Ok((Err(error), _)) => sweep.fault(&format!("a rollout without a kill failed: {error:#}")),
                Err(error) => sweep.fault(&error.to_string()),
            }
        }
        let Some(end) = reference else { return sweep };
        sweep.wanted = wanted(scenario, &sweep.calls);
        let queue: Queue = Arc::new(Mutex::new(sweep.wanted.iter().copied().collect()));
        let calls = Arc::new(sweep.calls.clone());
        let tasks: Vec<_> = ready
            .into_iter()
            .map(|lane| {
                tokio::spawn(work(scenario, lane, Arc::clone(&calls), end.clone(), Arc::clone(&queue)))
            })
            .collect();
        for task in tasks {
            match task.await {
                Ok((points, ledger)) => {
                    sweep.points.extend(points);
                    sweep.ledgers.push(ledger);
                }
                Err(error) => sweep.fault(&error.to_string()),
            }
        }
        sweep
    }

    fn fault(&mut self, text: &str) {
        self.faults.push(format!("{:?}: {text}", self.scenario));
    }

    /// What must not be; with the points that were not swept.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = self.faults.clone();
        for point in &self.wanted {
            let ((number, moment), call) = (point, &self.calls[point.0]);
            let (name, which) = (&call.name, call.occurrence);
            let at = format!("{:?}, {moment:?} call {}: {name} ({which})", self.scenario, number + 1);
            match self.points.get(point) {
                Some(Swept::SameEnd(_)) => {}
                Some(Swept::Missed) => faults.push(format!("{at}: the kill did not fire")),
                Some(Swept::Failed(error)) => faults.push(format!("{at}: {error}")),
                None => faults.push(format!("{at}: not swept")),
            }
        }
        if self.calls.is_empty() {
            faults.push(format!("{:?}: no call was numbered", self.scenario));
        }
        faults
    }

    /// The coverage, for people.
    pub(crate) fn table(&self) -> String {
        let ends = self.points.values().filter(|swept| matches!(swept, Swept::SameEnd(_))).count();
        let missed = self.points.values().filter(|swept| matches!(swept, Swept::Missed)).count();
        let sum = |count: fn(&Ledger) -> usize| self.ledgers.iter().map(count).sum::<usize>();
        let mut table = format!(
            "{:?}: {} calls numbered, {} points, {} swept, {} kills fired (signal 9), {ends} came to the same end, {missed} \
             never fired; {} leases lost without a kill; a rollout without a kill takes {:.1} s\n",
            self.scenario,
            self.calls.len(),
            self.wanted.len(),
            self.points.len(),
            sum(|ledger| ledger.kills),
            sum(|ledger| ledger.lost_leases),
            self.took.as_secs_f64(),
        );
        for (number, call) in self.calls.iter().enumerate() {
            let tell = |moment| match self.points.get(&(number, moment)) {
                Some(Swept::SameEnd(took)) => format!("same end {:5.1} s", took.as_secs_f64()),
                Some(Swept::Missed) => "NEVER FIRED".to_owned(),
                Some(Swept::Failed(_)) => "FAILED".to_owned(),
                None if self.wanted.contains(&(number, moment)) => "NOT SWEPT".to_owned(),
                None => "-".to_owned(),
            };
            let which = if call.occurrence > 1 { format!(" ({})", call.occurrence) } else { String::new() };
            let (before, after) = (tell(Moment::Before), tell(Moment::After));
            let told = writeln!(
                table,
                "{:4}  before: {before:16}  after: {after:16}  {}{which}",
                number + 1,
                call.name
            );
            debug_assert!(told.is_ok(), "a String takes every text");
        }
        table
    }

    /// What the lanes wrote down.
    pub(crate) fn ledgers(self) -> Vec<Ledger> {
        self.ledgers
    }
}

/// The points of a sweep: every call, before and after. Up to the verdict a rollout that goes back makes the calls of
/// one that is kept, so there one moment for each call is enough, in turn.
fn wanted(scenario: Scenario, calls: &[NamedCall]) -> Vec<(usize, Moment)> {
    let both = [Moment::Before, Moment::After];
    let verdict = match scenario {
        Scenario::Update => 0,
        Scenario::Rollback => calls.iter().position(|call| call.name.contains("Judged")).unwrap_or(0),
    };
    let moments = |number: usize| if number < verdict { &both[number % 2..=number % 2] } else { &both[..] };
    (0..calls.len()).flat_map(|number| moments(number).iter().map(move |moment| (number, *moment))).collect()
}

/// A rollout without a kill, and without a daemon that lost its lease by itself.
async fn undisturbed(scenario: Scenario, lane: &mut Lane) -> Result<Run> {
    let mut run = lane.roll_out(scenario, None, None).await?;
    for _ in 1..TRIES {
        if !run.disturbed {
            break;
        }
        run = lane.roll_out(scenario, None, None).await?;
    }
    ensure!(!run.disturbed, "the machine is too busy for a lease of one second");
    Ok(run)
}

async fn work(
    scenario: Scenario,
    mut lane: Lane,
    calls: Arc<Vec<NamedCall>>,
    end: EndState,
    queue: Queue,
) -> (Vec<((usize, Moment), Swept)>, Ledger) {
    let mut points = Vec::new();
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    while let Some((number, moment)) = next() {
        let aim = Aim { call: calls[number].clone(), moment };
        let mut swept = Swept::Missed;
        for _ in 0..TRIES {
            match lane.roll_out(scenario, Some(&aim), Some(&end)).await {
                Ok(run) if run.fired => swept = Swept::SameEnd(run.took),
                Ok(_) => continue,
                Err(error) => swept = Swept::Failed(format!("{error:#}")),
            }
            break;
        }
        println!("{scenario:?} {moment:?} {}: {}", number + 1, brief(&swept));
        points.push(((number, moment), swept));
    }
    (points, lane.into_ledger())
}

fn brief(swept: &Swept) -> String {
    match swept {
        Swept::SameEnd(took) => format!("same end after {:.1} s", took.as_secs_f64()),
        Swept::Missed => "the kill did not fire".to_owned(),
        Swept::Failed(error) => error.lines().take(12).collect::<Vec<_>>().join("\n    "),
    }
}

/// What the API server witnessed of each lane: every write of the daemon's account came through the proxy, and every
/// Job was made once.
pub(crate) fn proven_by_audit(lab: &Lab, ledgers: &[Ledger]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let log = lab.bed.audit_log()?;
    for ledger in ledgers {
        let (place, user) = (&ledger.place, ledger.place.user());
        let mut writes = 0;
        let mut jobs: BTreeMap<&str, usize> = BTreeMap::new();
        for event in log.iter().filter(|event| event.user == user && event.is_write()) {
            let Some(object) = event.object.as_ref().filter(|object| object.resource != "leases") else {
                continue;
            };
            writes += usize::from(event.stage == "ResponseComplete");
            if object.resource == "jobs" && event.verb == "create" {
                *jobs.entry(object.name.as_str()).or_default() += 1;
            }
        }
        let most = ledger.succeeded + ledger.unknown;
        if !(ledger.succeeded..=most).contains(&writes) {
            faults.push(format!(
                "{}: the audit log has {writes} writes, the proxy carried {} to {most}",
                place.home, ledger.succeeded
            ));
        }
        for (job, times) in jobs.iter().filter(|(_, times)| **times != 1) {
            faults.push(format!("{}: Job {job} was made {times} times", place.target));
        }
        if jobs.len() != ledger.rollouts {
            faults.push(format!("{}: {} Jobs for {} rollouts", place.target, jobs.len(), ledger.rollouts));
        }
        println!(
            "{}: {} rollouts, {} kills, {} Jobs each made once, {writes} writes by {user}",
            place.target,
            ledger.rollouts,
            ledger.kills,
            jobs.len()
        );
    }
    Ok(faults)
}
