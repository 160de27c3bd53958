//! The table of queries over HTTP: one handler for all of them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{self, Request};
use axum::http::{HeaderValue, Method, Response, Uri, header};
use axum::response::IntoResponse as _;
use serde_json::{Map, Value};

use super::extract::fields;
use super::kept::{FOR_CLIENTS, FOR_WORK};
use super::problem::Problem;
use super::state::{RequestContext, Shared, State};
use super::uploads::{Upload, received};
use voisin::questions::queries::{Needs, Query, QueryInput, Question, named};
use voisin::questions::read;
use voisin::{EngineError, NamedSeeds, PredictedTags};
use voisin_library::Library;

/// The name of an uploaded file in answers and messages.
const UPLOADED: &str = "(uploaded)";

/// The query that a path below `/api/v1` names.
fn query_of(path: &str) -> Result<&'static Query, Problem> {
    let name = path.rsplit('/').next().unwrap_or_default();
    named(name).ok_or_else(Problem::no_route)
}

fn of_uri(uri: &Uri) -> Map<String, Value> {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    read::pairs(pairs.into_owned())
}

/// A query by GET with its fields in the address, or by POST with its fields as JSON.
pub(super) async fn ask(
    extract::State(state): extract::State<Shared>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let query = query_of(request.uri().path())?;
    let fields = if request.method() == Method::POST {
        fields(request, &state).await?
    } else {
        of_uri(request.uri())
    };
    let question = query.read_bounded(fields)?;
    answered(&state, query, question.into()).await
}

/// A query about an uploaded file, with its fields in the address.
pub(super) async fn ask_about_file(
    extract::State(state): extract::State<Shared>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let query = query_of(request.uri().path())?;
    let mut fields = of_uri(request.uri());
    let seeds = match query.name {
        "similar" => "seeds",
        "classify" => "tracks",
        _ => return Err(Problem::no_route()),
    };
    // The file takes the place of this seed.
    fields.insert(seeds.to_owned(), Value::from(UPLOADED));
    let question = query.read_bounded(fields)?;
    let (head, body) = request.into_parts();
    let question: Arc<dyn Question> = question.into();
    let copy = Arc::new(received(&state, &head.headers, body).await?);
    let answer = state.run_indexed(move |state, context| {
        state.follow(context)?;
        let answer = state.answer(context, &*question, Some(&copy), None);
        answer.map_err(|error| error.of_file_known_as(copy.path(), UPLOADED).into())
    });
    Ok(written(answer.await?))
}

async fn answered(
    state: &Shared,
    query: &Query,
    question: Arc<dyn Question>,
) -> Result<Response<Body>, Problem> {
    let needs = question.needs();
    let key = format!("{} {question:?}", query.name);
    let work = move |tags: Tags| {
        move |state: &State, context: &mut RequestContext| {
            if needs.index {
                state.follow(context)?;
            }
            Ok(state.answer(context, &*question, None, tags.clone())?)
        }
    };
    if !needs.whole {
        let tags = state.tags(needs, FOR_CLIENTS).await?;
        return Ok(written(state.run_indexed(work(tags)).await?));
    }
    let kept = state.kept(&key, FOR_CLIENTS, |state| async move {
        // Before the turn is taken, so that no turn is held while an index is built.
        if needs.index {
            state.ready_index(FOR_WORK).await?;
        }
        let tags = state.tags(needs, FOR_WORK).await?;
        state.compute(true, work(tags)).await
    });
    Ok(written((*kept.await?).clone()))
}

/// The model's tags, if they are needed.
type Tags = Option<Arc<Option<PredictedTags>>>;

impl State {
    async fn tags(self: &Arc<Self>, needs: Needs, patience: Duration) -> Result<Tags, Problem> {
        if !needs.tags {
            return Ok(None);
        }
        let work = |_: &Self, context: &mut RequestContext| Ok(context.engine.words_if_any()?);
        let tags = self.kept("tags", patience, |state| state.compute(false, work));
        tags.await.map(Some)
    }

    /// - `copy`: the uploaded file that the query is about
    fn answer(
        &self,
        context: &mut RequestContext,
        question: &dyn Question,
        copy: Option<&Upload>,
        tags: Tags,
    ) -> Result<Bytes, EngineError> {
        let model = |library: &Library| self.model.of(library);
        let seeds = match copy {
            Some(copy) => {
                let engine = &context.engine;
                let seed = engine.seed(copy.path().as_os_str(), || model(engine.library()))?;
                Some(NamedSeeds {
                    named: vec![seed],
                    of_lists: Vec::new(),
                })
            }
            None => None,
        };
        let mut input = QueryInput {
            engine: &mut context.engine,
            model: &model,
            seeds,
            tags,
            seed_name: copy.map(|_| UPLOADED),
            notes: Vec::new(),
        };
        Ok(question.answer(&mut input)?.into())
    }
}

/// A response of serialized JSON.
fn written(bytes: Bytes) -> Response<Body> {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], bytes).into_response()
}
