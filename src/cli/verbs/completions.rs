//! `voisin completions`: a script for a shell, generated from clap's arguments; and the names in the library, which such a
//! script requests.

use std::collections::BTreeSet;

use clap::Command;
use clap_complete::Shell;

use crate::cli::args::{LibraryNames, NamesArgs};
use crate::cli::context::Context;
use crate::cli::{Ending, render};
use voisin_base::text::fold;
use voisin_encoder::{models, models_dir};
use voisin_engine::{Engine, PredictedTags};
use voisin_library::{NameOf, OpenMode, SortBy, licence_id};

/// Most names to complete; more would not be useful.
const MOST: usize = 500;

/// Completes names for options and arguments that take some, else calls the generated script above it.
const BASH: &str = r#"
_voisin_or_names() {
    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" what= name
    # bash takes = and : for words.
    if [[ "$word" == = || "$word" == : ]]; then
        before="${before}${word}"; word=
    elif [[ "$before" == = || "$before" == : ]]; then
        before="${COMP_WORDS[COMP_CWORD-2]}${before}"
    fi
    case "$before" in
        --genre|--genre=|--exclude-genre|--exclude-genre=|--join|--join=|genres) what=genres ;;
        --artist|--artist=|--exclude-artist|--exclude-artist=|artists|artist:) what=artists ;;
        --composer|--composer=|composer:) what=composers ;;
        album:|albums) what=albums ;;
        --model|--model=|--vectors-of|--vectors-of=) what=models ;;
        check) [[ "${COMP_WORDS[1]}" == model ]] && what=models ;;
        id:) what=ids ;;
        --tag|--tag=|--not-tag|--not-tag=) what=words ;;
        --sort|--sort=) what=orders; [[ "${COMP_WORDS[1]}" == similar ]] && what=scales ;;
        --scale|--scale=) what=scales ;;
        --licence|--licence=) what=licences ;;
        # Nothing instead of files, which are bash's default.
        --cluster|--cluster=)
            COMPREPLY=(); compopt +o bashdefault +o default 2>/dev/null; return ;;
        *) case "${COMP_WORDS[1]} $before" in
            "model show") what=models ;;
           esac
           [[ "${COMP_WORDS[1]}" == find && "$before" != --* ]] && what=words
           [[ "${COMP_WORDS[*]:1:2}" == "labels set" && COMP_CWORD -gt 3 ]] && what=genres ;;
    esac
    if [[ -z "$what" || "$word" == -* ]]; then
        _voisin "$@"
        return
    fi
    COMPREPLY=()
    while IFS= read -r name; do
        COMPREPLY+=("$(printf '%q' "$name")")
    done < <(voisin library-names "$what" "${word//[\\\"\']/}" 2>/dev/null)
}
complete -F _voisin_or_names -o bashdefault -o default voisin
"#;

const ZSH: &str = r#"
_voisin_names() {
    local -a names
    names=("${(@f)$(voisin library-names $1 2>/dev/null)}")
    compadd -M 'm:{a-zA-Z}={A-Za-z}' -a names
}
_voisin_genres() { _voisin_names genres }
_voisin_artists() { _voisin_names artists }
_voisin_composers() { _voisin_names composers }
_voisin_words() { _voisin_names words }
_voisin_makers() {
    if (( ${words[(I)albums]} )); then _voisin_names albums; else _voisin_names artists; fi
}
_voisin_models() { _voisin_names models }
_voisin_scales() { _voisin_names scales }
_voisin_orders() { _voisin_names orders }
_voisin_licences() { _voisin_names licences }
_voisin_tracks() {
    case "$PREFIX" in
        artist:*) compset -P 'artist:'; _voisin_names artists ;;
        composer:*) compset -P 'composer:'; _voisin_names composers ;;
        album:*) compset -P 'album:'; _voisin_names albums ;;
        id:*) compset -P 'id:'; _voisin_names ids ;;
        *) _files ;;
    esac
}
"#;

const FISH: &str = r#"
complete -c voisin -l genre -x -a '(voisin library-names genres 2>/dev/null)'
complete -c voisin -l exclude-genre -x -a '(voisin library-names genres 2>/dev/null)'
complete -c voisin -l join -x -a '(voisin library-names genres 2>/dev/null)'
complete -c voisin -l artist -x -a '(voisin library-names artists 2>/dev/null)'
complete -c voisin -l exclude-artist -x -a '(voisin library-names artists 2>/dev/null)'
complete -c voisin -l composer -x -a '(voisin library-names composers 2>/dev/null)'
complete -c voisin -l tag -x -a '(voisin library-names words 2>/dev/null)'
complete -c voisin -l not-tag -x -a '(voisin library-names words 2>/dev/null)'
complete -c voisin -n '__fish_seen_subcommand_from find' -f -a '(voisin library-names words 2>/dev/null)'
complete -c voisin -n '__fish_seen_subcommand_from genres' -f -a '(voisin library-names genres 2>/dev/null)'
complete -c voisin -n '__fish_seen_subcommand_from artists' -f -a '(voisin library-names artists 2>/dev/null)'
complete -c voisin -n '__fish_seen_subcommand_from albums' -f -a '(voisin library-names albums 2>/dev/null)'
complete -c voisin -l model -r -a '(voisin library-names models 2>/dev/null)'
complete -c voisin -n '__fish_seen_subcommand_from model; and __fish_seen_subcommand_from show check' -f -a '(voisin library-names models 2>/dev/null)'
function __voisin_tracks
    switch (string replace -r '^--[a-z]+=' '' -- (commandline -ct))
        case 'id:*'
            printf 'id:%s\n' (voisin library-names ids 2>/dev/null)
        case 'artist:*'
            printf 'artist:%s\n' (voisin library-names artists 2>/dev/null)
        case 'composer:*'
            printf 'composer:%s\n' (voisin library-names composers 2>/dev/null)
        case 'album:*'
            printf 'album:%s\n' (voisin library-names albums 2>/dev/null)
    end
end
complete -c voisin -n 'string match -qr "^(id|artist|composer|album):" -- (commandline -ct)' -f -a '(__voisin_tracks)'
complete -c voisin -l seed -r -a '(__voisin_tracks)'
complete -c voisin -l unlike -r -a '(__voisin_tracks)'
complete -c voisin -l via -r -a '(__voisin_tracks)'
"#;

pub(crate) fn run(command: &Command, shell: Shell) -> anyhow::Result<Ending> {
    // Without hidden commands, which the generators would offer.
    let mut offered = Command::new("voisin")
        .args(command.get_arguments())
        .subcommands(command.get_subcommands().filter(|verb| !verb.is_hide_set()));
    // Into memory first, since clap's generators panic if standard output is closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut offered, "voisin", &mut script);
    let script = String::from_utf8(script)?;
    let script = match shell {
        Shell::Bash => script + BASH,
        Shell::Fish => script + FISH,
        Shell::Zsh => {
            let (head, rest) = script.split_once('\n').unwrap_or((&script, ""));
            let rest: String = rest.lines().map(|line| with_names(line) + "\n").collect();
            // The first line, `#compdef`, must stay the first.
            format!("{head}\n{ZSH}\n{rest}")
        }
        _ => script,
    };
    render::print(script)?;
    Ok(Ending::Fine)
}

/// A line of zsh's script, with the function that completes an option or an argument, and with options after the first of
/// several arguments.
fn with_names(line: &str) -> String {
    // Zsh splits texts at colons.
    let line = line
        // `*::` would hide options after the first argument.
        .replacen("'*::", "'*:", 1)
        .replace(":WORD[:PERCENT]:", ":WORD:");
    let takes = |what: &[&str]| what.iter().any(|what| line.contains(what));
    let completer = if takes(&[":GENRE:", ":GENRE,GENRE:", ":genre -- "]) {
        ":_voisin_genres"
    } else if takes(&[":ARTIST:"]) {
        ":_voisin_artists"
    } else if takes(&[":name -- Only those near to this one"]) {
        ":_voisin_makers"
    } else if takes(&[":MODEL:", ":model -- ", ":name -- A model'"]) {
        ":_voisin_models"
    } else if takes(&[":NAME=VALUES:", ":SORT:"]) {
        ":_voisin_scales"
    } else if takes(&[":FIELD:"]) {
        ":_voisin_orders"
    } else if takes(&[":LICENCE:"]) {
        ":_voisin_licences"
    } else if takes(&["--cluster="]) {
        // Nothing, not even names of files.
        ": "
    } else if takes(&[":COMPOSER:"]) {
        ":_voisin_composers"
    } else if takes(&[":WORD:", ":query -- Words for the sound"]) {
        ":_voisin_words"
    } else if takes(&[
        ":TRACK:",
        ":seeds -- ",
        ":tracks -- ",
        "':from -- ",
        "':to -- ",
    ]) {
        ":_voisin_tracks"
    } else {
        return line;
    };
    line.replace(":_default", completer)
}

/// Prints names in the library that begin with the typed text, without case and accents, else those that contain it, one a
/// line.
pub(crate) fn names(context: &Context, args: &NamesArgs) -> anyhow::Result<Ending> {
    let names = match args.what {
        LibraryNames::Models => models(models_dir().as_deref())
            .into_iter()
            .filter_map(|model| Some(model.ok()?.manifest.name.clone()))
            .collect(),
        what => names_in_library(context, what)?,
    };
    let typed = fold(&args.typed);
    // A name with a line break would become two completions that do not exist.
    let names = || names.iter().filter(|name| !name.contains(char::is_control));
    let begin: Vec<&String> = names()
        .filter(|name| fold(name).starts_with(&typed))
        .take(MOST)
        .collect();
    // As a fallback words inside a name: "wonder" completes to Stevie Wonder.
    let found = if begin.is_empty() {
        names()
            .filter(|name| fold(name).contains(&typed))
            .take(MOST)
            .collect()
    } else {
        begin
    };
    for name in found {
        render::print_line(name)?;
    }
    Ok(Ending::Fine)
}

fn names_in_library(context: &Context, what: LibraryNames) -> anyhow::Result<BTreeSet<String>> {
    // Read-only and without an index, as a completion must be fast and change nothing.
    let engine = Engine::open(&context.library_dir(), OpenMode::ReadOnly)?;
    let library = engine.library();
    Ok(match what {
        LibraryNames::Models => BTreeSet::new(),
        LibraryNames::Scales | LibraryNames::Orders => {
            let scales = library.scales().scale_names()?;
            let orders = SortBy::ALL.iter().filter(|_| what == LibraryNames::Orders);
            let orders = orders.map(|(name, _)| (*name).to_owned());
            let scales = scales.keys().map(ToString::to_string);
            scales.chain(orders).collect()
        }
        LibraryNames::Licences => {
            let licences = library.lookup().licences()?;
            licences.iter().map(|text| licence_id(text)).collect()
        }
        LibraryNames::Genres => engine.genres().genre_names()?.into_iter().collect(),
        LibraryNames::Artists => library
            .lookup()
            .names(NameOf::Artist)?
            .iter()
            .cloned()
            .collect(),
        LibraryNames::Composers => library
            .lookup()
            .names(NameOf::Composer)?
            .iter()
            .cloned()
            .collect(),
        LibraryNames::Albums => library
            .lookup()
            .names(NameOf::Album)?
            .iter()
            .cloned()
            .collect(),
        LibraryNames::Words => {
            let tags = engine.words().predicted_tags_if_any()?;
            tags.iter()
                .flat_map(PredictedTags::words)
                .map(|(word, _)| word.to_owned())
                .collect()
        }
        LibraryNames::Ids => {
            let mut ids = Vec::new();
            library.for_each_track(|track| {
                ids.push(track.id.to_string());
                Ok(())
            })?;
            ids.into_iter().collect()
        }
    })
}
