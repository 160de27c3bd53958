//! `voisin demo`: one answer of each task on the music that comes with voisin, and where punk lies, which no label names.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::classify::classified;
use crate::cli::Ending;
use crate::cli::add_files::add_files;
use crate::cli::args::{DemoArgs, ListFormat, Output, ReportFormat};
use crate::cli::context::Context;
use crate::cli::render::neighbours::print_neighbours;
use crate::cli::render::{answers, count, print_line};
use crate::cli::seeds::seeds;
use voisin::questions::answers::similar::SimilarJson;
use voisin::{AddOptions, AddRun, ClassifyOptions, Engine, LabelSource, SimilarOptions};
use voisin_audio::is_audio_candidate;
use voisin_genre::kinship;
use voisin_library::{OpenMode, scan, stored_path};

const FOLDER: &str = "voisin-demo";
/// Folders of labelled music, and of a genre without labels.
const MUSIC: [&str; 3] = ["library", "songs", "punk"];
const SEED: &str = "library/metal/muldjord-chaos-god.mp3";
const STRANGER: &str = "held-out/sectoid-war-of-freedom.mp3";

pub(crate) fn run(context: &Context, _: &DemoArgs) -> anyhow::Result<Ending> {
    let data = find_data()?;
    let beside;
    let context = if context.has_library_option() {
        context
    } else {
        beside = context.with_library(&context.library_dir().with_file_name(FOLDER))?;
        &beside
    };
    let files_of = |folder: &str| scan::scan(&[data.join(folder)], &is_audio_candidate).files;
    let files: Vec<_> = MUSIC.into_iter().flat_map(files_of).collect();
    let mut engine = Engine::open(&context.library_dir(), OpenMode::Create)?;
    refuse_other_tracks(&engine, &data)?;
    let run = AddRun {
        files: &files,
        // One file after the other, so that a track has the same number everywhere.
        options: AddOptions {
            threads: 1,
            ..AddOptions::default()
        },
        ..AddRun::default()
    };
    let ending = add_files(context, &mut engine, run, ReportFormat::Table)?;
    if ending != Ending::Fine {
        return Ok(ending);
    }
    let table = Output::of(ListFormat::Table);
    print_line("\nWhat sounds like \"Chaos God\" by Muldjord, a death metal track?")?;
    let seed = seeds(context, &engine, &[OsString::from(data.join(SEED))])?;
    let options = SimilarOptions {
        limit: 5,
        ..SimilarOptions::default()
    };
    let found = engine.similar(&seed, &options)?;
    let standing = engine.standing(&seed)?;
    let answer = SimilarJson::new(&engine, &seed, &found, standing)?;
    print_neighbours(&answer, Vec::new(), &table)?;

    print_line("\nWhich genre is a track that is not in the library?")?;
    let stranger = Some(vec![OsString::from(data.join(STRANGER))]);
    let options = ClassifyOptions::default();
    let found = classified(context, Some(&mut engine), &options, stranger)?;
    answers::print(&found.answers, false, &table)?;

    print_line("\nHow far is punk, which no label names, from the labelled genres (0 to 1)?")?;
    let kinship = kinship(&engine.labelled_tracks(&LabelSource::Folder)?.set())?;
    let punk = engine
        .taxonomy()?
        .genre("punk")
        .context("punk is no genre")?;
    for kin in &kinship.of(&punk)?.nearest {
        let genre = kin.genre.to_string();
        print_line(&format!("  {genre:<12} {:.2}", kin.distance))?;
    }
    print_line(&format!(
        "\nBrowse and play the demo's library: voisin --library {:?} serve --open\nNow on your own music: voisin add ~/Music",
        context.library_dir().display().to_string()
    ))?;
    Ok(Ending::Fine)
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
    if others == 0 {
        return Ok(());
    }
    bail!(
        "the library in {} holds {} of your own: expected a new folder for the demo, or no --library at all",
        engine.library().dir().display(),
        count(others, "track")
    );
}

/// The demo's music: below the current folder, beside the program, or where it was built.
fn find_data() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().unwrap_or_default();
    let beside = program.parent().unwrap_or(Path::new(""));
    let places = [
        PathBuf::from("data/demo"),
        beside.join("data/demo"),
        beside.join("../share/voisin/demo"),
        Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo"),
    ];
    let mut places = places.into_iter();
    places
        .find(|place| place.join("library").is_dir())
        .context("the demo's music was not found: run this in the folder of voisin's source")
}
