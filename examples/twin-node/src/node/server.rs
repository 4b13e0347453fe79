//! The node's HTTP server, on loopback: health and metrics for whoever watches it, and the verbs for whoever has the folder's token.
//!
//! Every answer but metrics is JSON; every failure is a [`Failure`], also where the request itself makes no sense.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use bytes::Bytes;
use dt_model::{ContentHash, TwinId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use super::content::{Incoming, Outgoing, check_announced, too_large};
use super::{Node, audit, on_a_thread, verbs};
use crate::api;
use crate::failure::{Failure, Kind};
use crate::settings::ApiSettings;

/// Requests but those with a document or a specification are shorter.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;
/// How long the body of a request may take to come.
const BODY_TIME: Duration = Duration::from_secs(60);
/// The longest that a follower waits in one request.
const MAX_WAIT_MS: u64 = 30_000;

/// What a request is answered from.
#[derive(Clone)]
struct Desk {
    node: Arc<Node>,
    token: Arc<str>,
}

/// Opens the port.
pub(super) async fn listen(settings: &ApiSettings) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(settings.listen).await;
    listener.map_err(|error| Failure::bad_input(format_args!("api.listen: {}: {error}", settings.listen)))
}

/// Answers until the node stops; requests that were begun are finished.
pub(super) async fn serve(node: Arc<Node>, listener: TcpListener, token: String) {
    let mut stop = node.stop.subscribe();
    let router = router(Desk { node, token: token.into() });
    if let Ok(address) = listener.local_addr() {
        info!(%address, "requests are taken");
    }
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
        warn!(%error, "requests are taken no longer");
    }
}

fn router(desk: Desk) -> Router {
    Router::new()
        .route("/health", get(async || reply(Ok::<_, Failure>(api::Done { done: true }))))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .route("/v1/twins", post(create))
        .route("/v1/twins/{twin}", get(twin))
        .route("/v1/twins/{twin}/element", seen("show", verbs::element))
        .route("/v1/twins/{twin}/readings", seen("readings", verbs::readings))
        .route("/v1/twins/{twin}/edits", done("edit", verbs::edit))
        .route("/v1/twins/{twin}/documents", post(put))
        .route("/v1/twins/{twin}/documents/{document}", get(document))
        .route("/v1/twins/{twin}/roles", done("grant", verbs::grant))
        .route("/v1/twins/{twin}/revocations", done("revoke", verbs::revoke))
        .route("/v1/twins/{twin}/calls", done("call", verbs::call))
        .route("/v1/twins/{twin}/calls/{call}", get(call_state))
        .route("/v1/history", get(history))
        .route("/v1/blocks/{height}", get(block))
        .route("/v1/events", get(events))
        .route("/v1/audit", post(self::audit))
        .route("/v1/device", post(device))
        .fallback(async || reply::<()>(Err(Failure::not_found("there is no such request"))))
        .method_not_allowed_fallback(async || reply::<()>(Err(Failure::bad_input("not by this method"))))
        .with_state(desk)
}

/// What is done to a twin by a request in JSON.
fn done<Q: DeserializeOwned + 'static, A: Serialize + Send + 'static>(
    name: &'static str,
    deed: impl AsyncFn(&Node, TwinId, Q) -> Result<A, Failure> + Copy + Send + Sync + 'static,
) -> MethodRouter<Desk> {
    post(
        async move |State(desk): State<Desk>,
                    Path(twin): Path<String>,
                    headers: HeaderMap,
                    request: Request| {
            let node = Arc::clone(&desk.node);
            let work = move || async move { deed(&node, parsed(&twin)?, json(request).await?).await };
            verb(&desk, name, &headers, work).await
        },
    )
}

/// What is seen of a twin, by a query.
fn seen<Q: DeserializeOwned + 'static, A: Serialize + Send + 'static>(
    name: &'static str,
    look: impl AsyncFn(&Node, TwinId, Q) -> Result<A, Failure> + Copy + Send + Sync + 'static,
) -> MethodRouter<Desk> {
    get(async move |State(desk): State<Desk>, Path(twin): Path<String>, headers: HeaderMap, uri: Uri| {
        let node = Arc::clone(&desk.node);
        let work = move || async move { look(&node, parsed(&twin)?, query(&uri)?).await };
        verb(&desk, name, &headers, work).await
    })
}

/// Carries out `work` for whoever has the token, and counts it. It goes on to its end though nobody waits for it any more.
async fn verb<T: Serialize + Send + 'static, F: Future<Output = Result<T, Failure>>>(
    desk: &Desk,
    name: &'static str,
    headers: &HeaderMap,
    work: impl FnOnce() -> F + Send + 'static,
) -> Response {
    reply(limited(desk, name, headers, work).await)
}

async fn limited<T: Send + 'static, F: Future<Output = Result<T, Failure>>>(
    desk: &Desk,
    name: &'static str,
    headers: &HeaderMap,
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<T, Failure> {
    let begun = Instant::now();
    let done = match authorize(&desk.token, headers) {
        Ok(()) => {
            let limit = Duration::from_millis(desk.node.settings.api.request_ms);
            match timeout(limit, on_a_thread(work)).await {
                Ok(Ok(done)) => done,
                Ok(Err(error)) => Err(Failure::internal(&error)),
                Err(_) => {
                    Err(Failure::unreachable("it takes too long: too few of the others answer; it goes on"))
                }
            }
        }
        Err(failure) => Err(failure),
    };
    desk.node.meter.note_request(name, done.as_ref().err().map(|failure| failure.kind), begun);
    if let Err(failure) = &done {
        debug!(verb = name, %failure, "not done");
    }
    done
}

/// Whether the request carries the token. How much of it is right must not show in the time that this takes.
fn authorize(token: &str, headers: &HeaderMap) -> Result<(), Failure> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if ContentHash::of(given.as_bytes()) == ContentHash::of(token.as_bytes()) {
        return Ok(());
    }
    Err(Failure::new(Kind::Unauthorized, "the request does not carry the token of the node's folder"))
}

/// The answer in JSON.
fn reply<T: Serialize>(outcome: Result<T, Failure>) -> Response {
    let (status, text) = match &outcome {
        Ok(value) => (200, serde_json::to_vec(value)),
        Err(failure) => (failure.kind.status(), serde_json::to_vec(failure)),
    };
    match text {
        Ok(text) => response(status, "application/json", text.into()),
        Err(error) => response(500, "text/plain", error.to_string().into()),
    }
}

fn response(status: u16, media_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A name in the request's path.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|error| Failure::bad_input(format_args!("{text}: {error}")))
}

fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Failure> {
    Query::try_from_uri(uri)
        .map(|Query(query)| query)
        .map_err(|error| Failure::bad_input(format_args!("the query makes no sense: {}", error.body_text())))
}

/// A body of at most `limit` bytes; a longer one is refused as soon as that is known, if may be before anything of it has come.
async fn body(request: Request, limit: usize) -> Result<Bytes, Failure> {
    check_announced(&request, limit)?;
    match timeout(BODY_TIME, to_bytes(request.into_body(), limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(too_large(limit)),
        Err(_) => Err(Failure::bad_input("the body has not come in time")),
    }
}

async fn json<T: DeserializeOwned>(request: Request) -> Result<T, Failure> {
    let bytes = body(request, MAX_REQUEST_BYTES).await?;
    serde_json::from_slice(&bytes).map_err(|error| Failure::bad_input(format_args!("the request: {error}")))
}

async fn ready(State(desk): State<Desk>) -> Response {
    match desk.node.readiness().await {
        Ok(readiness) if readiness.ready => reply(Ok(readiness)),
        Ok(readiness) => {
            let mut response = reply(Ok(readiness));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        }
        Err(failure) => reply::<()>(Err(failure)),
    }
}

async fn metrics(State(desk): State<Desk>) -> Response {
    let text = desk.node.meter.render(&desk.node).await;
    response(200, "text/plain; version=0.0.4", text.into())
}

async fn status(State(desk): State<Desk>, headers: HeaderMap) -> Response {
    let node = Arc::clone(&desk.node);
    verb(&desk, "status", &headers, move || async move { verbs::status(&node).await }).await
}

async fn create(State(desk): State<Desk>, headers: HeaderMap, request: Request) -> Response {
    let node = Arc::clone(&desk.node);
    let work = move || async move {
        let create = query(request.uri())?;
        let aml = body(request, dt_ledger::MAX_AML_BYTES).await?;
        verbs::create(&node, create, aml).await
    };
    verb(&desk, "create", &headers, work).await
}

async fn twin(State(desk): State<Desk>, Path(twin): Path<String>, headers: HeaderMap) -> Response {
    let node = Arc::clone(&desk.node);
    verb(&desk, "show", &headers, move || async move { verbs::show(&node, parsed(&twin)?) }).await
}

async fn put(
    State(desk): State<Desk>,
    Path(twin): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let node = Arc::clone(&desk.node);
    let work = move || async move {
        let (twin, put) = (parsed(&twin)?, query(request.uri())?);
        let content = Incoming::take(&node, request).await?;
        verbs::put(&node, twin, put, content).await
    };
    verb(&desk, "put", &headers, work).await
}

/// The limit of time is for its beginning; the rest comes as fast as it is taken.
async fn document(
    State(desk): State<Desk>,
    Path((twin, document)): Path<(String, String)>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let node = Arc::clone(&desk.node);
    let work =
        move || async move { Outgoing::open(node, parsed(&twin)?, parsed(&document)?, query(&uri)?).await };
    match limited(&desk, "get", &headers, work).await {
        Ok(content) => {
            let (size, hash) = (content.size, HeaderValue::from_str(&content.hash.to_string()));
            let mut response = response(200, "application/octet-stream", content.into_body());
            response.headers_mut().insert(header::CONTENT_LENGTH, size.into());
            if let Ok(hash) = hash {
                response.headers_mut().insert(api::SHA256_HEADER, hash);
            }
            response
        }
        Err(failure) => reply::<()>(Err(failure)),
    }
}

async fn call_state(
    State(desk): State<Desk>,
    Path((twin, call)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let node = Arc::clone(&desk.node);
    let work = move || async move { verbs::call_state(&node, parsed(&twin)?, parsed(&call)?) };
    verb(&desk, "call", &headers, work).await
}

async fn history(State(desk): State<Desk>, headers: HeaderMap, uri: Uri) -> Response {
    let node = Arc::clone(&desk.node);
    verb(&desk, "history", &headers, move || async move { verbs::history(&node, query(&uri)?) }).await
}

async fn block(State(desk): State<Desk>, Path(height): Path<String>, headers: HeaderMap) -> Response {
    let node = Arc::clone(&desk.node);
    verb(&desk, "block", &headers, move || async move { verbs::block(&node, parsed(&height)?) }).await
}

async fn events(State(desk): State<Desk>, headers: HeaderMap, uri: Uri) -> Response {
    let node = Arc::clone(&desk.node);
    let work = move || async move {
        let mut follow: api::Follow = query(&uri)?;
        follow.wait_ms = follow.wait_ms.min(MAX_WAIT_MS).min(node.settings.api.request_ms / 2);
        verbs::events(&node, follow).await
    };
    verb(&desk, "follow", &headers, work).await
}

/// It takes as long as it takes, and says how far it is.
async fn audit(State(desk): State<Desk>, headers: HeaderMap) -> Response {
    let node = Arc::clone(&desk.node);
    match limited(&desk, "audit", &headers, move || async move { Ok(audit::start(&node)) }).await {
        Ok(news) => response(200, "application/x-ndjson", news),
        Err(failure) => reply::<()>(Err(failure)),
    }
}

async fn device(State(desk): State<Desk>, headers: HeaderMap, request: Request) -> Response {
    let node = Arc::clone(&desk.node);
    let work = move || async move { verbs::intervene(&node, json(request).await?) };
    verb(&desk, "simulate", &headers, work).await
}
