//! Keys over HTTP: get, put, delete, compare-and-set, range, sessions.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value as Json;

use super::error::Error;
use super::request::{Request, key};
use super::{Api, Response, json, json_response};
use crate::group::{Forward, GroupId};
use crate::state_machine::{Answer, Command, Expect, Operation, Outcome, Record, Ticket, Value};

/// Items in a page when the client does not say, and at most.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 10_000;

/// The body of a compare-and-set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CasBody {
    #[serde(default, with = "explicit_null")]
    expect: Option<Json>,
    revision: Option<u64>,
    value: Json,
}

/// Tells `"expect": null` from no `expect`.
mod explicit_null {
    use serde::{Deserialize, Deserializer};
    use serde_json::Value as Json;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Json>, D::Error> {
        Json::deserialize(from).map(Some)
    }
}

impl Api {
    pub(super) async fn put(&self, request: Request, path: &str) -> Result<Response, Error> {
        let key = key(path, &self.limits)?;
        let (ticket, forward, is_json) = (request.ticket()?, request.forward(), request.is_json());
        let body = request.into_body().read().await?;
        let value = if is_json {
            Value::parse_json(&body)
                .map_err(|error| Error::bad_request(format!("the value is not JSON: {error}")))?
        } else {
            Value::Raw(body)
        };
        self.write_key(ticket, forward, Operation::Put { key, value })
            .await
    }

    pub(super) async fn delete(&self, request: &Request, path: &str) -> Result<Response, Error> {
        let key = key(path, &self.limits)?;
        self.write_key(
            request.ticket()?,
            request.forward(),
            Operation::Delete { key },
        )
        .await
    }

    pub(super) async fn cas(&self, request: Request, path: &str) -> Result<Response, Error> {
        let Some(path) = path.strip_suffix("/cas") else {
            return Err(Error::bad_request("POST goes to /kv/{key}/cas"));
        };
        let key = key(path, &self.limits)?;
        let (ticket, forward) = (request.ticket()?, request.forward());
        let body: CasBody = request.parse().await?;
        let expect = match (body.expect, body.revision) {
            (Some(Json::Null), None) => Expect::Absent,
            (Some(value), None) => Expect::Value(Value::json(&value)),
            (None, Some(revision)) => Expect::Revision(revision),
            _ => return Err(Error::bad_request("give either expect or revision")),
        };
        let value = Some(&body.value)
            .filter(|value| !value.is_null())
            .map(Value::json);
        self.write_key(ticket, forward, Operation::Cas { key, expect, value })
            .await
    }

    async fn write_key(
        &self,
        session: Option<Ticket>,
        forward: Forward,
        operation: Operation,
    ) -> Result<Response, Error> {
        let group = match &operation {
            Operation::Put { key, .. } | Operation::Delete { key } | Operation::Cas { key, .. } => {
                self.router.group_of(key)
            }
            _ => GroupId::default(),
        };
        let answer = self.write(group, session, forward, operation).await?;
        let body = json::answer(&answer).expect("a key's operation has a plain answer");
        Ok(json_response(StatusCode::OK, body))
    }

    /// Proposes an operation and waits for its effect; a refusal becomes an error.
    pub(super) async fn write(
        &self,
        group: GroupId,
        session: Option<Ticket>,
        forward: Forward,
        operation: Operation,
    ) -> Result<Answer, Error> {
        let command = Command { session, operation };
        let answer = self
            .router
            .write(group, &command, forward)
            .await
            .map_err(|failure| self.failed(&failure))?;
        match answer.outcome {
            Outcome::Refused(refusal) => Err(Error::from_refusal(refusal, answer.index)),
            _ => Ok(answer),
        }
    }

    pub(super) async fn get(&self, request: &Request, path: &str) -> Result<Response, Error> {
        let key = key(path, &self.limits)?;
        let group = self.router.group_of(&key);
        let state = self
            .router
            .read(group, request.read_mode()?, request.forward())
            .await
            .map_err(|failure| self.failed(&failure))?;
        let (record, index) = {
            let state = state.read();
            (state.get(&key).cloned(), state.applied())
        };
        let Some(record) = record else {
            return Err(
                Error::new(StatusCode::NOT_FOUND, "not_found", "no such key").with("index", index),
            );
        };
        if request.wants_raw() {
            return Ok(raw_response(&record, index));
        }
        let key = std::str::from_utf8(&key).expect("checked when it was decoded");
        Ok(json_response(
            StatusCode::OK,
            json::record(key, &record, index),
        ))
    }

    /// One page of keys. With several groups, each is read at its own index: not one instant.
    pub(super) async fn range(&self, request: &Request) -> Result<Response, Error> {
        let prefix = request.query("prefix")?.unwrap_or_default();
        let after = request.query("after")?;
        let limit = request
            .query_number("limit")?
            .unwrap_or(PAGE_DEFAULT)
            .clamp(1, PAGE_MAX);
        let (mut items, mut index, mut more) = (Vec::new(), 0, false);
        for group in self.router.groups() {
            let state = self
                .router
                .read(group, request.read_mode()?, request.forward())
                .await
                .map_err(|failure| self.failed(&failure))?;
            let state = state.read();
            let after = after.as_deref().map(str::as_bytes);
            let page = state.range(prefix.as_bytes(), after, limit);
            items.extend(page.items);
            more |= page.more;
            index = index.max(state.applied());
        }
        items.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        more |= items.len() > limit;
        items.truncate(limit);
        Ok(json_response(
            StatusCode::OK,
            json::page(&items, index, more),
        ))
    }

    /// Opens a session in every group under the id that group 0 gives it.
    pub(super) async fn open_session(&self) -> Result<Response, Error> {
        let first = GroupId::default();
        let open = |id| Operation::OpenSession { id };
        let answer = self
            .write(first, None, Forward::ToLeader, open(None))
            .await?;
        if let Outcome::Session { id } = answer.outcome {
            self.write_others(&open(Some(id))).await?;
        }
        let body = json::answer(&answer).expect("a session has a plain answer");
        Ok(json_response(StatusCode::OK, body))
    }

    /// `POST /sessions/{id}/keepalive`.
    pub(super) async fn keep_session(
        &self,
        request: Request,
        path: &str,
    ) -> Result<Response, Error> {
        let id = path
            .strip_suffix("/keepalive")
            .and_then(|id| id.parse().ok());
        let (Some(id), &Method::POST) = (id, request.method()) else {
            return Err(Error::bad_request("POST goes to /sessions/{id}/keepalive"));
        };
        let touch = Operation::TouchSession { id };
        let answer = self
            .write(GroupId::default(), None, Forward::ToLeader, touch.clone())
            .await?;
        self.write_others(&touch).await?;
        let body = json::answer(&answer).expect("a session has a plain answer");
        Ok(json_response(StatusCode::OK, body))
    }

    async fn write_others(&self, operation: &Operation) -> Result<(), Error> {
        for group in self
            .router
            .groups()
            .filter(|group| *group != GroupId::default())
        {
            self.write(group, None, Forward::ToLeader, operation.clone())
                .await?;
        }
        Ok(())
    }
}

fn raw_response(record: &Record, index: u64) -> Response {
    let mut response = hyper::Response::new(Full::new(record.value.bytes().clone()));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert("ordeal-index", HeaderValue::from(index));
    headers.insert("ordeal-revision", HeaderValue::from(record.revision));
    response
}

/// A key or name that came inside JSON.
pub(super) fn key_in_body(key: &str, api: &Api) -> Result<Bytes, Error> {
    super::request::check_key(key, &api.limits)?;
    Ok(Bytes::copy_from_slice(key.as_bytes()))
}
