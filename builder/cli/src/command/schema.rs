//! `bundle schema`: the JSON Schemas of the files of a platform, for editors.

use std::io::Write as _;

use clap::{Args, ValueEnum};

use crate::error::{CommandError, Kind, OfKind as _};

/// Print the JSON Schema of a file of a platform.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which file.
    #[arg(value_enum)]
    file: File,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum File {
    /// `bundle.toml`
    Platform,
    /// `NAME/recipe.toml`
    Recipe,
    /// `environments/NAME.toml`
    Environment,
    /// `trust.toml`
    Trust,
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let schema = match arguments.file {
        File::Platform => builder_recipe::platform_schema(),
        File::Recipe => builder_recipe::recipe_schema(),
        File::Environment => builder_recipe::environment_schema(),
        File::Trust => builder_recipe::trust_schema(),
    };
    let text = serde_json::to_string_pretty(&schema).of_kind(Kind::Machine)?;
    writeln!(std::io::stdout().lock(), "{text}").of_kind(Kind::Machine)
}
