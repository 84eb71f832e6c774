//! Records of what is installed.
//!
//! An image with dpkg has dpkg's own database, as dpkg would have written it. One without has one file for each
//! package in `status.d`, where scanners look (the convention of distroless images).

mod database;
mod status;

use std::fmt::Write as _;

use crate::{EffectError, InstallError, Owner, Package, TreePath, effect::Image};

/// Writes the records of all packages.
pub(crate) fn write(image: &mut Image<'_>) -> Result<(), InstallError> {
    if image.has("dpkg") {
        return database::write(image);
    }
    let packages = image.packages;
    packages.iter().try_for_each(|package| {
        write_single_files(image, package).map_err(|source| of_package(package, source))
    })
}

fn of_package(package: &Package, source: EffectError) -> InstallError {
    InstallError::Record { package: package.name.clone(), source }
}

fn write_single_files(image: &mut Image<'_>, package: &Package) -> Result<(), EffectError> {
    let owner = Owner::Generated("status.d".into());
    let base = format!("var/lib/dpkg/status.d/{}", package.name);
    let mut control = package.control_text("control").unwrap_or_default().trim_end().to_owned();
    control.push('\n');
    image.write(&owner, &TreePath::known(&base), control.into_bytes(), 0o644)?;
    if let Some(sums) = package.control_text("md5sums") {
        let path = TreePath::known(&format!("{base}.md5sums"));
        image.write(&owner, &path, sums.as_bytes().to_vec(), 0o644)?;
    }
    Ok(())
}

/// Name of a package's files in dpkg's database.
fn file_stem(package: &Package) -> String {
    let mut stem = package.name.as_str().to_owned();
    if package.paragraph().get("Multi-Arch") == Some("same") {
        let _infallible = write!(stem, ":{}", package.architecture);
    }
    stem
}
