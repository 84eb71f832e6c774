//! `Replaces` between packages (Debian policy, section 7.6).

use bundles_release::lock::Version;

use crate::Package;

/// Whether `one` declares that it replaces `other`, at the version that `other` has.
pub(crate) fn replaces(one: &Package, other: &Package) -> bool {
    one.paragraph()
        .get("Replaces")
        .is_some_and(|field| field.split(',').any(|relation| matches(relation.trim(), other)))
}

/// `name[:arch] [(operator version)]`.
fn matches(relation: &str, package: &Package) -> bool {
    let (name, constraint) = match relation.split_once('(') {
        Some((name, rest)) => (name.trim(), Some(rest.trim_end_matches(')').trim())),
        None => (relation, None),
    };
    if name.split(':').next() != Some(package.name.as_str()) {
        return false;
    }
    let Some(constraint) = constraint else { return true };
    let operator_length = constraint.bytes().take_while(|byte| b"<=>".contains(byte)).count();
    let (operator, version) = constraint.split_at(operator_length);
    let Ok(version) = version.trim().parse::<Version>() else { return false };
    match operator {
        "<<" => package.version < version,
        "<=" | "<" => package.version <= version,
        "=" => package.version == version,
        ">=" | ">" => package.version >= version,
        ">>" => package.version > version,
        _ => false,
    }
}
