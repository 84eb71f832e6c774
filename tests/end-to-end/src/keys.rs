//! A Redis full of keys of every type, and the comparison of two of them.

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// Keys of each type.
const EACH: usize = 2000;
/// Types of keys that are made.
const TYPES: [&str; 6] = ["string", "list", "set", "hash", "zset", "stream"];
/// When keys with a life time end: far away, so that none ends during the test.
const ENDS: u64 = 4_000_000_000;

/// A Redis that is reached through `redis-cli`.
#[derive(Debug, Clone)]
pub struct Redis {
    host: String,
    port: u16,
}

impl Redis {
    /// The one at `host` and `port`.
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port }
    }

    /// Sends commands, one a line, and returns what comes back.
    pub fn send(&self, commands: &str) -> Result<String> {
        let mut child = Command::new("redis-cli")
            .args(["-h", &self.host, "-p", &self.port.to_string(), "--no-raw"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("redis-cli starts (Debian package redis-tools)")?;
        let mut input = child.stdin.take().context("redis-cli reads")?;
        let commands = commands.to_owned();
        let writer = std::thread::spawn(move || input.write_all(commands.as_bytes()));
        let output = child.wait_with_output()?;
        ensure!(matches!(writer.join(), Ok(Ok(()))), "redis-cli does not take all commands");
        ensure!(output.status.success(), "redis-cli: {}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Makes keys of all types, a third of them with a life time. Returns how many.
    pub fn fill(&self) -> Result<usize> {
        let mut commands: Vec<String> = Vec::new();
        for number in 0..EACH {
            for kind in TYPES {
                let key = format!("{kind}:{number}");
                let make = match kind {
                    "string" => format!("SET {key} value-{number}"),
                    "list" => format!("RPUSH {key} a b {number}"),
                    "set" => format!("SADD {key} 1 2 {number}"),
                    "hash" => format!("HSET {key} field {number} other x"),
                    "zset" => format!("ZADD {key} 1 one {number} many"),
                    _ => format!("XADD {key} {}-1 field {number}", number + 1),
                };
                commands.push(make);
                if number % 3 == 0 {
                    commands.push(format!("EXPIREAT {key} {}", ENDS + number as u64));
                }
            }
        }
        let answers = self.send(&(commands.join("\n") + "\n"))?;
        ensure!(!answers.contains("ERR"), "redis refuses a command");
        Ok(EACH * TYPES.len())
    }

    /// Everything in it: each key with its value and the end of its life.
    pub fn content(&self) -> Result<BTreeMap<String, String>> {
        let mut keys: Vec<String> = Vec::new();
        for line in self.send("KEYS *\n")?.lines() {
            if let Some((_, key)) = line.split_once(") \"") {
                keys.push(key.trim_end_matches('"').to_owned());
            }
        }
        keys.sort();
        // One answer each: every command is followed by a marker.
        let mut commands: Vec<String> = Vec::new();
        for key in &keys {
            let read = match key.split(':').next().unwrap_or_default() {
                "stream" => format!("XRANGE {key} - +"),
                _ => format!("DUMP {key}"),
            };
            commands.push(format!("{read}\nPEXPIRETIME {key}\nECHO end-of-{key}\n"));
        }
        let answers = self.send(&commands.concat())?;
        let mut content = BTreeMap::new();
        let mut rest = answers.as_str();
        for key in &keys {
            let marker = format!("\"end-of-{key}\"\n");
            let (value, after) = rest.split_once(&marker).with_context(|| format!("an answer for {key}"))?;
            content.insert(key.clone(), value.to_owned());
            rest = after;
        }
        Ok(content)
    }
}
