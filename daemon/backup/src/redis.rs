//! Redis: a snapshot streamed by `redis-cli --rdb`, checked by `redis-check-rdb`. Both come from the image that runs,
//! so they fit the server.

use crate::job::Tool;

/// The steps between an empty file name and a checked file.
pub(crate) fn tools(service: &str, port: u16, partial: &str) -> Vec<Tool> {
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    vec![
        Tool {
            name: "save",
            command: text(&["/usr/bin/redis-cli", "-h", service, "-p", &port.to_string(), "--rdb", partial]),
        },
        Tool { name: "check", command: text(&["/usr/bin/redis-check-rdb", partial]) },
    ]
}
