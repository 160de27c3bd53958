//! Templates of saved lists.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::SavedQuestion;

/// A common query.
#[derive(Debug, Clone, Copy)]
pub struct Template {
    /// Its name.
    pub name: &'static str,
    /// A description of its list.
    pub about: &'static str,
    question: &'static str,
}

macro_rules! templates {
    ($($name:literal, $about:literal, $question:literal;)*) => {
        &[$(Template { name: $name, about: $about, question: $question }),*]
    };
}

/// All templates.
// As JSON, so that they pass the same parser as requests. Moods take the upper third of the library,
// instead of the usual fifth, for more variety.
pub static TEMPLATES: &[Template] = templates! {
    "today", "songs around one that you like, a different one each time", r#"{"mix": {"seeds": []}}"#;
    "evening", "calm songs that go together",
        r#"{"mix": {"seeds": [], "filters": {"tag": ["calm:66"]}, "mixing": {"drift": 0}}}"#;
    "new", "the tracks added last", r#"{"list": {"question": {"sort": "added", "reverse": true}, "limit": 50}}"#;
    "happy", "happy songs that go together", r#"{"mix": {"seeds": [], "filters": {"tag": ["happy:66"]}}}"#;
    "sad", "sad songs that go together", r#"{"mix": {"seeds": [], "filters": {"tag": ["sad:66"]}}}"#;
    "energetic", "driving songs that go together",
        r#"{"mix": {"seeds": [], "filters": {"tag": ["energetic:66"]}}}"#;
    "dance", "songs to dance to", r#"{"mix": {"seeds": [], "filters": {"tag": ["dance:66"]}}}"#;
    "1950s", "songs of 1950 to 1959", r#"{"mix": {"seeds": [], "filters": {"year": "1950-1959"}}}"#;
    "1960s", "songs of 1960 to 1969", r#"{"mix": {"seeds": [], "filters": {"year": "1960-1969"}}}"#;
    "1970s", "songs of 1970 to 1979", r#"{"mix": {"seeds": [], "filters": {"year": "1970-1979"}}}"#;
    "1980s", "songs of 1980 to 1989", r#"{"mix": {"seeds": [], "filters": {"year": "1980-1989"}}}"#;
    "1990s", "songs of 1990 to 1999", r#"{"mix": {"seeds": [], "filters": {"year": "1990-1999"}}}"#;
    "2000s", "songs of 2000 to 2009", r#"{"mix": {"seeds": [], "filters": {"year": "2000-2009"}}}"#;
    "2010s", "songs of 2010 to 2019", r#"{"mix": {"seeds": [], "filters": {"year": "2010-2019"}}}"#;
    "2020s", "songs of 2020 and later", r#"{"mix": {"seeds": [], "filters": {"year": "2020-"}}}"#;
};

/// The documented JSON of `lists templates`: a list of these.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TemplateJson {
    name: &'static str,
    about: &'static str,
    question: Value,
}

impl TemplateJson {
    /// The JSON of a template.
    pub fn new(template: &Template) -> Self {
        let question = template.question().as_json();
        Self {
            name: template.name,
            about: template.about,
            question,
        }
    }
}

impl Template {
    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TEMPLATES.iter().find(|template| template.name == name)
    }

    /// Its query.
    #[allow(clippy::missing_panics_doc, reason = "a test reads all of them")]
    pub fn question(&self) -> SavedQuestion {
        match SavedQuestion::read(self.question.as_bytes()) {
            Ok(question) => question,
            Err(refused) => unreachable!("{}: {refused}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saved::check_name;

    #[test]
    fn templates_are_questions() {
        for template in TEMPLATES {
            check_name(template.name).unwrap();
            let question = template.question();
            assert_eq!(
                SavedQuestion::read(question.as_json().to_string().as_bytes())
                    .unwrap()
                    .as_json(),
                question.as_json()
            );
            assert!(std::ptr::eq(
                Template::named(template.name).unwrap(),
                template
            ));
        }
        assert!(Template::named("noon").is_none());
    }
}
