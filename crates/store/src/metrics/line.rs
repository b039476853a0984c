//! Line protocol: every name survives, whatever its characters, and two names never become one.
//!
//! The protocol itself escapes commas, spaces and equals signs, but it cannot carry line breaks, an empty tag value, or
//! a backslash at the end of a name. Those few are percent-encoded ([`encode`]), and so is a percent sign that would
//! otherwise read as such a code; every other name is stored as it is.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Lines on their way to a store, end to end in one buffer.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    text: String,
    /// Where each line ends, its line break included.
    ends: Vec<usize>,
    /// Where the line in work begins; its fields so far.
    start: usize,
    fields: usize,
}

impl Lines {
    /// Begins a line. `measurement` is taken as it is written: encode names from outside with [`encode`].
    pub fn begin(&mut self, measurement: &str) {
        self.start = self.text.len();
        self.fields = 0;
        escape(&mut self.text, measurement, &[',', ' ']);
    }

    /// Adds a tag to the line; before any field.
    pub fn tag(&mut self, key: &str, value: &str) {
        self.text.push(',');
        escape(&mut self.text, key, &[',', '=', ' ']);
        self.text.push('=');
        escape(&mut self.text, value, &[',', '=', ' ']);
    }

    /// Adds a number; what is not finite cannot be stored and is left out. Floats keep their last bit.
    pub fn float(&mut self, key: &str, value: f64) {
        if value.is_finite() {
            self.field_key(key);
            // The shortest text that reads back as the same number, with an exponent where that is shorter.
            write!(self.text, "{value:?}").expect("a String takes every write");
        }
    }

    /// Adds a single-precision number, stored as the shortest decimal that reads back as it.
    pub fn float32(&mut self, key: &str, value: f32) {
        if value.is_finite() {
            self.field_key(key);
            write!(self.text, "{value:?}").expect("a String takes every write");
        }
    }

    /// Adds a text.
    pub fn text(&mut self, key: &str, value: &str) {
        self.field_key(key);
        self.text.push('"');
        for c in value.chars() {
            if matches!(c, '"' | '\\') {
                self.text.push('\\');
            }
            self.text.push(c);
        }
        self.text.push('"');
    }

    fn field_key(&mut self, key: &str) {
        self.text.push(if self.fields == 0 { ' ' } else { ',' });
        escape(&mut self.text, key, &[',', '=', ' ']);
        self.text.push('=');
        self.fields += 1;
    }

    /// Ends the line at `millis` since the epoch. A line without a field is no point and is taken back.
    pub fn end(&mut self, millis: i64) {
        if self.fields == 0 {
            self.text.truncate(self.start);
            return;
        }
        writeln!(self.text, " {millis}").expect("a String takes every write");
        self.ends.push(self.text.len());
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text of some lines, line breaks included.
    #[must_use]
    pub fn slice(&self, lines: std::ops::Range<usize>) -> &str {
        let start = if lines.start == 0 {
            0
        } else {
            self.ends[lines.start - 1]
        };
        let end = if lines.end == 0 {
            0
        } else {
            self.ends[lines.end - 1]
        };
        &self.text[start..end]
    }

    /// One line after the other, without line breaks.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|line| self.slice(line..line + 1).trim_end_matches('\n'))
    }
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
}

/// A point as the store knows it; names as stored, so [`decode`] gives those that came.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its measurement.
    pub measurement: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its fields.
    pub fields: BTreeMap<String, Field>,
    /// Milliseconds since the epoch.
    pub time: i64,
}

/// Reads a line that [`Lines`] wrote.
#[must_use]
pub fn parse(line: &str) -> Option<Point> {
    let (head, rest) = split_head(line)?;
    let (measurement, tags) = parse_head(head)?;
    let mut fields = BTreeMap::new();
    let time = parse_fields(rest, &mut |key, value| {
        fields.insert(key, value);
    })?;
    Some(Point {
        measurement,
        tags,
        fields,
        time,
    })
}

/// A line's measurement and tags as they are written, which tell series apart, and the rest behind a space.
#[must_use]
pub fn split_head(line: &str) -> Option<(&str, &str)> {
    let bytes = line.as_bytes();
    let end = (1..bytes.len()).find(|at| bytes[*at] == b' ' && bytes[at - 1] != b'\\')?;
    Some((&line[..end], &line[end + 1..]))
}

/// Reads measurement and tags.
#[must_use]
pub fn parse_head(head: &str) -> Option<(String, BTreeMap<String, String>)> {
    let mut rest = head;
    let measurement = take_name(&mut rest, &[',']);
    let mut tags = BTreeMap::new();
    while let Some(tail) = rest.strip_prefix(',') {
        rest = tail;
        let key = take_name(&mut rest, &['=']);
        rest = rest.strip_prefix('=')?;
        tags.insert(key, take_name(&mut rest, &[',']));
    }
    Some((measurement, tags))
}

/// Reads the fields, gives each to `each`, and returns the time.
#[must_use]
pub fn parse_fields(text: &str, each: &mut dyn FnMut(String, Field)) -> Option<i64> {
    let mut rest = text;
    loop {
        let key = take_name(&mut rest, &['=']);
        rest = rest.strip_prefix('=')?;
        let value = match rest.strip_prefix('"') {
            Some(tail) => {
                rest = tail;
                Field::Text(take_quoted(&mut rest)?)
            }
            None => {
                let end = rest.find([',', ' '])?;
                let number = rest[..end].parse().ok()?;
                rest = &rest[end..];
                Field::Float(number)
            }
        };
        each(key, value);
        match rest.strip_prefix(',') {
            Some(tail) => rest = tail,
            None => return rest.strip_prefix(' ')?.parse().ok(),
        }
    }
}

/// A name up to one of `ends`, or up to the end.
fn take_name(rest: &mut &str, ends: &[char]) -> String {
    let mut name = String::new();
    let mut chars = rest.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next_if(|(_, next)| matches!(next, ',' | '=' | ' ')) {
                Some((_, escaped)) => name.push(escaped),
                None => name.push(c),
            },
            c if ends.contains(&c) => {
                *rest = &rest[at..];
                return name;
            }
            c => name.push(c),
        }
    }
    *rest = "";
    name
}

fn take_quoted(rest: &mut &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => text.push(chars.next()?.1),
            '"' => {
                *rest = &rest[at + 1..];
                return Some(text);
            }
            c => text.push(c),
        }
    }
    None
}

fn escape(out: &mut String, name: &str, special: &[char]) {
    for c in name.chars() {
        if special.contains(&c) {
            out.push('\\');
        }
        out.push(c);
    }
}

/// A name that line protocol can carry, and that no other name becomes.
#[must_use]
pub fn encode(name: &str) -> Cow<'_, str> {
    if name.is_empty() {
        return Cow::Borrowed("%");
    }
    let bytes = name.as_bytes();
    let has_to = |at: usize| match bytes[at] {
        byte if byte.is_ascii_control() => true,
        // A backslash is taken for an escape before these and at the end, where the protocol's own comma follows.
        b'\\' => bytes
            .get(at + 1)
            .is_none_or(|next| matches!(next, b',' | b'=' | b' ' | b'\\')),
        b'#' => at == 0,
        b'%' => bytes.len() == 1 || is_code(&bytes[at..]),
        _ => false,
    };
    if !(0..bytes.len()).any(has_to) {
        return Cow::Borrowed(name);
    }
    let mut encoded = String::with_capacity(name.len() + 8);
    for (at, c) in name.char_indices() {
        if has_to(at) {
            write!(encoded, "%{:02X}", bytes[at]).expect("a String takes every write");
        } else {
            encoded.push(c);
        }
    }
    Cow::Owned(encoded)
}

/// The name that [`encode`] was given.
#[must_use]
pub fn decode(name: &str) -> String {
    if name == "%" {
        return String::new();
    }
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if is_code(rest) {
            let digit = |byte: u8| (byte as char).to_digit(16).map_or(0, |digit| digit as u8);
            decoded.push(digit(rest[1]) * 16 + digit(rest[2]));
            rest = &rest[3..];
        } else {
            decoded.push(byte);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Whether these bytes begin with a code as [`encode`] writes them.
fn is_code(bytes: &[u8]) -> bool {
    let hex = |byte: &u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(byte);
    bytes.len() >= 3 && bytes[0] == b'%' && bytes[1..3].iter().all(hex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_without_fields_is_taken_back() {
        let mut lines = Lines::default();
        lines.begin("m");
        lines.float("value", f64::NAN);
        lines.end(1);
        assert!(lines.is_empty());
        lines.begin("m");
        lines.tag("a b", "c,d=e");
        lines.float("value", 1e300);
        lines.end(2);
        assert_eq!(lines.slice(0..1), "m,a\\ b=c\\,d\\=e value=1e300 2\n");
    }

    #[test]
    fn ordinary_names_are_stored_as_they_are() {
        for name in [
            "system.cpu.utilization",
            "/data",
            "50%",
            "a%zz",
            "C:\\temp",
            "größe",
            "a=b, c",
        ] {
            assert_eq!(encode(name), name);
        }
        for (name, encoded) in [
            ("", "%"),
            ("%", "%25"),
            ("a\n", "a%0A"),
            ("a\\", "a%5C"),
            ("%20", "%2520"),
            ("#x", "%23x"),
        ] {
            assert_eq!(encode(name), encoded);
        }
    }

    /// Names made of what is dangerous.
    fn nasty() -> impl Strategy<Value = String> {
        prop_oneof![
            "[,= \\\\%#\"\n\r\t0AF2a]{0,12}",
            any::<String>(),
            "[a-z.]{1,12}",
        ]
    }

    proptest! {
        #[test]
        fn names_round_trip(name in nasty()) {
            let encoded = encode(&name);
            prop_assert!(!encoded.is_empty() && !encoded.contains(['\n', '\r', '\0']));
            prop_assert_eq!(decode(&encoded), name);
        }

        #[test]
        fn lines_round_trip(
            measurement in nasty(),
            tags in proptest::collection::btree_map(nasty(), nasty(), 0..4),
            value in any::<f64>().prop_filter("stored numbers are finite", |value| value.is_finite()),
            text in any::<String>(),
            time in any::<i64>(),
        ) {
            let mut lines = Lines::default();
            lines.begin(&encode(&measurement));
            for (key, value) in &tags {
                lines.tag(&encode(key), &encode(value));
            }
            lines.float("value", value);
            lines.text("state", &text);
            lines.end(time);
            let line = lines.slice(0..1).strip_suffix('\n').expect("lines end");
            let point = parse(line).expect("our own line");
            prop_assert_eq!(decode(&point.measurement), measurement);
            let read: BTreeMap<String, String> = point.tags.iter().map(|(k, v)| (decode(k), decode(v))).collect();
            prop_assert_eq!(read, tags);
            match &point.fields["value"] {
                Field::Float(read) => prop_assert_eq!(read.to_bits(), value.to_bits()),
                Field::Text(_) => prop_assert!(false, "a number became a text"),
            }
            prop_assert_eq!(&point.fields["state"], &Field::Text(text));
            prop_assert_eq!(point.time, time);
        }
    }
}
