//! Figures of ours beside figures of a peer: least, median, largest, ratios, goals.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// What figures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Bytes,
    Number,
}

/// What was to be reached. A goal is reported, never asserted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    /// Our median is at most that.
    AtMost(f64),
    /// The peer's median is at least so many times ours.
    TimesLess(f64),
}

/// One figure of each round, ours and a peer's.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) unit: Unit,
    pub(crate) ours: Vec<f64>,
    /// Who else, and its figures in the same rounds.
    pub(crate) peer: (&'static str, Vec<f64>),
    pub(crate) goals: Vec<Goal>,
}

/// Figures of all rounds, ours and a peer's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pair {
    ours: Vec<f64>,
    peer: Vec<f64>,
}

impl Pair {
    /// Adds a round.
    pub(crate) fn push(&mut self, ours: f64, peer: f64) {
        self.ours.push(ours);
        self.peer.push(peer);
    }

    /// Says what they are.
    pub(crate) fn row(self, what: &'static str, unit: Unit, peer: &'static str, goals: Vec<Goal>) -> Row {
        Row { what, unit, ours: self.ours, peer: (peer, self.peer), goals }
    }
}

/// All that a bench found.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    /// What was measured on both sides, exactly.
    pub(crate) ours: String,
    pub(crate) peers: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Number => "number",
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 1.0 => format!("{:.1} ms", value * 1e3),
            Self::Seconds => format!("{value:.2} s"),
            Self::Bytes => format!("{:.1} MB", value / 1e6),
            Self::Number => format!("{value:.0}"),
        }
    }
}

/// Least, median, largest. No values give zeros, which no bench has.
fn spread(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    let last = sorted.len().saturating_sub(1);
    [at(0), f64::midpoint(at(last / 2), at(last.div_ceil(2))), at(last)]
}

/// The median.
pub(crate) fn median(values: &[f64]) -> f64 {
    spread(values)[1]
}

/// How many times ours the peer's is; nothing can be said of none.
fn times(ours: f64, peer: f64) -> Option<f64> {
    (ours > 0.0).then(|| peer / ours)
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        times(median(&self.ours), median(&self.peer.1))
    }

    fn ratios(&self) -> Vec<Option<f64>> {
        self.ours.iter().zip(&self.peer.1).map(|(ours, peer)| times(*ours, *peer)).collect()
    }

    fn is_met(&self, goal: Goal) -> bool {
        match goal {
            Goal::AtMost(limit) => median(&self.ours) <= limit,
            Goal::TimesLess(least) => self.ratio().is_some_and(|ratio| ratio >= least),
        }
    }

    fn show_goal(&self, goal: Goal) -> String {
        match goal {
            Goal::AtMost(limit) => format!("at most {}", self.unit.show(limit)),
            Goal::TimesLess(least) => format!("ratio at least {least}"),
        }
    }

    fn json(&self) -> Value {
        let series = |name: &str, values: &[f64]| {
            let [least, median, largest] = spread(values);
            json!({ "name": name, "rounds": values, "min": least, "median": median, "max": largest })
        };
        json!({
            "what": self.what,
            "unit": self.unit.name(),
            "ours": series("bundle", &self.ours),
            "peer": series(self.peer.0, &self.peer.1),
            "ratio": { "ofMedians": self.ratio(), "rounds": self.ratios() },
            "goals": self.goals.iter().map(|goal| json!({
                "goal": self.show_goal(*goal),
                "met": self.is_met(*goal),
            })).collect::<Vec<_>>(),
        })
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n", self.what);
        let mut line = |name: &str, values: &[f64]| {
            let shown = spread(values).map(|value| self.unit.show(value));
            let [least, median, largest] = shown;
            writeln!(text, "  {name:<22}{least:>12}{median:>12}{largest:>12}").unwrap_or_default();
        };
        line("ours", &self.ours);
        line(self.peer.0, &self.peer.1);
        let shown = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let rounds: Vec<String> = self.ratios().into_iter().map(shown).collect();
        writeln!(text, "  {:<34}{:>12}  rounds {}", "ratio", shown(self.ratio()), rounds.join(" "))
            .unwrap_or_default();
        for goal in &self.goals {
            let word = if self.is_met(*goal) { "met" } else { "MISSED" };
            writeln!(text, "  goal: {}: {word}", self.show_goal(*goal)).unwrap_or_default();
        }
        text
    }
}

impl Report {
    /// For programs. `load` is the machine's load before and after.
    pub(crate) fn json(&self, bench: &str, load: [f64; 2]) -> Value {
        json!({
            "bench": bench,
            "ours": self.ours,
            "peers": self.peers,
            "processors": processors(),
            "load": { "before": load[0], "after": load[1] },
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub(crate) fn text(&self, bench: &str, load: [f64; 2]) -> String {
        let mut text = format!("{bench}\n  ours: {}\n", self.ours);
        for peer in &self.peers {
            writeln!(text, "  peer: {peer}").unwrap_or_default();
        }
        let [before, after] = load;
        writeln!(text, "  {} processors, load {before:.1} before, {after:.1} after", processors())
            .unwrap_or_default();
        writeln!(text, "  {:<22}{:>12}{:>12}{:>12}", "", "min", "median", "max").unwrap_or_default();
        for row in &self.rows {
            text.push('\n');
            text.push_str(&row.text());
        }
        text
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: &[f64], peer: &[f64], goals: &[Goal]) -> Row {
        let (ours, peer, goals) = (ours.to_vec(), ("make", peer.to_vec()), goals.to_vec());
        Row { what: "time", unit: Unit::Seconds, ours, peer, goals }
    }

    #[test]
    fn the_middle_of_an_even_number_of_rounds_lies_between_two() {
        let shown = |values: &[f64]| format!("{:?}", spread(values));
        assert_eq!(shown(&[4.0, 1.0, 2.0]), "[1.0, 2.0, 4.0]");
        assert_eq!(shown(&[4.0, 1.0, 2.0, 3.0]), "[1.0, 2.5, 4.0]");
        assert_eq!(shown(&[7.0]), "[7.0, 7.0, 7.0]");
    }

    #[test]
    fn goals_are_judged_by_medians() {
        let row = row(&[1.0, 2.0, 9.0], &[8.0, 8.0, 1.0], &[Goal::TimesLess(4.0), Goal::AtMost(1.5)]);
        let document = row.json();
        assert_eq!(document["ratio"]["ofMedians"], 4.0);
        assert_eq!(document["ratio"]["rounds"][0], 8.0);
        let met = document["goals"].as_array().unwrap().iter().map(|goal| goal["met"].as_bool());
        assert_eq!(met.collect::<Vec<_>>(), [Some(true), Some(false)]);
        let text = row.text();
        assert!(text.contains("ratio at least 4: met") && text.contains("at most 1.50 s: MISSED"), "{text}");
    }

    #[test]
    fn nothing_is_divided_by_none() {
        let row = row(&[0.0], &[12.0], &[Goal::AtMost(0.0), Goal::TimesLess(2.0)]);
        let document = row.json();
        assert_eq!(document["ratio"]["ofMedians"], Value::Null);
        assert_eq!(
            (&document["goals"][0]["met"], &document["goals"][1]["met"]),
            (&json!(true), &json!(false))
        );
    }
}
