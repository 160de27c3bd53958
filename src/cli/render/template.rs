//! Rows printed by a template, one line each: `$artist - $title`.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{clock, one_line};
use voisin_questions::read::Refused;

/// Keys of which an answer that is an object has one for its rows.
const LISTS: [&str; 3] = ["tracks", "neighbours", "items"];

/// A line with fields in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineTemplate(Vec<TemplatePart>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum TemplatePart {
    Text(String),
    Field(String),
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

impl FromStr for LineTemplate {
    type Err = String;

    /// `$name` and `${name}` are fields, `$$` is a dollar; a backslash begins `\t`, `\n` and `\\`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        // Without a crate, as the grammar is only names, braces, and three escapes.
        while let Some(at) = rest.find(['$', '\\']) {
            plain.push_str(&rest[..at]);
            let (sign, behind) = rest[at..].split_at(1);
            if sign == "\\" {
                let (meant, length) = match behind.chars().next() {
                    Some('t') => ('\t', 1),
                    Some('n') => ('\n', 1),
                    Some('\\') => ('\\', 1),
                    // Any other backslash may belong to a Windows path.
                    _ => ('\\', 0),
                };
                plain.push(meant);
                rest = &behind[length..];
                continue;
            }
            if let Some(behind) = behind.strip_prefix('$') {
                plain.push('$');
                rest = behind;
                continue;
            }
            let braced = behind
                .strip_prefix('{')
                .map(|inside| inside.split_once('}'));
            let (name, behind) = match braced {
                Some(split) => split.unwrap_or_default(),
                None => behind.split_at(behind.find(|c| !is_of_name(c)).unwrap_or(behind.len())),
            };
            // A lone dollar is refused, since it is nearly always a mistyped field.
            if name.is_empty() || !name.chars().all(is_of_name) {
                let found: String = rest[at..].chars().take(20).collect();
                return Err(format!(
                    "expected $NAME, ${{NAME}}, or $$ for a dollar in the template, found \"{found}\""
                ));
            }
            parts.extend([
                TemplatePart::Text(std::mem::take(&mut plain)),
                TemplatePart::Field(name.to_owned()),
            ]);
            rest = behind;
        }
        plain.push_str(rest);
        parts.push(TemplatePart::Text(plain));
        Ok(Self(parts))
    }
}

impl LineTemplate {
    /// The lines of an answer that is or contains a list. A field is a key of its rows in JSON, or `time`, which is `seconds`
    /// in the format of a clock.
    ///
    /// # Errors
    /// No row has a field of this name.
    pub(crate) fn lines<T: Serialize>(&self, answer: &T) -> anyhow::Result<String> {
        // Through JSON text, in which numbers of 32 bits have their shortest decimal digits.
        let mut answer: Value = serde_json::from_str(&serde_json::to_string(answer)?)?;
        if let Value::Object(object) = &mut answer {
            answer = LISTS
                .iter()
                .find_map(|list| object.remove(*list))
                .unwrap_or_default();
        }
        let rows: Vec<&Map<String, Value>> = answer
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .collect();
        // The fields of all rows, since rows without a value lack optional ones.
        let mut known: BTreeSet<&str> = rows
            .iter()
            .flat_map(|row| row.keys())
            .map(String::as_str)
            .collect();
        if known.contains("seconds") {
            known.insert("time");
        }
        let mut lines = String::new();
        for row in rows {
            for part in &self.0 {
                match part {
                    TemplatePart::Text(text) => lines.push_str(text),
                    TemplatePart::Field(name) if known.contains(name.as_str()) => {
                        // Tags come from files: no escapes, and no line break that would split the
                        // row.
                        lines.push_str(&one_line(&field(row, name)));
                    }
                    TemplatePart::Field(name) => {
                        let names: Vec<&str> = known.iter().copied().collect();
                        return Err(Refused {
                            field: "format".to_owned(),
                            expected: format!("a field of {}", names.join(", ")),
                            found: format!("${name}"),
                        }
                        .into());
                    }
                }
            }
            lines.push('\n');
        }
        Ok(lines)
    }
}

fn field(row: &Map<String, Value>, name: &str) -> String {
    match (
        name,
        row.get(name),
        row.get("seconds").and_then(Value::as_f64),
    ) {
        ("time", None, Some(seconds)) => clock(seconds),
        (_, value, _) => value.map_or_else(String::new, text),
    }
}

/// A value for people: three decimals, lists with semicolons, of an object its texts.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(is_so) => if *is_so { "yes" } else { "no" }.to_owned(),
        // Whole numbers are ids and counts, and keep all digits.
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(real) => ((real * 1000.0).round() / 1000.0).to_string(),
            None => number.to_string(),
        },
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join("; "),
        Value::Object(values) => {
            let texts = values.values().filter(|value| value.is_string());
            texts.map(text).collect::<Vec<_>>().join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(template: &str) -> String {
        let row = json!({
            "artist": "Omri\nLahav", "title": "3$", "genres": ["Metal", "Folk"], "year": null, "seconds": 65.0,
            "words": [{"word": "calm", "percentile": 0.9}], "fits": true, "similarity": 0.903_627, "id": 7,
        });
        let answer = json!({"seeds": [{"id": 1}], "total": 1, "tracks": [row]});
        template
            .parse::<LineTemplate>()
            .unwrap()
            .lines(&answer)
            .unwrap()
    }

    #[test]
    fn fields_stand_where_the_template_has_them() {
        assert_eq!(line("$artist - $title"), "Omri Lahav - 3$\n");
        assert_eq!(
            line("${artist}s, $genres ($year) $time"),
            "Omri Lahavs, Metal; Folk () 1:05\n"
        );
        assert_eq!(line("$id $similarity"), "7 0.904\n");
        assert_eq!(
            line(r"$$title\t$title\\n\d$words$fits"),
            "$title\t3$\\n\\dcalmyes\n"
        );
    }

    #[test]
    fn an_unknown_field_is_refused_with_the_known_ones() {
        for wrong in ["$", "a $ b", "${artist", "${}", "$-", "${a b}"] {
            let refused = wrong.parse::<LineTemplate>().unwrap_err();
            assert!(
                refused.contains("expected $NAME") && refused.contains('$'),
                "{refused}"
            );
        }
        let none: LineTemplate = "$bpm".parse().unwrap();
        let refused = none
            .lines(&json!([{"id": 1, "seconds": 2.5}]))
            .unwrap_err()
            .to_string();
        assert_eq!(
            refused,
            "format: expected a field of id, seconds, time, found $bpm"
        );
        assert_eq!(
            none.lines(&json!({"tracks": []})).unwrap(),
            "",
            "nothing has no fields"
        );
    }
}
