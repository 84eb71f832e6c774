//! What happens to texts that nobody checked: the entry functions of the fuzz targets in `tests/fuzz` and of this room's
//! property tests. No part of the product. An error is the text that a person sees.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "only tests compile this")]

use crate::{
    Keyring,
    in_release::Fields,
    packages::{Packages, Place},
};

/// An index of packages, with all relations in it.
pub fn read_index(text: &str) -> Result<(), String> {
    let (suite, component) = ("stable".parse().unwrap(), "main".parse().unwrap());
    let mut packages = Packages::default();
    let place = Place { suite: &suite, component: &component, architecture: "amd64" };
    packages.add(text, place).map_err(|error| error.to_string())?;
    for entry in packages.entries() {
        entry.needs().map_err(|error| error.to_string())?;
        entry.recommends().map_err(|error| error.to_string())?;
        entry.excludes().map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// A Release, once its signature was found good.
pub fn read_release(text: &str) -> Result<(), String> {
    let suite = "stable".parse().unwrap();
    let fields = Fields::read(text, &suite).map_err(|error| error.to_string())?;
    fields.time("Date").map_err(|error| error.to_string())?;
    fields.time("Valid-Until").map_err(|error| error.to_string())?;
    fields.files().map_err(|error| error.to_string())?;
    Ok(())
}

/// A signed document, before its signature was looked at.
pub fn read_signed(document: &str) -> Result<(), String> {
    let now = jiff::Timestamp::UNIX_EPOCH;
    Keyring::default().verify(document, &[], now).map(drop).map_err(|error| error.to_string())
}
