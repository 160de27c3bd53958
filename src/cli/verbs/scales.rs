//! `voisin scales`, `train scale`, `eval scale` and `suspects --scale`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use serde_json::json;

use crate::cli::Ending;
use crate::cli::args::{
    EvalScaleArgs, ListFormat, ListOutput, ReportFormat, ScaleSource, ScalesArgs, ScalesCommand,
    TrainScaleArgs,
};
use crate::cli::context::Context;
use crate::cli::render::safe::table_path;
use crate::cli::render::track::{lossy, print_files};
use crate::cli::render::{self, Align, Table, count};
use voisin_audio::tags::read_named;
use voisin_base::table::{TableFault, TableText};
use voisin_base::track::TrackId;
use voisin_engine::{
    Engine, LearnedScale, MEASURED_SCALES, ScaleTraining, measured_scale, meta, track_number,
};
use voisin_explore::TrackMeta;
use voisin_genre::Taxonomy;
use voisin_library::scan::playlist::path_in_table;
use voisin_library::{PathLookup, ScaleName, SortBy};

/// Names of columns of lists that are no sort orders.
const TAKEN: [&str; 12] = [
    "artists",
    "camelot",
    "files",
    "genres",
    "lufs",
    "mbid",
    "isrc",
    "seconds",
    "tempo",
    "words",
    "similarity",
    "vector",
];

/// Scales of the library.
pub(crate) fn run(context: &Context, args: &ScalesArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    match &args.command {
        None => list(&engine, args.format),
        Some(ScalesCommand::Rename { from, to }) => {
            known(&engine, *from)?;
            check_name(*to)?;
            if engine.library().scales().scale_names()?.contains_key(to) {
                bail!("expected a name that no scale has, found {to}");
            }
            engine.library_mut().scales_mut().rename_scale(*from, *to)?;
            Ok(Ending::Fine)
        }
        Some(ScalesCommand::Remove { name, with_values }) => {
            known(&engine, *name)?;
            let gone = engine
                .library_mut()
                .scales_mut()
                .remove_scale(*name, *with_values)?;
            let kept = engine.scales().own_values(*name)?.len() as u64;
            let kept = if kept > 0 {
                format!(
                    "; {} of your own stay (--with-values)",
                    count(kept, "value")
                )
            } else {
                String::new()
            };
            context
                .console
                .note(&format!("{name}: {} forgotten{kept}", count(gone, "value")));
            Ok(Ending::Fine)
        }
    }
}

fn list(engine: &Engine, format: ReportFormat) -> anyhow::Result<Ending> {
    let tracks = engine.library().scales().scale_names()?;
    let learned: HashMap<ScaleName, LearnedScale> =
        engine.scales().learned_scales()?.into_iter().collect();
    let mut rows = Vec::new();
    for (name, tracks) in &tracks {
        let measured = measured_scale(name.as_str());
        let (origin, definition, error) = match (learned.get(name), measured) {
            (Some(scale), _) => {
                // Stale: learned from vectors of a former model of the library.
                let origin = if engine.scales().is_current(scale)? {
                    "learned"
                } else {
                    "stale"
                };
                (origin, scale.from.clone(), Some(scale.figures.two_thirds))
            }
            (None, Some(one)) => ("measured", one.definition.to_owned(), Some(one.error)),
            (None, None) => ("own", "values without a definition".to_owned(), None),
        };
        rows.push((name, tracks, origin, error, definition));
    }
    if format == ReportFormat::Json {
        let rows = rows.iter().map(|(name, tracks, origin, error, definition)| {
            json!({
                "name": name, "tracks": tracks, "origin": origin, "error": error, "definition": definition,
                "figures": learned.get(name).map(|scale| &scale.figures),
            })
        });
        render::print_json(&rows.collect::<Vec<_>>())?;
        return Ok(Ending::Fine);
    }
    let mut table = Table::new(&[
        ("scale", Align::Left),
        ("tracks", Align::Right),
        ("error", Align::Right),
        ("origin", Align::Left),
        ("definition", Align::Left),
    ]);
    for (name, tracks, origin, error, definition) in rows {
        table.row([
            name.to_string(),
            tracks.to_string(),
            error.map_or_else(String::new, |error| format!("{error:.0}")),
            origin.to_owned(),
            definition,
        ]);
    }
    table.print()?;
    Ok(Ending::Fine)
}

/// Learns a scale.
pub(crate) fn train(context: &Context, args: &TrainScaleArgs) -> anyhow::Result<Ending> {
    check_name(args.name)?;
    let mut engine = context.open_engine()?;
    let raw = values(&engine, &args.from)?;
    let (given, rule) = on_scale(raw);
    let from = format!("{}; {rule}", source_text(&args.from));
    let busy = context.console.busy("learning the scale");
    let learned = engine.scales().learn_scale(&given, &from)?;
    drop(busy);
    // The figures are printed even if the scale is refused.
    if !learned.beats_mean() {
        report(args.name, &learned, None, args.format)?;
        context.console.warn(&format!(
            "{} is refused: on held-out artists it does not beat the mean of its values; nothing was stored",
            args.name
        ));
        return Ok(Ending::Partial);
    }
    let filled = engine
        .scales_mut()
        .keep_scale(args.name, &given, &learned.scale)?;
    report(args.name, &learned, Some(filled), args.format)?;
    Ok(Ending::Fine)
}

/// Evaluates a learned scale.
pub(crate) fn eval(context: &Context, args: &EvalScaleArgs) -> anyhow::Result<Ending> {
    let engine = context.open_engine()?;
    let learned = learned_again(&engine, args.name)?;
    report(args.name, &learned, None, args.format)?;
    Ok(if learned.beats_mean() {
        Ending::Fine
    } else {
        Ending::Partial
    })
}

/// Own values that differ from the prediction by more than nine of ten errors, the greatest difference first.
pub(crate) fn suspects(
    context: &Context,
    name: ScaleName,
    limit: usize,
    output: &ListOutput,
) -> anyhow::Result<Ending> {
    let engine = context.open_engine()?;
    let learned = learned_again(&engine, name)?;
    let most = learned.scale.figures.nine_tenths;
    let mut found = learned.held_out;
    found.retain(|(_, value, expected)| (value - expected).abs() > most);
    found.sort_by(|a, b| (b.1 - b.2).abs().total_cmp(&(a.1 - a.2).abs()));
    let contradicted = found.len();
    found.truncate(limit);
    let ids: Vec<TrackId> = found.iter().map(|(id, ..)| *id).collect();
    let tracks = engine.library().tracks_by_id(&ids)?;
    let rows = found.iter().zip(&tracks);
    match output.format {
        ListFormat::Table => {
            let mut table = Table::new(&[
                ("id", Align::Right),
                ("yours", Align::Right),
                ("expected", Align::Right),
                ("track", Align::Left),
                ("path", Align::Left),
            ]);
            for ((id, value, expected), track) in rows {
                table.row([
                    id.to_string(),
                    format!("{value:.0}"),
                    format!("{expected:.0}"),
                    track.display_name(),
                    lossy(&track.path),
                ]);
            }
            table.print()?;
        }
        ListFormat::Json => {
            let rows = rows.map(|((id, value, expected), track)| {
                json!({"id": id, "path": lossy(&track.path), "value": value, "expected": expected})
            });
            render::print_json(&rows.collect::<Vec<_>>())?;
        }
        ListFormat::Csv => render::print_csv(
            ["id", "path", "value", "expected"],
            rows.map(|((id, value, expected), track)| {
                [
                    id.to_string(),
                    table_path(&track.path),
                    format!("{value:.1}"),
                    format!("{expected:.1}"),
                ]
            }),
        )?,
        _ => {
            let metas: Vec<TrackMeta> = tracks
                .iter()
                .map(|track| meta(track, &Taxonomy::default()))
                .collect();
            print_files(&metas.iter().collect::<Vec<_>>(), "voisin suspects", output)?;
        }
    }
    context.console.note(&format!(
        "{} of {name} more than {most:.0} from the prediction by tracks of other artists",
        count(contradicted as u64, "value")
    ));
    Ok(Ending::Fine)
}

fn learned_again(engine: &Engine, name: ScaleName) -> anyhow::Result<ScaleTraining> {
    known(engine, name)?;
    let given = engine.scales().own_values(name)?;
    Ok(engine.scales().learn_scale(&given, "own values")?)
}

fn known(engine: &Engine, name: ScaleName) -> anyhow::Result<()> {
    let is_learned = engine.library().scales().learned_scales()?.contains(&name);
    if !is_learned && engine.scales().own_values(name)?.is_empty() {
        bail!("expected a learned scale, found {name} (\"voisin scales\" lists them)");
    }
    Ok(())
}

/// Refuses names with another meaning.
fn check_name(name: ScaleName) -> anyhow::Result<()> {
    let text = name.as_str();
    let is_measured = MEASURED_SCALES.iter().any(|one| one.name == text);
    let is_order = SortBy::ALL.iter().any(|(known, _)| *known == text);
    if is_measured || is_order || TAKEN.contains(&text) {
        bail!("expected a name of your own, found {name}, which is taken: try my-{name}");
    }
    Ok(())
}

fn report(
    name: ScaleName,
    learned: &ScaleTraining,
    filled: Option<u64>,
    format: ReportFormat,
) -> anyhow::Result<()> {
    let figures = &learned.scale.figures;
    if format == ReportFormat::Json {
        return render::print_json(&json!({
            "name": name, "from": learned.scale.from, "figures": figures, "beats_mean": learned.beats_mean(),
            "filled": filled,
        }));
    }
    let gain = 100.0 * (1.0 - figures.error / figures.error_of_mean.max(1e-9));
    let mut lines = vec![
        format!("scale:    {name}, from {}", learned.scale.from),
        format!(
            "values:   {} by {}",
            count(figures.rows as u64, "track"),
            count(figures.groups as u64, "artist")
        ),
        format!(
            "error:    {:.1}, that of the mean {:.1}: {gain:.0} % less (p = {:.4}), on held-out artists",
            figures.error, figures.error_of_mean, figures.p
        ),
        format!(
            "interval: two of three within {:.1}, nine of ten within {:.1}; rank correlation {:.2}",
            figures.two_thirds, figures.nine_tenths, figures.spearman
        ),
    ];
    if let Some(filled) = filled {
        lines.push(format!(
            "given to: {} without a value of yours",
            count(filled, "track")
        ));
    }
    lines
        .iter()
        .try_for_each(|line| render::print_line(&render::terminal_safe(line)))
}

fn source_text(source: &ScaleSource) -> String {
    match source {
        ScaleSource::Tag(name, None) => format!("the tag {name}"),
        ScaleSource::Tag(name, Some(word)) => format!("{word} in the tag {name}"),
        ScaleSource::Table(path) | ScaleSource::Rekordbox(path) | ScaleSource::Traktor(path) => {
            lossy(path)
        }
    }
}

/// Values scaled to 0 to 100, and the rule that was used.
fn on_scale(raw: BTreeMap<TrackId, f64>) -> (BTreeMap<TrackId, f64>, &'static str) {
    let least = raw.values().copied().fold(f64::INFINITY, f64::min);
    let most = raw.values().copied().fold(f64::NEG_INFINITY, f64::max);
    // The unit is guessed from the greatest value: energy is given as 1 to 10, stars as 1 to 5,
    // shares up to 1.
    let (from, to, rule) = match most {
        _ if least < 0.0 || most > 100.0 => (least, most, "from the least to the greatest"),
        most if most <= 1.0 => (0.0, 1.0, "0 to 1 are 0 to 100"),
        most if most <= 5.0 => (0.0, 5.0, "0 to 5 are 0 to 100"),
        most if most <= 10.0 => (0.0, 10.0, "0 to 10 are 0 to 100"),
        _ => (0.0, 100.0, "0 to 100"),
    };
    // All values may be the same.
    let wide = (to - from).max(1e-9);
    let given = raw
        .into_iter()
        .map(|(id, value)| (id, 100.0 * (value - from) / wide));
    (given.collect(), rule)
}

/// The values of the library's tracks in the source.
fn values(engine: &Engine, source: &ScaleSource) -> anyhow::Result<BTreeMap<TrackId, f64>> {
    let library = engine.library();
    let of_paths = |found: Vec<(PathBuf, f64)>| -> anyhow::Result<BTreeMap<TrackId, f64>> {
        let mut values = BTreeMap::new();
        let mut lookup = PathLookup::new(library);
        for (path, value) in found {
            let track = lookup.track(&path)?;
            values.extend(track.map(|track| (track, value)));
        }
        Ok(values)
    };
    match source {
        ScaleSource::Tag(name, word) => {
            let mut values = BTreeMap::new();
            for track in library.tracks()? {
                // Files that cannot be read are skipped.
                let texts = read_named(&track.path, name).unwrap_or_default();
                values.extend(tag_value(&texts, word.as_deref()).map(|value| (track.id, value)));
            }
            Ok(values)
        }
        ScaleSource::Table(path) => table(engine, path),
        ScaleSource::Rekordbox(path) => of_paths(rekordbox(&read(path)?)),
        ScaleSource::Traktor(path) => of_paths(traktor(&read(path)?)),
    }
}

/// The first number of a tag, or whether it has a word; `None` for a file without the tag.
fn tag_value(texts: &[String], word: Option<&str>) -> Option<f64> {
    let Some(word) = word else {
        return texts.iter().find_map(|text| number(text));
    };
    let has = texts
        .iter()
        .flat_map(|text| text.split([';', ',', '/']))
        .any(|part| part.trim().eq_ignore_ascii_case(word));
    (!texts.is_empty()).then_some(if has { 100.0 } else { 0.0 })
}

/// `7`, `0.8`, `8A - Energy 7`.
fn number(text: &str) -> Option<f64> {
    // Keys have digits, too: in "8A - Energy 7" the number after the word counts. Only ASCII changes
    // its case here, so that positions stay the same.
    let lower = text.to_ascii_lowercase();
    let text = lower.split_once("energy").map_or(text, |(_, rest)| rest);
    let digits = |c: char| c.is_ascii_digit() || c == '.';
    let mut start = text.find(|c: char| c.is_ascii_digit())?;
    // ".8" is a number like "0.8"; in "No.8" the full stop belongs to the word.
    let before = text[..start].strip_suffix('.');
    if before.is_some_and(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == '.')) {
        start -= 1;
    }
    let rest = &text[start..];
    let end = rest.find(|c| !digits(c)).unwrap_or(rest.len());
    // A full stop after a number ends a sentence.
    rest[..end].trim_end_matches('.').parse().ok()
}

fn read(path: &Path) -> anyhow::Result<String> {
    // Lossy, so that one invalid byte does not cost all ratings.
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn table(engine: &Engine, path: &Path) -> anyhow::Result<BTreeMap<TrackId, f64>> {
    let library = engine.library();
    let known: HashSet<TrackId> = library.track_ids()?.into_iter().collect();
    let failed = || format!("cannot read {}", path.display());
    let table = TableText::read(path).with_context(failed)?;
    let fault = |(line, fault): TableFault| anyhow!("{}, line {line}: {fault}", path.display());
    let (header, rows) = table.even_rows().map_err(fault)?;
    let find = |name: &str| {
        header
            .iter()
            .position(|column| column.eq_ignore_ascii_case(name))
    };
    let (Some(at), Some(value)) = (find("id").or_else(|| find("path")), find("value")) else {
        let found = header.join(",");
        bail!(
            "{}: expected the columns path or id, and value, found {found}",
            path.display()
        );
    };
    let by_id = find("id").is_some();
    let mut lookup = PathLookup::new(library);
    let mut values = BTreeMap::new();
    for (line, cells) in rows {
        let text = &cells[value];
        // Decimal commas, if the separator is another character.
        let number: Option<f64> = text.replace(',', ".").parse().ok();
        let number = number.filter(|number| number.is_finite());
        let Some(number) = number else {
            let problem = format!("expected a number as value, found \"{text}\"");
            return Err(fault((line, problem)));
        };
        // Rows of unknown tracks are left out, as a table may come from another library.
        let track = if by_id {
            let bare = || cells[at].parse().ok().map(TrackId);
            let id = track_number(&cells[at]).or_else(bare);
            id.filter(|id| known.contains(id))
        } else {
            lookup.track(&path_in_table(&cells[at]))?
        };
        values.extend(track.map(|track| (track, number)));
    }
    Ok(values)
}

/// The elements of this name in XML, each from after its name to the next.
fn elements<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    // Without an XML parser, as only a few attributes are read. The blank distinguishes `TRACK` from
    // `TRACKS`.
    let start = format!("<{name} ");
    let parts: Vec<&str> = text.split(start.as_str()).skip(1).collect();
    parts.into_iter()
}

/// The text of an attribute of an element.
fn attribute(element: &str, name: &str) -> Option<String> {
    let head = element.split('>').next()?;
    let (_, rest) = head.split_once(&format!("{name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    let plain = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        // Last, or "&amp;lt;" would become "<".
        ("&amp;", "&"),
    ];
    let text = plain
        .iter()
        .fold(value.to_owned(), |text, (from, to)| text.replace(from, to));
    Some(text)
}

/// Ratings of a Rekordbox collection, 0 to 255 in steps of 51; 0 is none.
fn rekordbox(text: &str) -> Vec<(PathBuf, f64)> {
    let rated = elements(text, "TRACK").filter_map(|track| {
        let stars: f64 = attribute(track, "Rating")?.parse().ok()?;
        let place = attribute(track, "Location")?;
        (stars > 0.0).then(|| (path_in_table(&place), stars / 51.0))
    });
    rated.collect()
}

/// Ratings of a Traktor collection, 0 to 255 in steps of 51; 0 is none.
fn traktor(text: &str) -> Vec<(PathBuf, f64)> {
    let rated = elements(text, "ENTRY").filter_map(|entry| {
        let info = elements(entry, "INFO").next()?;
        let place = elements(entry, "LOCATION").next()?;
        let stars: f64 = attribute(info, "RANKING")?.parse().ok()?;
        // Traktor writes `/:` between folders.
        let folder = attribute(place, "DIR")?.replace("/:", "/");
        let path = PathBuf::from(format!("{folder}{}", attribute(place, "FILE")?));
        (stars > 0.0).then_some((path, stars / 51.0))
    });
    rated.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_from_tags_and_collections() {
        let texts = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(tag_value(&texts(&["8A - Energy 7"]), None), Some(7.0));
        assert_eq!(tag_value(&texts(&["none", "0.75"]), None), Some(0.75));
        assert_eq!(tag_value(&texts(&[".8"]), None), Some(0.8));
        assert_eq!(tag_value(&texts(&["No.8", "..8"]), None), Some(8.0));
        assert_eq!(
            tag_value(&texts(&["Sad; Happy"]), Some("happy")),
            Some(100.0)
        );
        assert_eq!(tag_value(&texts(&["Unhappy"]), Some("happy")), Some(0.0));
        assert_eq!(tag_value(&[], Some("happy")), None);
        let xml = "<COLLECTION><TRACK TrackID=\"1\" Rating=\"204\" Location=\"file://localhost/m/a%20&amp;%20b.mp3\"/>\
                   <TRACK Rating=\"0\" Location=\"file://localhost/m/c.mp3\"></TRACK></COLLECTION>";
        assert_eq!(rekordbox(xml), [(PathBuf::from("/m/a & b.mp3"), 4.0)]);
        let nml = "<ENTRY TITLE=\"x\"><LOCATION DIR=\"/:m/:n/:\" FILE=\"a.mp3\" VOLUME=\"d\"></LOCATION>\
                   <INFO GENRE=\"y\" RANKING=\"51\"></INFO></ENTRY><ENTRY><INFO RANKING=\"255\"></INFO></ENTRY>";
        assert_eq!(traktor(nml), [(PathBuf::from("/m/n/a.mp3"), 1.0)]);
        assert!(rekordbox("<TRACK Rating=\"204").is_empty());
    }

    #[test]
    fn any_unit_becomes_0_to_100() {
        let scaled = |values: &[f64]| {
            let raw = values.iter().enumerate();
            let raw = raw
                .map(|(id, value)| (TrackId(id as i64), *value))
                .collect();
            on_scale(raw).0.into_values().collect::<Vec<_>>()
        };
        assert_eq!(scaled(&[1.0, 10.0]), [10.0, 100.0]);
        assert_eq!(scaled(&[0.0, 0.5]), [0.0, 50.0]);
        assert_eq!(scaled(&[1.0, 4.0]), [20.0, 80.0]);
        assert_eq!(scaled(&[12.0, 80.0]), [12.0, 80.0]);
        assert_eq!(scaled(&[-50.0, 0.0, 150.0]), [0.0, 25.0, 100.0]);
    }
}
