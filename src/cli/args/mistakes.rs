//! Messages of mistakes on the command line, in the style of all other errors: the option, what was expected, what was
//! found, and the help to read.

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Cli;
use crate::cli::remote::PULL;
use voisin_base::text::slips;

/// Commands of other programs, and the commands here that do the same.
const OTHER_COMMANDS: [(&[&str], &str); 28] = [
    (&["search", "query", "lookup"], "find, or similar"),
    (
        &[
            "nearest",
            "closest",
            "neighbours",
            "neighbors",
            "like",
            "knn",
        ],
        "similar",
    ),
    (&["redo", "revert", "rollback"], "undo"),
    (&["tree"], "genres"),
    (&["journey", "walk"], "path"),
    (&["hilfe", "aide"], "--help"),
    (
        &[
            "info", "inspect", "view", "details", "describe", "metadata", "get",
        ],
        "show",
    ),
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
    (&["stats", "stat", "info-library", "summary"], "status"),
    (&["songs", "tracks", "bpm", "tempo", "key", "keys"], "list"),
    (&["mood", "moods", "energy"], "find"),
    (
        &[
            "radio",
            "random",
            "next",
            "recommend",
            "suggest",
            "discover",
            "shuffle",
            "queue",
            "mix",
        ],
        "playlist",
    ),
    (&["m3u", "m3u8", "set", "setlist"], "playlist"),
    (&["move", "mv", "rename"], "relocate"),
    (&["check", "doctor", "fsck"], "verify"),
    (
        &["copy", "cp", "save", "dump", "restore"],
        "backup, or export",
    ),
    (
        &["genre", "predict", "identify", "recognise", "recognize"],
        "classify, or genres",
    ),
    (&["cluster", "group"], "clusters"),
    (&["plot", "graph", "visualise", "visualize", "draw"], "map"),
    (&["version"], "--version"),
    (
        &[
            "web", "server", "daemon", "gui", "ui", "play", "player", "listen", "open", "browse",
            "start",
        ],
        "serve --open",
    ),
];

/// The same for subcommands: of several, the first that the command has.
const OTHER_COMMANDS_BELOW: [(&[&str], &str); 4] = [
    (
        &["delete", "rm", "del", "forget", "drop", "erase", "clear"],
        "remove, unset",
    ),
    (
        &["add", "new", "create", "make", "update", "edit", "keep"],
        "set, import, add",
    ),
    (
        &["info", "view", "get", "describe", "details", "play"],
        "show",
    ),
    (&["ls", "list", "all"], "list"),
];

/// Options of other programs, the option that does the same here, and how it is written. The first that a command has is
/// suggested.
const OTHER_OPTIONS: [(&[&str], &str, &str); 32] = [
    (&["--json"], "format", "--format json"),
    (&["--csv"], "format", "--format csv"),
    (&["--m3u", "--m3u8"], "format", "--format m3u8"),
    (
        &["--order", "--order-by", "--sort-by", "--by"],
        "sort",
        "--sort FIELD",
    ),
    (&["--title"], "regex", "--regex title:WORDS"),
    (
        &["--paths", "--plain", "--files"],
        "format",
        "--format paths",
    ),
    (&["--print0", "--zero"], "null", "--null (-0)"),
    (
        &[
            "-n", "-k", "--k", "--count", "--num", "--number", "--top", "--max",
        ],
        "limit",
        "--limit N (-l N)",
    ),
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
        &["--min-length", "--min-time"],
        "min-duration",
        "--min-duration TIME",
    ),
    (
        &["--max-length", "--max-time"],
        "max-duration",
        "--max-duration TIME",
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
        &["--not-genre", "--no-genre", "--without"],
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
        "--listen ADDRESS",
    ),
    (&["--browser"], "open", "--open"),
    (&["--html"], "title", "-o map.html"),
    (&["--db", "--database"], "library", "--library DIR"),
    (&["--gpu"], "device", "--device cuda"),
    (&["--jobs", "-j"], "threads", "--threads N"),
];

/// The option here that does the same as another program's.
fn option_elsewhere<'a>(word: &str, called: &str) -> Option<&'a str> {
    let same = |(names, option, _): &&(&[&str], &str, &str)| {
        names.contains(&word) && is_option_of(called, option)
    };
    OTHER_OPTIONS.iter().find(same).map(|(_, _, here)| *here)
}

/// The message of clap's error, in the style of the verbs' errors.
pub(crate) fn message(error: &Error) -> String {
    // Clap keeps the parts of an error by kind; which kinds an error has depends on its own kind.
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(several)) => several.join(", "),
        Some(ContextValue::StyledStr(text)) => text.to_string(),
        _ => String::new(),
    };
    // "--limit <N>" becomes "--limit"; "<TRACK>..." stays.
    let option = |kind| text(kind).split(' ').next().unwrap_or_default().to_owned();
    let found = text(ContextKind::InvalidValue);
    let meant = |kind, word: &str| {
        let alike = match error.get(kind) {
            Some(ContextValue::Strings(several)) => several.clone(),
            _ => vec![text(kind)],
        };
        // Clap also finds words that have a few letters in common, and has the most similar one last.
        let alike = alike.iter().rev().map(String::as_str);
        let alike: Vec<&str> = alike.filter(|name| is_near(word, name)).collect();
        let alike = alike.join(", ");
        if alike.is_empty() {
            alike
        } else {
            format!(". Did you mean {alike}?")
        }
    };
    let argument = option(ContextKind::InvalidArg);
    // Not `args`, which panics at a file's name that is not UTF-8.
    let words = std::env::args_os().skip(1);
    let words: Vec<String> = words
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let called = command(words.iter().cloned());
    let lead = match error.kind() {
        ErrorKind::ValueValidation => {
            // Our own parsers return complete messages; other reasons are those of the standard
            // library.
            let reason = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            // The wording of clap and the standard library for a number out of bounds or malformed.
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
            meant(ContextKind::SuggestedValue, &found)
        ),
        // Before the general case, which would only report that there is no such option.
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
            let suggested = option_elsewhere(&argument, &called).map_or_else(
                || meant(ContextKind::SuggestedArg, &argument),
                |here| format!(". Did you mean {here}?"),
            );
            format!("there is no option {argument} here{suggested}")
        }
        ErrorKind::UnknownArgument => format!("\"{argument}\" is one argument too many"),
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand);
            let commands = commands_meant(&word.to_lowercase(), &called);
            let suggested = if commands.is_empty() {
                meant(ContextKind::SuggestedSubcommand, &word)
            } else {
                format!(". Did you mean {}?", commands.join(", "))
            };
            format!("there is no command \"{word}\"{suggested}")
        }
        ErrorKind::MissingSubcommand => "expected a command, found none".to_owned(),
        ErrorKind::MissingRequiredArgument if called == "voisin labels set" => {
            "expected tracks and then a genre, found fewer arguments; \"voisin labels unset TRACK\" removes a genre"
                .to_owned()
        }
        ErrorKind::MissingRequiredArgument => {
            let expected = if called == "voisin classify" {
                "tracks, or --all for every track of the library".to_owned()
            } else {
                text(ContextKind::InvalidArg)
            };
            unmet(&missing(error), &called, &words)
                .unwrap_or_else(|| format!("expected {expected}, found nothing"))
        }
        ErrorKind::ArgumentConflict if text(ContextKind::PriorArg) == text(ContextKind::InvalidArg) => {
            format!("{argument} was given twice")
        }
        // Clap takes a word too many after an argument for a command without a name.
        ErrorKind::ArgumentConflict if argument.is_empty() => {
            format!("expected {} or a command, found more than that", option(ContextKind::PriorArg))
        }
        ErrorKind::ArgumentConflict => {
            format!("{argument} cannot be used together with {}", option(ContextKind::PriorArg))
        }
        // All other kinds: clap's first line without its usage.
        _ => {
            let all = error.render().to_string();
            let first = all.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    };
    let see = if lead.ends_with('?') { " See" } else { "; see" };
    format!("{lead}{see} \"{called} --help\"")
}

/// The arguments that an error reports as missing, as in clap's usage: `--to <TIME>`.
fn missing(error: &Error) -> Vec<String> {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(several)) => several.clone(),
        _ => Vec::new(),
    }
}

/// The first option that requires missing ones, and these.
fn unmet(absent: &[String], called: &str, words: &[String]) -> Option<String> {
    // Clap does not expose what an option requires, so each one is parsed without the others.
    let required = |given: &[String]| {
        let command = <Cli as clap::CommandFactory>::command();
        let words = called.split(' ').map(str::to_owned);
        let parsed = command.try_get_matches_from(words.chain(given.iter().cloned()));
        parsed.err().as_ref().map(missing).unwrap_or_default()
    };
    let always = required(&[]);
    let mut options = (0..words.len()).filter(|&i| words[i].starts_with('-'));
    options.find_map(|i| {
        let mut needed = required(&words[i..=i]);
        // Without its value an option is another mistake.
        if needed.is_empty() && words.get(i + 1).is_some_and(|next| !next.starts_with('-')) {
            needed = required(&words[i..i + 2]);
        }
        let mut names: Vec<&str> = absent
            .iter()
            .filter(|name| needed.contains(name) && !always.contains(name))
            // Of "<--output <FILE>>" and "--format[=<FORMAT>]" the names.
            .filter_map(|name| name.trim_start_matches('<').split([' ', '[', '=']).next())
            .filter(|name| name.starts_with('-'))
            .collect();
        names.sort_unstable();
        (!names.is_empty()).then(|| format!("{} needs {}", words[i], names.join(" and ")))
    })
}

/// The command of this full name, such as `voisin eval genre`.
fn command_called(called: &str) -> Option<clap::Command> {
    let mut command = <Cli as clap::CommandFactory>::command();
    // Building adds the global options to each command's own.
    command.build();
    // The first word is the program itself.
    for name in called.split(' ').skip(1) {
        command = command.find_subcommand(name)?.clone();
    }
    Some(command)
}

/// Whether the command of this full name has an option.
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

/// The subcommands that a word may stand for, the likeliest first: equal but for capitals or a plural, another program's name
/// for them, or misspelt.
fn commands_meant(word: &str, called: &str) -> Vec<String> {
    let Some(command) = command_called(called) else {
        return Vec::new();
    };
    let names: Vec<&str> = command
        .get_subcommands()
        .map(clap::Command::get_name)
        .collect();
    let same = names
        .iter()
        .filter(|name| singular(name) == singular(word))
        // If singular and plural are both commands, the one that was typed.
        .min_by_key(|name| **name != word);
    if let Some(same) = same {
        return vec![(*same).to_owned()];
    }
    let mut known: Vec<(&str, &str)> = names.iter().map(|&name| (name, name)).collect();
    if called == "voisin" {
        for (words, here) in OTHER_COMMANDS {
            known.extend(words.iter().map(|&word| (word, here)));
        }
    } else {
        for (words, here) in OTHER_COMMANDS_BELOW {
            let mut several = here.split(", ");
            let here = match several.find(|name| names.contains(name)) {
                Some(here) => here,
                // Without a subcommand it lists all.
                None if here == "list" && !command.is_subcommand_required_set() => called,
                None => continue,
            };
            known.extend(words.iter().map(|&word| (word, here)));
        }
    }
    let most = most_slips(word);
    let mut near: Vec<(usize, bool, &str)> = known
        .into_iter()
        .map(|(name, here)| (slips(word, name), !is_anagram(word, name), here))
        .filter(|(slips, ..)| *slips <= most)
        .collect();
    let least = near.iter().map(|(slips, ..)| *slips).min();
    near.retain(|(slips, ..)| Some(*slips) == least);
    near.sort_by_key(|(_, is_other, _)| *is_other);
    let mut commands: Vec<String> = Vec::new();
    for (_, _, here) in near {
        if !commands.iter().any(|known| known == here) {
            commands.push(here.to_owned());
        }
    }
    commands.truncate(3);
    commands
}

/// The number of slips with which a word may still be another.
fn most_slips(word: &str) -> usize {
    // With two letters any other two would match.
    match word.chars().count() {
        0..=2 => 0,
        3..=6 => 1,
        _ => 2,
    }
}

/// Whether a word is the beginning of a name, or the name misspelt.
fn is_near(word: &str, name: &str) -> bool {
    let word = word.trim_start_matches('-').to_lowercase();
    let name = name.trim_start_matches('-');
    name.starts_with(&word) || slips(&word, name) <= most_slips(&word)
}

/// Whether two words have the same letters, as where two are transposed.
fn is_anagram(a: &str, b: &str) -> bool {
    let letters = |word: &str| {
        let mut letters: Vec<char> = word.chars().collect();
        letters.sort_unstable();
        letters
    };
    letters(a) == letters(b)
}

/// The full name of the command that these words call: `voisin eval genre`.
fn command(words: impl Iterator<Item = String>) -> String {
    let mut command = <Cli as clap::CommandFactory>::command();
    let mut name = String::from("voisin");
    // Building adds the global options to each command's own.
    command.build();
    let mut words = words;
    // Clap's error does not name the command at which it stopped, so the words are parsed again.
    while let Some(word) = words.next() {
        // A value may be equal to a command's name: `--library demo`.
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
    fn misspelt_words_lead_to_the_commands_meant() {
        for (word, expected) in [
            ("serach", "find, or similar"),
            ("searh", "find, or similar"),
            ("delte", "remove"),
            ("udpate", "add"),
            ("improt", "add"),
            ("qurey", "find, or similar"),
            ("infos", "show"),
            ("dedup", "duplicates"),
            ("describe", "show"),
            ("stat", "status"),
            ("mpa", "map"),
            ("simlar", "similar"),
            ("xyzzy", ""),
            ("redo", "undo"),
            ("tree", "genres"),
            ("closest", "similar"),
            ("random", "playlist"),
        ] {
            assert_eq!(
                commands_meant(word, "voisin").join(", "),
                expected,
                "{word}"
            );
        }
        for (word, name, expected) in [
            ("simil", "similar", true),
            ("--formt", "--format", true),
            ("jso", "json", true),
            ("fetch", "watch", false),
            ("--threshold", "--threads", false),
            ("--top", "--output", false),
        ] {
            assert_eq!(is_near(word, name), expected, "{word}");
        }
        for (word, called, expected) in [
            ("update", "voisin labels", "set"),
            ("ls", "voisin model", "list"),
            ("shwo", "voisin model", "show"),
            ("delete", "voisin model", ""),
        ] {
            assert_eq!(commands_meant(word, called).join(", "), expected, "{word}");
        }
        for (option, called, expected) in [
            (
                "--delete",
                "voisin duplicates",
                "--format paths (nothing is deleted here)",
            ),
            ("--by", "voisin list", "--sort FIELD"),
            ("--min-length", "voisin list", "--min-duration TIME"),
            ("--num", "voisin list", "--limit N (-l N)"),
        ] {
            assert_eq!(option_elsewhere(option, called), Some(expected), "{option}");
        }
    }

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
                assert!(
                    ["--version", "--help"].contains(&part) || first.is_some_and(is_verb),
                    "{here}"
                );
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
