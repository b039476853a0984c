//! The file that is compiled in says the truth: every section, every setting, every default.

use forewarn_alerter::ReceiverConfig;
use forewarn_config::{
    DEFAULTS, Documented, Environment, SECTIONS, Secret, Settings, documented_defaults,
};
use forewarn_features::{FeatureSetConfig, FeatureSets};
use forewarn_rules::{RuleConfig, RuleSet};
use forewarn_types::Kind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

#[test]
fn it_names_every_section_and_no_other() {
    for section in SECTIONS {
        assert!(
            DEFAULTS.contains(&format!("[{section}]")),
            "[{section}] is not in forewarn.toml"
        );
    }
    for section in documented().sections.keys() {
        assert!(
            SECTIONS.contains(&section.as_str()),
            "[{section}] is no section"
        );
    }
}

#[test]
fn it_states_the_defaults_of_every_owner() {
    let mut differences = Vec::new();
    owner::<forewarn_bus::Config>("log", &mut differences);
    owner::<forewarn_bus::CheckpointConfig>("checkpoints", &mut differences);
    owner::<forewarn_store::influxdb::Config>("influxdb", &mut differences);
    owner::<forewarn_bus::embedded::Config>("embedded", &mut differences);
    owner::<forewarn_store::embedded::Config>("metric_store", &mut differences);
    owner::<forewarn_store::postgres::Config>("postgres", &mut differences);
    owner::<forewarn_service::ServiceConfig>("service", &mut differences);
    owner::<forewarn_ingestion::Config>("ingestion", &mut differences);
    owner::<forewarn_ingestion::sources::simulated::Config>("simulator", &mut differences);
    owner::<forewarn_stream_processor::StepConfig>("stream_processor", &mut differences);
    owner::<forewarn_judge::Config>("predictor", &mut differences);
    owner::<forewarn_store::shelf::Config>("models", &mut differences);
    owner::<forewarn_trainer::Config>("trainer", &mut differences);
    owner::<forewarn_api::Config>("api", &mut differences);
    owner::<forewarn_alerter::Config>("alerter", &mut differences);
    assert_eq!(
        differences,
        Vec::<String>::new(),
        "forewarn.toml and the Default impls differ"
    );
}

#[test]
fn its_rules_and_receivers_are_active_and_sound() {
    let mut settings = Settings::load(None, &Environment::default(), &[]).expect("it is TOML");
    let rules = settings.section::<Vec<RuleConfig>>("rules");
    let receivers = settings.section::<Vec<ReceiverConfig>>("receivers");
    let sets = settings.section::<Vec<FeatureSetConfig>>("feature_sets");
    settings.finish().expect("no mistakes");
    assert!(!rules.is_empty());
    assert!(!receivers.is_empty());
    assert_eq!(sets, []);
    for receiver in receivers {
        receiver.build().expect("the receivers are sound");
    }
    RuleSet::new(rules).expect("the rules are sound");
}

#[test]
fn its_rules_speak_of_metrics_that_exist() {
    let mut settings = Settings::load(None, &Environment::default(), &[]).expect("it is TOML");
    let standard = FeatureSets::standard();
    let exists = |feature: &str| {
        standard
            .for_kind(Kind::Server)
            .any(|set| set.index_of(feature).is_some())
    };
    for rule in settings.section::<Vec<RuleConfig>>("rules") {
        if let RuleConfig::Threshold(rule) = rule {
            let feature = format!("{}.value", rule.metric);
            assert!(exists(&feature), "{} is no metric of hosts", rule.metric);
        }
    }
}

fn documented() -> Documented {
    documented_defaults().expect("with its settings uncommented it is TOML")
}

/// Compares one section with its owner's `Default`, and sees that its examples are settings too.
fn owner<T: Default + Serialize + DeserializeOwned>(section: &str, differences: &mut Vec<String>) {
    let documented = documented();
    let defaults = Table::try_from(T::default()).expect("settings can be written as TOML");
    let stated = documented
        .defaults()
        .get(section)
        .and_then(Value::as_table)
        .cloned()
        .unwrap_or_default();
    compare(section, &defaults, &stated, differences);
    let whole = documented
        .sections
        .get(section)
        .cloned()
        .unwrap_or(Value::Table(Table::new()));
    if let Err(error) = whole.try_into::<T>() {
        differences.push(format!("[{section}] cannot be read: {}", error.message()));
    }
}

fn compare(path: &str, defaults: &Table, stated: &Table, differences: &mut Vec<String>) {
    let keys: std::collections::BTreeSet<_> = defaults.keys().chain(stated.keys()).collect();
    for key in keys {
        let path = format!("{path}.{key}");
        match (defaults.get(key), stated.get(key)) {
            (Some(Value::Table(default)), Some(Value::Table(stated))) => {
                compare(&path, default, stated, differences)
            }
            // A secret does not say what its default is.
            (Some(Value::String(mask)), Some(Value::String(_))) if mask == Secret::MASK => {}
            (Some(default), Some(stated)) if default == stated => {}
            (default, stated) => differences.push(format!(
                "{path} is {default:?}, forewarn.toml says {stated:?}"
            )),
        }
    }
}
