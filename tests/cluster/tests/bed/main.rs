//! The bed proves itself on real workloads.

// `cfg(test)` says nothing new to the compiler; it tells clippy that all of this is test code.
#[cfg(test)]
mod command;
#[cfg(test)]
mod death;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod probe;
#[cfg(test)]
mod workload;
