//! The file that is compiled in: it documents all sections and is itself free of mistakes.

use forewarn_config::{DEFAULTS, Environment, SECTIONS, Settings, documented_defaults};

#[test]
fn the_shipped_file_documents_every_section() {
    let documented = documented_defaults().expect("with its settings uncommented it is TOML");
    for section in SECTIONS {
        assert!(
            DEFAULTS.contains(&format!("[{section}]")),
            "[{section}] is not in forewarn.toml"
        );
    }
    for section in documented.sections.keys() {
        assert!(
            SECTIONS.contains(&section.as_str()),
            "[{section}] is no section"
        );
    }
}

#[test]
fn the_shipped_file_loads() {
    let mut settings = Settings::load(None, &Environment::default(), &[]).expect("it is TOML");
    settings.finish().expect("it has no unknown section");
}
