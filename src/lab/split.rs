//! Splits into training, validation and test parts, with every artist in one part.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::LabError;
use super::matrix::MatrixRow;
use crate::dataset::{KEYS, Part, read_cells};
use voisin_base::text::{count, fold};
use voisin_base::track::ContentId;
use voisin_genre::grouped_folds;

/// Each held-out part is one of ten folds: one for testing, one for validation.
const TENTH: usize = 10;

/// The warning for a split that keeps no artists together, or few.
///
/// - `how`: as [`Split::how`]
pub(super) fn at_random(rows: &[MatrixRow], how: &str) -> String {
    let known = rows.iter().filter(|row| row.item.artist.is_some()).count();
    if how == "artist" {
        let all = count(rows.len() as u64, "track");
        return format!(
            "{known} of {all} have an artist, whose tracks are kept together, the others are split at random: figures are too good if these share a maker"
        );
    }
    "tracks at random, artists unknown or ignored: figures are too good if tracks share a maker, an instrument or a session (a column \"artist\" keeps those together, --split folder a folder's)".to_owned()
}

/// Parts of all rows, and the groups that are kept together.
#[derive(Debug, Clone)]
pub struct Split {
    pub parts: Vec<Option<Part>>,
    /// The group of each row; a group is in one part.
    pub groups: Vec<usize>,
    /// given, artist, folder, track or table.
    pub how: String,
    /// A description, with a warning if figures may be too good.
    pub summary: String,
    /// Whether figures must be marked, since most artists may be on both sides.
    pub at_random: bool,
}

impl Split {
    pub fn rows(&self, part: Part) -> Vec<usize> {
        (0..self.parts.len())
            .filter(|&row| self.parts[row] == Some(part))
            .collect()
    }
}

/// Splits rows into parts.
///
/// - `how`: auto, given, artist, folder, track, or a CSV file; `class_of`: the class of each row
pub fn split_rows(
    rows: &[MatrixRow],
    class_of: &[usize],
    classes: usize,
    how: &str,
    seed: u64,
) -> Result<Split, LabError> {
    let is_given = rows.iter().all(|row| row.item.part.is_some());
    let named = rows.iter().filter(|row| row.item.artist.is_some()).count();
    // The best grouping that the data allow.
    let best = if named > 0 { "artist" } else { "track" };
    // A split of the data set takes precedence.
    let chosen = match how {
        "auto" if is_given => "given",
        "auto" => best,
        other => other,
    };
    // A given split needs groups too, for the folds of its training rows.
    let by = match chosen {
        "artist" | "folder" | "track" => chosen,
        _ => best,
    };
    let mut split = Split {
        parts: vec![None; rows.len()],
        groups: groups(rows, by),
        how: chosen.to_owned(),
        summary: String::new(),
        // With an artist that most tracks lack, most groups have one track.
        at_random: by == "track" || by == "artist" && named * 2 <= rows.len(),
    };
    match chosen {
        "given" => {
            if let Some(row) = rows.iter().find(|row| row.item.part.is_none()) {
                return Err(LabError::Options(format!(
                    "--split given: expected a part for each track, found none for {}; use --split artist",
                    row.item.key
                )));
            }
            split.parts = rows.iter().map(|row| row.item.part).collect();
        }
        "artist" | "folder" | "track" => hold_out_tenths(&mut split, class_of, classes, seed)?,
        table => {
            let parts = of_table(Path::new(table))?;
            "table".clone_into(&mut split.how);
            let part = |row: &MatrixRow| parts.get(&stem(&row.item.key)).copied();
            split.parts = rows.iter().map(part).collect();
            if split.parts.iter().all(Option::is_none) {
                return Err(LabError::Options(format!(
                    "--split {table}: expected tracks of the data set, found none"
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
    Ok(split)
}

fn sentence(split: &Split, by: &str, rows: &[MatrixRow]) -> String {
    let [training, validation, test] = Part::ALL.map(|part| split.rows(part).len());
    // a table may name only some of the tracks
    let left = split.parts.iter().filter(|part| part.is_none()).count();
    let left = if left > 0 {
        format!(", {} in no part", count(left as u64, "track"))
    } else {
        String::new()
    };
    let how = match split.how.as_str() {
        "given" => "the data set",
        how => how,
    };
    let note = if split.at_random {
        at_random(rows, &split.how)
    } else {
        let mut sides: HashMap<usize, BTreeSet<Part>> = HashMap::new();
        for (part, &group) in split.parts.iter().zip(&split.groups) {
            sides.entry(group).or_default().extend(*part);
        }
        let both = sides.values().filter(|parts| parts.len() > 1).count();
        format!("{} on two sides", count(both as u64, by))
    };
    format!("split by {how}: {training} / {validation} / {test}{left}; {note}")
}

/// A number for each artist or folder; rows without one share a number with those of the same
/// audio or key, or have another.
fn groups(rows: &[MatrixRow], by: &str) -> Vec<usize> {
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut contents: HashMap<ContentId, usize> = HashMap::new();
    let number = |row: &MatrixRow| {
        let item = &row.item;
        let path = item.path.as_deref().unwrap_or(Path::new(&item.key));
        let folder = path.parent().map(Path::to_string_lossy);
        let name = match by {
            "artist" => item.artist.as_deref().map(fold),
            "folder" => folder.map(Cow::into_owned),
            _ => None,
        };
        // Copies must not be in two parts, even if nothing else groups tracks.
        let copy = row.content.and_then(|content| contents.get(&content));
        if let (None, Some(&same)) = (&name, copy) {
            return same;
        }
        let next = numbers.len();
        // NUL distinguishes keys of tracks without a name from names.
        let name = name.unwrap_or_else(|| format!("\0{}", item.key));
        let number = *numbers.entry(name).or_insert(next);
        if let Some(content) = row.content {
            contents.entry(content).or_insert(number);
        }
        number
    };
    rows.iter().map(number).collect()
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
    let known = rows.iter().map(|&row| (class_of[row], split.groups[row]));
    let (labels, groups): (Vec<usize>, Vec<usize>) = known.unzip();
    let part_of = hold_out(&labels, classes, &groups, 1, TENTH, seed);
    // If all groups would be held out, the split stays without validation.
    if part_of.contains(&0) {
        for (row, _) in rows.iter().zip(part_of).filter(|(_, part)| *part > 0) {
            split.parts[*row] = Some(Part::Validation);
        }
    }
}

/// Holds out folds, groups whole.
///
/// - `parts`: number of held-out parts, a fold each; `folds`: of all rows
/// - returns: the part of each row, from 1; 0: none
pub(super) fn hold_out(
    class_of: &[usize],
    classes: usize,
    groups: &[usize],
    parts: usize,
    folds: usize,
    seed: u64,
) -> Vec<usize> {
    let known: BTreeSet<usize> = groups.iter().copied().collect();
    let labels: Vec<Vec<usize>> = class_of.iter().map(|&class| vec![class]).collect();
    let folds = folds.min(known.len()).max(1);
    let fold_of = grouped_folds(&labels, classes, groups, folds, seed);
    // The last folds, as the largest groups are in the first.
    let part = |fold: usize| (fold + 1 + parts).saturating_sub(folds).min(parts);
    let mut held: Vec<usize> = fold_of.into_iter().map(part).collect();
    let all = 0..groups.len();
    // A class of several groups that would be held out entirely could not be predicted.
    for class in 0..classes {
        let rows = all.clone().filter(|&row| class_of[row] == class);
        let rows: Vec<usize> = rows.collect();
        let Some(&first) = rows.first() else { continue };
        let has_others = rows.iter().any(|&row| groups[row] != groups[first]);
        if has_others && rows.iter().all(|&row| held[row] > 0) {
            let kept = all.clone().filter(|&row| groups[row] == groups[first]);
            kept.for_each(|row| held[row] = 0);
        }
    }
    held
}

/// The name of a file without folder and extension, in which tables often differ.
fn stem(name: &str) -> String {
    let name = name.replace('\\', "/");
    let name = name.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.')
        .filter(|(stem, _)| !stem.is_empty())
        .map_or(name, |(stem, _)| stem)
        .to_owned()
}

/// A CSV file with the columns path and split.
fn of_table(path: &Path) -> Result<HashMap<String, Part>, LabError> {
    if !path.is_file() {
        return Err(LabError::Options(format!(
            "--split {}: expected given, artist, folder, track, or a CSV file that is there",
            path.display()
        )));
    }
    let cells = read_cells(path)?;
    let (Some(key), Some(part)) = (cells.column(KEYS), cells.column(&["split"])) else {
        let found = cells.header.join(", ");
        let problem = format!("expected the columns path and split, found {found}");
        return Err(LabError::run(path, problem));
    };
    let part_of = |(line, row): &(u64, Vec<String>)| {
        let found = &row[part];
        let problem = || format!("expected training, validation or test, found {found}");
        let known = Part::parse(found).ok_or_else(|| LabError::table(path, *line, problem()))?;
        Ok((stem(&row[key]), known))
    };
    cells.rows.iter().map(part_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Item;

    fn rows(artists: &[Option<&str>]) -> Vec<MatrixRow> {
        let item = |(at, artist): (usize, Option<&str>)| Item {
            key: format!("g/{at}.wav"),
            artist: artist.map(str::to_owned),
            ..Item::default()
        };
        let row = |artist| MatrixRow {
            item: item(artist),
            content: None,
            seconds: None,
        };
        artists.iter().copied().enumerate().map(row).collect()
    }

    #[test]
    fn an_artist_is_on_one_side_and_every_part_has_tracks() {
        let names: Vec<String> = (0..120).map(|i| format!("Artist {}", i / 3)).collect();
        let artists: Vec<Option<&str>> = names.iter().map(|name| Some(name.as_str())).collect();
        let class_of: Vec<usize> = (0..120).map(|i| i / 3 % 4).collect();
        let split = |seed| split_rows(&rows(&artists), &class_of, 4, "auto", seed).unwrap();
        let first = split(3);
        assert_eq!((first.how.as_str(), first.at_random), ("artist", false));
        assert_eq!(Part::ALL.map(|part| first.rows(part).len()), [96, 12, 12]);
        let end = "0 artists on two sides";
        assert!(first.summary.ends_with(end), "{}", first.summary);
        for i in 0..120 {
            assert_eq!(first.parts[i], first.parts[i / 3 * 3]);
        }
        assert_eq!(first.parts, split(3).parts);
        assert_ne!(first.parts, split(4).parts);
        let unknown = split_rows(&rows(&[None; 40]), &class_of[..40], 4, "auto", 3).unwrap();
        assert!(unknown.at_random && unknown.summary.contains("figures are too good"));
    }

    #[test]
    fn the_few_artists_that_are_known_stay_together() {
        let names: Vec<String> = (0..40).map(|i| format!("Artist {}", i / 8)).collect();
        let few = |i: usize| (i < 16).then(|| names[i].as_str());
        let mut rows = rows(&(0..40).map(few).collect::<Vec<_>>());
        // A copy without tags of a track with tags.
        let content = Some(ContentId([1; 32]));
        rows[0].content = content;
        rows[39].content = content;
        let class_of: Vec<usize> = (0..40).map(|i| i % 2).collect();
        let split = split_rows(&rows, &class_of, 2, "auto", 3).unwrap();
        assert_eq!((split.how.as_str(), split.at_random), ("artist", true));
        let few = "16 of 40 tracks have an artist, whose tracks are kept together";
        assert!(split.summary.contains(few), "{}", split.summary);
        for i in 0..16 {
            assert_eq!(split.parts[i], split.parts[i / 8 * 8]);
        }
        assert_eq!(split.groups[39], split.groups[0]);
    }

    #[test]
    fn a_table_is_compared_by_stem() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("parts.csv");
        let table = "path,split\ng/0.au,train\n1,train\n2.wav,valid\nx/3,test\n";
        std::fs::write(&path, table).unwrap();
        let split = |how: &str| split_rows(&rows(&[None; 5]), &[0, 1, 0, 1, 0], 2, how, 1);
        let found = split(&path.display().to_string()).unwrap();
        let [t, v, e] = Part::ALL.map(Some);
        assert_eq!(found.parts, [t, t, v, e, None]);
        let counts = "2 / 1 / 1, 1 track in no part";
        assert!(found.summary.contains(counts), "{}", found.summary);
        let error = split("nowhere").unwrap_err().to_string();
        assert!(error.contains("expected given"), "{error}");
    }
}
