//! Writes the JSON Schemas of a platform's files into a folder: `cargo run --release -p builder-recipe --example
//! schema -- docs/schema`.

use std::{env, fs, io, path::PathBuf};

use builder_recipe::{environment_schema, platform_schema, recipe_schema, trust_schema};

fn main() -> io::Result<()> {
    let folder = PathBuf::from(env::args_os().nth(1).unwrap_or_else(|| "docs/schema".into()));
    fs::create_dir_all(&folder)?;
    let schemas = [
        ("bundle", platform_schema()),
        ("environment", environment_schema()),
        ("recipe", recipe_schema()),
        ("trust", trust_schema()),
    ];
    for (name, schema) in schemas {
        fs::write(folder.join(format!("{name}.json")), format!("{schema:#}\n"))?;
    }
    Ok(())
}
