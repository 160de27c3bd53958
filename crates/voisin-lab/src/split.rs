//! Which tracks are learnt from, chosen on, judged: dealt so that an artist is on one side.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::LabError;
use super::matrix::Row;
use crate::dataset::{Part, read_cells};
use voisin_base::text::{count, fold};
use voisin_learn::genre::grouped_folds;

/// Folds that held-out parts are taken from: one for judging, one for choosing.
const TENTHS: usize = 10;

/// What marks figures of tracks that nothing keeps together.
pub(super) const AT_RANDOM: &str = "tracks at random, artists unknown or ignored: figures may be too good (on music with known artists, random folds are 8 to 11 points too high)";

/// Parts of all rows, and what keeps rows together.
#[derive(Debug, Clone)]
pub struct Split {
    /// What each row serves for; `None`: it is in no part.
    pub parts: Vec<Option<Part>>,
    /// Rows of one number are never dealt apart.
    pub groups: Vec<usize>,
    /// given, artist, album, folder, track, lists or table.
    pub how: String,
    /// In a sentence, with a warning where figures may be too good.
    pub said: String,
    /// Whether figures must be marked: nothing keeps an artist on one side.
    pub at_random: bool,
}

impl Split {
    /// Rows of a part.
    pub fn rows(&self, part: Part) -> Vec<usize> {
        (0..self.parts.len()).filter(|&row| self.parts[row] == Some(part)).collect()
    }
}

/// Deals the parts.
///
/// - `how`: auto, given, artist, album, folder, track, lists:DIR, or a CSV file; `class_of`: the class of each row
pub fn deal(
    rows: &[Row],
    class_of: &[usize],
    classes: usize,
    how: &str,
    seed: u64,
) -> Result<Split, LabError> {
    let has = |value: fn(&Row) -> bool| rows.iter().filter(|row| value(row)).count() * 2 > rows.len();
    let is_given = rows.iter().all(|row| row.item.part.is_some());
    let chosen = match how {
        "auto" if is_given => "given",
        "auto" if has(|row| row.item.artist.is_some()) => "artist",
        "auto" if has(|row| row.item.album.is_some()) => "album",
        "auto" => "track",
        other => other,
    };
    // What keeps rows together where they are dealt, and for the folds of training rows where they are not.
    let by = match chosen {
        "artist" | "album" | "folder" | "track" => chosen,
        _ if has(|row| row.item.artist.is_some()) => "artist",
        _ if has(|row| row.item.album.is_some()) => "album",
        _ => "track",
    };
    let groups = groups(rows, by);
    let mut split = Split {
        parts: vec![None; rows.len()],
        groups,
        how: chosen.to_owned(),
        said: String::new(),
        at_random: by == "track",
    };
    match chosen {
        "given" => {
            if let Some(row) = rows.iter().find(|row| row.item.part.is_none()) {
                let key = &row.item.key;
                let text = format!("--split given: the data set gives {key} to no part; use --split artist");
                return Err(LabError::Asked(text));
            }
            split.parts = rows.iter().map(|row| row.item.part).collect();
        }
        "artist" | "album" | "folder" | "track" => deal_tenths(&mut split, class_of, classes, seed)?,
        _ => {
            let parts = match chosen.strip_prefix("lists:") {
                Some(folder) => of_lists(Path::new(folder))?,
                None => of_table(Path::new(chosen))?,
            };
            if chosen.starts_with("lists:") { "lists" } else { "table" }.clone_into(&mut split.how);
            split.parts = rows.iter().map(|row| parts.get(&stem(&row.item.key)).copied()).collect();
            if split.parts.iter().all(Option::is_none) {
                return Err(LabError::Asked(format!("--split {chosen}: names no track of the data set")));
            }
        }
    }
    if split.rows(Part::Training).is_empty() {
        return Err(LabError::Asked(format!("--split {chosen}: no track is left for training")));
    }
    fill_validation(&mut split, class_of, classes, seed);
    split.said = sentence(&split, by);
    Ok(split)
}

fn sentence(split: &Split, by: &str) -> String {
    let sizes = Part::ALL.map(|part| split.rows(part).len());
    let numbers = format!("{} / {} / {}", sizes[0], sizes[1], sizes[2]);
    let left = split.parts.iter().filter(|part| part.is_none()).count();
    let left = if left > 0 { format!(", {} in no part", count(left as u64, "track")) } else { String::new() };
    let how = match split.how.as_str() {
        "given" => "split by the data set".to_owned(),
        "lists" | "table" => format!("split by {}", split.how),
        how => format!("split by {how}"),
    };
    if split.at_random {
        return format!("{how}: {numbers}{left}; {AT_RANDOM}");
    }
    let mut sides: HashMap<usize, Part> = HashMap::new();
    let mut both = std::collections::BTreeSet::new();
    for (part, &group) in split.parts.iter().zip(&split.groups) {
        if let Some(part) = part
            && *sides.entry(group).or_insert(*part) != *part
        {
            both.insert(group);
        }
    }
    format!("{how}: {numbers}{left}; {} on two sides", count(both.len() as u64, by))
}

/// A number for each artist, album or folder; rows without one have a number of their own. By `track`, rows of the same
/// audio share one.
pub fn groups(rows: &[Row], by: &str) -> Vec<usize> {
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut contents: HashMap<voisin_base::track::ContentId, usize> = HashMap::new();
    rows.iter()
        .enumerate()
        .map(|(at, row)| {
            let item = &row.item;
            let folder = || {
                let path = item.path.clone().unwrap_or_else(|| PathBuf::from(&item.key));
                path.parent().map(|parent| parent.to_string_lossy().into_owned())
            };
            let name = match by {
                "artist" => item.artist.as_deref().map(fold),
                "album" => item.album.as_deref().map(fold),
                "folder" => folder(),
                _ => None,
            };
            let next = numbers.len();
            let name = name.unwrap_or_else(|| format!("\0{at}"));
            if by == "track"
                && let Some(&same) = row.content.as_ref().and_then(|content| contents.get(content))
            {
                return same;
            }
            let number = *numbers.entry(name).or_insert(next);
            if let Some(content) = row.content {
                contents.entry(content).or_insert(number);
            }
            number
        })
        .collect()
}

/// One fold of ten for judging, one for choosing, the others to learn from.
fn deal_tenths(split: &mut Split, class_of: &[usize], classes: usize, seed: u64) -> Result<(), LabError> {
    let known = split.groups.iter().collect::<std::collections::BTreeSet<_>>().len();
    if known < 3 {
        return Err(LabError::Asked(format!(
            "--split {}: found {}, three parts need at least 3; use --split track, which marks the figures",
            split.how,
            count(known as u64, if split.how == "track" { "track" } else { &split.how })
        )));
    }
    let own: Vec<Vec<usize>> = class_of.iter().map(|&class| vec![class]).collect();
    let fold_of = grouped_folds(&own, classes, &split.groups, TENTHS.min(known), seed);
    split.parts = fold_of
        .iter()
        .map(|fold| match fold {
            0 => Some(Part::Test),
            1 => Some(Part::Validation),
            _ => Some(Part::Training),
        })
        .collect();
    Ok(())
}

/// Where nothing serves for choosing, a tenth of the training rows does.
fn fill_validation(split: &mut Split, class_of: &[usize], classes: usize, seed: u64) {
    if !split.rows(Part::Validation).is_empty() {
        return;
    }
    let rows = split.rows(Part::Training);
    let own: Vec<Vec<usize>> = rows.iter().map(|&row| vec![class_of[row]]).collect();
    let groups: Vec<usize> = rows.iter().map(|&row| split.groups[row]).collect();
    let fold_of = grouped_folds(&own, classes, &groups, TENTHS, seed);
    if fold_of.iter().any(|fold| *fold != 0) {
        for (row, _) in rows.iter().zip(fold_of).filter(|(_, fold)| *fold == 0) {
            split.parts[*row] = Some(Part::Validation);
        }
    }
}

/// The name of a file without folder and ending: lists and copies disagree about both.
fn stem(name: &str) -> String {
    let name = name.replace('\\', "/");
    let name = name.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map_or(name, |(stem, _)| stem).to_owned()
}

/// Files whose names begin with train, valid and test, a path on each line.
fn of_lists(folder: &Path) -> Result<HashMap<String, Part>, LabError> {
    let mut parts = HashMap::new();
    let entries = std::fs::read_dir(folder).map_err(LabError::io(folder))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let part = [("train", Part::Training), ("valid", Part::Validation), ("test", Part::Test)]
            .into_iter()
            .find(|(start, _)| name.starts_with(start));
        let Some((_, part)) = part else { continue };
        let text = voisin_base::regular_file::read(&file, 64 << 20).map_err(LabError::io(&file))?;
        for line in String::from_utf8_lossy(&text).lines().map(str::trim).filter(|line| !line.is_empty()) {
            parts.insert(stem(line), part);
        }
    }
    if parts.is_empty() {
        return Err(LabError::run(folder, "expected files called train…, valid… and test…, found none"));
    }
    Ok(parts)
}

/// A CSV file with the columns path and split.
fn of_table(path: &Path) -> Result<HashMap<String, Part>, LabError> {
    if !path.is_file() {
        return Err(LabError::Asked(format!(
            "--split {}: expected given, artist, album, folder, track, lists:FOLDER, or a CSV file that is there",
            path.display()
        )));
    }
    let cells = read_cells(path)?;
    let columns =
        (cells.column(&["path", "file", "titre", "title", "track", "id"]), cells.column(&["split"]));
    let (Some(key), Some(part)) = columns else {
        let found = cells.header.join(", ");
        return Err(LabError::run(path, format!("expected the columns path and split, found {found}")));
    };
    cells
        .rows
        .iter()
        .map(|(line, row)| match Part::parse(&row[part]) {
            Some(part) => Ok((stem(&row[key]), part)),
            None => Err(LabError::run(
                path,
                format!("line {line}: expected training, validation or test, found {}", row[part]),
            )),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Item;

    fn rows(artists: &[Option<&str>]) -> Vec<Row> {
        let item = |(at, artist): (usize, Option<&str>)| Item {
            key: format!("g/{at}.wav"),
            artist: artist.map(str::to_owned),
            ..Item::default()
        };
        let all = artists.iter().copied().enumerate().map(item);
        all.map(|item| Row { item, content: None, seconds: None }).collect()
    }

    #[test]
    fn an_artist_is_on_one_side_and_every_part_has_tracks() {
        let names: Vec<String> = (0..120).map(|i| format!("Artist {}", i / 3)).collect();
        let artists: Vec<Option<&str>> = names.iter().map(|name| Some(name.as_str())).collect();
        let class_of: Vec<usize> = (0..120).map(|i| i / 3 % 4).collect();
        let split = deal(&rows(&artists), &class_of, 4, "auto", 3).unwrap();
        assert_eq!((split.how.as_str(), split.at_random), ("artist", false));
        assert_eq!(Part::ALL.map(|part| split.rows(part).len()), [96, 12, 12]);
        assert!(split.said.ends_with("0 artists on two sides"), "{}", split.said);
        for i in 0..120 {
            assert_eq!(split.parts[i], split.parts[i / 3 * 3]);
        }
        let unknown = deal(&rows(&[None; 40]), &class_of[..40], 4, "auto", 3).unwrap();
        assert!(unknown.at_random && unknown.said.contains("figures may be too good"));
    }

    #[test]
    fn lists_are_compared_by_stem() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("train_filtered.txt"), "g/0.au\ng/1.au\n").unwrap();
        std::fs::write(folder.path().join("valid_filtered.txt"), "2.wav\n").unwrap();
        std::fs::write(folder.path().join("test_filtered.txt"), "g/3\n").unwrap();
        let how = format!("lists:{}", folder.path().display());
        let split = deal(&rows(&[None; 5]), &[0, 1, 0, 1, 0], 2, &how, 1).unwrap();
        let [t, v, e] = Part::ALL.map(Some);
        assert_eq!(split.parts, [t, t, v, e, None]);
        assert!(split.said.contains("2 / 1 / 1, 1 track in no part"), "{}", split.said);
        assert!(
            deal(&rows(&[None; 5]), &[0; 5], 1, "nowhere", 1)
                .unwrap_err()
                .to_string()
                .contains("expected given")
        );
    }
}
