//! Mistakes on the command line, told as all other errors are: the option, what was expected, what was found, where to
//! read on.

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Cli;
use crate::cli::remote::PULL;

/// Commands of other programs, and what they are called here.
const OTHER_COMMANDS: [(&[&str], &str); 28] = [
    (&["search", "query", "lookup"], "find, or similar"),
    (
        &["nearest", "neighbours", "neighbors", "like", "knn"],
        "similar",
    ),
    (&["info", "stat", "inspect", "view", "details"], "show"),
    (&["delete", "rm", "del", "forget"], "remove"),
    (&["prune", "clean", "cleanup"], "remove --missing"),
    (
        &["import", "index", "update", "up", "ingest", "init"],
        "add",
    ),
    (&["analyse", "analyze", "rescan", "refresh"], "add"),
    (&["sync"], "add, or watch"),
    (
        &["tag", "write", "write-tags", "retag"],
        "classify --write-tags",
    ),
    (&["edit"], "labels set, or classify --write-tags"),
    (&["dedupe", "dupes", "dups", "dup"], "duplicates"),
    (&["stats", "info-library", "summary"], "status"),
    (&["songs", "tracks", "bpm", "tempo", "key", "keys"], "list"),
    (&["mood", "moods", "energy"], "scales, or find"),
    (
        &[
            "radio",
            "next",
            "recommend",
            "suggest",
            "discover",
            "shuffle",
            "queue",
        ],
        "mix",
    ),
    (&["m3u", "m3u8", "set", "setlist"], "playlist"),
    (&["move", "mv", "rename"], "relocate"),
    (&["check", "doctor", "fsck"], "verify"),
    (&["fix", "rebuild", "reindex"], "repair"),
    (&["copy", "cp", "save", "dump"], "backup, or export"),
    (
        &["genre", "predict", "identify", "recognise", "recognize"],
        "classify, or genres",
    ),
    (&["cluster", "group"], "clusters"),
    (&["plot", "graph", "visualise", "visualize", "draw"], "map"),
    (&["history", "log", "plays"], "heard"),
    (&["upgrade"], "model upgrade"),
    (&["version"], "--version"),
    (&["settings", "preferences", "options"], "config"),
    (
        &[
            "web", "server", "gui", "ui", "play", "player", "listen", "open", "browse", "start",
        ],
        "serve --open",
    ),
];

/// Options of other programs, the option that does the same here, and how it is written; the first that a command has.
const OTHER_OPTIONS: [(&[&str], &str, &str); 38] = [
    (&["--json"], "format", "--format json"),
    (&["--csv"], "format", "--format csv"),
    (&["--m3u", "--m3u8"], "format", "--format m3u8"),
    (
        &["--paths", "--plain", "--files"],
        "format",
        "--format paths",
    ),
    (
        &["--fields", "--columns", "--template"],
        "format",
        "--format '$artist - $title'",
    ),
    (&["--print0", "--zero"], "null", "--null (-0)"),
    (
        &["-n", "-k", "--k", "--count", "--number", "--top", "--max"],
        "limit",
        "--limit N (-l N)",
    ),
    (&["--calmer", "--relaxed"], "more", "--more calm"),
    (&["--darker", "--dark"], "more", "--more dark"),
    (&["--brighter", "--bright"], "more", "--more bright"),
    (&["--happier", "--happy"], "more", "--more happy"),
    (&["--sadder", "--sad"], "more", "--more sad"),
    (&["--danceable"], "more", "--more danceable"),
    (&["--energy", "--louder"], "more", "--more energetic"),
    (&["--softer"], "quieter", "--quieter"),
    (
        &["--mood", "--moods", "--tags", "--energy", "--calmer"],
        "tag",
        "--tag WORD",
    ),
    (
        &["--no-voice", "--no-vocals", "--instrumental"],
        "not-tag",
        "--not-tag voice",
    ),
    (&["--voice", "--vocal", "--vocals"], "tag", "--tag voice"),
    (
        &["--duration", "--time", "--minutes"],
        "length",
        "--length TIME",
    ),
    (
        &["--duration", "--shorter"],
        "max-duration",
        "--max-duration TIME",
    ),
    (&["--longer"], "min-duration", "--min-duration TIME"),
    (&["--tempo", "--speed"], "bpm", "--bpm 120-128"),
    (
        &["--since", "--decade", "--date"],
        "year",
        "--year 1990-1999",
    ),
    (
        &["--not-artist", "--no-artist"],
        "exclude-artist",
        "--exclude-artist ARTIST",
    ),
    (
        &["--not-genre", "--no-genre"],
        "exclude-genre",
        "--exclude-genre GENRE",
    ),
    (&["--minus", "--negative"], "unlike", "--unlike TRACK"),
    (
        &["--distance", "--threshold", "--similarity"],
        "min-similarity",
        "--min-similarity COSINE",
    ),
    (
        &["--other-artists", "--different-artists", "--diverse"],
        "max-per-artist",
        "--max-per-artist 1",
    ),
    (&["--desc", "--descending"], "reverse", "--reverse (-r)"),
    (&["--preview", "--simulate"], "dry-run", "--dry-run"),
    (
        &["--reanalyse", "--rescan", "--refresh"],
        "force",
        "--force",
    ),
    (
        &["--host", "--bind", "--address", "--ip", "--port"],
        "listen",
        "--listen PLACE",
    ),
    (&["--browser"], "open", "--open"),
    (&["--html"], "colour-by", "-o map.html"),
    (&["--png"], "colour-by", "-o map.png"),
    (&["--db", "--database"], "library", "--library DIR"),
    (&["--gpu"], "device", "--device cuda"),
    (&["--jobs", "-j"], "threads", "--threads N"),
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
    // Clap keeps the parts of an error by kind; which kinds an error has depends on its own kind.
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(several)) => several.join(", "),
        Some(ContextValue::StyledStr(text)) => text.to_string(),
        _ => String::new(),
    };
    // "--limit <N>" is known by its first word, "<TRACK>..." by its name.
    let option = |kind| text(kind).split(' ').next().unwrap_or_default().to_owned();
    let found = text(ContextKind::InvalidValue);
    let meant = |kind| {
        let alike = match error.get(kind) {
            // The most alike first, which clap has last.
            Some(ContextValue::Strings(several)) => {
                let alike: Vec<&str> = several.iter().rev().map(String::as_str).collect();
                alike.join(", ")
            }
            _ => text(kind),
        };
        if alike.is_empty() {
            alike
        } else {
            format!("; did you mean {alike}?")
        }
    };
    let argument = option(ContextKind::InvalidArg);
    // Not `args`, which panics at a file's name that is not UTF-8.
    let words = std::env::args_os().skip(1);
    let called = command(words.map(|word| word.to_string_lossy().into_owned()));
    let lead = match error.kind() {
        ErrorKind::ValueValidation => {
            // Our own parsers give whole sentences as their reason; the rest is the standard
            // library's English.
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
        // Before the general case: clap would only say that there is no such option.
        ErrorKind::UnknownArgument if argument == "--backend" && is_option_of(&called, "backend") => {
            format!("expected --backend behind the command (\"{called} --backend URL\"), found it before")
        }
        ErrorKind::UnknownArgument if argument == "--backend" => format!(
            "\"{called}\" works on a library on this disk and takes no --backend: {PULL}"
        ),
        ErrorKind::UnknownArgument
            if called == "voisin add" && ["--recursive", "-r", "-R"].contains(&argument.as_str()) =>
        {
            format!("there is no option {argument} here: folders are read with all folders in them")
        }
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
            let suggested = known_elsewhere(&word.to_lowercase(), &called)
                // Below a verb, another program's word for a command means nothing.
                .filter(|_| called == "voisin")
                .map(str::to_owned)
                .or_else(|| same_command(&word, &called))
                .map_or_else(
                    || meant(ContextKind::SuggestedSubcommand),
                    |here| format!("; did you mean {here}?"),
                );
            format!("there is no command \"{word}\"{suggested}")
        }
        ErrorKind::MissingSubcommand => "expected a command, found none".to_owned(),
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
        // Kinds that need no help of ours: clap's first line without its usage.
        _ => {
            let all = error.render().to_string();
            let first = all.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    };
    format!("{lead}; see \"{called} --help\"")
}

/// The command that is called so.
fn command_called(called: &str) -> Option<clap::Command> {
    let mut command = <Cli as clap::CommandFactory>::command();
    // Built, it has the options of all commands beside its own.
    command.build();
    // The first word is the program itself.
    for name in called.split(' ').skip(1) {
        command = command.find_subcommand(name)?.clone();
    }
    Some(command)
}

/// Whether a command that is called so has this option.
fn is_option_of(called: &str, long: &str) -> bool {
    let has = |command: &clap::Command| {
        command
            .get_arguments()
            .any(|arg| arg.get_long() == Some(long))
    };
    command_called(called).as_ref().is_some_and(has)
}

fn singular(name: &str) -> &str {
    name.strip_suffix('s').unwrap_or(name)
}

/// The command below another that a word names but for capitals and a plural.
fn same_command(word: &str, called: &str) -> Option<String> {
    let word = word.to_lowercase();
    let command = command_called(called)?;
    let same = command
        .get_subcommands()
        .map(clap::Command::get_name)
        .filter(|name| singular(name) == singular(&word));
    // Of a singular and a plural that both are commands the one that was written.
    same.min_by_key(|name| *name != word).map(str::to_owned)
}

/// The command that these words call: `voisin eval genre`.
fn command(words: impl Iterator<Item = String>) -> String {
    let mut command = <Cli as clap::CommandFactory>::command();
    let mut name = String::from("voisin");
    // Below it, what all commands take stands beside what each takes.
    command.build();
    let mut words = words;
    // Clap's error does not name the command at which it stopped, so the words are followed again.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_other_programs_lead_to_what_is_here() {
        let mut commands = <Cli as clap::CommandFactory>::command();
        commands.build();
        let is_verb = |word: &str| {
            commands
                .get_subcommands()
                .any(|verb| verb.get_name_and_visible_aliases().contains(&word))
        };
        for (words, here) in OTHER_COMMANDS {
            for part in here.split(", ") {
                let part = part.trim_start_matches("or ");
                let first = part.split(' ').next();
                assert!(part == "--version" || first.is_some_and(is_verb), "{here}");
            }
            assert!(!words.iter().any(|&word| is_verb(word)), "{words:?}");
        }
        let options = commands
            .get_subcommands()
            .flat_map(clap::Command::get_arguments);
        let options: Vec<&str> = options.filter_map(clap::Arg::get_long).collect();
        for (words, option, _) in OTHER_OPTIONS {
            assert!(options.contains(&option), "{words:?}: {option}");
        }
    }
}
