//! Ids come from content (DESIGN.md §2.7), so that doing a thing twice gives the same row, not two.
//!
//! Canonical layout, hashed with BLAKE3 in key-derivation mode under the context `forewarn <kind> id v1`:
//! each text as its UTF-8 length (u32, little endian) and its bytes; each integer as i64, little endian;
//! tags as their number (i64) and then key and value in ascending order of the keys; an id as its 16 bytes.
//! The first 128 bits of the digest, with the version and variant bits of a custom UUID (RFC 9562, version 8).
//! A change of this layout changes every id: it is a new context, never an edit.

use uuid::Uuid;

use crate::{EventTime, ResourceKey, SeriesKey, StepLength};

struct Layout(blake3::Hasher);

impl Layout {
    fn new(context: &'static str) -> Self {
        Self(blake3::Hasher::new_derive_key(context))
    }

    fn text(mut self, text: &str) -> Self {
        // Longer texts than 4 GiB cannot get through the limits at the door.
        self.0.update(&(text.len() as u32).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    fn int(mut self, value: i64) -> Self {
        self.0.update(&value.to_le_bytes());
        self
    }

    fn id(mut self, id: Uuid) -> Self {
        self.0.update(id.as_bytes());
        self
    }

    fn resource(self, resource: &ResourceKey) -> Self {
        self.text(&resource.tenant).text(&resource.resource)
    }

    fn finish(self) -> Uuid {
        let digest = self.0.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.as_bytes()[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// Id of a sample: its series and event time.
#[must_use]
pub fn sample(series: &SeriesKey, time: EventTime) -> Uuid {
    let mut layout = Layout::new("forewarn sample id v1")
        .resource(&series.resource)
        .text(&series.metric)
        .int(series.tags.len() as i64);
    for (key, value) in &series.tags {
        layout = layout.text(key).text(value);
    }
    layout.int(time.millis()).finish()
}

/// Id of a message that carries several samples: the digest of its body, since a retry sends the same bytes.
#[must_use]
pub fn message(body: &[u8]) -> Uuid {
    let mut layout = Layout::new("forewarn message id v1");
    layout.0.update(body);
    layout.finish()
}

/// Id of a feature vector. `feature_set` names the set with its version (`host/1`).
#[must_use]
pub fn vector(
    resource: &ResourceKey,
    feature_set: &str,
    step: StepLength,
    step_end: EventTime,
) -> Uuid {
    Layout::new("forewarn vector id v1")
        .resource(resource)
        .text(feature_set)
        .int(step.millis())
        .int(step_end.millis())
        .finish()
}

/// Id of a verdict. `level` is `resource`, or the name of the judged metric; `model_set` the digest of what judged.
#[must_use]
pub fn verdict(vector: Uuid, level: &str, model_set: &str) -> Uuid {
    Layout::new("forewarn verdict id v1")
        .id(vector)
        .text(level)
        .text(model_set)
        .finish()
}

/// Id of a failure prediction: what will fail (kind and subject) and the step at which it was first said.
#[must_use]
pub fn prediction(
    resource: &ResourceKey,
    kind: &str,
    subject: &str,
    first_step: EventTime,
) -> Uuid {
    Layout::new("forewarn prediction id v1")
        .resource(resource)
        .text(kind)
        .text(subject)
        .int(first_step.millis())
        .finish()
}

/// Id of a change of a condition or of a resource's state at one moment.
#[must_use]
pub fn change(resource: &ResourceKey, what: &str, subject: &str, at: i64) -> Uuid {
    Layout::new("forewarn change id v1")
        .resource(resource)
        .text(what)
        .text(subject)
        .int(at)
        .finish()
}

/// Id of an alert: rule, fingerprint (what distinguishes its subjects) and the step that opened it.
#[must_use]
pub fn alert(tenant: &str, rule: &str, fingerprint: &str, opening_step: EventTime) -> Uuid {
    Layout::new("forewarn alert id v1")
        .text(tenant)
        .text(rule)
        .text(fingerprint)
        .int(opening_step.millis())
        .finish()
}

/// Id of the delivery of one notification to one receiver. `group` is the alert id or a group key.
#[must_use]
pub fn delivery(group: &str, sequence: i64, receiver: &str) -> Uuid {
    Layout::new("forewarn delivery id v1")
        .text(group)
        .int(sequence)
        .text(receiver)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(tags: &[(&str, &str)]) -> SeriesKey {
        SeriesKey {
            resource: ResourceKey::new("web-01"),
            metric: "system.cpu.utilization".into(),
            tags: tags
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
        }
    }

    #[test]
    fn ids_are_frozen() {
        // These values are a promise to every stored row: a failing line here means a broken store.
        let frozen = sample(
            &series(&[("cpu.mode", "user")]),
            EventTime(1_700_000_000_000),
        );
        assert_eq!(frozen.to_string(), FROZEN_SAMPLE);
        assert_eq!(frozen.get_version_num(), 8);
    }
    const FROZEN_SAMPLE: &str = "54708c20-44ed-823c-9565-c79d341c6368";

    #[test]
    fn the_order_of_tags_does_not_matter_but_their_borders_do() {
        let at = EventTime(1);
        assert_eq!(
            sample(&series(&[("a", "1"), ("b", "2")]), at),
            sample(&series(&[("b", "2"), ("a", "1")]), at)
        );
        assert_ne!(
            sample(&series(&[("a", "1b")]), at),
            sample(&series(&[("a1", "b")]), at)
        );
    }

    #[test]
    fn tenants_never_share_an_id() {
        let mut other = series(&[]);
        other.resource.tenant = "acme".into();
        assert_ne!(
            sample(&other, EventTime(1)),
            sample(&series(&[]), EventTime(1))
        );
    }
}
