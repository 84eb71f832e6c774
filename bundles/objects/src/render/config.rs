//! Values and files. A `ConfigMap` cannot change and carries a hash of its content in its name, so that a change is a
//! new object: pods of the old version keep the old one, and a return finds it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{Part, RenderError};
use crate::{AbsolutePath, ConfigKey, EnvironmentValue, object::digest_of_parts};

/// The `ConfigMap`s of a service.
pub(super) struct Configuration {
    values: Option<ConfigMap>,
    files: Option<ConfigMap>,
}

impl Configuration {
    pub(super) fn maps(&self) -> impl Iterator<Item = &ConfigMap> {
        self.values.iter().chain(&self.files)
    }

    pub(super) fn values_name(&self) -> Option<&str> {
        self.values.as_ref()?.metadata.name.as_deref()
    }

    pub(super) fn files_name(&self) -> Option<&str> {
        self.files.as_ref()?.metadata.name.as_deref()
    }
}

impl Part<'_> {
    pub(super) fn configuration(&self) -> Result<Configuration, RenderError> {
        Ok(Configuration {
            values: self.config_map("config", self.values()?),
            files: self.config_map("files", self.files()?),
        })
    }

    fn values(&self) -> Result<BTreeMap<String, String>, RenderError> {
        let keys = self.service.env.values().filter_map(|value| match value {
            EnvironmentValue::Config(reference) => Some(&reference.config),
            EnvironmentValue::Literal(_) | EnvironmentValue::Secret(_) => None,
        });
        let value = |key: &ConfigKey| match self.input.values.get(key) {
            Some(value) => Ok((key.to_string(), value.clone())),
            None => Err(RenderError::MissingValue {
                service: self.name.clone(),
                environment: self.input.environment.clone(),
                key: key.clone(),
            }),
        };
        keys.map(value).collect()
    }

    /// File names are unique in a service, so they are the keys.
    fn files(&self) -> Result<BTreeMap<String, String>, RenderError> {
        let file = |path: &AbsolutePath| match self.config_files.get(path) {
            Some(text) => Ok((path.file_name().to_owned(), text.clone())),
            None => Err(RenderError::MissingFile { service: self.name.clone(), path: path.clone() }),
        };
        self.service.config_files.keys().map(file).collect()
    }

    fn config_map(&self, purpose: &str, data: BTreeMap<String, String>) -> Option<ConfigMap> {
        if data.is_empty() {
            return None;
        }
        let parts = data.iter().flat_map(|(key, value)| [key.as_bytes(), value.as_bytes()]);
        let hash = digest_of_parts("bundle.build/config-map/v1", parts).short();
        Some(ConfigMap {
            metadata: self.metadata(&format!("{}-{purpose}-{}", self.name, &hash[..10])),
            immutable: Some(true),
            data: Some(data),
            ..ConfigMap::default()
        })
    }
}
