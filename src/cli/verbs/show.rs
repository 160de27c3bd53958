//! `voisin show`.

use crate::cli::Ending;
use crate::cli::args::ShowArgs;
use crate::cli::context::Context;
use crate::cli::render::advised_news;
use crate::cli::render::list::{Card, print_cards};
use crate::cli::seeds::{expand_names, library_seeds};
use crate::cli::source::{self, fetch_named, report_sample};
use voisin_engine::{
    ClassifyOptions, Engine, EngineError, GenreAnswer, Labelled, PredictedTags, Seed,
    SimilarOptions,
};
use voisin_explore::clusters::Detail;
use voisin_learn::genre::UnknownReason;
use voisin_library::TrackFilter;
use voisin_questions::answers::graph::remembered_clusters;

/// Neighbours on a card.
const NEAREST: usize = 5;

/// Words on a card.
const WORDS: usize = 8;

pub(crate) fn run(context: &Context, args: &ShowArgs) -> anyhow::Result<Ending> {
    let named = expand_names(&args.tracks)?;
    let mut source = source::open(context, &args.backend)?;
    source.set_vectors(true, false);
    fetch_named(&mut source, &named)?;
    source.set_vectors(false, false);
    let seeds = library_seeds(context, source.engine(), &named)?;
    // What is near is found first: a temporary library knows only what was fetched.
    let options = SimilarOptions {
        limit: NEAREST,
        ..SimilarOptions::default()
    };
    let mut nearest = Vec::new();
    for seed in &seeds {
        nearest.push(if seed.track.is_some() {
            source.find_similar(std::slice::from_ref(seed), &options)?
        } else {
            Vec::new()
        });
    }
    let sample = source.fetch_around(&seeds, &TrackFilter::default())?;
    report_sample(context, "the predicted genre", sample.as_deref());
    let engine = source.engine();
    let mut tracks = Vec::new();
    for seed in &seeds {
        let id = seed.track.ok_or_else(|| EngineError::NotInLibrary {
            path: seed.path.clone(),
        })?;
        tracks.push(engine.library().track(id)?);
    }
    let ids: Vec<_> = tracks.iter().map(|track| track.id).collect();
    let tagged: Vec<_> = tracks
        .iter()
        .map(|track| track.tags.genres.clone())
        .collect();
    engine.label(&mut tracks)?;
    let measured = engine.library().descriptors(&ids)?;
    let clusters = remembered_clusters(engine, Detail::default())?;
    let heard = engine.predicted_tags_if_any()?;
    let mut words = heard
        .as_ref()
        .map(|heard| heard.strongest(&ids, WORDS))
        .unwrap_or_default();
    let predicted = predictions(context, engine, heard.as_ref(), seeds)?;
    let mut cards = Vec::new();
    for (((nearest, track), tagged_genres), predicted) in
        nearest.into_iter().zip(tracks).zip(tagged).zip(predicted)
    {
        let id = track.id;
        cards.push(Card {
            measured: measured.get(&id).copied(),
            predicted,
            words: words.remove(&id).unwrap_or_default(),
            sung: heard.as_ref().and_then(|heard| heard.sung(id)),
            cluster: clusters.as_ref().and_then(|clusters| clusters.of(id)),
            nearest,
            windows: engine
                .library()
                .windows(id)?
                .map_or(0, |windows| windows.starts.len()),
            track,
            tagged_genres,
        });
    }
    print_cards(&cards, args.format)?;
    Ok(if cards.is_empty() {
        Ending::Partial
    } else {
        Ending::Fine
    })
}

/// What the library's own labels say of each track, or a first guess from what was heard where they are too few. No model
/// is loaded for that: a card says what is known.
fn predictions(
    context: &Context,
    engine: &mut Engine,
    heard: Option<&PredictedTags>,
    seeds: Vec<Seed>,
) -> anyhow::Result<Vec<GenreAnswer>> {
    let tell = |news: voisin_engine::GenreNews| context.console.detail(&advised_news(&news));
    Ok(
        match Labelled::open(engine, &ClassifyOptions::default(), tell)? {
            Ok(labelled) => labelled.classify(engine, seeds)?,
            Err(too_few) => {
                let guess = |track| heard.and_then(|heard| heard.first_guess(track?));
                let answer = |seed: Seed| {
                    let is_steady = engine.is_steady(&seed)?;
                    let mut answer = GenreAnswer::guessed(guess(seed.track), seed, too_few);
                    if is_steady {
                        answer.reject(UnknownReason::Steady);
                    }
                    Ok(answer)
                };
                seeds
                    .into_iter()
                    .map(answer)
                    .collect::<anyhow::Result<_>>()?
            }
        },
    )
}
