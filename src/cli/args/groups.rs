//! The verbs in groups, as `voisin --help` lists them.
//!
//! Not for: docs/cli.md, where a chapter a verb follows the order of the table of verbs.

use std::fmt::Write as _;

use clap::Command;

/// Titles, and verbs in the order in which somebody new needs them. What one does every day comes first: `-h` stops there.
// A test below compares this list with clap's: a new verb must be put into a group.
const GROUPS: [(&str, &[&str]); 8] = [
    (
        "Listen",
        &["similar", "find", "mix", "playlist", "path", "list", "show"],
    ),
    (
        "Genres",
        &[
            "classify", "genres", "labels", "suspects", "scales", "train", "eval", "undo",
        ],
    ),
    (
        "Shape of the collection",
        &[
            "map",
            "clusters",
            "artists",
            "albums",
            "duplicates",
            "outliers",
        ],
    ),
    (
        "Library",
        &[
            "add", "watch", "status", "failed", "retry", "remove", "relocate", "backup", "verify",
            "repair", "merge", "config",
        ],
    ),
    (
        "Players",
        &["serve", "lists", "link", "heard", "mpd", "mcp"],
    ),
    (
        "Research",
        &[
            "dataset", "features", "embed", "export", "model", "space", "bench",
        ],
    ),
    ("Several machines", SEVERAL_MACHINES),
    ("Help", &["demo", "terms", "man", "completions", "help"]),
];
const SEVERAL_MACHINES: &[&str] = if cfg!(feature = "postgres") {
    &["push", "pull", "worker"]
} else {
    // They only say which build has them.
    &[]
};
/// Columns of a line, those of help that is not printed on a terminal; and where the descriptions begin.
const WIDTH: usize = 100;
const INDENT: usize = 14;
/// Groups that `-h` lists.
// `-h` is for a glance: all groups would scroll off the screen.
const EVERYDAY: usize = 2;

/// The template of the help of `voisin` alone: groups in place of clap's flat list.
const TEMPLATE: &str =
    "{about-with-newline}\n{usage-heading} {usage}\n\n{before-help}Options:\n{options}{after-help}";

/// Lists the verbs of some groups with what they do.
fn listed(command: &Command, groups: &[(&str, &[&str])]) -> String {
    let mut text = String::new();
    for (title, verbs) in groups.iter().filter(|(_, verbs)| !verbs.is_empty()) {
        let _ = writeln!(text, "{title}:");
        for verb in *verbs {
            let found = command.find_subcommand(verb);
            let about = found.and_then(Command::get_about).map(ToString::to_string);
            let _ = write!(text, "  {verb:<12}");
            // Clap breaks long lines too, but begins what follows at the margin.
            let mut column = INDENT;
            for word in about.unwrap_or_default().split(' ') {
                if column + 1 + word.len() > WIDTH {
                    let _ = write!(text, "\n{:INDENT$}", "");
                    column = INDENT;
                }
                let _ = write!(text, " {word}");
                column += 1 + word.len();
            }
            text.push('\n');
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}

/// Lets the help of `voisin` list its verbs in groups: all of them with `--help`, those of every day with `-h`.
pub(super) fn with_groups(command: Command) -> Command {
    let everyday = listed(&command, &GROUPS[..EVERYDAY]);
    let all = listed(&command, &GROUPS);
    command
        .before_help(format!(
            "{everyday}\n\nAll commands and options: voisin --help"
        ))
        .before_long_help(all)
        .help_template(TEMPLATE)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::args::Cli;

    #[test]
    fn every_verb_is_in_one_group() {
        let mut command = Cli::command();
        command.build();
        let verbs: BTreeSet<&str> = command
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
            .map(Command::get_name)
            .filter(|verb| cfg!(feature = "postgres") || !["push", "pull", "worker"].contains(verb))
            .collect();
        let grouped: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, verbs)| verbs.iter().copied())
            .collect();
        assert_eq!(grouped.iter().copied().collect::<BTreeSet<_>>(), verbs);
        assert_eq!(grouped.len(), verbs.len(), "none is listed twice");
    }
}
