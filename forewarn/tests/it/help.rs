//! What every `--help` says, as docs/cli.md: the file is written by this test (`UPDATE_EXPECT=1`), so that neither drifts.

use expect_test::expect_file;

use crate::support::Cli;

const HEAD: &str = "\
<!-- Written by forewarn/tests/it/help.rs: UPDATE_EXPECT=1 cargo test -p forewarn help -->

# Command line

`forewarn` runs the services, asks a running Forewarn, and looks after an installation. A command that asks goes over the
HTTP API ([api.md](api.md)) and works from any machine; one that takes `--config` and `--set` reads the settings that the
services read.

The result is on standard output, everything else on standard error. On a terminal the result is a table; in a pipe the same
columns are separated by tabs, without headings, with moments and numbers in full. `--json` gives one document, and one a line
for what never ends. Moments are RFC 3339 or a span before now (`30m`, `1h30m`, `7d`).

Commands do not ask back. What changes something says so in one sentence, with the command that undoes it.
";

/// The help of a command and of those below it, in order.
fn pages(cli: &Cli, path: &[&str], text: &mut String) {
    let said = cli.run(&[path, &["--help"]].concat());
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.err, "");
    let name = ["forewarn"]
        .iter()
        .chain(path)
        .copied()
        .collect::<Vec<_>>()
        .join(" ");
    text.push_str(&format!(
        "\n{} {name}\n\n```text\n",
        "#".repeat(path.len().min(2) + 2)
    ));
    for line in said.out.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str("```\n");
    let commands = said
        .out
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1);
    for line in commands.take_while(|line| !line.is_empty()) {
        // What goes on in a second line is indented further.
        let Some(word) = line
            .strip_prefix("  ")
            .filter(|rest| !rest.starts_with(' '))
        else {
            continue;
        };
        let word = word.split(' ').next().expect("a word");
        if word != "help" {
            pages(cli, &[path, &[word]].concat(), text);
        }
    }
}

#[test]
fn every_help_is_as_the_reference_says() {
    let mut text = HEAD.to_owned();
    pages(&Cli::new(), &[], &mut text);
    for named in [
        "forewarn models rollback",
        "forewarn topics tail",
        "Exit codes:",
    ] {
        assert!(text.contains(named), "{named}");
    }
    expect_file!["../../../docs/cli.md"].assert_eq(&text);
}
