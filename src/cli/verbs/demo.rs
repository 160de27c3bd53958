//! `voisin demo`: the main commands on the music that comes with voisin, with an explanation of each step.

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

/// Default folder of the demo's library.
const FOLDER: &str = "voisin-demo";
/// Number of voters that are shown.
const SHOWN_VOTERS: usize = 5;
/// Folders of labelled music.
const LABELLED: [&str; 2] = ["library", "songs"];
/// Folder of a genre without labels, named like it.
const UNNAMED: &str = "punk";
/// The track whose neighbours are shown.
const SEED: &str = "library/metal/muldjord-chaos-god.mp3";

pub(crate) fn run(context: &Context, args: &DemoArgs) -> anyhow::Result<Ending> {
    let data = find_data(args.data.as_deref())?;
    // Beside the user's library, so that it can be used afterwards.
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
    print_text(&format!(
        "voisin analyses {} of free music in eight styles, and {} rendered pieces of punk without a label\n(authors and licences: {}).",
        count(library.len() as u64, "excerpt"),
        unnamed.len(),
        data.join("ATTRIBUTION.md").display()
    ))?;
    library.extend(unnamed.iter().cloned());
    let mut engine = Engine::open(&context.library_dir(), OpenMode::Create)?;
    // Before anything is added, as the demo's results would otherwise be of other music.
    refuse_other_tracks(&engine, &data)?;
    let run = AddRun {
        files: &library,
        ..AddRun::default()
    };
    let ending = add_files(context, &mut engine, run, &[], ReportFormat::Table)?;
    // Later steps need all of the demo's tracks.
    if ending != Ending::Fine {
        return Ok(ending);
    }

    print_text(
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
        &SimilarAnswer::new(&engine, found, standing)?,
        &FactColumns::new([]),
        &output,
    )?;

    print_text(
        "\n2. Which genre is a track that is not in the library? Its labelled neighbours vote:",
    )?;
    let options = ClassifyOptions::default();
    // Opened once for all queries.
    let labelled = Labelled::open(&mut engine, &options, |_| ())?.map_err(GenreError::TooFew)?;
    let mut unanswered = false;
    for (i, file) in held_out.iter().enumerate() {
        if i > 0 {
            print_text("")?;
        }
        let seeds = seeds(context, &engine, &[file.path.clone().into_os_string()])?;
        for mut answer in labelled.classify(&mut engine, seeds)? {
            answer.keep_voters(SHOWN_VOTERS);
            unanswered |= answer.genre().is_none();
            answers::print_one(&answer)?;
        }
    }

    print_text("\n3. How close are the genres to one another? For each, the nearest others:")?;
    let kinship = engine
        .genres()
        .kinship(&LabelSource::Tags, &KinshipOptions::default())?;
    print_kinship(&kinship)?;

    print_text(
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
    print_text("\nThe demo's library stays. Browse and play it:")?;
    print_text(&format!("  voisin --library {folder:?} serve --open"))?;
    print_text(&format!(
        "  voisin --library {folder:?} map -o demo-map.html"
    ))?;

    print_text("\nNow on your own music:")?;
    for (command, what) in [
        (
            "voisin add ~/Music",
            "analyse a folder; run it again after changes",
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
        print_text(&format!("  {command:<42} {what}"))?;
    }
    Ok(if unanswered {
        Ending::Partial
    } else {
        Ending::Fine
    })
}

/// Prints the distances of the genre without labels to the others. All of the demo's genres are named by their folders.
///
/// - `labelled`: the others, in the spelling of their labels
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
    // Distances are between folders; they are printed with the spelling of the labels.
    for kin in &kinship.of(&genre)?.nearest {
        let name = &labelled.of(&kin.genre)?.genre;
        table.row([name.to_string(), format!("{:.2}", kin.distance)]);
    }
    table.indented(2).print()
}

/// Refuses a library with other tracks than the demo's.
fn refuse_other_tracks(engine: &Engine, data: &Path) -> anyhow::Result<()> {
    // The library stores absolute paths.
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

fn print_text(text: &str) -> anyhow::Result<()> {
    render::print_line(&render::terminal_safe(text))
}

/// The demo's music: the folder given, else below the current folder, beside the program, or where it was built.
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

/// The first of these folders that has the demo's music. The last one, on the machine that built the program, is left out of
/// the error message.
fn music_in(places: &[PathBuf]) -> anyhow::Result<PathBuf> {
    if let Some(place) = places.iter().find(|place| place.join("library").is_dir()) {
        return Ok(place.clone());
    }
    let (_, named) = places.split_last().context("folders to search")?;
    let named: Vec<String> = named
        .iter()
        .map(|place| place.display().to_string())
        .collect();
    bail!(
        "the demo's music was not found (searched {}): name the folder data/demo of voisin's source with --data",
        named.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_music_is_reported_with_the_folders_of_this_machine() {
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
