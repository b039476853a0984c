//! The table of what the door says, word for word.

use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;

/// 2023-11-14T22:13:20Z.
const NOW: EventTime = EventTime(1_700_000_000_000);

fn offer(body: &str) -> Result<Offer, Malformed> {
    let series = Mutex::new(ActiveSeries::new(1_000, 3_600));
    read(
        body.as_bytes(),
        &Limits::default(),
        &PushConfig::default(),
        &series,
        NOW,
        0,
    )
}

/// What becomes of a document, in lines.
fn check(body: &str, expected: Expect) {
    let mut text = String::new();
    let mut line = |words: String| writeln!(text, "{words}").expect("a String takes every write");
    match offer(body) {
        Err(Malformed::Document { detail, remedy }) => {
            line(format!("MALFORMED {detail} | {remedy}"))
        }
        Err(error @ Malformed::TooManySamples { .. }) => line(format!("TOO MANY {error}")),
        Ok(offer) => {
            for batch in &offer.batches {
                line(format!(
                    "{} {} every {} ms",
                    batch.resource.resource,
                    batch.kind.as_str(),
                    batch.interval.millis()
                ));
                for sample in &batch.samples {
                    let series = batch.series_of(sample);
                    let sort = if sample.metric_type.is_gauge() {
                        ""
                    } else {
                        " counter"
                    };
                    line(format!(
                        "  {series} = {} at {}{sort}",
                        sample.value,
                        batch.time_of(sample)
                    ));
                }
            }
            for r in offer.refusals.named() {
                let sample = r
                    .sample
                    .map_or("all".to_owned(), |sample| sample.to_string());
                line(format!(
                    "{}/{sample} {} [{}] {} | {}",
                    r.batch,
                    r.field,
                    r.reason.as_str(),
                    r.detail,
                    r.remedy
                ));
            }
            if offer.refusals.unnamed() > 0 {
                line(format!("and {} more", offer.refusals.unnamed()));
            }
        }
    }
    expected.assert_eq(&text);
}

/// Samples of one resource, given as JSON.
fn check_samples(samples: &[&str], expected: Expect) {
    check(
        &format!(
            "{{\"resource\":\"web-01\",\"samples\":[{}]}}",
            samples.join(",")
        ),
        expected,
    );
}

#[test]
fn good_samples_come_in_canonical_names_and_base_units() {
    check(
        r#"[{"resource":"shop","kind":"application","source":"push","interval":"30s","time":"2023-11-14T23:13:10+01:00",
            "samples":[
              {"metric":"orders","value":90,"unit":"{order}/min"},
              {"metric":"cpu_usage","value":7,"unit":"%","time":1699999985000},
              {"metric":"system.network.io","tags":{"network.interface.name":"eth0"},"value":2,"unit":"MiB"},
              {"metric":"response_time","value":250,"unit":"ms","type":"gauge"}]},
          {"resource":"db-01","kind":"database","samples":[{"metric":"connections","value":12}]}]"#,
        expect![[r#"
            shop application every 30000 ms
              shop system.cpu.utilization = 0.07 at 1699999985000
              shop orders = 1.5 at 1699999990000
              shop system.network.io{network.interface.name="eth0"} = 2097152 at 1699999990000 counter
              shop http.server.request.duration = 0.25 at 1699999990000
            db-01 database every 60000 ms
              db-01 db.client.connection.count = 12 at 1700000000000
        "#]],
    );
}

#[test]
fn a_value_that_is_no_finite_number_refuses_only_its_sample() {
    check_samples(
        &[
            r#"{"metric":"a","value":"NaN"}"#,
            r#"{"metric":"b","value":null}"#,
            r#"{"metric":"c","value":1e999}"#,
            r#"{"metric":"d","value":"-Infinity"}"#,
            r#"{"metric":"e","value":"12"}"#,
            r#"{"metric":"f","value":true}"#,
            r#"{"metric":"g","value":1e308,"unit":"GiB"}"#,
            r#"{"metric":"h","value":-0.0}"#,
            r#"{"metric":"i","value":5e-324}"#,
        ],
        expect![[r#"
            web-01 server every 60000 ms
              web-01 h = -0 at 1700000000000
              web-01 i = 0.000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000005 at 1700000000000
            0/0 value [not_finite] "NaN" is not a finite number | leave the sample out: a missing value is a gap, and gaps are seen
            0/1 value [not_finite] null is not a finite number | leave the sample out: a missing value is a gap, and gaps are seen
            0/2 value [not_finite] 1e999 is not a finite number | leave the sample out: a missing value is a gap, and gaps are seen
            0/3 value [not_finite] "-Infinity" is not a finite number | leave the sample out: a missing value is a gap, and gaps are seen
            0/4 value [malformed] "12" is not a number | send a plain number, without quotes
            0/5 value [malformed] true is not a number | send a plain number, without quotes
            0/6 value [not_finite] the value in base units is not a finite number | leave the sample out: a missing value is a gap, and gaps are seen
        "#]],
    );
}

#[test]
fn ratios_and_quantities_outside_their_range_are_refused_with_the_remedy() {
    check_samples(
        &[
            r#"{"metric":"system.cpu.utilization","value":65}"#,
            r#"{"metric":"memory_usage","value":165,"unit":"%"}"#,
            r#"{"metric":"pool.utilization","value":-0.5}"#,
            r#"{"metric":"system.memory.usage","value":-1}"#,
            r#"{"metric":"http_requests","type":"counter","value":-1}"#,
            r#"{"metric":"temperature","value":-40}"#,
            r#"{"metric":"system.cpu.utilization","value":1.0000001}"#,
        ],
        expect![[r#"
            web-01 server every 60000 ms
              web-01 temperature = -40 at 1700000000000
              web-01 system.cpu.utilization = 1.0000001 at 1700000000000
            0/0 value [range] 65 is not a ratio, `system.cpu.utilization` goes from 0 to 1 | say `"unit": "%"` if this is a percentage
            0/1 value [range] 1.65 is not a ratio, `system.memory.utilization` goes from 0 to 1 | send the part of the whole, from 0 to 1, or a percentage with `"unit": "%"`
            0/2 value [range] -0.5 is not a ratio, `pool.utilization` goes from 0 to 1 | send the part of the whole, from 0 to 1, or a percentage with `"unit": "%"`
            0/3 value [range] -1 is negative, `system.memory.usage` cannot be | check how it is measured
            0/4 value [range] -1 is negative, `http_requests` cannot be | check how it is measured
        "#]],
    );
}

#[test]
fn units_that_are_unknown_or_measure_something_else_are_refused() {
    check_samples(
        &[
            r#"{"metric":"length","value":1,"unit":"furlong"}"#,
            r#"{"metric":"system.memory.usage","value":1,"unit":"ms"}"#,
            r#"{"metric":"system.process.count","value":1,"unit":"%"}"#,
            r#"{"metric":"length","value":1,"unit":5}"#,
        ],
        expect![[r#"
            0/0 unit [unit] the unit "furlong" is not known | use %, s, ms, By, KiB, MiB, GiB …, put things that are counted in braces such as {order}, or leave it out
            0/1 unit [unit] "ms" does not measure `system.memory.usage` | send it in one of: By, B, bytes, KiB, KiBy, MiB, MiBy, GiB, GiBy, TiB, TiBy, kB, kBy, MB, MBy, GB, GBy, TB, TBy
            0/2 unit [unit] "%" does not measure `system.process.count` | send it in one of: {process} or 1
            0/3 unit [malformed] 5 is not a string | put it in quotes
        "#]],
    );
}

#[test]
fn clocks_that_are_wrong_are_told_so() {
    check_samples(
        &[
            r#"{"metric":"a","value":1,"time":1668464000000}"#,
            r#"{"metric":"a","value":1,"time":1731536000000}"#,
            r#"{"metric":"a","value":1,"time":1700000000}"#,
            r#"{"metric":"a","value":1,"time":"yesterday"}"#,
            r#"{"metric":"a","value":1,"time":1.5}"#,
            r#"{"metric":"a","value":1,"time":9223372036854775807}"#,
            r#"{"metric":"a","value":1,"time":-9223372036854775808}"#,
            r#"{"metric":"a","value":1,"time":"2023-11-14T22:13:20"}"#,
            r#"{"metric":"kept","value":1,"time":1699913600000}"#,
            r#"{"metric":"kept","value":1,"time":1700000600000}"#,
        ],
        expect![[r#"
            web-01 server every 60000 ms
              web-01 kept = 1 at 1699913600000
              web-01 kept = 1 at 1700000600000
            0/0 time [time] 1668464000000 is 365 days before now, allowed are 1d | set the sender's clock, and send samples while they are fresh
            0/1 time [time] 1731536000000 is 365 days ahead of now, allowed are 10m | set the sender's clock, and send milliseconds since 1970 or an RFC 3339 time
            0/2 time [time] 1700000000 is 19656 days before now, allowed are 1d | this looks like seconds: multiply by 1000, or send an RFC 3339 time
            0/3 time [malformed] "yesterday" is not a time | send whole milliseconds since 1970, or an RFC 3339 time such as "2026-01-31T12:00:00Z"
            0/4 time [malformed] 1.5 is not a time | send whole milliseconds since 1970, or an RFC 3339 time such as "2026-01-31T12:00:00Z"
            0/5 time [time] 9223372036854775807 is 106751971491 days ahead of now, allowed are 10m | set the sender's clock, and send milliseconds since 1970 or an RFC 3339 time
            0/6 time [time] -9223372036854775808 is 106751991167 days before now, allowed are 1d | set the sender's clock, and send samples while they are fresh
            0/7 time [malformed] "2023-11-14T22:13:20" is not a time | send whole milliseconds since 1970, or an RFC 3339 time such as "2026-01-31T12:00:00Z"
        "#]],
    );
}

#[test]
fn names_and_tags_that_could_harm_someone_are_refused() {
    let long = "x".repeat(256);
    let many: Vec<String> = (0..33).map(|i| format!("\"t{i}\":\"v\"")).collect();
    let many = format!(
        r#"{{"metric":"a","value":1,"tags":{{{}}}}}"#,
        many.join(",")
    );
    let long_metric = format!(r#"{{"metric":"{long}","value":1}}"#);
    let long_tag = format!(
        r#"{{"metric":"a","value":1,"tags":{{"t":"{}"}}}}"#,
        "y".repeat(1_025)
    );
    check_samples(
        &[
            r#"{"metric":"","value":1}"#,
            r#"{"metric":"_internal","value":1}"#,
            r#"{"metric":"a b\nc","value":1}"#,
            &long_metric,
            r#"{"metric":7,"value":1}"#,
            &many,
            &long_tag,
            r#"{"metric":"a","value":1,"tags":{"resource":"other"}}"#,
            r#"{"metric":"a","value":1,"tags":{"bad key":"v"}}"#,
            r#"{"metric":"a","value":1,"tags":{"t":""}}"#,
            r#"{"metric":"a","value":1,"tags":{"t":"\u0000"}}"#,
            r#"{"metric":"a","value":1,"tags":{"t":5}}"#,
            r#"{"metric":"a","value":1,"tags":["t"]}"#,
            r#"{"metric":"a","value":1,"tags":{"t":"grün, = \"quoted\""}}"#,
        ],
        expect![[r#"
            web-01 server every 60000 ms
              web-01 a{t="grün, = \"quoted\""} = 1 at 1700000000000
            0/0 metric [name] "" is not a metric's name | begin with a letter and go on with letters, digits and . _ - / :, such as "system.cpu.utilization"
            0/1 metric [name] "_internal" is not a metric's name | begin with a letter and go on with letters, digits and . _ - / :, such as "system.cpu.utilization"
            0/2 metric [name] "a b\nc" is not a metric's name | begin with a letter and go on with letters, digits and . _ - / :, such as "system.cpu.utilization"
            0/3 metric [name] the name has 256 bytes, the most are 255 | use a shorter name, and tags for what varies
            0/4 metric [malformed] 7 is not a string | put it in quotes
            0/5 tags [tags] a sample has 33 tags, the most are 32 | keep the tags by which you would ask for the series
            0/6 tags.t [tags] the value has 1025 bytes, the most are 1024 | tags tell series apart; put texts elsewhere
            0/7 tags.resource [tags] the tag `resource` is reserved | the batch says it once for all samples; use another name for anything else
            0/8 tags.bad key [tags] "bad key" is not a tag's name, or longer than 255 bytes | begin with a letter and go on with letters, digits and . _ - / :
            0/9 tags.t [tags] the tag's value is empty | leave the tag out
            0/10 tags.t [tags] the value has control characters | leave them out
            0/11 tags.t [malformed] 5 is not a string | put it in quotes
            0/12 tags [malformed] ["t"] is not an object | send {"name": "value"}
        "#]],
    );
}

#[test]
fn samples_that_are_not_of_the_form_are_refused_one_by_one() {
    check_samples(
        &[
            r#"{"value":1}"#,
            r#"{"metric":"a"}"#,
            r#"{"metric":"a","valu":1}"#,
            r#""a=1""#,
            r#"[]"#,
            r#"{"metric":"a","value":1,"type":"histogram"}"#,
            r#"{"metric":"system.network.io","value":1,"type":"gauge"}"#,
            r#"{"metric":"memory_usage","value":0.5,"type":"counter"}"#,
            r#"{"metric":"a","metric":"b","value":1}"#,
        ],
        expect![[r#"
            0/0 metric [malformed] `metric` is missing | every sample has a metric and a value
            0/1 value [malformed] `value` is missing | every sample has a metric and a value
            0/2 sample [malformed] unknown field `valu`, expected one of `metric`, `tags`, `time`, `value`, `type`, `unit` | send {"metric": …, "value": …} with tags, time, type and unit as needed
            0/3 sample [malformed] "a=1" is not an object | send {"metric": …, "value": …} with tags, time, type and unit as needed
            0/4 sample [malformed] [] is not an object | send {"metric": …, "value": …} with tags, time, type and unit as needed
            0/5 type [malformed] "histogram" is not a type | use "gauge" or "counter"
            0/6 type [malformed] `system.network.io` is a counter, not a gauge | send the total since the start, or a rate under a name of your own
            0/7 type [malformed] `system.memory.utilization` is a gauge, not a counter | leave the type out
            0/8 sample [malformed] duplicate field `metric` | send {"metric": …, "value": …} with tags, time, type and unit as needed
        "#]],
    );
}

#[test]
fn the_second_of_two_equal_samples_is_refused() {
    check_samples(
        &[
            r#"{"metric":"cpu_usage","value":0.1,"tags":{"a":"1","b":"2"}}"#,
            r#"{"metric":"system.cpu.utilization","value":0.2,"tags":{"b":"2","a":"1"}}"#,
            r#"{"metric":"system.cpu.utilization","value":0.2,"tags":{"b":"2"}}"#,
        ],
        expect![[r#"
            web-01 server every 60000 ms
              web-01 system.cpu.utilization{a="1",b="2"} = 0.1 at 1700000000000
              web-01 system.cpu.utilization{b="2"} = 0.2 at 1700000000000
            0/1 time [duplicate] the same series and time (1700000000000) stands earlier in this request | send each sample once, or tell the series apart by a tag
        "#]],
    );
}

#[test]
fn a_batch_whose_head_is_wrong_is_refused_with_its_samples_and_the_others_are_kept() {
    let samples = r#""samples":[{"metric":"a","value":1},{"metric":"b","value":1}]"#;
    let heads = [
        "",
        r#""resource":"","#,
        r#""resource":"a\tb","#,
        r#""resource":" a","#,
        r#""resource":7,"#,
        r#""resource":"r","kind":"toaster","#,
        r#""resource":"r","interval":"60","#,
        r#""resource":"r","interval":"2h","#,
        r#""resource":"r","interval":60,"#,
        r#""resource":"r","source":"host","#,
        r#""resource":"r","time":"now","#,
        r#""resource":"good","#,
    ];
    let batches: Vec<String> = heads
        .iter()
        .map(|head| format!("{{{head}{samples}}}"))
        .collect();
    check(
        &format!("[{}]", batches.join(",")),
        expect![[r#"
        good server every 60000 ms
          good a = 1 at 1700000000000
          good b = 1 at 1700000000000
        0/all resource [malformed] `resource` is missing | name what was measured, such as "web-01"
        1/all resource [name] `resource` is empty | name what was measured, such as "web-01"
        2/all resource [name] `resource` "a\tb" has control characters, or spaces at its ends | leave them out
        3/all resource [name] `resource` " a" has control characters, or spaces at its ends | leave them out
        4/all resource [malformed] 7 is not a string | put it in quotes
        5/all kind [malformed] "toaster" is not a kind of resource | use server, container, database, cache, load_balancer, storage, network, queue, service, application, serverless, ml_model or custom
        6/all interval [malformed] `60` is not a duration; write it with units, such as "500ms", "30s", "1h30m" or "7d" | say how often you send, from "1s" to "1h"
        7/all interval [malformed] 2h is not between 1 s and 1 h | say how often you send, from "1s" to "1h"
        8/all interval [malformed] 60 is not a string | put it in quotes
        9/all source [malformed] `source` is "host", what comes in here is "push" | leave it out, and use a tag for the sender
        10/all time [malformed] "now" is not a time | send whole milliseconds since 1970, or an RFC 3339 time such as "2026-01-31T12:00:00Z"
    "#]],
    );
}

#[test]
fn documents_that_are_no_documents_say_where_and_what_to_do() {
    let documents = [
        "",
        "hello",
        "{\"resource\":\"a\",\n \"samples\":[{\"metric\":\"a\",\"value\":NaN}]}",
        "{\"resource\":\"a\",\"samples\":[{\"metric\":\"a\",\"value\":-Infinity}]}",
        "{\"resource\":\"a\",\"samples\":[{\"metric\":\"a\",\"value\":1}",
        "{\"resource\":\"a\",\"sample\":[]}",
        "{\"resource\":\"a\"}",
        "{\"resource\":\"a\",\"samples\":[]}",
        "[]",
        "[1]",
        "{\"resource\":\"a\",\"samples\":[]} and more",
    ];
    let mut said = String::new();
    for document in documents {
        let Err(Malformed::Document { detail, remedy }) = offer(document) else {
            panic!("taken: {document}")
        };
        writeln!(said, "{detail} | {remedy}").expect("a String takes every write");
    }
    expect![[r#"
        EOF while parsing a value at line 1 column 0 | the document ends too early; send all of it
        expected value at line 1 column 1 | send a JSON document
        expected value at line 2 column 35 | JSON has no NaN: leave the sample out, since a missing value is a gap
        invalid number at line 1 column 51 | JSON has no Infinity: leave the sample out, since a missing value is a gap
        EOF while parsing a list at line 1 column 51 | the document ends too early; send all of it
        unknown field `sample`, expected one of `resource`, `kind`, `source`, `interval`, `time`, `samples` at line 1 column 24 | send {"resource": …, "samples": [{"metric": …, "value": …}]}, or an array of these
        missing field `samples` at line 1 column 16 | send {"resource": …, "samples": [{"metric": …, "value": …}]}, or an array of these
        the request has no samples | send at least one in `samples`
        the request has no samples | send at least one in `samples`
        invalid type: integer `1`, expected a batch in braces, with `resource` and `samples` at line 1 column 2 | send {"resource": …, "samples": [{"metric": …, "value": …}]}, or an array of these
        trailing characters at line 1 column 31 | send a JSON document
    "#]].assert_eq(&said);
    let not_text = read(
        b"{\"resource\":\"\xff\"}",
        &Limits::default(),
        &PushConfig::default(),
        &Mutex::new(ActiveSeries::new(1, 1)),
        NOW,
        0,
    );
    assert!(
        not_text
            .expect_err("not text")
            .to_string()
            .contains("not UTF-8, from byte 13")
    );
}

#[test]
fn deep_nesting_and_long_texts_are_answered_briefly() {
    let deep = format!(
        r#"{{"resource":"a","samples":[{}1{}]}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let answer = offer(&deep).expect("a document with one strange sample");
    assert_eq!(answer.refusals.samples(), 1);
    let long = "x".repeat(1 << 20);
    let answer = offer(&format!(
        r#"{{"resource":"a","samples":[{{"metric":"a","{long}":1}},"{long}",{{"metric":"a","value":"{long}"}}]}}"#
    ));
    for refusal in answer.expect("three strange samples").refusals.named() {
        assert!(
            refusal.detail.len() < 1_000 && refusal.field.len() < 200,
            "{refusal:?}"
        );
    }
    let Err(error) = offer(&format!(r#"{{"{long}":1}}"#)) else {
        panic!("an unknown field")
    };
    assert!(
        error.to_string().len() < 1_000 && error.to_string().ends_with(" at line 1 column 1048579"),
        "{error}"
    );
}

#[test]
fn only_the_first_hundred_refusals_are_named_but_all_are_counted() {
    let samples = vec![r#"{"metric":"a"}"#; 250].join(",");
    let offer = offer(&format!(r#"{{"resource":"a","samples":[{samples}]}}"#)).expect("a document");
    assert_eq!(
        (
            offer.refusals.named().len(),
            offer.refusals.unnamed(),
            offer.refusals.samples()
        ),
        (100, 150, 250)
    );
    assert_eq!(
        offer.refusals.counts().collect::<Vec<_>>(),
        [(Reason::Malformed, 250)]
    );
    assert_eq!(offer.accepted(), 0);
}

#[test]
fn a_new_series_beyond_the_limit_is_refused_and_the_known_ones_go_on() {
    let series = Mutex::new(ActiveSeries::new(2, 60));
    let push = |body: &str, seconds: u64| {
        read(
            body.as_bytes(),
            &Limits::default(),
            &PushConfig::default(),
            &series,
            NOW,
            seconds,
        )
        .expect("a document")
    };
    let three = r#"{"resource":"a","samples":[{"metric":"a","value":1},{"metric":"b","value":1},{"metric":"c","value":1}]}"#;
    let first = push(three, 0);
    assert_eq!(first.accepted(), 2);
    assert_eq!(
        first.refusals.named()[0].detail,
        "2 series are active, no new one is taken",
        "{:?}",
        first.refusals.named()
    );
    assert_eq!(push(three, 30).accepted(), 2);
    assert_eq!(
        push(
            r#"{"resource":"a","samples":[{"metric":"c","value":1}]}"#,
            95
        )
        .accepted(),
        1,
        "the others are idle"
    );
}

#[test]
fn too_many_samples_are_refused_before_any_is_read() {
    let limits = Limits {
        samples_max: 2,
        ..Limits::default()
    };
    let body = r#"[{"resource":"a","samples":[1,2]},{"resource":"a","samples":[3]}]"#;
    let answer = read(
        body.as_bytes(),
        &limits,
        &PushConfig::default(),
        &Mutex::new(ActiveSeries::new(1, 1)),
        NOW,
        0,
    );
    assert_eq!(
        answer.expect_err("too many").to_string(),
        "the request has 3 samples, the most are 2"
    );
}

#[test]
fn samples_of_a_batch_are_put_in_the_order_of_their_times() {
    check_samples(
        &[
            r#"{"metric":"a","value":3,"time":1700000000003}"#,
            r#"{"metric":"a","value":1,"time":1700000000001}"#,
            r#"{"metric":"b","value":1,"time":1700000000001}"#,
        ],
        expect![[r#"
            web-01 server every 60000 ms
              web-01 a = 1 at 1700000000001
              web-01 b = 1 at 1700000000001
              web-01 a = 3 at 1700000000003
        "#]],
    );
}
