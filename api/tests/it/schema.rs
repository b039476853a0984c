//! Whether a document is what the OpenAPI document promises: no field missing, none unannounced, every type and word.

use serde_json::Value;

/// Every difference between `value` and `schema`, by its place.
pub(crate) fn differences(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(document, schema, value, "$", &mut found);
    found
}

fn check(document: &Value, schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    if let Some(target) = schema["$ref"].as_str() {
        let pointer = target.trim_start_matches('#');
        match document.pointer(pointer) {
            Some(schema) => check(document, schema, value, place, found),
            None => found.push(format!("{place}: {target} is not in the document")),
        }
        return;
    }
    if let Some(choices) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let fits = choices
            .iter()
            .any(|choice| differences(document, choice, value).is_empty());
        if !fits {
            found.push(format!("{place}: {value} is none of the choices"));
        }
        return;
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        // Anything.
        _ => return,
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = kinds.contains(&kind) || (kind == "integer" && kinds.contains(&"number"));
    if !fits {
        found.push(format!("{place}: {value} is {kind}, not {kinds:?}"));
        return;
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        found.push(format!("{place}: {value} is none of {words:?}"));
    }
    if let (Some("date-time"), Some(text)) = (schema["format"].as_str(), value.as_str())
        && text.parse::<forewarn_store::Timestamp>().is_err()
    {
        found.push(format!("{place}: {text} is no instant in UTC"));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(
            document,
            &schema["items"],
            item,
            &format!("{place}[{index}]"),
            found,
        );
    }
    if let Some(fields) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten() {
            if name.as_str().is_none_or(|name| !fields.contains_key(name)) {
                found.push(format!("{place}.{name} is missing"));
            }
        }
        for (name, item) in fields {
            let place = format!("{place}.{name}");
            match (&schema["properties"][name], &schema["additionalProperties"]) {
                (Value::Null, Value::Null) => found.push(format!("{place} is not announced")),
                (Value::Null, further) => check(document, further, item, &place, found),
                (known, _) => check(document, known, item, &place, found),
            }
        }
    }
}
