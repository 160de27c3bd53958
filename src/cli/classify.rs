//! `voisin classify`.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{
    Classification, ClassifyOptions, Engine, EngineError, Evidence, GenreAnswer, GenreHead, LabelSource,
    LabelledTracks, RETRAIN_SHARE, Seed,
};
use crate::genre::{
    Agreement, Confidence, Genre, GenreShare, PredictOptions, Taxonomy, UnknownReason, VoteOptions,
};
use crate::library::OpenMode;
use serde::Serialize;

use super::Ending;
use super::args::{ClassifyArgs, TableFormat};
use super::context::Context;
use super::render::{self, Align, Table};
use super::similar::{lossy, mode, seeds};
use super::write_tags;

/// Shares below this are not worth a line.
const SMALLEST_SHARE: f32 = 0.01;
/// Voters where nobody says how many.
const VOTERS: u32 = 15;

/// The documented JSON of `classify`: a list of these. What only a trained head can say is null without one.
#[derive(Serialize)]
struct ClassifyJson<'a> {
    path: String,
    /// Null where the answer is unknown.
    genre: Option<&'a Genre>,
    /// The best known genre, also where the answer is unknown.
    best: Option<&'a Genre>,
    probability: f32,
    /// `novel`, `unsure` or null.
    unknown: Option<UnknownReason>,
    /// The best known genres where the answer is unknown.
    kin: Vec<&'a Genre>,
    novelty: Option<f32>,
    confidence: Option<Confidence>,
    agreement: Option<Agreement>,
    summary: String,
    probabilities: Option<BTreeMap<&'a str, f32>>,
    head: Option<BTreeMap<&'a str, f32>>,
    votes: BTreeMap<&'a str, f32>,
    evidence: Vec<EvidenceJson>,
}

#[derive(Serialize)]
struct EvidenceJson {
    path: String,
    genre: String,
    similarity: f32,
    weight: f32,
    artist: Option<String>,
}

/// An answer, with a trained head or without.
pub(crate) enum Answer {
    Vote(Classification),
    Head(GenreAnswer),
}

impl Answer {
    pub(crate) fn seed(&self) -> &Seed {
        match self {
            Self::Vote(answer) => &answer.seed,
            Self::Head(answer) => &answer.seed,
        }
    }

    /// The answer; `None` where it is unknown, or nobody could vote.
    pub(crate) fn genre(&self) -> Option<&Genre> {
        match self {
            Self::Vote(answer) => answer.genre.as_ref(),
            Self::Head(answer) => answer.prediction.genre.as_ref(),
        }
    }

    /// The best known genre.
    fn best(&self) -> Option<&Genre> {
        match self {
            Self::Vote(answer) => answer.genre.as_ref(),
            Self::Head(answer) => Some(&answer.prediction.best),
        }
    }

    fn probability(&self) -> f32 {
        match self {
            Self::Vote(answer) => answer.probability,
            Self::Head(answer) => answer.prediction.probability,
        }
    }

    fn unknown(&self) -> Option<UnknownReason> {
        match self {
            Self::Vote(_) => None,
            Self::Head(answer) => answer.prediction.unknown,
        }
    }

    /// The answer in words, without the track.
    pub(crate) fn summary(&self) -> String {
        match self {
            Self::Vote(answer) => {
                let genre = answer.genre.as_ref().map_or("unknown", Genre::name);
                format!("{genre} ({} of the votes)", percent(answer.probability))
            }
            Self::Head(answer) => {
                let said = &answer.prediction;
                match said.unknown {
                    Some(_) => format!("{} ({})", said.sentence(), percent(said.probability)),
                    None => format!(
                        "{}, {} ({}); {}",
                        said.best,
                        said.confidence,
                        percent(said.probability),
                        said.agreement
                    ),
                }
            }
        }
    }
}

pub(crate) fn run(context: &Context, args: &ClassifyArgs) -> anyhow::Result<Ending> {
    if let Some(ending) = super::first_guess::run_if_unlabelled(context, args)? {
        return Ok(ending);
    }
    let mut engine = context.open_engine()?;
    let head = head(context, &engine, args)?;
    if head.is_none() && args.precision.is_some() {
        return Err(EngineError::NoHead { what: "--precision" }.into());
    }
    engine.refresh_index()?;
    let mut failed = 0;
    let mut wanted: Vec<Seed> = Vec::new();
    if args.all && head.is_none() {
        for id in engine.library().vectors()?.ids {
            wanted.push(engine.seed_of(id)?);
        }
    } else if !args.all {
        for text in &args.tracks {
            match seeds(context, &engine, std::slice::from_ref(text)) {
                Ok(found) => wanted.extend(found),
                Err(error) if args.tracks.len() == 1 => return Err(error),
                Err(error) => {
                    render::print_error(&error);
                    failed += 1;
                }
            }
        }
    }
    let answers: Vec<Answer> = match head {
        Some((head, source)) => by_head(context, &engine, head, &source, wanted, args)?,
        None => by_vote(context, &mut engine, wanted, args)?,
    };
    let nobody = answers.iter().any(|answer| answer.best().is_none());
    if args.write.write_tags {
        failed += write_tags::run(context, &engine, &answers, args)?;
    } else {
        print(&answers, args)?;
    }
    Ok(if failed > 0 || nobody { Ending::Partial } else { Ending::Fine })
}

/// The genres of `--among`, by the names that the taxonomy knows them by.
pub(super) fn asked(args: &ClassifyArgs, taxonomy: &Taxonomy) -> Vec<Genre> {
    let names = args.among.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
    names.map(|name| taxonomy.genre(name).unwrap_or_else(|| Genre::plain(name))).collect()
}

/// Says which of the genres of `--among` no answer can have, where others can be one.
pub(super) fn tell_unknown<'a>(context: &Context, asked: &[Genre], known: impl Iterator<Item = &'a Genre>) {
    let known: BTreeSet<&Genre> = known.collect();
    let missing: Vec<String> =
        asked.iter().filter(|genre| !known.contains(genre)).map(ToString::to_string).collect();
    if !missing.is_empty() && missing.len() < asked.len() {
        let known: Vec<String> = known.into_iter().map(ToString::to_string).collect();
        context.console.note(&format!(
            "no answer can be {}: the genres that can are {}",
            missing.join(" or "),
            known.join(", ")
        ));
    }
}

/// The trained head to ask, with the source of its labels; says why there is none.
fn head(
    context: &Context,
    engine: &Engine,
    args: &ClassifyArgs,
) -> anyhow::Result<Option<(GenreHead, LabelSource)>> {
    if args.neighbours.is_some() {
        context.console.detail("the neighbours vote alone: -k asks for it");
        return Ok(None);
    }
    let head = match engine.genre_head() {
        Ok(head) => head,
        Err(error @ EngineError::EmptyLibrary { .. }) => return Err(error.into()),
        Err(error) => {
            context.console.warn(&format!("{error}; until then the neighbours vote alone"));
            return Ok(None);
        }
    };
    let Some(head) = head else {
        context
            .console
            .note("no trained head yet (\"voisin train genre\" makes one): the neighbours vote alone");
        return Ok(None);
    };
    let trained = head.source();
    match &args.labels.label_from {
        Some(asked) if !same_source(asked, &trained) => {
            context.console.note(&format!(
                "the trained head knows labels from {trained}, not from {asked}: the neighbours vote alone (\"voisin train genre --label-from\" trains another)"
            ));
            Ok(None)
        }
        _ => Ok(Some((head, trained))),
    }
}

fn same_source(a: &LabelSource, b: &LabelSource) -> bool {
    match (a, b) {
        (LabelSource::File(a), LabelSource::File(b)) => {
            std::path::absolute(a).ok() == std::path::absolute(b).ok()
        }
        _ => a == b,
    }
}

fn by_head(
    context: &Context,
    engine: &Engine,
    head: GenreHead,
    source: &LabelSource,
    wanted: Vec<Seed>,
    args: &ClassifyArgs,
) -> anyhow::Result<Vec<Answer>> {
    let tracks = engine.labelled_tracks(source, &crate::engine::GroupBy::Artist, false)?;
    let wanted = if args.all { tracks.seeds() } else { wanted };
    let head = up_to_date(context, engine, head, &tracks);
    let model = head.model.with_voters(&tracks.set())?;
    let among = asked(args, &engine.taxonomy()?);
    tell_unknown(context, &among, model.genres().iter());
    let options = PredictOptions { precision: args.precision, among, ..PredictOptions::default() };
    let answers = engine.classify_with_head(&model, &tracks, wanted, &options, args.other_artists)?;
    Ok(answers.into_iter().map(Answer::Head).collect())
}

/// The head, trained again if [`RETRAIN_SHARE`] of the labels changed since.
fn up_to_date(context: &Context, engine: &Engine, head: GenreHead, tracks: &LabelledTracks) -> GenreHead {
    let share = head.provenance.changed_share(&tracks.ids, &tracks.labels);
    if share < RETRAIN_SHARE {
        return head;
    }
    let changed = format!("{} of the labels changed since the head was trained", percent(share as f32));
    if engine.library().mode() == OpenMode::ReadOnly {
        context.console.note(&format!("{changed}: it answers as it is, since the library is read-only"));
        return head;
    }
    match engine.retrain_genre(&head) {
        Ok(renewed) => {
            context.console.note(&format!("{changed}: it was trained again"));
            renewed
        }
        Err(error) => {
            context
                .console
                .warn(&format!("{changed}, and it cannot be trained again ({error}): it answers as it is"));
            head
        }
    }
}

fn by_vote(
    context: &Context,
    engine: &mut Engine,
    wanted: Vec<Seed>,
    args: &ClassifyArgs,
) -> anyhow::Result<Vec<Answer>> {
    let mut labels = engine.labels(&args.labels.source())?;
    if labels.is_empty() {
        return Err(EngineError::NoLabels.into());
    }
    let among = asked(args, &engine.taxonomy()?);
    if !among.is_empty() {
        tell_unknown(context, &among, labels.known().iter());
        labels.keep_among(&among)?;
    }
    let options = ClassifyOptions {
        vote: VoteOptions { k: args.neighbours.unwrap_or(VOTERS) as usize, ..VoteOptions::default() },
        other_artists: args.other_artists,
        mode: mode(args.search),
    };
    wanted.into_iter().map(|seed| Ok(Answer::Vote(engine.classify(seed, &labels, &options)?))).collect()
}

fn print(answers: &[Answer], args: &ClassifyArgs) -> anyhow::Result<()> {
    match args.format {
        TableFormat::Table if args.all => {
            let mut table = Table::new(&[
                ("genre", Align::Left),
                ("share", Align::Right),
                ("how sure", Align::Left),
                ("path", Align::Left),
            ]);
            for answer in answers {
                let sure = match (answer.unknown(), answer) {
                    (Some(UnknownReason::Novel), _) => "unlike anything labelled".to_owned(),
                    (Some(UnknownReason::Unsure), _) => "too unsure".to_owned(),
                    (None, Answer::Head(answer)) => answer.prediction.confidence.to_string(),
                    (None, Answer::Vote(_)) => String::new(),
                };
                let path = lossy(&answer.seed().path);
                table.row([genre_name(answer), percent(answer.probability()), sure, path]);
            }
            table.print()
        }
        TableFormat::Table => {
            for (i, answer) in answers.iter().enumerate() {
                if i > 0 {
                    render::print_line("")?;
                }
                match answer {
                    Answer::Vote(answer) => print_one(answer)?,
                    Answer::Head(said) => print_reasons(answer, said)?,
                }
            }
            Ok(())
        }
        TableFormat::Json => render::print_json(&answers.iter().map(json).collect::<Vec<_>>()),
        TableFormat::Csv => render::print_csv(
            ["path", "genre", "probability", "unknown", "best"],
            answers.iter().map(|answer| {
                let name = |genre: Option<&Genre>| genre.map_or_else(String::new, ToString::to_string);
                let unknown = match answer.unknown() {
                    Some(UnknownReason::Novel) => "novel",
                    Some(UnknownReason::Unsure) => "unsure",
                    None => "",
                };
                [
                    lossy(&answer.seed().path),
                    name(answer.genre()),
                    format!("{:.4}", answer.probability()),
                    unknown.to_owned(),
                    name(answer.best()),
                ]
            }),
        ),
    }
}

fn shares(list: &[GenreShare]) -> String {
    let worth = list.iter().filter(|share| share.share >= SMALLEST_SHARE).take(4);
    worth.map(|share| format!("{} {}", share.genre, percent(share.share))).collect::<Vec<_>>().join(", ")
}

/// One answer of head and neighbours with its reasons, for people.
fn print_reasons(answer: &Answer, said: &GenreAnswer) -> anyhow::Result<()> {
    let line = |text: String| render::print_line(&render::terminal_safe(&text));
    line(format!("{}: {}", lossy(&said.seed.path), answer.summary()))?;
    let prediction = &said.prediction;
    line(format!("  together:   {}", shares(&prediction.probabilities)))?;
    if !prediction.head.is_empty() {
        line(format!("  head:       {}", shares(&prediction.head)))?;
    }
    line(format!("  neighbours: {}", shares(&prediction.votes.shares)))?;
    line(format!("  stranger than {} of the library's own tracks", percent(prediction.novelty)))?;
    voters(&said.evidence)
}

fn voters(evidence: &[Evidence]) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        ("  voter", Align::Left),
        ("genre", Align::Left),
        ("similarity", Align::Right),
        ("weight", Align::Right),
        ("path", Align::Left),
    ]);
    for voter in evidence {
        let genres: Vec<&str> = voter.genres.iter().map(Genre::name).collect();
        table.row([
            format!("  {}", voter.display),
            genres.join(", "),
            format!("{:.3}", voter.similarity),
            percent(voter.weight),
            lossy(&voter.path),
        ]);
    }
    table.print()
}

/// One answer with its evidence, for people.
pub(crate) fn print_one(answer: &Classification) -> anyhow::Result<()> {
    let path = lossy(&answer.seed.path);
    render::print_line(&format!(
        "{}: {} ({} of the votes)",
        render::terminal_safe(&path),
        render::terminal_safe(answer.genre.as_ref().map_or("unknown", Genre::name)),
        percent(answer.probability)
    ))?;
    let others: Vec<String> = answer
        .votes
        .shares
        .iter()
        .skip(1)
        .filter(|share| share.share >= SMALLEST_SHARE)
        .map(|share| format!("{} {}", share.genre, percent(share.share)))
        .collect();
    if !others.is_empty() {
        render::print_line(&format!("  then: {}", render::terminal_safe(&others.join(", "))))?;
    }
    voters(&answer.evidence)
}

fn genre_name(answer: &Answer) -> String {
    match (answer.genre(), answer.best()) {
        (Some(genre), _) => genre.to_string(),
        (None, Some(best)) => format!("unknown ({best}?)"),
        (None, None) => "unknown".to_owned(),
    }
}

fn percent(share: f32) -> String {
    format!("{:.0} %", 100.0 * share)
}

fn json(answer: &Answer) -> ClassifyJson<'_> {
    fn map(list: &[GenreShare]) -> BTreeMap<&str, f32> {
        list.iter().map(|share| (share.genre.name(), share.share)).collect()
    }
    let (prediction, votes, evidence) = match answer {
        Answer::Vote(said) => (None, &said.votes, &said.evidence),
        Answer::Head(said) => (Some(&said.prediction), &said.prediction.votes, &said.evidence),
    };
    ClassifyJson {
        path: lossy(&answer.seed().path),
        genre: answer.genre(),
        best: answer.best(),
        probability: answer.probability(),
        unknown: answer.unknown(),
        kin: prediction.filter(|p| p.unknown.is_some()).map(|p| p.kin()).unwrap_or_default(),
        novelty: prediction.map(|p| p.novelty),
        confidence: prediction.map(|p| p.confidence),
        agreement: prediction.map(|p| p.agreement),
        summary: answer.summary(),
        probabilities: prediction.map(|p| map(&p.probabilities)),
        head: prediction.map(|p| map(&p.head)),
        votes: map(&votes.shares),
        evidence: evidence
            .iter()
            .map(|voter| EvidenceJson {
                path: lossy(&voter.path),
                genre: voter.genres.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
                similarity: voter.similarity,
                weight: voter.weight,
                artist: voter.artist.clone(),
            })
            .collect(),
    }
}
