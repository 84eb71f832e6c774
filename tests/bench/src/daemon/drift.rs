//! A person changes what the daemon keeps.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;

use super::stage::{PATIENCE, Stage};

/// What it took to undo it.
pub(super) struct Repair {
    /// Write requests of the daemon for objects of the release.
    pub(super) writes: usize,
    /// From the change to the last of the objects as it was.
    pub(super) took: Duration,
}

impl Stage {
    /// Gives a Deployment another image and deletes a Service, both as a person does, and waits until the daemon has
    /// undone it.
    pub(super) fn repair(&self) -> Result<Repair> {
        let (deployment, service) = (self.first("Deployment")?, self.first("Service")?);
        let image_of = |object: &Value| object["spec"]["template"]["spec"]["containers"][0]["image"].clone();
        let wanted = image_of(&self.get("deployment", &deployment)?);
        ensure!(wanted.is_string(), "deployment {deployment} has an image");
        let (since, begun) = (Timestamp::now(), Instant::now());
        self.kubectl(&["set", "image", &format!("deployment/{deployment}"), "*=drift.invalid/other:1"])?;
        self.kubectl(&["delete", "service", &service])?;
        loop {
            let image = image_of(&self.get("deployment", &deployment)?);
            let service = self.get("service", &service)?;
            if image == wanted && service["spec"].is_object() {
                break;
            }
            ensure!(begun.elapsed() < PATIENCE, "not repaired: {image}, {service}");
            std::thread::sleep(Duration::from_millis(50));
        }
        let took = begun.elapsed();
        // A turn later nothing more is done.
        self.looks(Timestamp::now(), 3)?;
        Ok(Repair { writes: self.daemon_writes(since)?.0, took })
    }

    fn get(&self, kind: &str, name: &str) -> Result<Value> {
        let text = self.kubectl(&["get", kind, name, "--ignore-not-found", "-o", "json"])?;
        if text.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }

    /// The name of the first object of a kind.
    fn first(&self, kind: &str) -> Result<String> {
        let list: Value = serde_json::from_str(&fs::read_to_string(self.manifest())?)?;
        let object = list["items"].as_array().into_iter().flatten().find(|object| object["kind"] == kind);
        let name = object.and_then(|object| object["metadata"]["name"].as_str());
        Ok(name.with_context(|| format!("the release has a {kind}"))?.to_owned())
    }
}
