//! The map as one self-contained HTML file: page, style, script and data.
//!
//! Data is packed as base64 of typed arrays (little-endian) and a dictionary of names; 100 000 tracks with
//! eight neighbours take some 15 MB. Names from tags are untrusted: JSON inside the page has its `<` escaped, the
//! script only writes text, and a content security policy with a nonce admits no other script, style or
//! address.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use super::super::playlist::relative;
use super::super::{Result, TrackMeta, graph};
use super::colour_order::{genre_order, ranked};
use super::{CORE, MapData, STYLE};

use voisin_base::text::{base64, xml};

const NEIGHBOURS: usize = 8;
/// Index of an absent name.
const ABSENT: u32 = u32::MAX;

/// Names, and the number of each track's name.
#[derive(Serialize)]
struct CategoryColumn<T> {
    names: Vec<T>,
    index: String,
}

#[derive(Serialize)]
struct Payload<'a> {
    n: usize,
    k: usize,
    bounds: [f32; 4],
    xy: String,
    titles: Vec<&'a str>,
    files: Vec<String>,
    folders: CategoryColumn<String>,
    artists: CategoryColumn<String>,
    albums: CategoryColumn<String>,
    genres: Vec<String>,
    genre_sets: CategoryColumn<Vec<u32>>,
    predicted: CategoryColumn<String>,
    probability: String,
    clusters: CategoryColumn<String>,
    years: String,
    seconds: String,
    neighbours: String,
    similarity: String,
}

/// One self-contained HTML page.
///
/// - `title`: shown on top
/// - `page_folder`: the folder of the page, for relative links to audio files; `None` leaves paths
///   unchanged
pub fn html(data: &MapData<'_>, title: &str, page_folder: Option<&Path>) -> Result<String> {
    let json =
        // A "</script>" in a tag must not end the script.
        serde_json::to_string(&payload(data, page_folder))?.replace('<', "\\u003c");
    let script = [CORE, include_str!("page/data.js")].concat();
    // From the content, so that the same map gives the same file. A tag cannot contain it, since it would
    // have to contain the digest of a text that it is a part of.
    let nonce = blake3::hash(json.as_bytes()).to_hex()[..32].to_owned();
    let title = xml(title);
    let mut page = String::with_capacity(json.len() + script.len() + 20_000);
    let mut rest = include_str!("page/page.html");
    // Only the template is searched for fields, not the inserted text, because tags may contain "{{".
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after
            .split_once("}}")
            .expect("the template closes its fields");
        page.push_str(before);
        page.push_str(match name {
            "NONCE" => &nonce,
            "TITLE" => &title,
            "CSS" => STYLE,
            "DATA" => &json,
            "SCRIPT" => &script,
            other => unreachable!("the template has no field {other}"),
        });
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}

fn payload<'a>(data: &MapData<'a>, page_folder: Option<&Path>) -> Payload<'a> {
    let meta = data.meta;
    let bounds = data.bounds();
    let quantise = |row: usize, d: usize| {
        let share = (data.positions[[row, d]] - bounds[d]) / (bounds[d + 2] - bounds[d]);
        // 16 bits are finer than the pixels of a screen.
        (share.clamp(0.0, 1.0) * 65535.0).round() as u16
    };
    let places = (0..meta.len()).flat_map(|row| [quantise(row, 0), quantise(row, 1)]);
    let split: Vec<(String, String)> = meta.iter().map(|t| shown(t, page_folder)).collect();
    let (genres, genre_sets) = genre_columns(meta);
    let (neighbours, similarity) = neighbours(data);
    let percent = |track: &TrackMeta| {
        let known = track.predicted_probability.filter(|p| p.is_finite());
        known.map_or(0, |p| (p.clamp(0.0, 1.0) * 100.0).round() as u8)
    };
    let year = |track: &TrackMeta| {
        let year = track.year.and_then(|year| i16::try_from(year).ok());
        year.unwrap_or(0).to_le_bytes()
    };
    Payload {
        n: meta.len(),
        k: NEIGHBOURS,
        bounds,
        xy: pack(places.flat_map(u16::to_le_bytes)),
        titles: meta.iter().map(TrackMeta::display_title).collect(),
        folders: column(split.iter().map(|(folder, _)| Some(folder.as_str()))),
        files: split.iter().map(|(_, file)| file.clone()).collect(),
        artists: column(meta.iter().map(|track| track.artist.as_deref())),
        albums: column(meta.iter().map(|track| track.album.as_deref())),
        genres,
        genre_sets,
        predicted: column(meta.iter().map(|track| track.predicted_genre.as_deref())),
        probability: pack(meta.iter().map(percent)),
        clusters: column(data.cluster_names().into_iter()),
        years: pack(meta.iter().flat_map(year)),
        seconds: pack(meta.iter().flat_map(|t| (t.seconds as f32).to_le_bytes())),
        neighbours: pack(neighbours.into_iter().flat_map(u32::to_le_bytes)),
        similarity: pack(similarity.into_iter().flat_map(i16::to_le_bytes)),
    }
}

/// Folder and name of a file as the page links to it: relative to the page for music beside it, which may be moved together
/// with it.
fn shown(track: &TrackMeta, page_folder: Option<&Path>) -> (String, String) {
    let relative = relative(Path::new(&track.path), page_folder);
    let mut path = String::from_utf8_lossy(&relative).into_owned();
    if path.starts_with("../../") {
        path.clone_from(&track.path);
    }
    match path.rfind(std::path::is_separator) {
        Some(0) => ("/".to_owned(), path[1..].to_owned()),
        Some(slash) => (path[..slash].to_owned(), path[slash + 1..].to_owned()),
        None => (String::new(), path),
    }
}

/// Neighbours of each row and their similarities in ten thousandths, in rows of equal length, so that the page can index
/// them.
fn neighbours(data: &MapData<'_>) -> (Vec<u32>, Vec<i16>) {
    let mut neighbours = Vec::with_capacity(data.meta.len() * NEIGHBOURS);
    let mut similarities = Vec::with_capacity(data.meta.len() * NEIGHBOURS);
    for row in 0..data.meta.len() {
        let end = neighbours.len() + NEIGHBOURS;
        for (other, similarity) in data.graph.row(row).take(NEIGHBOURS) {
            neighbours.push(other as u32);
            similarities.push((similarity * 10_000.0).round() as i16);
        }
        neighbours.resize(end, graph::NONE);
        similarities.resize(end, 0);
    }
    (neighbours, similarities)
}

/// Numbers the distinct names in the order of colours; blank names are absent.
fn column<'a>(values: impl Iterator<Item = Option<&'a str>>) -> CategoryColumn<String> {
    let values: Vec<Option<&str>> = values
        .map(|value| value.map(str::trim).filter(|value| !value.is_empty()))
        .collect();
    // Every value is among them, so that look-ups cannot fail.
    let names = ranked(values.iter().copied());
    let numbers = number(&names);
    let index = values
        .iter()
        .map(|value| value.map_or(ABSENT, |name| numbers[name]));
    let index = pack(index.flat_map(u32::to_le_bytes));
    CategoryColumn { names, index }
}

fn number(names: &[String]) -> HashMap<&str, u32> {
    names.iter().map(String::as_str).zip(0..).collect()
}

/// Genre names in the order of colours, and the distinct sets of genres of tracks.
fn genre_columns(meta: &[TrackMeta]) -> (Vec<String>, CategoryColumn<Vec<u32>>) {
    let genres = genre_order(meta);
    let numbers = number(&genres);
    let mut sets: HashMap<Vec<u32>, u32> = HashMap::new();
    let mut names: Vec<Vec<u32>> = Vec::new();
    let mut index = Vec::with_capacity(meta.len());
    for track in meta {
        let mut set: Vec<u32> = Vec::new();
        let named = track.genres.iter().map(|genre| genre.trim());
        for genre in named.filter(|genre| !genre.is_empty()) {
            let number = numbers[genre];
            if !set.contains(&number) {
                set.push(number);
            }
        }
        index.push(if set.is_empty() {
            ABSENT
        } else {
            *sets.entry(set).or_insert_with_key(|set| {
                names.push(set.clone());
                names.len() as u32 - 1
            })
        });
    }
    (
        genres,
        CategoryColumn {
            names,
            index: pack(index.into_iter().flat_map(u32::to_le_bytes)),
        },
    )
}

fn pack(bytes: impl Iterator<Item = u8>) -> String {
    base64(&bytes.collect::<Vec<u8>>())
}
