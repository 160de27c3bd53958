//! Mistakes on the command line, told as all other errors are: the option, what was expected, what was found, where to
//! read on.

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Cli;
use crate::cli::remote::PULL;

/// Commands of other programs, and what they are called here.
const OTHER_COMMANDS: [(&[&str], &str); 13] = [
    (&["search", "query"], "find, or similar"),
    (&["info", "stat"], "show"),
    (&["delete", "rm", "del", "forget"], "remove"),
    (&["import", "index", "update", "up", "ingest"], "add"),
    (&["tag", "write", "write-tags"], "classify --write-tags"),
    (&["dedupe", "dupes", "dups"], "duplicates"),
    (&["stats", "info-library"], "status"),
    (&["radio", "next", "recommend"], "mix"),
    (&["move", "mv"], "relocate"),
    (&["check", "doctor"], "verify"),
    (&["genre", "predict"], "classify, or genres"),
    (&["cluster", "group"], "clusters"),
    (&["web", "server", "gui", "ui"], "serve --open"),
];

/// Options of other programs, the option that does the same here, and how it is written.
const OTHER_OPTIONS: [(&[&str], &str, &str); 8] = [
    (&["--json"], "format", "--format json"),
    (&["--csv"], "format", "--format csv"),
    (
        &["-n", "--count", "--number", "--top"],
        "limit",
        "--limit N (-l N)",
    ),
    (&["--calmer"], "more", "--more calm"),
    (&["--energy", "--louder"], "more", "--more energetic"),
    (
        &["--no-voice", "--instrumental"],
        "not-tag",
        "--not-tag voice",
    ),
    (&["--duration", "--time"], "length", "--length TIME"),
    (
        &["--duration", "--shorter"],
        "max-duration",
        "--max-duration TIME",
    ),
];

/// The name here of another program's word.
fn known_elsewhere<'a>(word: &str, called: &str) -> Option<&'a str> {
    if word.starts_with('-') {
        let same = |(names, option, _): &&(&[&str], &str, &str)| {
            names.contains(&word) && is_option_of(called, option)
        };
        return OTHER_OPTIONS.iter().find(same).map(|(_, _, here)| *here);
    }
    let same = |(names, _): &&(&[&str], &str)| names.contains(&word);
    OTHER_COMMANDS.iter().find(same).map(|(_, here)| *here)
}

/// The fault of the arguments, in one style with the errors of the verbs.
pub(crate) fn message(error: &Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(several)) => several.join(", "),
        Some(ContextValue::StyledStr(text)) => text.to_string(),
        _ => String::new(),
    };
    // "--limit <N>" is known by its first word, "<TRACK>..." by its name.
    let option = |kind| text(kind).split(' ').next().unwrap_or_default().to_owned();
    let found = text(ContextKind::InvalidValue);
    let meant = |kind| match text(kind) {
        name if name.is_empty() => String::new(),
        name => format!("; did you mean {name}?"),
    };
    let argument = option(ContextKind::InvalidArg);
    let called = command(std::env::args().skip(1));
    let lead = match error.kind() {
        ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            // How the standard library and clap say that a number is none, or out of bounds.
            if let Some((_, range)) = reason.split_once(" is not in ") {
                format!(
                    "{argument}: expected {}, found \"{found}\"",
                    range.replace("..=", " to ").replace("..", " or more")
                )
            } else if ["in string", "literal", "too large", "too small"]
                .iter()
                .any(|end| reason.contains(end))
            {
                format!("{argument}: expected a number, found \"{found}\"")
            } else {
                format!("{argument}: {reason}")
            }
        }
        ErrorKind::InvalidValue if found.is_empty() => format!("{argument}: expected a value, found none"),
        ErrorKind::InvalidValue => format!(
            "{argument}: expected {}, found \"{found}\"{}",
            text(ContextKind::ValidValue),
            meant(ContextKind::SuggestedValue)
        ),
        ErrorKind::UnknownArgument if argument == "--backend" && is_option_of(&called, "backend") => {
            format!("expected --backend behind the command (\"{called} --backend URL\"), found it before")
        }
        ErrorKind::UnknownArgument if argument == "--backend" => format!(
            "\"{called}\" works on a library on this disk and takes no --backend: {PULL}"
        ),
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            let suggested = known_elsewhere(&argument, &called).map_or_else(
                || meant(ContextKind::SuggestedArg),
                |here| format!("; did you mean {here}?"),
            );
            format!("there is no option {argument} here{suggested}")
        }
        ErrorKind::UnknownArgument => format!("\"{argument}\" is one argument too many"),
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand);
            let suggested = known_elsewhere(&word, &called)
                .filter(|_| called == "voisin")
                .map_or_else(
                    || meant(ContextKind::SuggestedSubcommand),
                    |here| format!("; did you mean {here}?"),
                );
            format!("there is no command \"{word}\"{suggested}")
        }
        ErrorKind::MissingRequiredArgument if called == "voisin labels set" => {
            "expected tracks and a genre behind them, found less; \"voisin labels unset TRACK\" forgets a genre"
                .to_owned()
        }
        ErrorKind::MissingRequiredArgument if called == "voisin classify" => {
            "expected tracks, or --all for every track of the library, found nothing".to_owned()
        }
        ErrorKind::MissingRequiredArgument => {
            format!("expected {}, found nothing", text(ContextKind::InvalidArg))
        }
        ErrorKind::ArgumentConflict if text(ContextKind::PriorArg) == text(ContextKind::InvalidArg) => {
            format!("{argument} was given twice")
        }
        // A word too many after an argument is taken for a command without a name.
        ErrorKind::ArgumentConflict if argument.is_empty() => {
            format!("expected {} or a command, found more than that", option(ContextKind::PriorArg))
        }
        ErrorKind::ArgumentConflict => {
            format!("{argument} cannot be used together with {}", option(ContextKind::PriorArg))
        }
        _ => {
            let all = error.render().to_string();
            let first = all.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    };
    format!("{lead}; see \"{called} --help\"")
}

/// Whether a command that is called so has this option.
fn is_option_of(called: &str, long: &str) -> bool {
    let mut command = <Cli as clap::CommandFactory>::command();
    for name in called.split(' ').skip(1) {
        let Some(below) = command.find_subcommand(name).cloned() else {
            return false;
        };
        command = below;
    }
    command
        .get_arguments()
        .any(|arg| arg.get_long() == Some(long))
}

/// The command that these words call: `voisin eval genre`.
fn command(words: impl Iterator<Item = String>) -> String {
    let mut command = <Cli as clap::CommandFactory>::command();
    let mut name = String::from("voisin");
    // Below it, what all commands take stands beside what each takes.
    command.build();
    let mut words = words;
    while let Some(word) = words.next() {
        // A value may be called as a command is: `--library demo`.
        if let Some(long) = word.strip_prefix("--") {
            let takes =
                |arg: &clap::Arg| arg.get_long() == Some(long) && arg.get_action().takes_values();
            if command.get_arguments().any(takes) {
                words.next();
            }
            continue;
        }
        let below = command.find_subcommand(&word).cloned();
        if let Some(below) = below {
            name = format!("{name} {}", below.get_name());
            command = below;
        }
    }
    name
}
