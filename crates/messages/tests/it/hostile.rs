//! Whatever stands on a topic, reading it gives a message or a reason, never a panic.

use forewarn_messages::{
    Body, Command, DecodeError, Headers, Prediction, ProcessedMetric, SystemMetric,
};
use proptest::prelude::*;
use uuid::Uuid;

fn headers(schema: &str, version: u16) -> Headers {
    Headers {
        schema: schema.into(),
        version,
        id: Uuid::nil(),
        src: None,
        traceparent: None,
    }
}

#[test]
fn a_missing_header_is_named() {
    let error = Headers::from_pairs([("schema", b"samples".as_slice())]).expect_err("no version");
    assert_eq!(error.to_string(), "header `version` is missing");
}

#[test]
fn a_newer_version_is_told_apart_from_poison() {
    let newer = SystemMetric::decode(&headers("samples", 2), b"{}").expect_err("too new");
    assert!(newer.is_too_new());
    let poison = SystemMetric::decode(&headers("samples", 1), b"{}").expect_err("no fields");
    assert!(!poison.is_too_new());
    let foreign = SystemMetric::decode(&headers("verdict", 1), b"{}").expect_err("another topic's");
    assert!(matches!(foreign, DecodeError::UnknownSchema { .. }));
}

#[test]
fn fields_of_a_newer_minor_writer_are_passed_over() {
    let body = br#"{"log_id":"00000000-0000-0000-0000-000000000007","added_later":[1,2]}"#;
    assert!(SystemMetric::decode(&headers("tick", 1), body).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(
        schema in "samples|tick|feature_vector|resource_change|verdict|condition_change|failure_prediction|train|acknowledge|resolve",
        body in proptest::collection::vec(any::<u8>(), 0..200),
        name in ".{0,20}",
        value in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let headers = headers(&schema, 1);
        prop_assert!(SystemMetric::decode(&headers, &body).is_err());
        prop_assert!(ProcessedMetric::decode(&headers, &body).is_err());
        prop_assert!(Prediction::decode(&headers, &body).is_err());
        prop_assert!(Command::decode(&headers, &body).is_err());
        prop_assert!(Headers::from_pairs([(name.as_str(), value.as_slice()), ("src", &value)]).is_err());
    }
}
