//! `voisin lab eval genre|retrieval`.
//!
//! For: reading labels from the library, and printing results. Not for: computing them; that is [`voisin_lab::eval`].

mod genre;
mod retrieval;

use std::collections::BTreeMap;

use anyhow::bail;
use ndarray::{Array2, Axis};
use voisin::Engine;
use voisin_genre::{Genre, GenreError, Spellings, Taxonomy};

use crate::cli::Ending;
use crate::cli::args::{EvalCommand, EvalOutput};
use crate::cli::context::Context;
use crate::cli::render::count;
use voisin_lab::document::Document;

pub(crate) fn run(context: &Context, command: &EvalCommand) -> anyhow::Result<Ending> {
    match command {
        EvalCommand::Genre(args) => genre::run(context, args),
        EvalCommand::Retrieval(args) => retrieval::run(context, args),
    }
}

/// The labelled tracks of a library.
struct LabelledSet {
    /// `[tracks, dimension]`, raw
    vectors: Array2<f32>,
    labels: Vec<usize>,
    /// Names of the labels, most common first.
    names: Vec<String>,
    sizes: Vec<usize>,
    artists: Vec<Option<usize>>,
    /// Tracks that were left out: without a genre, or of a genre with too few.
    left_out: usize,
}

impl LabelledSet {
    /// Name and size of each label, with its result.
    fn by_label(&self, found: &[f64]) -> Vec<(String, usize, f64)> {
        let labels = self.names.iter().zip(&self.sizes).zip(found);
        labels
            .map(|((name, size), share)| (name.clone(), *size, *share))
            .collect()
    }

    fn artist_count(&self) -> usize {
        // An unknown artist counts as a separate one, as in the artist filter.
        self.known_artists() + self.artists.iter().filter(|by| by.is_none()).count()
    }

    fn known_artists(&self) -> usize {
        let most = self.artists.iter().flatten().max();
        most.map_or(0, |most| most + 1)
    }

    /// The number of artists, as the end of a phrase.
    fn by_artists(&self) -> String {
        let known = self.known_artists();
        let artists = count(known as u64, "artist");
        match self.artist_count() - known {
            0 => format!(" by {artists}"),
            _ if known == 0 => ", no artist known (figures are at most this)".to_owned(),
            nameless => format!(" by {artists} ({nameless} by unknown artists)"),
        }
    }
}

/// Adds the figures of each genre to a page.
fn by_genre(page: &mut Document, genres: &[(String, usize, f64)], column: &str) {
    let rows = genres
        .iter()
        .map(|(name, size, share)| vec![name.clone(), size.to_string(), format!("{share:.3}")]);
    page.table(&["genre", "tracks", column], rows.collect(), None);
}

/// Keys of genres that are joined, each with the name of its group.
fn joins(
    taxonomy: &Taxonomy,
    known: &[Genre],
    groups: &[String],
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut joined = BTreeMap::new();
    for group in groups {
        let members: Vec<_> = group
            .split(',')
            .flat_map(|name| taxonomy.parse(&[name.trim().to_owned()]))
            .collect();
        if members.len() < 2 {
            bail!("--join {group}: expected two genres or more, separated by commas");
        }
        GenreError::check_known(&members, known)?;
        // In the library's spelling.
        let spelt = |member: &Genre| {
            known
                .iter()
                .find(|known| *known == member)
                .map_or("", Genre::name)
                .to_owned()
        };
        let whole = members.iter().map(spelt).collect::<Vec<_>>().join("/");
        for member in members {
            if joined
                .insert(member.key().to_owned(), whole.clone())
                .is_some()
            {
                bail!("--join names {member} twice");
            }
        }
    }
    Ok(joined)
}

/// Collects vectors, first genres and artists.
fn labelled(engine: &Engine, output: &EvalOutput) -> anyhow::Result<LabelledSet> {
    let tracks = engine.labelled_tracks(&engine.label_source())?;
    let known = Spellings::count(tracks.labels.iter().flatten()).genres();
    let joined = joins(&engine.taxonomy()?, &known, &output.join)?;
    let name = |genres_of_track: &Vec<Genre>| {
        let genre = genres_of_track.first()?;
        let whole = joined.get(genre.key()).cloned();
        Some(whole.unwrap_or_else(|| genre.name().to_owned()))
    };
    let first: Vec<Option<String>> = tracks.labels.iter().map(name).collect();
    let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
    for name in first.iter().flatten() {
        *sizes.entry(name.clone()).or_default() += 1;
    }
    // Before numbers are assigned, as genres that are too small get none.
    sizes.retain(|_, size| *size >= output.min_tracks as usize);
    let mut order: Vec<(String, usize)> = sizes.into_iter().collect();
    // By name if sizes are equal, so that reports are reproducible.
    order.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let names = order.iter().enumerate();
    let number: BTreeMap<&str, usize> = names.map(|(i, (name, _))| (name.as_str(), i)).collect();
    let mut rows = Vec::new();
    let mut labels = Vec::new();
    let mut artists = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for (row, facts) in tracks.facts.iter().enumerate() {
        let Some(&label) = first[row].as_deref().and_then(|name| number.get(name)) else {
            continue;
        };
        // Case-insensitive, or copies with another spelling would be each other's neighbours.
        let artist = facts.artist.as_ref().map(|name| name.trim().to_lowercase());
        let artist = artist.filter(|name| !name.is_empty());
        rows.push(row);
        labels.push(label);
        artists.push(artist.map(|name| {
            let next = known.len();
            *known.entry(name).or_insert(next)
        }));
    }
    if order.len() < 2 {
        bail!(
            "found {} of {} tracks or more among {}: expected two, so tag some tracks and run \"voisin add\" again, or set another source by \"voisin labels\"",
            count(order.len() as u64, "genre"),
            output.min_tracks,
            count(tracks.ids.len() as u64, "track")
        );
    }
    Ok(LabelledSet {
        left_out: tracks.ids.len() - rows.len(),
        vectors: tracks.vectors.select(Axis(0), &rows),
        labels,
        sizes: order.iter().map(|(_, size)| *size).collect(),
        names: order.into_iter().map(|(name, _)| name).collect(),
        artists,
    })
}
