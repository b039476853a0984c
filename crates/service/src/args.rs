//! The arguments that every service takes.

use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser};

/// Said at the end of `--help`.
pub const AFTER_HELP: &str = "\
Settings, the stronger below:
  compiled-in defaults
  the first of ./forewarn.toml, ~/.config/forewarn/config.toml, /etc/forewarn/forewarn.toml (or FOREWARN_CONFIG, or --config)
  familiar names in the environment (INFLUXDB_TOKEN, DATABASE_URL, KAFKA_BOOTSTRAP_SERVERS, …)
  FOREWARN__SECTION__KEY in the environment
  --set section.key=value

Exit codes:
  0    ended as asked
  2    a mistake in the arguments or settings
  70   a part failed, stalled or did not end in time; starting again is safe
  130  interrupted twice";

/// The arguments of a service.
#[derive(Clone, Debug, Parser)]
pub struct Args {
    /// The settings file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check the settings, say what is wrong, and end (0 or 2)
    #[arg(long)]
    pub check: bool,
    /// Override a setting, such as --set service.log_level=debug; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", value_parser = assignment)]
    pub overrides: Vec<(String, String)>,
}

impl Args {
    /// The arguments of this process; on `--help`, `--version` and mistakes clap answers and ends the process.
    pub(crate) fn of_process(name: &str, about: &'static str) -> Self {
        let command = Self::command()
            .name(format!("forewarn-{name}"))
            .version(env!("CARGO_PKG_VERSION"))
            .about(about)
            .after_help(AFTER_HELP);
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }
}

/// Splits `section.key=value`.
///
/// # Errors
/// What would be right.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, value)) if path.contains('.') => Ok((path.trim().to_owned(), value.to_owned())),
        _ => Err("write it as section.key=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn an_override_names_section_key_and_value() {
        assert_eq!(
            assignment("log.servers=a=b"),
            Ok(("log.servers".into(), "a=b".into()))
        );
        assert!(assignment("log.servers").is_err());
        assert!(assignment("servers=a").is_err());
    }
}
