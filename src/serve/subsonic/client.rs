//! The client of a Subsonic server: credentials, requests, and parsing of answers.

use std::net::IpAddr;

use axum::http::StatusCode;
use serde_json::Value;

use super::form::{Refusal, SubsonicForm};
use super::upstream::Upstream;

/// The parameters of credentials.
const CREDENTIALS: [&str; 5] = ["u", "p", "t", "s", "apiKey"];
/// The oldest version with all that requests need: older servers refuse newer clients.
const OLDEST_VERSION: &str = "1.13.0";

/// Credentials for a Subsonic server, and the version of its API.
#[derive(Debug, Clone)]
pub(super) struct Login {
    parameters: Vec<(String, String)>,
    /// Servers count wrong passwords by address.
    client: IpAddr,
}

impl Login {
    pub(super) fn of(form: &SubsonicForm) -> Result<Self, Refusal> {
        if form.get("apiKey").is_none() {
            form.required("u")?;
        }
        let credentials = CREDENTIALS
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), form.get(name)?.to_owned())));
        let version = form.get("v").unwrap_or(OLDEST_VERSION);
        let parameters = credentials
            .chain([("v".to_owned(), version.to_owned())])
            .collect();
        Ok(Self {
            parameters,
            client: form.client,
        })
    }

    /// The identity of the user, independent of the kind of credentials.
    pub(super) fn user(&self) -> blake3::Hash {
        let named = |wanted: &str| self.parameters.iter().find(|(name, _)| name == wanted);
        // A key takes precedence over a name, since it identifies its user.
        let user = named("apiKey").or(named("u"));
        blake3::hash(format!("{user:?}").as_bytes())
    }
}

/// Calls an endpoint of a Subsonic server.
pub(super) async fn call(
    upstream: &Upstream,
    login: &Login,
    endpoint: &str,
    parameters: &[(&str, &str)],
) -> Result<Value, Refusal> {
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("f", "json"), ("c", "voisin")])
        .extend_pairs(&login.parameters)
        .extend_pairs(parameters)
        .finish();
    let target = format!("/rest/{endpoint}.view?{query}");
    let (status, body) = upstream.get(&target, login.client).await?;
    read(upstream, endpoint, status, &body)
}

fn read(
    upstream: &Upstream,
    endpoint: &str,
    status: StatusCode,
    body: &[u8],
) -> Result<Value, Refusal> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(answer) = answer.get("subsonic-response") else {
        let text = format!(
            "{}/rest/{endpoint}: expected an answer of Subsonic, found status {status}",
            upstream.address
        );
        return Err(Refusal::new(0, text));
    };
    if answer["status"] == "ok" {
        return Ok(answer.clone());
    }
    let message = answer["error"]["message"].as_str();
    Err(Refusal {
        code: answer["error"]["code"].as_i64().unwrap_or(0),
        message: message
            .unwrap_or("the server refuses the request")
            .to_owned(),
    })
}

/// An id as text; some servers have numbers.
pub(super) fn id_of(id: &Value) -> Option<String> {
    let text = id.as_str().map(str::to_owned);
    text.or_else(|| id.as_i64().map(|id| id.to_string()))
}
