//! The commands' side of a node's requests: blocking HTTP on loopback, with the folder's token.

use std::io::{BufRead as _, BufReader, Read};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Response, header};
use ureq::{Agent, Body, SendBody};

use crate::api::{AuditNews, Audited};
use crate::failure::{Failure, Kind};
use crate::folder::Folder;
use crate::settings::Settings;

/// A node that runs on this machine. Clones ask the same one.
#[derive(Clone)]
pub(crate) struct Remote {
    agent: Agent,
    base: String,
    token: String,
}

/// No answer but a document's content is longer.
const MAX_ANSWER_BYTES: u64 = 16 * 1024 * 1024;
/// From this size on a body is sent only when the node has said that it takes it.
const ASK_FIRST_BYTES: u64 = 256 * 1024;
/// Beyond the node's own limit of time, which it answers with.
const PATIENCE: Duration = Duration::from_secs(10);

impl Remote {
    /// The node of `folder`.
    pub(crate) fn open(folder: &Folder) -> Result<Self, Failure> {
        let api = Settings::read(&folder.config())?.api;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_connect(Some(Duration::from_secs(2)))
            .timeout_recv_response(Some(Duration::from_millis(api.request_ms).saturating_add(PATIENCE)))
            .build();
        let base = format!("http://{}", api.listen);
        Ok(Self { agent: config.into(), base, token: folder.token()? })
    }

    /// Asks for something.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str, query: &impl Serialize) -> Result<T, Failure> {
        let response = self.authorized(self.agent.get(self.url(path, query)?)).call();
        parse(response.map_err(unanswered)?)
    }

    /// Asks whether the node is ready: no token is needed, and no is an answer too.
    pub(crate) fn ready(&self) -> Result<crate::api::Readiness, Failure> {
        let response = self.agent.get(format!("{}/ready", self.base)).call().map_err(unanswered)?;
        body(response)
    }

    /// Asks for something to be done.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
    ) -> Result<T, Failure> {
        let text = serde_json::to_vec(request).map_err(|error| Failure::internal(&error))?;
        let request = self.authorized(self.agent.post(self.url(path, &())?));
        parse(request.send(&text[..]).map_err(unanswered)?)
    }

    /// Has the node audit its chain; each height that it tells is passed on.
    pub(crate) fn audit(&self, mut progress: impl FnMut(u64)) -> Result<Audited, Failure> {
        let request = self.authorized(self.agent.post(self.url("/v1/audit", &())?));
        let response = request.send_empty().map_err(unanswered)?;
        if !response.status().is_success() {
            return Err(failed(response));
        }
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let line =
                line.map_err(|error| Failure::unreachable(format_args!("the audit breaks off: {error}")))?;
            match read_json(line.as_bytes())? {
                AuditNews::Height(height) => progress(height),
                AuditNews::Done(audited) => return Ok(audited),
                AuditNews::Failed(failure) => return Err(failure),
            }
        }
        Err(Failure::unreachable("the audit breaks off: the node stops"))
    }

    /// Sends `length` bytes of content with what `query` says of them.
    pub(crate) fn send<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
        content: &mut dyn Read,
        length: u64,
    ) -> Result<T, Failure> {
        let mut request = self.authorized(self.agent.post(self.url(path, query)?));
        request = request.header(header::CONTENT_LENGTH, length);
        if length > ASK_FIRST_BYTES {
            // So that a refusal comes before the content has gone over for nothing.
            request = request.header(header::EXPECT, "100-continue");
        }
        parse(request.send(SendBody::from_reader(&mut content.take(length))).map_err(unanswered)?)
    }

    /// Asks for content.
    pub(crate) fn fetch(&self, path: &str, query: &impl Serialize) -> Result<Response<Body>, Failure> {
        let response = self.authorized(self.agent.get(self.url(path, query)?)).call().map_err(unanswered)?;
        if response.status().is_success() { Ok(response) } else { Err(failed(response)) }
    }

    fn authorized<T>(&self, request: ureq::RequestBuilder<T>) -> ureq::RequestBuilder<T> {
        request.header(header::AUTHORIZATION, format!("Bearer {}", self.token))
    }

    fn url(&self, path: &str, query: &impl Serialize) -> Result<String, Failure> {
        let query = query_string(query)?;
        let mark = if query.is_empty() { "" } else { "?" };
        Ok(format!("{}{path}{mark}{query}", self.base))
    }
}

/// The fields of `query`, which has only flat ones, as a query (RFC 3986, section 3.4).
fn query_string(query: &impl Serialize) -> Result<String, Failure> {
    let value = serde_json::to_value(query).map_err(|error| Failure::internal(&error))?;
    let mut text = String::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        let value = match value {
            serde_json::Value::Null => continue,
            serde_json::Value::String(value) => escaped(value),
            value => value.to_string(),
        };
        let and = if text.is_empty() { "" } else { "&" };
        text += &format!("{and}{name}={value}");
    }
    Ok(text)
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

fn unanswered(error: ureq::Error) -> Failure {
    Failure::unreachable(format_args!("the node does not answer ({error}); does `twin-node run` run?"))
}

fn parse<T: DeserializeOwned>(response: Response<Body>) -> Result<T, Failure> {
    if response.status().is_success() { body(response) } else { Err(failed(response)) }
}

/// What a node said that did not do as it was asked.
fn failed(response: Response<Body>) -> Failure {
    let status = response.status();
    body(response).unwrap_or_else(|_| Failure::new(Kind::Internal, format_args!("the node answers {status}")))
}

fn body<T: DeserializeOwned>(response: Response<Body>) -> Result<T, Failure> {
    let bytes = response.into_body().into_with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
    let bytes = bytes.map_err(unanswered)?;
    read_json(&bytes)
}

fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes)
        .map_err(|error| Failure::new(Kind::Internal, format_args!("the node's answer: {error}")))
}

#[cfg(test)]
mod tests {
    use crate::api::Put;

    use super::*;

    #[test]
    fn a_query_is_escaped() {
        let put = Put { title: Some("a&b = ü?".parse().unwrap()), ..Put::default() };
        assert_eq!(query_string(&put).unwrap(), "title=a%26b%20%3D%20%C3%BC%3F");
        assert_eq!(query_string(&()).unwrap(), "");
    }
}
