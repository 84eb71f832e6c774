//! Both executors, started by root and by somebody else: what they promise, and what they hold back.

mod bed;
mod bounds;
mod contract;
mod probes;
mod scene;
mod table;
