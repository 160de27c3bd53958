//! `voisin classify --write-tags`: writes predictions and measurements into the files themselves.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::Context as _;

use crate::cli::Ending;
use crate::cli::args::{ClassifyArgs, ListFormat};
use crate::cli::context::Context;
use crate::cli::render::safe::table_path;
use crate::cli::render::track::print_files;
use crate::cli::render::{self, count};
use voisin_audio::tags::{TagEdit, TagField, WriteOptions};
use voisin_base::table::{TableFault, TableText};
use voisin_base::track::TrackId;
use voisin_engine::{
    Engine, GenreAnswer, READY_MOODS, STRONG_MOOD, TagOutcome as Outcome, TagResult, TagWish,
    write_tags,
};
use voisin_explore::TrackMeta;
use voisin_library::scan::playlist::path_in_table;
use voisin_library::{Descriptors, Library, OpenMode, PathLookup};

fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Written => "written",
        Outcome::WouldWrite => "would_write",
        Outcome::Unchanged => "unchanged",
        Outcome::Kept => "kept",
        Outcome::Unknown => "unknown",
        Outcome::Failed => "failed",
    }
}

/// The scale that is written.
const ENERGY: &str = "energy";

/// The loudness that `ReplayGain` 2.0 brings all music to, LUFS.
const REFERENCE: f64 = -18.0;

/// Tags to write, from predictions and measurements: for the files that were named, or all files of tracks that were named by
/// number or words (or `--all`).
pub(crate) fn wishes(
    engine: &Engine,
    answers: &[GenreAnswer],
    fields: &[TagField],
) -> anyhow::Result<Vec<TagWish>> {
    let mut wishes = Vec::new();
    for answer in answers {
        let genres: Vec<String> = answer
            .genre()
            .map(|genre| genre.name().to_owned())
            .into_iter()
            .collect();
        let (others, lacking) = measured(engine, answer.track, fields)?;
        let reason = [vec![answer.summary()], lacking].concat().join("; ");
        for path in paths(engine, answer.track, answer.is_named_file, &answer.path)? {
            let genres = genres.clone();
            let others = others.clone();
            let reason = reason.clone();
            wishes.push(TagWish {
                path,
                genres,
                others,
                reason,
            });
        }
    }
    Ok(wishes)
}

/// A track as it was named.
pub(crate) struct TagTarget {
    pub(crate) track: Option<TrackId>,
    pub(crate) is_file: bool,
    pub(crate) path: PathBuf,
}

/// Tags to write from measurements, without genres.
pub(crate) fn wishes_of_tracks(
    engine: &Engine,
    tracks: &[TagTarget],
    fields: &[TagField],
) -> anyhow::Result<Vec<TagWish>> {
    let mut wishes = Vec::new();
    for named in tracks {
        let (others, lacking) = measured(engine, named.track, fields)?;
        let reason = if lacking.is_empty() {
            "as measured".to_owned()
        } else {
            lacking.join("; ")
        };
        for path in paths(engine, named.track, named.is_file, &named.path)? {
            let others = others.clone();
            let reason = reason.clone();
            wishes.push(TagWish {
                path,
                genres: Vec::new(),
                others,
                reason,
            });
        }
    }
    Ok(wishes)
}

fn paths(
    engine: &Engine,
    track: Option<TrackId>,
    is_named_file: bool,
    path: &Path,
) -> anyhow::Result<Vec<PathBuf>> {
    Ok(match track {
        Some(track) if !is_named_file => engine
            .library()
            .track(track)?
            .files
            .into_iter()
            .map(|file| file.record.path)
            .collect(),
        _ => vec![path.to_owned()],
    })
}

/// The tags besides the genre that can be written, and the reasons why others cannot.
fn measured(
    engine: &Engine,
    track: Option<TrackId>,
    fields: &[TagField],
) -> anyhow::Result<(Vec<TagEdit>, Vec<String>)> {
    let mut edits = Vec::new();
    let mut lacking = Vec::new();
    let others: Vec<TagField> = fields
        .iter()
        .copied()
        .filter(|&field| field != TagField::Genre)
        .collect();
    let Some(track) = track else {
        if !others.is_empty() {
            lacking.push(
                "not in the library, so nothing is measured: run \"voisin add\" first".into(),
            );
        }
        return Ok((edits, lacking));
    };
    let known = engine
        .library()
        .derived()
        .descriptors(&[track])?
        .remove(&track);
    for field in others {
        match texts_of(field, known.as_ref()) {
            Ok(values) => edits.push(TagEdit { field, values }),
            Err(why) => lacking.push(why.to_owned()),
        }
    }
    Ok((edits, lacking))
}

/// A tag's new texts, or the reason why there are none.
fn texts_of(field: TagField, known: Option<&Descriptors>) -> Result<Vec<String>, &'static str> {
    let known =
        known.ok_or("not measured yet: run \"voisin add --update-descriptors\" on its folder")?;
    if field == TagField::Mood {
        return moods(known);
    }
    let text = match field {
        TagField::Genre => Err("a genre is not measured"),
        TagField::Bpm => known
            .tempo
            .map(|tempo| format!("{tempo:.0}"))
            .ok_or("no beat was found"),
        TagField::Key => known
            .key
            .map(|key| key.name().to_owned())
            .ok_or("no key was found"),
        TagField::ReplayGain => match known.loudness {
            // Not an estimate, as players set the volume by it.
            Some(loudness) if known.loudness_is_exact => {
                Ok(format!("{:.2} dB", REFERENCE - loudness))
            }
            Some(_) => Err(
                "its loudness is an estimate: run \"voisin add --update-descriptors --descriptors full\" on its folder",
            ),
            None => Err("no loudness was measured"),
        },
        // Mixed In Key's levels.
        TagField::Energy => ENERGY
            .parse()
            .ok()
            .and_then(|name| known.scales.get(&name))
            // Scales are from 0 to 100.
            .map(|energy| format!("{:.0}", (energy.value / 10.0).clamp(1.0, 10.0)))
            .ok_or("no energy was measured"),
        TagField::Mood => Err("several moods may fit"),
    };
    text.map(|text| vec![text])
}

/// The moods that a track has more of than most music, the strongest first.
fn moods(known: &Descriptors) -> Result<Vec<String>, &'static str> {
    let mut found: Vec<(&str, f64)> = READY_MOODS
        .iter()
        .filter_map(|mood| {
            let value = known.scales.get(&mood.name.parse().ok()?)?;
            Some((mood.name, value.value))
        })
        .collect();
    if found.is_empty() {
        return Err("no moods are measured: run \"voisin add --update-descriptors\" on its folder");
    }
    found.retain(|(_, value)| *value >= STRONG_MOOD);
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    if found.is_empty() {
        return Err("no mood stands out");
    }
    Ok(found.into_iter().map(|(name, _)| name.to_owned()).collect())
}

/// Tags to write from a table with the columns path and genre, or suggested without a genre.
pub(crate) fn wishes_of_list(library: &Library, list: &Path) -> anyhow::Result<Vec<TagWish>> {
    let table = TableText::read(list).with_context(|| format!("cannot read {}", list.display()))?;
    let fault =
        |(line, fault): TableFault| anyhow::anyhow!("{}, line {line}: {fault}", list.display());
    let (header, rows) = table.even_rows().map_err(fault)?;
    let find = |name: &str| {
        header
            .iter()
            .position(|column| column.eq_ignore_ascii_case(name))
    };
    let (Some(path), Some(genre)) = (find("path"), find("genre").or_else(|| find("suggested")))
    else {
        let found = header.join(",");
        anyhow::bail!(
            "{}: expected the columns path and genre (or suggested), found {found}",
            list.display()
        );
    };
    let mut wishes = Vec::new();
    let mut lookup = PathLookup::new(library);
    for (line, cells) in rows {
        // A quote that was never closed may extend to a later cell.
        if cells[genre].contains('\n') {
            let problem = "expected genres on one line: is a quote closed?".to_owned();
            return Err(fault((line, problem)));
        }
        let genres = cells[genre]
            .split(';')
            .map(str::trim)
            .filter(|genre| !genre.is_empty());
        let named = path_in_table(&cells[path]);
        // A file need not be in the library.
        let meant = if named.exists() {
            None
        } else {
            lookup.file(&named)?
        };
        wishes.push(TagWish {
            path: meant.unwrap_or(named),
            genres: genres.map(str::to_owned).collect(),
            others: Vec::new(),
            reason: format!("from {}", list.display()),
        });
    }
    Ok(wishes)
}

/// One wish for each file, even if several paths name it: the one whose genres it would have at the end.
fn one_for_each_file(wishes: Vec<TagWish>, overwrite: bool) -> Vec<TagWish> {
    let mut places = HashMap::new();
    let mut kept: Vec<TagWish> = Vec::new();
    for wish in wishes {
        let file = wish.path.canonicalize();
        let file = file.unwrap_or_else(|_| wish.path.clone());
        let at = *places.entry(file).or_insert(kept.len());
        match kept.get_mut(at) {
            None => kept.push(wish),
            Some(former) if wish.genres.is_empty() || !overwrite && !former.genres.is_empty() => {}
            Some(former) => *former = wish,
        }
    }
    kept
}

/// Writes tags into files, each once, and stores the former ones.
pub(crate) fn run(
    context: &Context,
    library: &mut Library,
    wishes: Vec<TagWish>,
    args: &ClassifyArgs,
) -> anyhow::Result<Ending> {
    let wishes = &one_for_each_file(wishes, args.write.overwrite)[..];
    let stop = context.stop_on_ctrl_c()?;
    let options = WriteOptions {
        overwrite: args.write.overwrite,
        keep_mtime: args.write.keep_times,
        dry_run: args.write.dry_run,
    };
    if !options.dry_run && library.mode() == OpenMode::ReadOnly {
        anyhow::bail!(
            "the library in {} cannot be written, so the former tags cannot be stored for \"voisin undo\"",
            library.dir().display()
        );
    }
    let (mut done, mut changed): (Vec<TagResult>, Vec<PathBuf>) = Default::default();
    let mut is_interrupted = false;
    let run = write_tags(
        library,
        wishes,
        options,
        None,
        |file| -> anyhow::Result<bool> {
            if args.output.format == ListFormat::Table {
                show(&file)?;
            }
            // One call for each wish, in their order.
            let wish = &wishes[done.len()];
            if matches!(file.outcome, Outcome::Written | Outcome::WouldWrite) {
                changed.push(wish.path.clone());
            }
            done.push(file);
            // After the last file there is nothing left to interrupt.
            is_interrupted = stop.load(Ordering::Relaxed) && done.len() < wishes.len();
            if is_interrupted {
                context.console.warn(
                    "interrupted: the files listed so far are done, the others are unchanged",
                );
            }
            Ok(!is_interrupted)
        },
    )?;
    match args.output.format {
        ListFormat::Table => {}
        ListFormat::Json => render::print_json(&done)?,
        ListFormat::Csv => render::print_csv(
            ["path", "outcome", "before", "after", "tags", "reason"],
            done.iter().zip(wishes).map(|(file, wish)| {
                let tags = file.tags.iter().map(|tag| {
                    let before = tag.before.as_deref();
                    let after = tag.after.as_deref();
                    format!(
                        "{}: {} > {}",
                        tag.tag,
                        before.unwrap_or("-"),
                        after.unwrap_or("-")
                    )
                });
                [
                    table_path(&wish.path),
                    name(file.outcome).to_owned(),
                    file.before.join("; "),
                    file.after.join("; "),
                    tags.collect::<Vec<_>>().join("; "),
                    file.reason.clone(),
                ]
            }),
        )?,
        // For players: the files that have changed, so that these can be read again.
        ListFormat::M3u8 | ListFormat::Paths => {
            let metas: Vec<TrackMeta> = changed
                .iter()
                .map(|path| TrackMeta::of_file(TrackId(0), path))
                .collect();
            print_files(
                &metas.iter().collect::<Vec<_>>(),
                "voisin classify",
                &args.output,
            )?;
        }
    }
    let count_of =
        |outcome: Outcome| done.iter().filter(|file| file.outcome == outcome).count() as u64;
    let (verb, written) = if options.dry_run {
        ("would be written", count_of(Outcome::WouldWrite))
    } else {
        ("written", count_of(Outcome::Written))
    };
    let mut parts = vec![format!("{} {verb}", count(written, "file"))];
    let kept = count_of(Outcome::Kept);
    let writes_genre = args.write.writes(TagField::Genre);
    let keeps_genre = writes_genre && !options.overwrite;
    let is_tagged = |file: &&TagResult| {
        keeps_genre && file.outcome == Outcome::Unknown && !file.before.is_empty()
    };
    let tagged = done.iter().filter(is_tagged).count() as u64;
    for (files, text) in [
        (kept, "keep their tags (--overwrite replaces them)"),
        (count_of(Outcome::Unchanged), "had this already"),
        (tagged, "with a genre already"),
        (
            count_of(Outcome::Unknown) - tagged,
            if writes_genre {
                "left alone, as their genre is unknown (a lower --precision writes more)"
            } else {
                "left alone, without anything to write (--format json has the reasons)"
            },
        ),
        (count_of(Outcome::Failed), "failed"),
    ] {
        if files > 0 {
            parts.push(format!("{files} {text}"));
        }
    }
    context.console.note(&parts.join(", "));
    if count_of(Outcome::Written) > 0 {
        context
            .console
            .note(&format!("\"voisin undo {run}\" undoes this"));
        context
            .console
            .note("run \"voisin add\" on their folders to update the library's tags");
    }
    Ok(if is_interrupted {
        Ending::Interrupted
    } else if count_of(Outcome::Failed) > 0 {
        Ending::Partial
    } else {
        Ending::Fine
    })
}

/// Prints a change as a diff; nothing for a file that is unchanged.
fn show(file: &TagResult) -> anyhow::Result<()> {
    match file.outcome {
        Outcome::Written | Outcome::WouldWrite => {
            let tags = file
                .tags
                .iter()
                .map(|tag| (tag.tag, &tag.before, &tag.after));
            diff(&file.path, (&file.before, &file.after), tags)?;
            line(&format!("  {}", file.reason))
        }
        Outcome::Failed => {
            render::print_error(&anyhow::anyhow!("{}", file.reason));
            Ok(())
        }
        Outcome::Unchanged | Outcome::Kept | Outcome::Unknown => Ok(()),
    }
}

fn line(text: &str) -> anyhow::Result<()> {
    render::print_line(&render::one_line(text))
}

/// Prints the tags of a file before and after that differ.
pub(super) fn diff<'a>(
    path: &str,
    genres: (&[String], &[String]),
    tags: impl Iterator<Item = (&'a str, &'a Option<String>, &'a Option<String>)>,
) -> anyhow::Result<()> {
    let joined = |genres: &[String]| (!genres.is_empty()).then(|| genres.join("; "));
    line(path)?;
    change(
        "genre",
        joined(genres.0).as_ref(),
        joined(genres.1).as_ref(),
    )?;
    for (name, before, after) in tags {
        change(name, before.as_ref(), after.as_ref())?;
    }
    Ok(())
}

fn change(name: &str, before: Option<&String>, after: Option<&String>) -> anyhow::Result<()> {
    let lines = [('-', before), ('+', after)]
        .into_iter()
        .filter(|_| before != after);
    for (mark, value) in lines {
        if let Some(value) = value {
            line(&format!("{mark} {name}: {value}"))?;
        }
    }
    Ok(())
}
