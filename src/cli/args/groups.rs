//! The groups of verbs in `voisin --help`. The table of [`verbs`](crate::cli::verbs) assigns each verb to its group.

use std::fmt::Write as _;

use clap::Command;

use crate::cli::verbs::LISTED;

/// Titles. Groups that are used every day come first: `-h` lists these only.
// A test below compares the verbs of these groups with clap's.
const GROUPS: [&str; 8] = [
    "Listen",
    "Genres",
    "Shape of the collection",
    "Library",
    "Players",
    "Research",
    SEVERAL_MACHINES,
    "Help",
];
const SEVERAL_MACHINES: &str = "Several machines";
/// Columns of a line, as of clap's help outside a terminal, and of the indentation of descriptions.
const WIDTH: usize = 100;
const INDENT: usize = 14;
/// Groups that `-h` lists.
// All groups would scroll off the screen.
const EVERYDAY: usize = 2;

/// The template of the help of `voisin` alone: groups in place of clap's flat list.
const TEMPLATE: &str =
    "{about-with-newline}\n{usage-heading} {usage}\n\n{before-help}Options:\n{options}{after-help}";

/// The verbs of a group, in the order in which a new user needs them.
fn verbs_of(title: &str) -> Vec<String> {
    // Without PostgreSQL these verbs only report which build has them.
    if title == SEVERAL_MACHINES && !cfg!(feature = "postgres") {
        return Vec::new();
    }
    let mut verbs: Vec<_> = LISTED.iter().filter(|verb| verb.1 == title).collect();
    verbs.sort_by_key(|verb| verb.2);
    let names = verbs.iter().map(|verb| verb.0.to_lowercase());
    // Clap's own verb, which is not in the table.
    let help = (title == "Help").then(|| "help".to_owned());
    names.chain(help).collect()
}

/// Lists the verbs of some groups with their descriptions.
fn listed(command: &Command, groups: &[&str]) -> String {
    let mut text = String::new();
    for title in groups {
        let verbs = verbs_of(title);
        if verbs.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{title}:");
        for verb in &verbs {
            let found = command.find_subcommand(verb);
            let about = found.and_then(Command::get_about).map(ToString::to_string);
            let _ = write!(text, "  {verb:<12}");
            // Clap would start continuation lines at the margin.
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

/// Groups the verbs in the help of `voisin`: all with `--help`, the everyday ones with `-h`.
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
            .filter(|verb| cfg!(feature = "postgres") || !["push", "pull"].contains(verb))
            .collect();
        let grouped: Vec<String> = GROUPS.iter().flat_map(|title| verbs_of(title)).collect();
        let distinct: BTreeSet<&str> = grouped.iter().map(String::as_str).collect();
        assert_eq!(distinct, verbs);
        assert_eq!(grouped.len(), verbs.len(), "none is listed twice");
    }
}
