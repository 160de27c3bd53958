//! The format of Subsonic's requests and answers: XML, JSON and JSONP.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use axum::response::IntoResponse as _;
use serde_json::{Map, Value, json};

use voisin_base::text::xml;

/// The supported version of Subsonic's API.
pub(super) const API_VERSION: &str = "1.16.1";
/// The oldest version with all that requests need: older servers refuse newer clients.
pub(super) const OLDEST_VERSION: &str = "1.13.0";

/// The parameters of a request, and its client's address.
#[derive(Debug, Clone, Default)]
pub(super) struct SubsonicForm {
    parameters: Vec<(String, String)>,
    /// `None` if unknown.
    pub(super) client: Option<IpAddr>,
}

impl SubsonicForm {
    /// From the query string and the body of a form.
    pub(super) fn read(query: &str, body: &[u8]) -> Self {
        // The query first, which takes precedence, as `get` returns the first.
        let all = form_urlencoded::parse(query.as_bytes()).chain(form_urlencoded::parse(body));
        let parameters = all
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        Self {
            parameters,
            client: None,
        }
    }

    /// Sets the client's address.
    pub(super) fn of_client(self, client: Option<IpAddr>) -> Self {
        Self { client, ..self }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// A required parameter.
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

/// An error with Subsonic's code.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) code: i64,
    pub(super) message: String,
    /// Whether the error is from the server behind, and not from voisin.
    pub(super) is_of_server: bool,
}

impl Refusal {
    pub(super) fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            is_of_server: false,
        }
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
    let (kind, text) = match form.get("f").unwrap_or("xml") {
        "json" => (
            "application/json",
            json!({"subsonic-response": all}).to_string(),
        ),
        "jsonp" => {
            let callback = form
                .get("callback")
                .filter(|name| is_callback(name))
                .unwrap_or("callback");
            (
                "application/javascript",
                format!("{callback}({});", json!({"subsonic-response": all})),
            )
        }
        _ => {
            all.insert("xmlns".to_owned(), "http://subsonic.org/restapi".into());
            let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
            element("subsonic-response", &Value::Object(all), &mut text);
            ("application/xml; charset=utf-8", text)
        }
    };
    (
        [(header::CONTENT_TYPE, HeaderValue::from_static(kind))],
        text,
    )
        .into_response()
}

/// Whether a name of a callback is valid: nothing else is written before an answer.
fn is_callback(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.'))
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

    fn text(form: &SubsonicForm, answer: Value) -> String {
        let body = written(form, Ok(answer)).into_body();
        let bytes = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(axum::body::to_bytes(body, usize::MAX))
            .unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn songs_have_the_format_of_the_api() {
        let answer = json!({"similarSongs": {"song": [
            {"id": "1", "isDir": false, "title": "Bohemian <Rhapsody> & \"more\"", "genres": [{"name": "Rock"}]}]}});
        let xml = text(&SubsonicForm::default(), answer.clone());
        let end = concat!(
            r#"<similarSongs><song id="1" isDir="false" title="Bohemian &lt;Rhapsody&gt; &amp; &quot;more&quot;">"#,
            r#"<genres name="Rock"></genres></song></similarSongs></subsonic-response>"#
        );
        assert!(xml.ends_with(end), "{xml}");
        assert!(
            xml.contains(r#" xmlns="http://subsonic.org/restapi""#)
                && xml.contains(r#" status="ok""#),
            "{xml}"
        );
        let json = text(&SubsonicForm::read("f=json", b""), answer.clone());
        let json: Value = serde_json::from_str(&json).unwrap();
        let json = &json["subsonic-response"];
        assert_eq!(json["similarSongs"], answer["similarSongs"]);
        assert_eq!(json["openSubsonic"], true);
        let call = text(
            &SubsonicForm::read("f=jsonp&callback=my.call", b""),
            json!({}),
        );
        assert!(
            call.starts_with("my.call({") && call.ends_with("});"),
            "{call}"
        );
        let call = text(
            &SubsonicForm::read("f=jsonp&callback=alert(1)//", b""),
            json!({}),
        );
        assert!(call.starts_with("callback({"), "{call}");
    }

    #[test]
    fn answers_of_a_server_cannot_break_out_of_xml() {
        let hostile = json!({"similarSongs": {"song": [
            {"id": "\"><x>\u{0}\u{1b}\n", "a b=\"c": "1", "<y>": "2", "n": null, "z": {"<w/>": "3"}}]}});
        let xml = text(&SubsonicForm::default(), hostile);
        assert!(
            xml.contains(r#"<song id="&quot;&gt;&lt;x&gt;&#10;"><z></z></song>"#),
            "{xml}"
        );
    }

    #[test]
    fn forms_are_read_from_query_and_body() {
        let form = SubsonicForm::read("id=a%20b&count=7", b"u=me&p=enc%3A616263");
        assert_eq!(
            (form.get("id"), form.get("u"), form.get("p")),
            (Some("a b"), Some("me"), Some("enc:616263"))
        );
        assert_eq!(form.count(10).unwrap(), 7);
        assert_eq!(SubsonicForm::read("count=0", b"").count(10).unwrap(), 0);
        assert_eq!(
            SubsonicForm::read("count=99999", b"").count(10).unwrap(),
            500
        );
        assert!(SubsonicForm::read("count=-1", b"").count(10).is_err());
        assert_eq!(form.required("missing").unwrap_err().code, 10);
    }
}
