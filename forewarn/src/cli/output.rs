//! What goes to standard output and how: tables for people, tab-separated lines for programs, JSON for both.
//!
//! Names and titles come from whoever sends metrics, so control characters never reach a terminal, and a tab or a line break
//! in a value never tears a row apart.

use std::io::{IsTerminal as _, Write as _};

use forewarn_config::Environment;
use serde::Serialize;

use super::outcome::Failure;
use super::{Colour, Globals};

/// In which form results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Aligned, with headings, in words for people.
    Table,
    /// A line a row, fields separated by tabs, without headings, in full precision.
    Plain,
    /// One document; of what never ends, one a line.
    Json,
}

/// How a word looks where there are colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Usual,
    Good,
    Warning,
    Bad,
    Dim,
    Strong,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::Good => "\x1b[32m",
            Self::Warning => "\x1b[33m",
            Self::Bad => "\x1b[31m",
            Self::Dim => "\x1b[2m",
            Self::Strong => "\x1b[1m",
        }
    }

    /// Of severities and states.
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "critical" | "high" | "stale" | "failed" => Self::Bad,
            "medium" | "at_risk" | "degraded" | "silent" | "predicted" | "attention" => {
                Self::Warning
            }
            "ok" | "healthy" | "champion" => Self::Good,
            "resolved" | "info" | "low" | "learning" | "retired" | "empty" => Self::Dim,
            _ => Self::Usual,
        }
    }
}

/// Where results go.
#[derive(Debug)]
pub(crate) struct Out {
    form: Form,
    coloured: bool,
    /// Characters in a line, where somebody looks at them.
    width: Option<usize>,
    quiet: bool,
    talks: bool,
}

impl Out {
    pub(crate) fn of(globals: &Globals, environment: &Environment) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let form = match (globals.json, globals.plain || !terminal) {
            (true, _) => Form::Json,
            (false, true) => Form::Plain,
            (false, false) => Form::Table,
        };
        let forced = environment
            .get("CLICOLOR_FORCE")
            .is_some_and(|value| value != "0");
        let refused =
            environment.get("NO_COLOR").is_some() || environment.get("TERM") == Some("dumb");
        let coloured = match globals.color {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => forced || (terminal && !refused),
        };
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
        Self {
            form,
            coloured: coloured && form == Form::Table,
            width: size
                .filter(|size| terminal && size.ws_col > 0)
                .map(|size| size.ws_col.into()),
            quiet: globals.quiet,
            talks: std::io::stderr().is_terminal(),
        }
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether somebody looks at what is said beside the result.
    pub(crate) fn is_watched(&self) -> bool {
        self.talks && !self.quiet
    }

    /// A line of the result.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.write_all(b"\n")?;
        Ok(stdout.flush()?)
    }

    /// The result as one document, on lines of its own.
    pub(crate) fn document(&self, value: &impl Serialize) -> Result<(), Failure> {
        self.line(&serde_json::to_string_pretty(value).map_err(std::io::Error::other)?)
    }

    /// A document among many: one a line.
    pub(crate) fn record(&self, value: &impl Serialize) -> Result<(), Failure> {
        self.line(&serde_json::to_string(value).map_err(std::io::Error::other)?)
    }

    /// Talk beside the result; if nobody can hear it, nothing is lost.
    pub(crate) fn say(&self, words: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "{}", clean(words));
        }
    }

    /// How far something is, in place of what was said of it before; nothing at all where nobody watches.
    pub(crate) fn progress(&self, words: &str) {
        if self.is_watched() {
            let _ = write!(std::io::stderr(), "\r{:PROGRESS$}\r{words}", "");
        }
    }

    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        let text = clean(text);
        if self.coloured && tone != Tone::Usual {
            format!("{}{text}\x1b[0m", tone.code())
        } else {
            text
        }
    }

    /// A table in the form that was asked for, which is not JSON.
    pub(crate) fn table(&self, table: &Table) -> Result<(), Failure> {
        let text = match self.form {
            Form::Plain | Form::Json => table.plain(),
            Form::Table => self.aligned(table),
        };
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }

    /// Rows that are wider than the window, one value a line.
    fn upright(&self, table: &Table, shown: &[Vec<String>]) -> String {
        let heads: Vec<String> = table.heads.iter().map(|head| clean(head)).collect();
        let width = heads
            .iter()
            .map(|head| head.chars().count())
            .max()
            .unwrap_or(0);
        let mut text = String::new();
        for (at, row) in shown.iter().enumerate() {
            text.push_str(&self.paint(Tone::Dim, &format!("- {} -", at + 1)));
            text.push('\n');
            for (head, value) in heads.iter().zip(row) {
                let head = self.paint(Tone::Dim, &format!("{head:<width$}"));
                text.push_str(&format!("{head}  {value}\n"));
            }
        }
        text
    }

    fn aligned(&self, table: &Table) -> String {
        let shown: Vec<Vec<String>> = table
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| clean(&cell.shown)).collect())
            .collect();
        let mut widths: Vec<usize> = table
            .heads
            .iter()
            .map(|head| clean(head).chars().count())
            .collect();
        for row in &shown {
            for (width, text) in widths.iter_mut().zip(row) {
                *width = (*width).max(text.chars().count());
            }
        }
        let whole = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        if table.longest.is_none() && self.width.is_some_and(|most| whole > most) {
            return self.upright(table, &shown);
        }
        if let (Some(most), Some(longest)) = (self.width, table.longest) {
            let over = whole.saturating_sub(most);
            widths[longest] = widths[longest]
                .saturating_sub(over)
                .max(SHORTEST.min(widths[longest]));
        }
        let mut text = String::new();
        let mut put = |cells: &mut dyn Iterator<Item = (usize, String, Tone)>| {
            let mut line = String::new();
            for (column, cell, tone) in cells {
                let cell = shorten(&cell, widths[column]);
                let gap = " ".repeat(widths[column] - cell.chars().count());
                let painted = self.paint(tone, &cell);
                if column > 0 {
                    line.push_str("  ");
                }
                if table.right.contains(&column) {
                    line.push_str(&gap);
                    line.push_str(&painted);
                } else {
                    line.push_str(&painted);
                    line.push_str(&gap);
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        };
        put(&mut table
            .heads
            .iter()
            .enumerate()
            .map(|(column, head)| (column, head.clone(), Tone::Dim)));
        for (row, shown) in table.rows.iter().zip(shown) {
            put(&mut shown
                .into_iter()
                .zip(row)
                .enumerate()
                .map(|(column, (text, cell))| (column, text, cell.tone)));
        }
        text
    }
}

/// Characters of a line of progress.
const PROGRESS: usize = 40;

/// No column is made narrower, however small the window is.
const SHORTEST: usize = 16;

/// Rows under headings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    heads: Vec<String>,
    rows: Vec<Vec<Cell>>,
    /// Columns of numbers.
    right: Vec<usize>,
    /// The column that gives way in a narrow window.
    longest: Option<usize>,
}

impl Table {
    pub(crate) fn new<H: Into<String>>(heads: impl IntoIterator<Item = H>) -> Self {
        Self {
            heads: heads.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// These columns hold numbers.
    pub(crate) fn right(mut self, columns: impl IntoIterator<Item = usize>) -> Self {
        self.right = columns.into_iter().collect();
        self
    }

    /// This column gives way in a narrow window.
    pub(crate) fn longest(mut self, column: usize) -> Self {
        self.longest = Some(column);
        self
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn plain(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|cell| clean(&cell.plain)).collect();
            text.push_str(&cells.join("\t"));
            text.push('\n');
        }
        text
    }

    /// The same as comma-separated values (RFC 4180), with headings.
    pub(crate) fn csv(&self) -> String {
        let mut text = csv_line(self.heads.iter().map(String::as_str));
        for row in &self.rows {
            text.push_str(&csv_line(row.iter().map(|cell| cell.plain.as_str())));
        }
        text
    }
}

/// A line of comma-separated values.
pub(crate) fn csv_line<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    let fields: Vec<String> = fields
        .map(|field| {
            if field.contains(['"', ',', '\n', '\r']) {
                format!("\"{}\"", field.replace('"', "\"\""))
            } else {
                field.to_owned()
            }
        })
        .collect();
    fields.join(",") + "\n"
}

/// One value: in words for people, and in full for programs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    shown: String,
    plain: String,
    tone: Tone,
}

impl Cell {
    /// The same for both.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            shown: text.clone(),
            plain: text,
            tone: Tone::Usual,
        }
    }

    /// One for people, one for programs.
    pub(crate) fn two(shown: impl Into<String>, plain: impl Into<String>) -> Self {
        Self {
            shown: shown.into(),
            plain: plain.into(),
            tone: Tone::Usual,
        }
    }

    /// An id: people see as much of it as tells it from others.
    pub(crate) fn id(id: String) -> Self {
        Self::two(id.get(..8).unwrap_or(&id), id.as_str())
    }

    /// A word whose colour follows from its meaning.
    pub(crate) fn word(text: &str) -> Self {
        Self::new(text).tone(Tone::of(text))
    }

    pub(crate) fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }
}

/// Without anything that a terminal would obey.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => ' ',
            // Also those that turn the direction of writing around.
            c if c.is_control()
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                '\u{fffd}'
            }
            c => c,
        })
        .collect()
}

fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(width: Option<usize>) -> Out {
        Out {
            form: Form::Table,
            coloured: false,
            width,
            quiet: false,
            talks: false,
        }
    }

    fn table() -> Table {
        let mut table = Table::new(["NAME", "N", "TITLE"]).right([1]).longest(2);
        table.row([
            Cell::new("a\x1b[31mb"),
            Cell::two("7 %", "0.07"),
            Cell::new("a title that is rather long"),
        ]);
        table.row([Cell::new("c"), Cell::new("100"), Cell::new("x\ty")]);
        table
    }

    #[test]
    fn columns_are_aligned_and_give_way_in_a_narrow_window() {
        assert_eq!(
            out(None).aligned(&table()),
            "NAME       N  TITLE\na\u{fffd}[31mb  7 %  a title that is rather long\nc        100  x y\n"
        );
        assert_eq!(
            out(Some(30)).aligned(&table()),
            "NAME       N  TITLE\na\u{fffd}[31mb  7 %  a title that is…\nc        100  x y\n"
        );
    }

    #[test]
    fn rows_too_wide_for_the_window_stand_upright() {
        let mut table = Table::new(["A", "LONG"]);
        table.row([Cell::new("1"), Cell::new("x".repeat(30))]);
        let x = "x".repeat(30);
        assert_eq!(
            out(Some(20)).aligned(&table),
            format!("- 1 -\nA     1\nLONG  {x}\n")
        );
        assert_eq!(out(Some(40)).aligned(&table), format!("A  LONG\n1  {x}\n"));
    }

    #[test]
    fn programs_get_full_values_and_rows_that_hold_together() {
        assert_eq!(
            table().plain(),
            "a\u{fffd}[31mb\t0.07\ta title that is rather long\nc\t100\tx y\n"
        );
        assert_eq!(
            csv_line(["a", "b,c", "d\"e", "f\ng"].into_iter()),
            "a,\"b,c\",\"d\"\"e\",\"f\ng\"\n"
        );
    }
}
