//! `voisin demo`: one answer of each task on the music that comes with voisin, and where punk lies, which no label names.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::cli::Ending;
use crate::cli::add_files::add_files;
use crate::cli::args::{DemoArgs, ListFormat, Output, ReportFormat};
use crate::cli::context::Context;
use crate::cli::render::neighbours::print_neighbours;
use crate::cli::render::{self, answers, count};
use crate::cli::seeds::seeds;
use voisin::questions::SimilarAnswer;
use voisin::{AddRun, ClassifyOptions, Engine, LabelSource, Labelled, SimilarOptions};
use voisin_audio::is_audio_candidate;
use voisin_genre::GenreError;
use voisin_library::{OpenMode, scan, stored_path};

/// Default folder of the demo's library, beside the user's.
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
        ..AddRun::default()
    };
    let ending = add_files(context, &mut engine, run, ReportFormat::Table)?;
    if ending != Ending::Fine {
        return Ok(ending);
    }
    print_text("\nWhat sounds like \"Chaos God\" by Muldjord, a death metal track?")?;
    let seed = seeds(context, &engine, &[OsString::from(data.join(SEED))])?;
    let options = SimilarOptions {
        limit: 5,
        ..SimilarOptions::default()
    };
    let found = engine.similar(&seed, &options)?;
    let standing = engine.standing(&seed)?;
    let answer = SimilarAnswer::new(&engine, found, standing)?;
    let output = Output::of(ListFormat::Table);
    print_neighbours(&seed, &answer, Vec::new(), &output)?;

    print_text("\nWhich genre is a track that is not in the library?")?;
    let stranger = seeds(context, &engine, &[OsString::from(data.join(STRANGER))])?;
    let options = ClassifyOptions::default();
    let labelled = Labelled::open(&mut engine, &options, |_| ())?.map_err(GenreError::TooFew)?;
    for answer in labelled.classify(&mut engine, stranger)? {
        answers::print_one(&answer)?;
    }

    print_text("\nHow far is punk, which no label names, from the labelled genres (0 to 1)?")?;
    let folders = LabelSource::Folder;
    let kinship = engine.kinship(&folders)?;
    let punk = engine.taxonomy()?.genre("punk");
    for kin in punk
        .map(|punk| kinship.of(&punk))
        .transpose()?
        .iter()
        .flat_map(|punk| &punk.nearest)
    {
        print_text(&format!(
            "  {:<12} {:.2}",
            kin.genre.to_string(),
            kin.distance
        ))?;
    }
    print_text(&format!(
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

/// The demo's music: below the current folder, beside the program, or where it was built.
fn find_data() -> anyhow::Result<PathBuf> {
    let beside = std::env::current_exe().unwrap_or_default();
    let beside = beside.parent().unwrap_or(Path::new(""));
    let places = [
        PathBuf::from("data/demo"),
        beside.join("data/demo"),
        beside.join("../share/voisin/demo"),
        Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo"),
    ];
    match places
        .into_iter()
        .find(|place| place.join("library").is_dir())
    {
        Some(place) => Ok(place),
        None => bail!("the demo's music was not found: run this in the folder of voisin's source"),
    }
}
