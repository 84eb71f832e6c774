//! Conditions, as `kubectl describe` and `kubectl wait` read them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One condition of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    #[serde(default)]
    pub message: String,
    /// When the status changed last.
    #[schemars(with = "String")]
    pub last_transition_time: Timestamp,
    /// The generation of the object that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It is not known.
    Unknown,
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// Sets one condition. The time of transition moves only when the status changes, so setting what is there already
/// changes nothing.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    kind: &str,
    status: ConditionStatus,
    reason: &str,
    message: impl Into<String>,
    generation: Option<i64>,
    now: Timestamp,
) {
    let since = conditions.iter().find(|condition| condition.kind == kind && condition.status == status);
    let condition = Condition {
        kind: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message: message.into(),
        last_transition_time: since.map_or(now, |condition| condition.last_transition_time),
        observed_generation: generation,
    };
    match conditions.iter_mut().find(|condition| condition.kind == kind) {
        Some(place) => *place = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_moves_with_the_status_only() {
        let mut conditions = Vec::new();
        let at = |second| Timestamp::from_second(second).unwrap();
        set_condition(&mut conditions, "Ready", ConditionStatus::False, "Installing", "", Some(1), at(1));
        let first = conditions.clone();
        set_condition(&mut conditions, "Ready", ConditionStatus::False, "Installing", "", Some(1), at(9));
        assert_eq!(conditions, first);
        set_condition(&mut conditions, "Ready", ConditionStatus::False, "Failing", "x", Some(1), at(10));
        assert_eq!(conditions[0].last_transition_time, at(1));
        set_condition(&mut conditions, "Ready", ConditionStatus::True, "Kept", "", Some(2), at(11));
        assert_eq!(conditions[0].last_transition_time, at(11));
        assert_eq!(conditions.len(), 1);
    }
}
