//! The queries of `Library.query`, answered as the program answers them.

use std::sync::Arc;

use serde::Serialize;

use super::seeds::{SeedArgument, no_embedder};
use voisin_engine::{Embedder, Engine, GenreNews, Standing};
use voisin_explore::TrackMeta;
use voisin_questions::answers::card::{CardJson, CardWords, cards};
use voisin_questions::answers::clusters::{ClustersJson, members};
use voisin_questions::answers::find::FoundJson;
use voisin_questions::answers::genre::AnswerJson;
use voisin_questions::answers::genres::GenresJson;
use voisin_questions::answers::list::PageJson;
use voisin_questions::answers::playlist::PlaylistJson;
use voisin_questions::answers::similar::SimilarJson;
use voisin_questions::answers::status::StatusJson;
use voisin_questions::answers::suspects::SuspectJson;
use voisin_questions::answers::walk::WalkJson;
use voisin_questions::explore::{Clusters, Duplicates, PathBetween};
use voisin_questions::genre::{Classify, GenreRelations, Suspects};
use voisin_questions::list::{Find, List};
use voisin_questions::page::Plain;
use voisin_questions::playlist::Playlist;
use voisin_questions::seed::at_least_one;
use voisin_questions::values::Limit;
use voisin_questions::{QuestionError, Similar};

/// What a query is asked with, beside its options.
pub(super) struct Given {
    pub(super) seeds: Vec<SeedArgument>,
    pub(super) unlike: Vec<SeedArgument>,
    /// `None`: the query's own.
    pub(super) limit: Option<Limit>,
    pub(super) embedder: Option<Arc<Embedder>>,
}

/// An answer as JSON.
type Answer = Result<String, QuestionError>;
/// Notes on an answer, for the logger.
type Notes = Vec<String>;

fn written(answer: &impl Serialize) -> String {
    // Answers are structures of plain values, which can always be written.
    serde_json::to_string(answer).unwrap_or_default()
}

pub(super) fn similar(
    mut query: Similar,
    engine: &mut Engine,
    given: &Given,
    notes: &mut Notes,
) -> Answer {
    query.limit = given.limit.unwrap_or(query.limit);
    query.filters.of_this_disk();
    query.validate(given.seeds.len())?;
    let embedder = given.embedder.as_deref();
    let seeds = SeedArgument::seeds(&given.seeds, engine, embedder, notes)?.all();
    let of_part = || embedder.ok_or_else(|| no_embedder("a part of a track has no vector"));
    let seeds = query.part_of(engine, seeds, of_part)?;
    let unlike = SeedArgument::seeds(&given.unlike, engine, embedder, notes)?.all();
    query.filters.check_licences(engine.library())?;
    query.filters.check_folders(engine)?;
    let found = query.run(engine, &seeds, unlike)?;
    Ok(written(&SimilarJson::new(&seeds, &found)))
}

pub(super) fn playlist(
    mut query: Playlist,
    engine: &mut Engine,
    given: &Given,
    notes: &mut Notes,
) -> Answer {
    // The default number of tracks would otherwise truncate a list with a length.
    if !query.has_length() {
        query.limit = given.limit.or(query.limit);
    }
    query.filters.of_this_disk();
    query.validate()?;
    let seeds = SeedArgument::seeds(&given.seeds, engine, given.embedder.as_deref(), notes)?;
    query.filters.check_licences(engine.library())?;
    query.filters.check_folders(engine)?;
    let (collection, list) = query.of_library(engine, &seeds.named, &seeds.of_lists)?;
    let tracks: Vec<&TrackMeta> = list.rows.iter().map(|&row| &collection.meta[row]).collect();
    let standing = list.standing.as_ref();
    notes.extend(standing.and_then(Standing::far));
    let answer = PlaylistJson::new(engine, &tracks, standing)?;
    Ok(written(&answer))
}

/// - `given.seeds`: both ends, then those to pass
pub(super) fn path(
    query: PathBetween,
    engine: &mut Engine,
    given: &Given,
    notes: &mut Notes,
) -> Answer {
    let stops = SeedArgument::stops(&given.seeds, engine, given.embedder.as_deref(), notes)?;
    let (collection, walk) = query.answer(engine, &stops)?;
    Ok(written(&WalkJson::new(engine, &collection, &walk)?))
}

pub(super) fn find(
    mut query: Find,
    engine: &mut Engine,
    given: &Given,
    notes: &mut Notes,
) -> Answer {
    query.limit = given.limit.unwrap_or(query.limit);
    query.filters.of_this_disk();
    query.filters.check_folders(engine)?;
    let tags = engine.words().predicted_tags()?;
    let found = query.run(engine, &tags)?;
    notes.extend(found.notes.iter().cloned());
    Ok(written(&FoundJson::new(engine, &found, &tags)?))
}

pub(super) fn list(mut query: List, engine: &mut Engine, given: &Given, _: &mut Notes) -> Answer {
    query.filters.of_this_disk();
    query.filters.check_licences(engine.library())?;
    query.filters.check_folders(engine)?;
    let limit = given.limit.map_or(usize::MAX, |limit| limit.of(usize::MAX));
    let page = engine.list(&query.query(engine, limit, None)?)?;
    Ok(written(&PageJson::new(&page, None)))
}

pub(super) fn show(_: Plain, engine: &mut Engine, given: &Given, notes: &mut Notes) -> Answer {
    let seeds = SeedArgument::tracks(&given.seeds, engine, None, notes)?;
    let report = |news: GenreNews| notes.push(news.to_string());
    let found = cards(engine, seeds, CardWords::LeftOut, report)?;
    Ok(written(
        &found.iter().map(CardJson::new).collect::<Vec<_>>(),
    ))
}

pub(super) fn classify(
    query: Classify,
    engine: &mut Engine,
    given: &Given,
    notes: &mut Notes,
) -> Answer {
    // An empty list is probably a mistake of the caller.
    at_least_one("tracks", given.seeds.len())?;
    let tracks = SeedArgument::tracks(&given.seeds, engine, given.embedder.as_deref(), notes)?;
    let why = "too few tracks have a genre to classify by their labels";
    let ready = || given.embedder.clone().ok_or_else(|| no_embedder(why));
    let report = |news: GenreNews| notes.push(news.to_string());
    let found = query.run(engine, tracks, ready, report)?;
    Ok(written(
        &found.iter().map(AnswerJson::new).collect::<Vec<_>>(),
    ))
}

pub(super) fn genres(
    query: GenreRelations,
    engine: &mut Engine,
    _: &Given,
    _: &mut Notes,
) -> Answer {
    let found = query.run(engine)?;
    Ok(written(&GenresJson::new(engine, &found)?))
}

pub(super) fn suspects(query: Suspects, engine: &mut Engine, _: &Given, _: &mut Notes) -> Answer {
    let found = query.run(engine)?.suspects;
    let shown = Suspects::shown(engine, &found)?;
    Ok(written(
        &SuspectJson::list(&shown, &found).collect::<Vec<_>>(),
    ))
}

pub(super) fn clusters(query: Clusters, engine: &mut Engine, _: &Given, _: &mut Notes) -> Answer {
    let mut collection = engine.collection()?;
    let graph = voisin_questions::answers::graph::neighbour_graph(engine, &collection)?;
    engine.genres().predict(&mut collection, &graph)?;
    let found = query.run(engine, &collection, &graph, None, None)?;
    let members = members(&collection, &found);
    Ok(written(&ClustersJson::new(
        &found,
        &members,
        &(0..members.len()),
    )))
}

pub(super) fn duplicates(
    query: Duplicates,
    engine: &mut Engine,
    _: &Given,
    _: &mut Notes,
) -> Answer {
    let collection = engine.collection()?;
    Ok(written(&query.run(engine, &collection, |_| ())?))
}

pub(super) fn status(_: Plain, engine: &mut Engine, _: &Given, _: &mut Notes) -> Answer {
    let status = engine.library().status()?;
    Ok(written(&StatusJson::new(engine, &status)))
}
