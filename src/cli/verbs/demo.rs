//! `voisin demo`: the main job on the music that comes with voisin, with a sentence before each step.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::cli::Ending;
use crate::cli::add_files::add_files;
use crate::cli::args::{DemoArgs, ListFormat, ListOutput, ReportFormat};
use crate::cli::context::Context;
use crate::cli::render::answers;
use crate::cli::render::kinship::print_kinship;
use crate::cli::render::neighbours::print_neighbours;
use crate::cli::render::track::FactColumns;
use crate::cli::render::{self, Align, Table, count};
use crate::cli::seeds::seeds;
use voisin_audio::is_audio_candidate;
use voisin_engine::{AddRun, ClassifyOptions, Engine, LabelSource, Labelled, SimilarOptions};
use voisin_genre::{GenreError, Kinship, KinshipOptions};
use voisin_library::{OpenMode, scan, stored_path};
use voisin_questions::SimilarAnswer;

/// The demo's library where none is named.
const FOLDER: &str = "voisin-demo";
/// Labelled neighbours that vote, and how many of them are shown.
const VOTERS: usize = 15;
const SHOWN_VOTERS: usize = 5;
/// Labelled music.
const LABELLED: [&str; 2] = ["library", "songs"];
/// Music of a genre that no label names, in a folder of its name.
const UNNAMED: &str = "punk";
/// The track whose neighbours are shown.
const SEED: &str = "library/metal/muldjord-chaos-god.mp3";

pub(crate) fn run(context: &Context, args: &DemoArgs) -> anyhow::Result<Ending> {
    let data = find_data(args.data.as_deref())?;
    // Beside the library, so that it can be looked at afterwards.
    let beside;
    let context = if context.has_library_option() {
        context
    } else {
        let folder = context.library_dir().with_file_name(FOLDER);
        beside = context.with_library(&folder)?;
        &beside
    };

    let files_of = |folder: &str| scan::scan(&[data.join(folder)], &is_audio_candidate).files;
    let mut library: Vec<_> = LABELLED.into_iter().flat_map(files_of).collect();
    let unnamed = files_of(UNNAMED);
    let held_out = files_of("held-out");
    if library.is_empty() || unnamed.is_empty() || held_out.is_empty() {
        bail!(
            "no demo music in {}: expected the folders {}, {UNNAMED} and held-out",
            data.display(),
            LABELLED.join(", ")
        );
    }
    say(&format!(
        "voisin listens to {} of free music in eight styles, and to {} rendered pieces of punk without a label\n(authors and licences: {}).",
        count(library.len() as u64, "excerpt"),
        unnamed.len(),
        data.join("ATTRIBUTION.md").display()
    ))?;
    library.extend(unnamed.iter().cloned());
    let mut engine = Engine::open(&context.library_dir(), OpenMode::Create)?;
    // Before anything is added: the demo's steps would otherwise tell of somebody's own library.
    refuse_other_tracks(&engine, &data)?;
    let run = AddRun {
        files: &library,
        ..AddRun::default()
    };
    let ending = add_files(context, &mut engine, run, &[], ReportFormat::Table)?;
    // Later steps count on all of the demo's tracks.
    if ending != Ending::Fine {
        return Ok(ending);
    }

    say(
        "\n1. What sounds like \"Chaos God\" by Muldjord, a death metal track? The nearest of the library:",
    )?;
    let seed = OsString::from(data.join(SEED));
    let seed = seeds(context, &engine, &[seed])?;
    let options = SimilarOptions {
        limit: 5,
        ..SimilarOptions::default()
    };
    let found = engine.similar(&seed, &options)?;
    let output = ListOutput::new(ListFormat::Table);
    let standing = engine.standing(&seed, &options)?;
    print_neighbours(
        &seed,
        &SimilarAnswer::new(&engine, found, standing, None)?,
        &FactColumns::new([]),
        &output,
    )?;

    say("\n2. Which genre is a track that is not in the library? Its labelled neighbours vote:")?;
    let options = ClassifyOptions {
        neighbours: Some(VOTERS),
        ..ClassifyOptions::default()
    };
    // Opened once for all questions: the labels are those of the library as it is now.
    let labelled = Labelled::open(&mut engine, &options, |_| ())?.map_err(GenreError::TooFew)?;
    let mut unanswered = false;
    for (i, file) in held_out.iter().enumerate() {
        if i > 0 {
            say("")?;
        }
        let seeds = seeds(context, &engine, &[file.path.clone().into_os_string()])?;
        for mut answer in labelled.classify(&mut engine, seeds)? {
            answer.keep_voters(SHOWN_VOTERS);
            unanswered |= answer.genre().is_none();
            answers::print_one(&answer)?;
        }
    }

    say("\n3. How close are the genres to one another? For each, the nearest others:")?;
    let kinship = engine
        .genres()
        .kinship(&LabelSource::Tags, &KinshipOptions::default())?;
    print_kinship(&kinship)?;

    say(
        "\n4. Where does punk land, which no label names? The answer for each of its pieces, then how far it lies\nfrom the genres:",
    )?;
    let files: Vec<OsString> = unnamed
        .iter()
        .map(|file| file.path.clone().into_os_string())
        .collect();
    let punk = seeds(context, &engine, &files)?;
    answers::print(&labelled.classify(&mut engine, punk)?, true, &output)?;
    print_distances(&engine, &kinship)?;

    let folder = context.library_dir();
    let folder = folder.display().to_string();
    say("\nThe demo's library stays. Look at it and listen to it:")?;
    say(&format!("  voisin --library {folder:?} serve --open"))?;
    say(&format!(
        "  voisin --library {folder:?} map -o demo-map.html"
    ))?;

    say("\nNow on your own music:")?;
    for (command, what) in [
        (
            "voisin add ~/Music",
            "listen to a folder; run it again after changes",
        ),
        (
            "voisin similar ~/Music/some/track.flac",
            "what sounds like this?",
        ),
        (
            "voisin classify some/new/track.mp3",
            "which genre is this, and why?",
        ),
        ("voisin genres", "how are my genres related?"),
        ("voisin --help", "everything else"),
    ] {
        say(&format!("  {command:<42} {what}"))?;
    }
    Ok(if unanswered {
        Ending::Partial
    } else {
        Ending::Fine
    })
}

/// How far the genre without a label lies from the others. Its folder names it, as folders name all of the demo's genres.
///
/// - `labelled`: the others, as their labels spell them
fn print_distances(engine: &Engine, labelled: &Kinship) -> anyhow::Result<()> {
    let kinship = engine
        .genres()
        .kinship(&LabelSource::Folder, &KinshipOptions::default())?;
    let genre = engine
        .genres()
        .taxonomy()?
        .genre(UNNAMED)
        .context("a genre's name")?;
    let mut table = Table::new(&[("Punk to", Align::Left), ("distance", Align::Right)]);
    // The distances are between the folders' names; people read the spelling of the labels.
    for kin in &kinship.of(&genre)?.nearest {
        let name = &labelled.of(&kin.genre)?.genre;
        table.row([name.to_string(), format!("{:.2}", kin.distance)]);
    }
    table.indented(2).print()
}

/// Nobody's own library is filled with demo music.
fn refuse_other_tracks(engine: &Engine, data: &Path) -> anyhow::Result<()> {
    // Compared as the library stores paths, which are absolute.
    let music = stored_path(data);
    let mut others = 0;
    engine.library().for_each_track(|track| {
        others += u64::from(!track.path.starts_with(&music));
        Ok(())
    })?;
    if others > 0 {
        bail!(
            "the library in {} holds {} of your own: expected a new folder for the demo, or no --library at all",
            engine.library().dir().display(),
            count(others, "track")
        );
    }
    Ok(())
}

fn say(text: &str) -> anyhow::Result<()> {
    render::print_line(&render::terminal_safe(text))
}

/// The demo's music: where it was said to be, below the current folder, beside the program, or where it was built.
fn find_data(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let mut places = vec![PathBuf::from("data/demo")];
    if let Some(folder) = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(Path::to_owned))
    {
        places.push(folder.join("data/demo"));
        places.push(folder.join("../share/voisin/demo"));
    }
    places.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo"));
    music_in(&places)
}

/// The first of these folders that has the demo's music. The last one, which is of the machine that built the program, is
/// not named to those who cannot look there.
fn music_in(places: &[PathBuf]) -> anyhow::Result<PathBuf> {
    if let Some(place) = places.iter().find(|place| place.join("library").is_dir()) {
        return Ok(place.clone());
    }
    let (_, named) = places.split_last().context("places to look in")?;
    let named: Vec<String> = named
        .iter()
        .map(|place| place.display().to_string())
        .collect();
    bail!(
        "the demo's music was not found (looked for {}): it is the folder data/demo of voisin's source, which --data names",
        named.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn music_that_is_missing_is_told_with_the_places_of_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        let places = ["here", "beside", "built"].map(|name| folder.path().join(name));
        let message = music_in(&places).unwrap_err().to_string();
        assert!(
            message.contains("here") && message.contains("beside") && !message.contains("built"),
            "{message}"
        );
        assert!(
            message.contains("--data") && message.contains("source"),
            "{message}"
        );
        std::fs::create_dir_all(places[1].join("library")).unwrap();
        assert_eq!(music_in(&places).unwrap(), places[1]);
    }
}
