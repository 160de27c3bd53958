//! Lists as smart playlists of Navidrome (`.nsp`): rules that it evaluates by itself, without voisin.

use serde_json::{Map, Value, json};

use super::{Refused, SavedQuestion, Sorted};
use crate::filter::{Filters, parts, whole_and_parts};
use crate::spans::{ScaleSpan, Seconds, Span};
use crate::values::MOST;
use voisin_engine::{READY_MOODS, STRONG_MOOD};
use voisin_library::{ScaleBound, SortBy};

/// The orders that Navidrome has, with its names.
const ORDERS: [(SortBy, &str); 9] = [
    (SortBy::Artist, "artist"),
    (SortBy::Album, "album"),
    (SortBy::Title, "title"),
    (SortBy::Genre, "genre"),
    (SortBy::Year, "year"),
    (SortBy::Time, "duration"),
    (SortBy::Added, "dateadded"),
    (SortBy::Size, "size"),
    (SortBy::Bpm, "bpm"),
];

/// Navidrome's field of the energy level, which its configuration has to map to the tag.
const ENERGY: &str = "energy";
/// Half a step of the rounded values that are shown.
const SHOWN: f64 = 0.5;

/// The rules of a list for Navidrome, on its own tags instead of voisin's labels and measurements.
///
/// # Errors
/// The query is about sound, or has a filter that Navidrome does not have.
pub fn smart_playlist(name: &str, question: &SavedQuestion) -> Result<Value, Refused> {
    let SavedQuestion::List(Sorted { question, limit }) = question else {
        let expected = "a list by filters: Navidrome has no similarity";
        return Err(Refused::new(
            "",
            expected,
            format!("\"{}\"", question.kind()),
        ));
    };
    refuse_unknown(&question.filters)?;
    let order = ORDERS.iter().find(|(by, _)| *by == question.sort.0);
    let sort = match question.sort.0 {
        // Navidrome has ids of its own; ours are in the order of adding.
        SortBy::Id => Some("dateadded"),
        SortBy::Scale(scale) if scale.as_str() == ENERGY => Some(ENERGY),
        _ => order.map(|(_, sort)| *sort),
    };
    let Some(sort) = sort else {
        return Err(Refused::new(
            "sort",
            "an order that Navidrome has",
            format!("\"{}\"", question.sort),
        ));
    };
    let mut rules = rules(&question.filters);
    for ScaleSpan(bound) in &question.filters.scale {
        rules.extend(of_scale(bound)?);
    }
    // As in voisin, each word has to be in one of the fields.
    let text = question.query.join(" ");
    rules.extend(text.split_whitespace().map(|word| {
        any(["title", "artist", "album", "filepath"]
            .map(|field| rule("contains", field, word))
            .to_vec())
    }));
    // Without filters a rule that every song passes: each has a length.
    if rules.is_empty() {
        rules.push(rule("gt", "duration", 0));
    }
    Ok(json!({
        "name": name,
        "comment": "made by voisin",
        "all": rules,
        "sort": sort,
        "order": if question.reverse { "desc" } else { "asc" },
        "limit": limit.of(MOST as usize),
    }))
}

/// Refuses filters for which Navidrome has no field, or other names.
fn refuse_unknown(filters: &Filters) -> Result<(), Refused> {
    let is_there = [
        ("tag", !filters.tag.is_empty()),
        ("not_tag", !filters.not_tag.is_empty()),
        ("regex", !filters.regex.is_empty()),
        ("key", !filters.key.is_empty()),
        ("composer", !filters.composer.is_empty()),
        ("loudness", filters.loudness.is_some()),
        ("licence", !filters.licence.is_empty()),
        ("folder", !filters.folder.is_empty()),
        ("exclude_folder", !filters.exclude_folder.is_empty()),
    ];
    match is_there.into_iter().find(|(_, is_there)| *is_there) {
        Some((name, _)) => Err(Refused::new(
            format!("filters.{name}"),
            "filters that Navidrome has",
            "this one",
        )),
        None => Ok(()),
    }
}

/// A scale by the tags that `classify --write-tags=energy,mood` writes: energy in its levels from 1 to 10, a mood by its name.
fn of_scale(bound: &ScaleBound) -> Result<Vec<Value>, Refused> {
    let ScaleBound { scale, from, to } = *bound;
    let name = scale.as_str();
    // The levels that are written into tags go from 1 to 10, in steps of ten points.
    let level = |at: f64| (at / 10.0).round().clamp(1.0, 10.0);
    // `ScaleSpan` widened the bounds by this half.
    let lowest = level(from.unwrap_or(0.0) + SHOWN);
    let highest = level(to.unwrap_or(100.0) - SHOWN);
    let is_mood = READY_MOODS.iter().any(|mood| mood.name == name);
    // Only moods of this strength are written into
    // files, so no other bound can be tested.
    let is_strong = from.is_some_and(|from| (from + SHOWN - STRONG_MOOD).abs() < SHOWN)
        && to.is_none_or(|to| to >= 100.0);
    let expected = if name == ENERGY {
        // Navidrome has no ranges of tags; a file without the tag passes neither rule.
        let above = rule("gt", ENERGY, lowest as i64 - 1);
        let below = rule("lt", ENERGY, highest as i64 + 1);
        return Ok(vec![above, below]);
    } else if is_mood && is_strong {
        return Ok(vec![rule("is", "mood", name)]);
    } else if is_mood {
        format!("{name}={STRONG_MOOD}-, as moods are written into tags")
    } else {
        "energy or a mood: files have no tags of other scales".to_owned()
    };
    let found = format!("\"{}\"", ScaleSpan(*bound));
    Err(Refused::new("filters.scale", expected, found))
}

fn rule(operator: &str, field: &str, value: impl Into<Value>) -> Value {
    let mut inner = Map::new();
    inner.insert(field.to_owned(), value.into());
    json!({operator: inner})
}

fn any(mut rules: Vec<Value>) -> Value {
    if rules.len() == 1 {
        rules.remove(0)
    } else {
        json!({"any": rules})
    }
}

/// A number within inclusive bounds.
fn within(field: &str, from: Option<f64>, to: Option<f64>) -> Option<Value> {
    let number = |x: f64| {
        // Whole numbers without ".0".
        if x.fract() == 0.0 {
            json!(x as i64)
        } else {
            json!(x)
        }
    };
    match (from, to) {
        (None, None) => None,
        (from, to) => {
            let from = from.unwrap_or(0.0);
            // `inTheRange` needs both ends: this is beyond any year, tempo and length in seconds.
            let to = to.unwrap_or(1e6);
            Some(json!({"inTheRange": {field: [number(from), number(to)]}}))
        }
    }
}

fn rules(filters: &Filters) -> Vec<Value> {
    let mut rules = Vec::new();
    for (field, wanted, unwanted) in [
        (
            "genre",
            genres(&filters.genre),
            genres(&filters.exclude_genre),
        ),
        (
            "artist",
            artists(&filters.artist),
            artists(&filters.exclude_artist),
        ),
    ] {
        if !wanted.is_empty() {
            rules.push(any(wanted
                .into_iter()
                .map(|name| rule("is", field, name))
                .collect()));
        }
        rules.extend(unwanted.into_iter().map(|name| rule("isNot", field, name)));
    }
    let year = |year: Option<i32>| year.map(f64::from);
    if let Some(years) = filters.year {
        rules.extend(within("year", year(years.from()), year(years.to())));
    }
    let seconds = |time: Option<Seconds>| time.map(|time| time.0);
    rules.extend(within(
        "duration",
        seconds(filters.min_duration),
        seconds(filters.max_duration),
    ));
    if let Some(span) = filters.bpm {
        let Span { from, to } = span.0;
        // As `FilterSql` widens a tempo.
        let octaves: &[f64] = if filters.has_octaves() {
            &[1.0, 0.5, 2.0]
        } else {
            &[1.0]
        };
        let at = |octave: &f64| within("bpm", from.map(|x| x * octave), to.map(|x| x * octave));
        rules.push(any(octaves.iter().filter_map(at).collect()));
    }
    rules
}

fn genres(names: &[String]) -> Vec<&str> {
    names.iter().flat_map(|name| parts(name)).collect()
}

/// The artists of the library are not known here: a comma may be part of a name.
fn artists(names: &[String]) -> Vec<&str> {
    names
        .iter()
        .flat_map(|name| whole_and_parts(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Result<Value, Refused> {
        smart_playlist("x", &SavedQuestion::read(json.as_bytes()).unwrap())
    }

    #[test]
    fn filters_become_rules() {
        let list = r#"{"list": {"question": {"query": "nina live", "sort": "year", "reverse": true, "filters": {
            "genre": ["Jazz", "Soul"], "exclude_genre": ["Pop"], "artist": ["A"], "year": "1970-", "max_duration": 300,
            "bpm": "60..70"}}, "limit": 40}}"#;
        let found = of(list).unwrap();
        assert_eq!(
            (&found["sort"], &found["order"], &found["limit"]),
            (&json!("year"), &json!("desc"), &json!(40))
        );
        let word = |word: &str| {
            json!({"any": [{"contains": {"title": word}}, {"contains": {"artist": word}}, {"contains": {"album": word}},
                {"contains": {"filepath": word}}]})
        };
        let expected = json!([
            {"any": [{"is": {"genre": "Jazz"}}, {"is": {"genre": "Soul"}}]},
            {"isNot": {"genre": "Pop"}},
            {"is": {"artist": "A"}},
            {"inTheRange": {"year": [1970, 1_000_000]}},
            {"inTheRange": {"duration": [0, 300]}},
            {"any": [{"inTheRange": {"bpm": [59.5, 70.5]}}, {"inTheRange": {"bpm": [29.75, 35.25]}},
                {"inTheRange": {"bpm": [119, 141]}}]},
            word("nina"),
            word("live"),
        ]);
        assert_eq!(found["all"], expected);
        assert_eq!(
            of(r#"{"list": {}}"#).unwrap()["all"],
            json!([{"gt": {"duration": 0}}])
        );
    }

    #[test]
    fn names_with_commas_become_rules_of_their_parts() {
        let list = r#"{"list": {"question": {"filters": {"genre": ["Jazz, Soul"], "exclude_genre": ["Pop,Rock"],
            "artist": ["Tyler, The Creator"]}}}}"#;
        let expected = json!([
            {"any": [{"is": {"genre": "Jazz"}}, {"is": {"genre": "Soul"}}]},
            {"isNot": {"genre": "Pop"}},
            {"isNot": {"genre": "Rock"}},
            {"any": [{"is": {"artist": "Tyler, The Creator"}}, {"is": {"artist": "Tyler"}},
                {"is": {"artist": "The Creator"}}]},
        ]);
        assert_eq!(of(list).unwrap()["all"], expected);
    }

    #[test]
    fn scales_become_rules_on_their_tags() {
        let list = r#"{"list": {"question": {"sort": "energy", "reverse": true, "filters": {
            "scale": ["energy=60-100", "happy=70-", "energy=-34"]}}}}"#;
        let found = of(list).unwrap();
        assert_eq!(
            (&found["sort"], &found["order"]),
            (&json!("energy"), &json!("desc"))
        );
        let expected = json!([
            {"gt": {"energy": 5}},
            {"lt": {"energy": 11}},
            {"is": {"mood": "happy"}},
            {"gt": {"energy": 0}},
            {"lt": {"energy": 4}},
        ]);
        assert_eq!(found["all"], expected);
    }

    #[test]
    fn filters_unknown_to_navidrome_are_named() {
        for (json, field) in [
            (r#"{"mix": {"seeds": []}}"#, ""),
            (r#"{"find": {"query": "calm"}}"#, ""),
            (
                r#"{"list": {"question": {"filters": {"tag": ["calm"]}}}}"#,
                "filters.tag",
            ),
            (
                r#"{"list": {"question": {"filters": {"folder": ["/m"]}}}}"#,
                "filters.folder",
            ),
            (
                r#"{"list": {"question": {"filters": {"composer": ["Bach"]}}}}"#,
                "filters.composer",
            ),
            (r#"{"list": {"question": {"sort": "loudness"}}}"#, "sort"),
            (r#"{"list": {"question": {"sort": "dfa"}}}"#, "sort"),
            (
                r#"{"list": {"question": {"filters": {"scale": ["dfa=50-"]}}}}"#,
                "filters.scale",
            ),
            (
                r#"{"list": {"question": {"filters": {"scale": ["calm=50-"]}}}}"#,
                "filters.scale",
            ),
        ] {
            assert_eq!(of(json).unwrap_err().field, field, "{json}");
        }
    }
}
