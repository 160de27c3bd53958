//! Vorbis comments in a FLAC block or an Ogg packet.
//!
//! Follows the Vorbis I specification, 5, and RFC 7845, 5.2. Comments that are no UTF-8 or have no "=", and bytes after
//! the list, are kept.

use super::patch::{Splice, TagItem, replace};
use super::texts::NamedTexts;
use crate::bytes::{MAX_ITEMS, little};

/// A parsed list of comments.
struct Comments {
    items: Vec<TagItem>,
    /// Bytes before the number of comments.
    count_at: usize,
    /// Bytes up to the end of the last comment.
    end: usize,
}

/// Parses a list of comments, which begins with the vendor's name.
fn parse(list: &[u8]) -> Result<Comments, String> {
    let found = follow(list).filter(|(_, is_whole)| *is_whole);
    found.map(|(comments, _)| comments).ok_or_else(|| {
        format!(
            "its list of comments is cut off or has more than {MAX_ITEMS}: mend it with a tag editor first"
        )
    })
}

/// The comments up to a truncated one, at most [`MAX_ITEMS`], and whether the list is complete.
fn follow(list: &[u8]) -> Option<(Comments, bool)> {
    let sized = |at: usize| -> Option<usize> {
        let size = list.get(at..at + 4)?;
        let end = at + 4 + little(size) as usize;
        (end <= list.len()).then_some(end)
    };
    let count_at = sized(0)?;
    let count = little(list.get(count_at..count_at + 4)?);
    let mut end = count_at + 4;
    let mut items = Vec::new();
    // The number is not trusted: nothing is allocated by it, and the list's end ends the loop.
    for _ in 0..count.min(MAX_ITEMS as u32) {
        let start = end;
        let Some(next) = sized(start) else { break };
        end = next;
        let comment = &list[start + 4..end];
        let name = comment
            .split(|&byte| byte == b'=')
            .next()
            .unwrap_or_default();
        // A comment without "=" is no field.
        let is_genre = name.len() < comment.len() && name.eq_ignore_ascii_case(b"GENRE");
        items.push(TagItem {
            start,
            end,
            is_genre,
        });
    }
    let is_whole = items.len() == count as usize;
    let comments = Comments {
        items,
        count_at,
        end,
    };
    Some((comments, is_whole))
}

/// The readable comments with their names.
pub(super) fn texts(list: &[u8]) -> NamedTexts {
    let items = follow(list).map_or(Vec::new(), |(comments, _)| comments.items);
    let comments = items.iter().map(|item| &list[item.start + 4..item.end]);
    let named = comments.filter_map(|comment| {
        let at = comment.iter().position(|&byte| byte == b'=')?;
        let name = String::from_utf8_lossy(&comment[..at]).into_owned();
        Some((name, comment[at + 1..].to_vec()))
    });
    named.collect()
}

/// A comment for each genre.
fn made(genres: &[String]) -> Vec<u8> {
    let comment = |genre: &String| sized(&format!("GENRE={genre}"));
    genres.iter().flat_map(comment).collect()
}

fn sized(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

/// The splices that write the genres into a list and keep everything else.
pub(super) fn edit(list: &[u8], genres: &[String]) -> Result<Vec<Splice>, String> {
    let comments = parse(list)?;
    let mut splices = replace(&comments.items, comments.end, made(genres));
    let removed = comments.items.iter().filter(|item| item.is_genre).count();
    let count = comments.items.len() - removed + genres.len();
    if !splices.is_empty() {
        let count = (count as u32).to_le_bytes().to_vec();
        splices.push(Splice::new(comments.count_at, 4, count));
    }
    Ok(splices)
}

/// A list of these genres, and of other fields, as [`carried`](super::carried) has them.
pub(super) fn new_list(genres: &[String], others: &[(&str, &str, String)]) -> Vec<u8> {
    let mut all: Vec<u8> = others
        .iter()
        .flat_map(|(_, name, value)| sized(&format!("{name}={value}")))
        .collect();
    all.extend(made(genres));
    let count = others.len() + genres.len();
    [&sized("voisin")[..], &(count as u32).to_le_bytes(), &all].concat()
}
