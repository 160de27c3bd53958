//! Splits into training, validation and test parts, with every artist in one part.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::LabError;
use super::matrix::MatrixRow;
use crate::dataset::{Item, Part, read_cells};
use voisin_base::random::Random;
use voisin_base::text::{count, fold};
use voisin_learn::grouped_folds;

/// Each held-out part is a tenth of the tracks: one for testing, one for validation.
const TENTH: usize = 10;
/// Random splits tried; the one closest to the class distribution is used.
const ATTEMPTS: u64 = 32;

/// The warning for a split that keeps no artists together, or few.
///
/// - `how`: as [`Split::how`]
pub(super) fn at_random(rows: &[MatrixRow], how: &str) -> String {
    let is_known = |row: &&MatrixRow| row.item.artist.is_some();
    let known = rows.iter().filter(is_known).count();
    if how == "artist" {
        format!(
            "{known} of {} have an artist, whose tracks are kept together, the others are split at random: figures are too good if these share a maker",
            count(rows.len() as u64, "track")
        )
    } else if known > 0 {
        "tracks at random, artists unknown or ignored: figures may be too good (on music with known artists, random folds are 8 to 11 points too high)".to_owned()
    } else {
        "tracks at random, artists unknown: figures are too good if tracks share a maker, an instrument or a session (a column \"artist\" keeps those together, --split folder a folder's)".to_owned()
    }
}

/// Parts of all rows, and the groups that are kept together.
#[derive(Debug, Clone)]
pub struct Split {
    /// The part of each row; `None`: no part.
    pub parts: Vec<Option<Part>>,
    /// The group of each row; a group is in one part.
    pub groups: Vec<usize>,
    /// given, artist, album, folder, track, lists or table.
    pub how: String,
    /// A description, with a warning if figures may be too good.
    pub summary: String,
    /// Whether figures must be marked, since most artists may be on both sides.
    pub at_random: bool,
    /// The parts in lists or a table, by stem.
    pub(super) listed: HashMap<String, Part>,
}

impl Split {
    /// Rows of a part.
    pub fn rows(&self, part: Part) -> Vec<usize> {
        (0..self.parts.len())
            .filter(|&row| self.parts[row] == Some(part))
            .collect()
    }

    /// The part of an item in the data set, a list or a table; `None` if it is not in them.
    fn named_part(&self, item: &Item) -> Option<Part> {
        match self.how.as_str() {
            "given" => item.part,
            _ => self.listed.get(&stem(&item.key)).copied(),
        }
    }

    /// The number of failed items that would be among some rows: for each named part, and for items
    /// without one, its failed items times the share of its rows that are among them.
    ///
    /// - `rows`: all rows; `among`: the indices of some
    pub(super) fn failures_among(
        &self,
        rows: &[MatrixRow],
        among: &[usize],
        failed: &[&Item],
    ) -> usize {
        let named = Part::ALL.map(Some);
        let parts = named.into_iter().chain([None]);
        let expected = parts.map(|part| {
            let is_of_part = |item: &Item| self.named_part(item) == part;
            let all = rows.iter().filter(|row| is_of_part(&row.item)).count();
            let held = among
                .iter()
                .filter(|&&row| is_of_part(&rows[row].item))
                .count();
            let failed = failed.iter().filter(|item| is_of_part(item)).count();
            // In proportion, rounded down, since their parts are not known.
            failed * held / all.max(1)
        });
        expected.sum()
    }
}

/// Splits rows into parts.
///
/// - `how`: auto, given, artist, album, folder, track, lists:DIR, or a CSV file; `class_of`: the class of each row
pub fn split_rows(
    rows: &[MatrixRow],
    class_of: &[usize],
    classes: usize,
    how: &str,
    seed: u64,
) -> Result<Split, LabError> {
    let has =
        // with a tag that most tracks lack, most groups would have one track
        |value: fn(&MatrixRow) -> bool| rows.iter().filter(|row| value(row)).count() * 2 > rows.len();
    let is_given = rows.iter().all(|row| row.item.part.is_some());
    let has_pieces = are_pieces(rows, class_of);
    let has_artists = has(|row| row.item.artist.is_some());
    // The best grouping that the data allow: artists, albums, recordings, then the few known artists.
    let best = if has_artists {
        "artist"
    } else if has(|row| row.item.album.is_some()) {
        "album"
    } else if has_pieces {
        "recording"
    } else if rows.iter().any(|row| row.item.artist.is_some()) {
        "artist"
    } else {
        "track"
    };
    // A split of the data set takes precedence.
    let chosen = match how {
        "auto" if is_given => "given",
        "auto" => best,
        other => other,
    };
    // A given split needs groups too, for the folds of its training rows.
    let by = match chosen {
        "artist" | "album" | "folder" | "track" => chosen,
        _ => best,
    };
    let groups = groups(rows, by);
    let mut split = Split {
        parts: vec![None; rows.len()],
        groups,
        how: chosen.to_owned(),
        summary: String::new(),
        at_random: matches!(by, "track" | "recording") || by == "artist" && !has_artists,
        listed: HashMap::new(),
    };
    match chosen {
        "given" => {
            if let Some(row) = rows.iter().find(|row| row.item.part.is_none()) {
                let key = &row.item.key;
                let text = format!(
                    "--split given: expected a part for each track, found none for {key}; use --split artist"
                );
                return Err(LabError::Options(text));
            }
            split.parts = rows.iter().map(|row| row.item.part).collect();
        }
        "artist" | "album" | "folder" | "recording" | "track" => {
            hold_out_tenths(&mut split, class_of, classes, seed)?;
        }
        _ => {
            let parts = match chosen.strip_prefix("lists:") {
                Some(folder) => of_lists(Path::new(folder))?,
                None => of_table(Path::new(chosen))?,
            };
            if chosen.starts_with("lists:") {
                "lists"
            } else {
                "table"
            }
            .clone_into(&mut split.how);
            split.parts = rows
                .iter()
                .map(|row| parts.get(&stem(&row.item.key)).copied())
                .collect();
            split.listed = parts;
            if split.parts.iter().all(Option::is_none) {
                return Err(LabError::Options(format!(
                    "--split {chosen}: expected tracks of the data set, found none"
                )));
            }
        }
    }
    if split.rows(Part::Training).is_empty() {
        return Err(LabError::Options(format!(
            "--split {chosen}: expected tracks for training, found none"
        )));
    }
    // Given splits often have no validation part.
    fill_validation(&mut split, class_of, classes, seed);
    split.summary = sentence(&split, by, rows);
    if has_pieces && by == "track" {
        split.summary += "; names that differ only in their last number look like pieces of one recording, and are on several sides";
    } else if by == "recording" {
        split.summary += "; names that differ only in their last number are treated as pieces of one recording, and stay together";
    }
    Ok(split)
}

fn sentence(split: &Split, by: &str, rows: &[MatrixRow]) -> String {
    let sizes = Part::ALL.map(|part| split.rows(part).len());
    let numbers = format!("{} / {} / {}", sizes[0], sizes[1], sizes[2]);
    // lists and tables may name only some of the tracks
    let left = split.parts.iter().filter(|part| part.is_none()).count();
    let left = if left > 0 {
        format!(", {} in no part", count(left as u64, "track"))
    } else {
        String::new()
    };
    let how = match split.how.as_str() {
        "given" => "split by the data set".to_owned(),
        "lists" | "table" => format!("split by {}", split.how),
        how => format!("split by {how}"),
    };
    if split.at_random {
        return format!("{how}: {numbers}{left}; {}", at_random(rows, &split.how));
    }
    let mut sides: HashMap<usize, Part> = HashMap::new();
    let mut both = BTreeSet::new();
    for (part, &group) in split.parts.iter().zip(&split.groups) {
        if let Some(part) = part
            && *sides.entry(group).or_insert(*part) != *part
        {
            both.insert(group);
        }
    }
    // a part of mostly one artist would measure that artist
    let largest = Part::ALL.map(|part| {
        let rows = split.rows(part);
        let mut sizes = HashMap::<usize, usize>::new();
        rows.iter()
            .for_each(|&row| *sizes.entry(split.groups[row]).or_default() += 1);
        let most = sizes.into_values().max().unwrap_or(0);
        format!("{:.0}", 100.0 * most as f64 / rows.len().max(1) as f64)
    });
    format!(
        "{how}: {numbers}{left}; {} on two sides; the largest {by} has {} % of them",
        count(both.len() as u64, by),
        largest.join(" / ")
    )
}

/// The name of a recording and the number of its piece in a key like `blues.00000.7.wav`.
fn recording(key: &str) -> Option<(&str, u32)> {
    // An extension of digits is the number of a piece.
    let stem = key
        .rsplit_once('.')
        .filter(|(_, ending)| ending.parse::<u32>().is_err());
    let stem = stem.map_or(key, |(stem, _)| stem);
    let name = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = stem[name.len()..].parse().ok()?;
    let name = name.strip_suffix(['.', '_', '-', ' '])?;
    (!name.is_empty() && !name.ends_with('/')).then_some((name, number))
}

/// Whether most names are those of pieces of recordings: several differ only in their number, all
/// of one class that has other names too. Recordings numbered through a class are no pieces.
fn are_pieces(rows: &[MatrixRow], class_of: &[usize]) -> bool {
    let mut found: HashMap<&str, (usize, BTreeSet<u32>, usize)> = HashMap::new();
    let mut rows_of_class: HashMap<usize, usize> = HashMap::new();
    for (row, &class) in rows.iter().zip(class_of) {
        *rows_of_class.entry(class).or_default() += 1;
        if let Some((name, number)) = recording(&row.item.key) {
            let (first, numbers, same) = found.entry(name).or_insert((class, BTreeSet::new(), 0));
            // The same number again is a copy, not another piece.
            if *first == class && numbers.insert(number) {
                *same += 1;
            }
        }
    }
    // A name with one number is not evidence of pieces.
    found.retain(|_, (_, _, pieces)| *pieces > 1);
    let pieces: usize = found.values().map(|(_, _, pieces)| pieces).sum();
    let is_part = |(class, _, pieces): &(usize, BTreeSet<u32>, usize)| {
        // A recording with more than half of its class is the class, numbered through.
        2 * pieces <= rows_of_class.get(class).copied().unwrap_or_default()
    };
    2 * pieces > rows.len() && found.values().all(is_part)
}

/// A number for each artist, album, folder or recording in pieces; rows without one share a number
/// with those of the same audio, features or key, or have another.
pub fn groups(rows: &[MatrixRow], by: &str) -> Vec<usize> {
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut contents: HashMap<voisin_base::track::ContentId, usize> = HashMap::new();
    rows.iter()
        .map(|row| {
            let item = &row.item;
            let folder = || {
                let path = item
                    .path
                    .clone()
                    .unwrap_or_else(|| PathBuf::from(&item.key));
                path.parent()
                    .map(|parent| parent.to_string_lossy().into_owned())
            };
            let name = match by {
                "artist" => item.artist.as_deref().map(fold),
                "album" => item.album.as_deref().map(fold),
                "folder" => folder(),
                "recording" => recording(&item.key).map(|(name, _)| name.to_owned()),
                _ => None,
            };
            let next = numbers.len();
            // Copies must not be in two parts, even if nothing else groups tracks.
            if name.is_none()
                && let Some(&same) = row
                    .content
                    .as_ref()
                    .and_then(|content| contents.get(content))
            {
                return same;
            }
            // NUL distinguishes keys of tracks without a name from names.
            let name = name.unwrap_or_else(|| format!("\0{}", item.key));
            let number = *numbers.entry(name).or_insert(next);
            if let Some(content) = row.content {
                contents.entry(content).or_insert(number);
            }
            number
        })
        .collect()
}

/// A tenth for testing, a tenth for validation, the others for training.
fn hold_out_tenths(
    split: &mut Split,
    class_of: &[usize],
    classes: usize,
    seed: u64,
) -> Result<(), LabError> {
    let known = split.groups.iter().collect::<BTreeSet<_>>().len();
    if known < 3 {
        let (what, next) = match split.how.as_str() {
            "track" => ("track", "add tracks"),
            how => (how, "use --split track, which marks the figures"),
        };
        return Err(LabError::Options(format!(
            "--split {what}: found {}, three parts need at least 3; {next}",
            count(known as u64, what)
        )));
    }
    // Both parts at once, so that neither takes the groups that the other needs.
    let part_of = hold_out(class_of, classes, &split.groups, 2, TENTH, seed);
    let parts = [Part::Training, Part::Test, Part::Validation];
    split.parts = part_of.into_iter().map(|part| Some(parts[part])).collect();
    Ok(())
}

/// Takes a tenth of the training rows for validation if a split has no validation part.
fn fill_validation(split: &mut Split, class_of: &[usize], classes: usize, seed: u64) {
    if !split.rows(Part::Validation).is_empty() {
        return;
    }
    let rows = split.rows(Part::Training);
    let (labels, groups): (Vec<usize>, Vec<usize>) = rows
        .iter()
        .map(|&row| (class_of[row], split.groups[row]))
        .unzip();
    let part_of = hold_out(&labels, classes, &groups, 1, TENTH, seed);
    // If all groups would be held out, the split stays without validation.
    if part_of.contains(&0) {
        for (row, _) in rows.iter().zip(part_of).filter(|(_, part)| *part > 0) {
            split.parts[*row] = Some(Part::Validation);
        }
    }
}

/// Chooses held-out parts, groups whole: of many random splits, the one closest to the full class
/// distribution and number of groups. Groups larger than half a part stay in training, unless a
/// class has no others.
///
/// - `parts`: number of parts; `share`: each has 1 / `share` of the rows
/// - returns: the part of each row, from 1; 0: none
pub(super) fn hold_out(
    class_of: &[usize],
    classes: usize,
    groups: &[usize],
    parts: usize,
    share: usize,
    seed: u64,
) -> Vec<usize> {
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    let mut of_class = vec![BTreeSet::new(); classes];
    let mut rows_of_class = vec![0.0; classes];
    for (&class, &group) in class_of.iter().zip(groups) {
        *sizes.entry(group).or_default() += 1;
        of_class[class].insert(group);
        rows_of_class[class] += 1.0;
    }
    let is_small = |group: &usize| sizes[group] * 2 * share <= groups.len();
    let mut small: BTreeSet<usize> = sizes.keys().copied().filter(is_small).collect();
    for class_groups in &of_class {
        let mut class_groups: Vec<usize> = class_groups.iter().copied().collect();
        // Before the stable sort, so that groups of one size are in random order.
        Random::new(seed).shuffle(&mut class_groups);
        class_groups.sort_by_key(|group| sizes[group]);
        // at least one group of every class stays in training
        let most = parts.min(class_groups.len().saturating_sub(1));
        small.extend(class_groups.into_iter().take(most));
    }
    // too few small groups to fill the parts: any group may be held out
    if small.len() < parts {
        small = sizes.keys().copied().collect();
    }
    let rows: Vec<usize> = (0..groups.len())
        .filter(|&row| small.contains(&groups[row]))
        .collect();
    let labels: Vec<Vec<usize>> = rows.iter().map(|&row| vec![class_of[row]]).collect();
    let own_groups: Vec<usize> = rows.iter().map(|&row| groups[row]).collect();
    // only small groups are divided, but a fold should have its share of all rows
    let folds = (rows.len() * share / groups.len().max(1)).max(parts);
    let mut best: Option<(f64, Vec<usize>)> = None;
    for attempt in 0..ATTEMPTS {
        // Different seeds have no attempt in common.
        let seed = seed.wrapping_mul(ATTEMPTS).wrapping_add(attempt);
        let fold_of = grouped_folds(&labels, classes, &own_groups, folds, seed);
        let mut in_fold = vec![vec![(0.0, BTreeSet::new()); classes]; folds];
        for (&row, &fold) in rows.iter().zip(&fold_of) {
            let found = &mut in_fold[fold][class_of[row]];
            found.0 += 1.0;
            found.1.insert(groups[row]);
        }
        let unevenness = |fold: usize| -> f64 {
            let deviation = |class: usize| {
                let (found, found_groups) = &in_fold[fold][class];
                let wanted = rows_of_class[class] / share as f64;
                let wanted_groups = of_class[class].len() as f64 / share as f64;
                // A part of few groups would measure these artists; more groups are no problem.
                let too_few = (wanted_groups - found_groups.len() as f64).max(0.0);
                (found - wanted).powi(2) / wanted + too_few.powi(2) / wanted_groups
            };
            (0..classes)
                .filter(|&class| rows_of_class[class] > 0.0)
                .map(deviation)
                .sum()
        };
        let mut order: Vec<(f64, usize)> = (0..folds)
            // With large groups some folds stay empty.
            .filter(|fold| fold_of.contains(fold))
            .map(|fold| (unevenness(fold), fold))
            .collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        order.truncate(parts);
        // a class that is entirely held out could not be predicted: worse than any uneven split
        let untaught = (0..classes).filter(|&class| {
            let held: f64 = order.iter().map(|(_, fold)| in_fold[*fold][class].0).sum();
            held > 0.0 && held >= rows_of_class[class]
        });
        let worst = classes as f64 * groups.len() as f64;
        let cost =
            order.iter().map(|(cost, _)| cost).sum::<f64>() + worst * untaught.count() as f64;
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            let mut held = vec![0; groups.len()];
            for (&row, fold) in rows.iter().zip(&fold_of) {
                held[row] = order
                    .iter()
                    .position(|(_, taken)| taken == fold)
                    .map_or(0, |at| at + 1);
            }
            best = Some((cost, held));
        }
    }
    best.map_or_else(Vec::new, |(_, held)| held)
}

/// The name of a file without folder and extension, in which lists and copies often differ.
fn stem(name: &str) -> String {
    let name = name.replace('\\', "/");
    let name = name.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.')
        .filter(|(stem, _)| !stem.is_empty())
        .map_or(name, |(stem, _)| stem)
        .to_owned()
}

/// Files whose names begin with train, valid and test, a path on each line.
fn of_lists(folder: &Path) -> Result<HashMap<String, Part>, LabError> {
    let mut parts = HashMap::new();
    let entries = std::fs::read_dir(folder).map_err(LabError::io(folder))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    // read_dir has no order, and if two lists name one track the last one counts
    files.sort();
    for file in files {
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_ascii_lowercase();
        let part = [
            ("train", Part::Training),
            ("valid", Part::Validation),
            ("test", Part::Test),
        ]
        .into_iter()
        .find(|(start, _)| name.starts_with(start));
        let Some((_, part)) = part else { continue };
        let text = voisin_base::regular_file::read(&file, 64 << 20).map_err(LabError::io(&file))?;
        for line in String::from_utf8_lossy(&text)
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            // By stem: published lists often have other folders and extensions than the files.
            parts.insert(stem(line), part);
        }
    }
    if parts.is_empty() {
        return Err(LabError::run(
            folder,
            "expected files called train…, valid… and test…, found none",
        ));
    }
    Ok(parts)
}

/// A CSV file with the columns path and split.
fn of_table(path: &Path) -> Result<HashMap<String, Part>, LabError> {
    if !path.is_file() {
        return Err(LabError::Options(format!(
            "--split {}: expected given, artist, album, folder, track, lists:FOLDER, or a CSV file that is there",
            path.display()
        )));
    }
    let cells = read_cells(path)?;
    let columns = (
        cells.column(&["path", "file", "titre", "title", "track", "id"]),
        cells.column(&["split"]),
    );
    let (Some(key), Some(part)) = columns else {
        let found = cells.header.join(", ");
        return Err(LabError::run(
            path,
            format!("expected the columns path and split, found {found}"),
        ));
    };
    cells
        .rows
        .iter()
        .map(|(line, row)| match Part::parse(&row[part]) {
            Some(part) => Ok((stem(&row[key]), part)),
            None => Err(LabError::run(
                path,
                format!(
                    "line {line}: expected training, validation or test, found {}",
                    row[part]
                ),
            )),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(artists: &[Option<&str>]) -> Vec<MatrixRow> {
        let item = |(at, artist): (usize, Option<&str>)| Item {
            key: format!("g/{at}.wav"),
            artist: artist.map(str::to_owned),
            ..Item::default()
        };
        let all = artists.iter().copied().enumerate().map(item);
        all.map(|item| MatrixRow {
            item,
            content: None,
            seconds: None,
        })
        .collect()
    }

    #[test]
    fn an_artist_is_on_one_side_and_every_part_has_tracks() {
        let names: Vec<String> = (0..120).map(|i| format!("Artist {}", i / 3)).collect();
        let artists: Vec<Option<&str>> = names.iter().map(|name| Some(name.as_str())).collect();
        let class_of: Vec<usize> = (0..120).map(|i| i / 3 % 4).collect();
        let split = split_rows(&rows(&artists), &class_of, 4, "auto", 3).unwrap();
        assert_eq!((split.how.as_str(), split.at_random), ("artist", false));
        assert_eq!(Part::ALL.map(|part| split.rows(part).len()), [96, 12, 12]);
        let end = "0 artists on two sides; the largest artist has 3 / 25 / 25 % of them";
        assert!(split.summary.ends_with(end), "{}", split.summary);
        for i in 0..120 {
            assert_eq!(split.parts[i], split.parts[i / 3 * 3]);
        }
        let unknown = split_rows(&rows(&[None; 40]), &class_of[..40], 4, "auto", 3).unwrap();
        assert!(
            unknown.at_random
                && unknown
                    .summary
                    .contains("figures are too good if tracks share a maker")
        );
    }

    #[test]
    fn the_few_artists_that_are_known_stay_together() {
        let names: Vec<String> = (0..40).map(|i| format!("Artist {}", i / 8)).collect();
        let few = |i: usize| (i < 16).then(|| names[i].as_str());
        let mut rows = rows(&(0..40).map(few).collect::<Vec<_>>());
        // A copy without tags of a track with tags.
        let content = Some(voisin_base::track::ContentId([1; 32]));
        rows[0].content = content;
        rows[39].content = content;
        let class_of: Vec<usize> = (0..40).map(|i| i % 2).collect();
        for how in ["auto", "artist"] {
            let split = split_rows(&rows, &class_of, 2, how, 3).unwrap();
            assert_eq!((split.how.as_str(), split.at_random), ("artist", true));
            let few = "16 of 40 tracks have an artist, whose tracks are kept together";
            assert!(split.summary.contains(few), "{}", split.summary);
            for i in 0..16 {
                assert_eq!(split.parts[i], split.parts[i / 8 * 8]);
            }
            assert_eq!(split.groups[39], split.groups[0]);
            let leak = crate::leak::find_overlaps(&rows, &split);
            assert!(leak.shared.iter().all(|shared| shared.artists.is_empty()));
        }
        let by_track = split_rows(&rows, &class_of, 2, "track", 3).unwrap();
        assert!(by_track.summary.contains("unknown or ignored"));
    }

    fn keyed(keys: impl Iterator<Item = String>) -> Vec<MatrixRow> {
        let row = |key| MatrixRow {
            item: Item {
                key,
                ..Item::default()
            },
            content: None,
            seconds: None,
        };
        keys.map(row).collect()
    }

    #[test]
    fn pieces_of_a_recording_stay_together() {
        let class_of: Vec<usize> = (0..240).map(|i| i / 60).collect();
        let name = |i: usize| ["blues", "disco", "metal", "rock"][i / 60];
        // A fifth of the pieces was left out.
        let pieces = (0..240).map(|i| format!("{}.{:05}.{}.wav", name(i), i % 60 / 6, i % 6));
        let split = split_rows(&keyed(pieces), &class_of, 4, "auto", 3).unwrap();
        assert_eq!((split.how.as_str(), split.at_random), ("recording", true));
        assert!(split.summary.contains("stay together"), "{}", split.summary);
        for i in 0..240 {
            assert_eq!(split.parts[i], split.parts[i / 6 * 6]);
        }
        // Numbered through each class, they are separate recordings.
        let numbered = (0..240).map(|i| format!("{0}/{0}.{1:05}.wav", name(i), i % 60));
        let split = split_rows(&keyed(numbered), &class_of, 4, "auto", 3).unwrap();
        assert_eq!(split.how, "track");
        let plain = (0..240).map(|i| format!("song {}", "x".repeat(i)));
        let split = split_rows(&keyed(plain), &class_of, 4, "auto", 3).unwrap();
        assert_eq!(split.how, "track");
    }

    #[test]
    fn pieces_that_are_split_at_random_get_a_note() {
        let class_of: Vec<usize> = (0..80).map(|i| i / 20).collect();
        let rows = keyed((0..80).map(|i| format!("{} take-{}", i / 4, i % 4)));
        let split = split_rows(&rows, &class_of, 4, "track", 3).unwrap();
        assert!(split.summary.contains("pieces of one"), "{}", split.summary);
    }

    #[test]
    fn held_out_parts_have_several_artists_and_depend_on_the_seed() {
        // two of four classes are mostly by one artist
        let size = |class: usize, artist: usize| if class < 2 && artist == 0 { 17 } else { 3 };
        let mut artists = Vec::new();
        let mut class_of = Vec::new();
        for class in 0..4 {
            for artist in 0..12 {
                for _ in 0..size(class, artist) {
                    artists.push(format!("{class} {artist}"));
                    class_of.push(class);
                }
            }
        }
        let artists: Vec<Option<&str>> = artists.iter().map(|name| Some(name.as_str())).collect();
        let rows = rows(&artists);
        let splits: Vec<Split> = (1..6)
            .map(|seed| split_rows(&rows, &class_of, 4, "auto", seed).unwrap())
            .collect();
        for split in &splits {
            for part in [Part::Validation, Part::Test] {
                let held = split.rows(part);
                for class in 0..4 {
                    let tracks = held.iter().filter(|&&row| class_of[row] == class).count();
                    assert!(
                        (3..=6).contains(&tracks),
                        "{class}: {tracks}, {}",
                        split.summary
                    );
                }
                let groups: BTreeSet<usize> = held.iter().map(|&row| split.groups[row]).collect();
                assert!(groups.len() >= 5, "{}", split.summary);
            }
        }
        assert!(splits.iter().any(|split| split.parts != splits[0].parts));
    }

    #[test]
    fn every_class_of_a_held_out_part_is_in_training_too() {
        let names = ["a", "a", "b", "b", "c", "c", "d", "d", "e", "e", "f", "f"].map(Some);
        let class_of = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2];
        let split = split_rows(&rows(&names), &class_of, 3, "auto", 1).unwrap();
        for class in 0..3 {
            assert!(
                split
                    .rows(Part::Training)
                    .iter()
                    .any(|&row| class_of[row] == class),
                "{}",
                split.summary
            );
        }
        assert!(!split.rows(Part::Test).is_empty() && !split.rows(Part::Validation).is_empty());
        let one_each = ["a", "b", "c"].map(Some);
        let folders = [0, 1, 2];
        let split = split_rows(&rows(&one_each), &folders, 3, "artist", 1).unwrap();
        assert_eq!(Part::ALL.map(|part| split.rows(part).len()), [1, 1, 1]);
    }

    #[test]
    fn failures_count_in_their_named_part() {
        let mut all = rows(&[None; 10]);
        for (at, row) in all.iter_mut().enumerate() {
            let part = if at < 5 { Part::Training } else { Part::Test };
            row.item.part = Some(part);
        }
        let item = |part| Item {
            part: Some(part),
            ..Item::default()
        };
        let failed = [Part::Test, Part::Test, Part::Test, Part::Training].map(item);
        let failed: Vec<&Item> = failed.iter().collect();
        let given = split_rows(&all, &[0; 10], 1, "given", 1).unwrap();
        let test = given.rows(Part::Test);
        assert_eq!(given.failures_among(&all, &test, &failed), 3);
        let training: Vec<usize> = (0..5).collect();
        assert_eq!(given.failures_among(&all, &training, &failed), 1);
        // Half of the rows, and half of the failures.
        let by_track = split_rows(&all, &[0; 10], 1, "track", 1).unwrap();
        assert_eq!(by_track.failures_among(&all, &training, &failed), 2);
    }

    #[test]
    fn lists_are_compared_by_stem() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("train_filtered.txt"), "g/0.au\ng/1.au\n").unwrap();
        std::fs::write(folder.path().join("valid_filtered.txt"), "2.wav\n").unwrap();
        std::fs::write(folder.path().join("test_filtered.txt"), "g/3\n").unwrap();
        let how = format!("lists:{}", folder.path().display());
        let split = split_rows(&rows(&[None; 5]), &[0, 1, 0, 1, 0], 2, &how, 1).unwrap();
        let [t, v, e] = Part::ALL.map(Some);
        assert_eq!(split.parts, [t, t, v, e, None]);
        let broken = Item {
            key: "other/3.mp3".to_owned(),
            ..Item::default()
        };
        assert_eq!(split.failures_among(&rows(&[None; 5]), &[3], &[&broken]), 1);
        assert!(
            split.summary.contains("2 / 1 / 1, 1 track in no part"),
            "{}",
            split.summary
        );
        assert!(
            split_rows(&rows(&[None; 5]), &[0; 5], 1, "nowhere", 1)
                .unwrap_err()
                .to_string()
                .contains("expected given")
        );
    }
}
