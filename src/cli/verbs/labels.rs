//! `voisin labels`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::suspects;
use crate::cli::Ending;
use crate::cli::args::{LabelsArgs, LabelsCommand, ReportFormat};
use crate::cli::context::Context;
use crate::cli::render::{self, Align, Table, count};
use crate::cli::seeds::{expand_names, seeds_to_change};
use voisin::questions::answers::labels::{GenreCountJson, LabelSourceJson};
use voisin::{Engine, EngineError, Lack, track_number};
use voisin_genre::Genre;

pub(crate) fn run(context: &Context, args: &LabelsArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    match &args.command {
        None => source(context, &mut engine, args),
        Some(LabelsCommand::Set(args)) => {
            if engine.taxonomy()?.parse(&[&args.genre]).is_empty() {
                anyhow::bail!("expected the name of a genre, found \"{}\"", args.genre);
            }
            // Without a genre the last track would be taken for one.
            if is_track(&args.genre) {
                anyhow::bail!(
                    "expected a genre after the tracks, found \"{}\", which names a track",
                    args.genre
                );
            }
            by_hand(context, &mut engine, &args.tracks, Some(args.genre.trim()))
        }
        Some(LabelsCommand::Unset(args)) => by_hand(context, &mut engine, &args.tracks, None),
        Some(LabelsCommand::Suspects(args)) => suspects::run(context, args),
    }
}

/// Whether the argument for a genre is a track's id or a file.
fn is_track(genre: &str) -> bool {
    track_number(genre).is_some() || Path::new(genre).is_file()
}

/// Sets the source, if one was named, and shows it.
fn source(context: &Context, engine: &mut Engine, args: &LabelsArgs) -> anyhow::Result<Ending> {
    let source = args.source.clone().unwrap_or_else(|| engine.label_source());
    // Read from the new source before it is set, so that a table that cannot be read changes
    // nothing.
    let (labels, unmatched) = match engine.labelled_tracks(&source) {
        Ok(tracks) => (tracks.labels, tracks.unmatched),
        // The source is shown even without labels.
        Err(EngineError::Lacks(Lack::Labels, _)) => (Vec::new(), 0),
        Err(error) => return Err(error.into()),
    };
    if args.source.is_some() {
        engine.set_label_source(&source)?;
    }
    let json = LabelSourceJson {
        source: engine.label_source().to_string(),
        tracks: engine.library().status()?.tracks,
        labelled: labels.iter().filter(|genres| !genres.is_empty()).count() as u64,
        by_hand: engine.library().tracks_labelled_by_hand()?,
        unmatched,
        genres: sizes(&labels),
    };
    if unmatched > 0 {
        let lines = count(unmatched as u64, "line");
        context.console.warn(&format!(
            "{lines} of the label file named no track of this library"
        ));
    }
    // A head that cannot be read is reported by the commands that need it.
    if let Ok(Some(head)) = engine.genre_head()
        && head.source() != engine.label_source()
    {
        context.console.note(&format!(
            "the trained head has labels from {}: \"voisin train\" trains one on these",
            head.source()
        ));
    }
    match args.format {
        ReportFormat::Json => render::print_json(&json)?,
        ReportFormat::Table => print(&json)?,
    }
    Ok(Ending::Fine)
}

/// The genres with their tracks, the largest first.
fn sizes(labels: &[Vec<Genre>]) -> Vec<GenreCountJson> {
    let mut sizes: BTreeMap<&Genre, u64> = BTreeMap::new();
    for genre in labels.iter().flatten() {
        *sizes.entry(genre).or_default() += 1;
    }
    let counted = |(genre, tracks): (&Genre, u64)| GenreCountJson {
        genre: genre.to_string(),
        tracks,
    };
    let mut genres: Vec<GenreCountJson> = sizes.into_iter().map(counted).collect();
    genres.sort_by_key(|genre| std::cmp::Reverse(genre.tracks));
    genres
}

fn print(json: &LabelSourceJson) -> anyhow::Result<()> {
    let tracks = count(json.tracks, "track");
    let mut text = format!(
        "labels from {}: {} of {tracks} labelled",
        json.source, json.labelled
    );
    if json.by_hand > 0 {
        text += &format!(", {} by hand", count(json.by_hand, "label"));
    }
    render::print_wrapped("", &text)?;
    let mut table = Table::new(&[("genre", Align::Left), ("tracks", Align::Right)]);
    for genre in &json.genres {
        table.row([genre.genre.clone(), genre.tracks.to_string()]);
    }
    table.print()
}

/// Labels tracks by hand, or removes such labels.
fn by_hand(
    context: &Context,
    engine: &mut Engine,
    named: &[OsString],
    genre: Option<&str>,
) -> anyhow::Result<Ending> {
    let mut contents = Vec::new();
    let mut names = Vec::new();
    for seed in seeds_to_change(context, engine, &expand_names(named)?)? {
        let track = seed.track.ok_or_else(|| EngineError::NotInLibrary {
            path: seed.path.clone(),
        })?;
        // By recording, so that a label stays if its file is moved or retagged.
        let track = engine.library().track(track)?;
        names.push(track.display_name());
        contents.push(track.audio.content);
    }
    let changed = engine.library_mut().set_labels(&contents, genre)?;
    let what = match (genre, changed) {
        (Some(genre), 0) => format!("nothing to do: labelled {genre} by hand already"),
        (None, 0) => "nothing to do: no label by hand".to_owned(),
        (Some(genre), n) => match names.as_slice() {
            // Words may have found another track than was meant.
            [name] => render::terminal_safe(&format!("{name}: labelled {genre}")).into_owned(),
            _ => format!("{} labelled {genre}", count(n, "track")),
        },
        (None, n) => format!("{} removed", count(n, "label")),
    };
    render::print_wrapped("", &what)?;
    Ok(Ending::partial_if(changed == 0 && genre.is_none()))
}
