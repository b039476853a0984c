//! Where figures go: one line each, and a marked section of a document.

use std::path::Path;

use anyhow::Context;

/// On what it was measured: a figure without its machine is none.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, name)| name);
    let build = if cfg!(debug_assertions) {
        "debug build: these figures say nothing"
    } else {
        "release build"
    };
    format!(
        "machine: {cores} cores of {}, servers and clients together; {build}",
        model.unwrap_or("an unknown processor")
    )
}

/// Puts the lines into the section `title` of the document, and makes document and section if they are missing.
pub(crate) fn write(path: &Path, title: &str, lines: &[String]) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|_| "# Benchmarks\n".to_owned());
    std::fs::write(path, with_section(&text, title, lines))
        .with_context(|| format!("write {}", path.display()))
}

fn with_section(text: &str, title: &str, lines: &[String]) -> String {
    let begin = format!("<!-- begin: {title} (written by make bench) -->");
    let end = format!("<!-- end: {title} -->");
    let list: String = lines.iter().map(|line| format!("- {line}\n")).collect();
    let section = format!("{begin}\n\n{list}\n{end}");
    match text
        .split_once(&begin)
        .and_then(|(head, rest)| Some((head, rest.split_once(&end)?.1)))
    {
        Some((head, tail)) => format!("{head}{section}{tail}"),
        None => format!("{}\n\n## {title}\n\n{section}\n", text.trim_end()),
    }
}

/// The value below which this share of `sorted` lies.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (share * sorted.len() as f64).ceil() as usize;
    sorted
        .get(at.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_made_once_and_then_replaced() {
        let once = with_section("# Benchmarks\n\nmine\n", "A", &["a: 1".into()]);
        assert!(once.starts_with("# Benchmarks\n\nmine\n") && once.contains("- a: 1\n"));
        let twice = with_section(&once, "A", &["a: 2".into()]);
        assert_eq!(twice, once.replace("a: 1", "a: 2"));
        let other = with_section(&twice, "B", &["b: 1".into()]);
        assert!(other.starts_with(twice.trim_end()) && other.contains("## B\n"));
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(
            (
                quantile(&values, 0.5),
                quantile(&values, 0.99),
                quantile(&values, 1.0)
            ),
            (50.0, 99.0, 100.0)
        );
        assert!(quantile(&[], 0.5).is_nan());
    }
}
