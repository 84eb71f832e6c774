//! Tests of the planner: rules on documents as the API server writes them, and the rollout against a small world.

mod conflicts;
mod drifts;
mod facts;
mod inventories;
mod plans;
mod pods;
mod releases;
mod rollouts;
mod statuses;
mod stories;
mod targets;
mod weather;
mod world;
