//! The format of Subsonic's requests and answers: XML and JSON.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use axum::response::IntoResponse as _;
use serde_json::{Map, Value, json};

use voisin_base::text::xml;

/// The supported version of Subsonic's API.
const API_VERSION: &str = "1.16.1";

/// The parameters of a request, and its client's address.
#[derive(Debug, Clone)]
pub(super) struct SubsonicForm {
    parameters: Vec<(String, String)>,
    pub(super) client: IpAddr,
}

impl SubsonicForm {
    /// From the query string and the body of a form.
    pub(super) fn read(query: &str, body: &[u8], client: IpAddr) -> Self {
        // The query first, which takes precedence, as `get` returns the first.
        let all = form_urlencoded::parse(query.as_bytes()).chain(form_urlencoded::parse(body));
        let parameters = all
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        Self { parameters, client }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Refusal::new(10, format!("Required parameter is missing: {name}")))
    }

    /// The parameter `count`, at most 500; `usual` without one.
    pub(super) fn count(&self, usual: usize) -> Result<usize, Refusal> {
        match self.get("count") {
            None => Ok(usual),
            Some(text) => match text.trim().parse::<usize>() {
                Ok(count) => Ok(count.min(500)),
                Err(_) => Err(Refusal::new(0, "count: expected a number from 0 to 500")),
            },
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) code: i64,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: i64, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }
}

/// Renders an answer in the requested format.
pub(super) fn written(form: &SubsonicForm, answer: Result<Value, Refusal>) -> Response<Body> {
    let mut all = Map::new();
    let (status, content) = match answer {
        Ok(content) => ("ok", content),
        Err(refusal) => (
            "failed",
            json!({"error": {"code": refusal.code, "message": refusal.message}}),
        ),
    };
    all.insert("status".to_owned(), status.into());
    all.insert("version".to_owned(), API_VERSION.into());
    all.insert("type".to_owned(), "voisin".into());
    all.insert("serverVersion".to_owned(), env!("CARGO_PKG_VERSION").into());
    all.insert("openSubsonic".to_owned(), true.into());
    if let Value::Object(content) = content {
        all.extend(content);
    }
    // Errors have status 200 and the same format: clients only check "status".
    let (kind, text) = if form.get("f") == Some("json") {
        let text = json!({"subsonic-response": all}).to_string();
        ("application/json", text)
    } else {
        all.insert("xmlns".to_owned(), "http://subsonic.org/restapi".into());
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        element("subsonic-response", &Value::Object(all), &mut text);
        ("application/xml; charset=utf-8", text)
    };
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(kind))];
    (kind, text).into_response()
}

/// An XML element of Subsonic from JSON: plain values are attributes, lists are elements of their name.
fn element(name: &str, value: &Value, out: &mut String) {
    // Names of fields come from the server behind: one with a ">" would break out of the
    // element.
    if !is_name(name) {
        return;
    }
    let Value::Object(fields) = value else {
        if let Some(text) = plain(value) {
            out.push_str(&format!("<{name}>{}</{name}>", xml(&text)));
        }
        return;
    };
    out.push('<');
    out.push_str(name);
    for (name, value) in fields.iter().filter(|(name, _)| is_name(name)) {
        if let Some(text) = plain(value) {
            out.push_str(&format!(" {name}=\"{}\"", xml(&text)));
        }
    }
    out.push('>');
    for (name, value) in fields {
        match value {
            Value::Array(items) => items.iter().for_each(|item| element(name, item, out)),
            Value::Object(_) => element(name, value, out),
            _ => {}
        }
    }
    out.push_str(&format!("</{name}>"));
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_a_server_cannot_break_out_of_xml() {
        let hostile = json!({"similarSongs": {"song": [
            {"id": "\"><x>\u{0}\u{1b}\n", "a b=\"c": "1", "<y>": "2", "n": null, "z": {"<w/>": "3"}}]}});
        let mut xml = String::new();
        element("subsonic-response", &hostile, &mut xml);
        assert!(
            xml.contains(r#"<song id="&quot;&gt;&lt;x&gt;&#10;"><z></z></song>"#),
            "{xml}"
        );
    }
}
