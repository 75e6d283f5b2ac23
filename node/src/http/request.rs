//! A request taken apart: path, query, headers, body, each within its limit.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::Limits;
use super::error::Error;
use crate::group::{Forward, ReadMode};
use crate::state_machine::Ticket;

/// A request whose body is still to be read.
pub(super) struct Request {
    /// Boxed, since a request is handed on a few times.
    parts: Box<Parts>,
    body: Body,
}

/// A request's body, still to be read.
pub(super) struct Body {
    incoming: Incoming,
    limits: Limits,
}

impl Request {
    pub(super) fn new(request: hyper::Request<Incoming>, limits: &Limits) -> Result<Self, Error> {
        let (parts, incoming) = request.into_parts();
        let limits = *limits;
        let request = Request {
            parts: Box::new(parts),
            body: Body { incoming, limits },
        };
        match request.header("content-length").map(str::parse::<usize>) {
            Some(Ok(length)) if length > limits.body_bytes => Err(too_large(&limits)),
            _ => Ok(request),
        }
    }

    pub(super) fn method(&self) -> &Method {
        &self.parts.method
    }

    pub(super) fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// What follows `prefix` in the path, still percent-encoded.
    pub(super) fn take_path_after(&mut self, prefix: &str) -> Option<String> {
        self.path().strip_prefix(prefix).map(str::to_owned)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    }

    /// The value of a query parameter, decoded.
    pub(super) fn query(&self, name: &str) -> Result<Option<Cow<'_, str>>, Error> {
        let pairs = self.parts.uri.query().unwrap_or_default().split('&');
        let found = pairs
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name);
        found
            .map(|(_, value)| {
                percent_decode_str(value)
                    .decode_utf8()
                    .map_err(|_| Error::bad_request(format!("{name} is not UTF-8")))
            })
            .transpose()
    }

    /// The numeric value of a query parameter.
    pub(super) fn query_number(&self, name: &str) -> Result<Option<usize>, Error> {
        self.query(name)?
            .map(|text| {
                text.parse().map_err(|_| {
                    Error::bad_request(format!("{name} must be a whole number, not {text:?}"))
                })
            })
            .transpose()
    }

    /// How a read is to be served.
    pub(super) fn read_mode(&self) -> Result<ReadMode, Error> {
        match self.query("read")? {
            None => Ok(self.body.limits.reads),
            Some(text) => text.parse().map_err(Error::bad_request),
        }
    }

    /// Whether a node that does not lead may pass the request on.
    pub(super) fn forward(&self) -> Forward {
        match self.header("ordeal-forward") {
            Some("no") => Forward::No,
            _ => Forward::ToLeader,
        }
    }

    /// The request's place in its session, if it has one.
    pub(super) fn ticket(&self) -> Result<Option<Ticket>, Error> {
        let number = |name: &str| {
            self.header(name)
                .map(|text| {
                    text.parse::<u64>().map_err(|_| {
                        Error::bad_request(format!("{name} must be a whole number, not {text:?}"))
                    })
                })
                .transpose()
        };
        match (number("ordeal-session")?, number("ordeal-sequence")?) {
            (None, None) => Ok(None),
            (Some(_), Some(0)) => Err(Error::bad_request("ordeal-sequence counts from 1")),
            (Some(session), Some(sequence)) => Ok(Some(Ticket { session, sequence })),
            _ => Err(Error::bad_request(
                "ordeal-session and ordeal-sequence must be given together",
            )),
        }
    }

    pub(super) fn is_json(&self) -> bool {
        self.header(CONTENT_TYPE.as_str())
            .is_some_and(|kind| kind.starts_with("application/json"))
    }

    pub(super) fn wants_raw(&self) -> bool {
        self.header(ACCEPT.as_str()) == Some("application/octet-stream")
    }

    pub(super) fn bearer(&self) -> Option<&str> {
        self.header(AUTHORIZATION.as_str())?.strip_prefix("Bearer ")
    }

    /// Leaves all but the body.
    pub(super) fn into_body(self) -> Body {
        self.body
    }

    /// The body as JSON of a known shape; an empty one counts as `{}`.
    pub(super) async fn parse<T: DeserializeOwned>(self) -> Result<T, Error> {
        let body = self.into_body().read().await?;
        let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
        serde_json::from_slice(text)
            .map_err(|error| Error::bad_request(format!("the body is not as expected: {error}")))
    }
}

impl Body {
    /// The whole body, as long as it is within the limit.
    pub(super) async fn read(self) -> Result<Bytes, Error> {
        let Body { incoming, limits } = self;
        match tokio::time::timeout(limits.timeout, gather(incoming, &limits)).await {
            Ok(body) => body,
            Err(_) => Err(Error::new(
                StatusCode::REQUEST_TIMEOUT,
                "slow_body",
                "the body did not arrive in time",
            )),
        }
    }
}

/// Copies the body, so that what it arrived in is free for what arrives next.
async fn gather(mut incoming: Incoming, limits: &Limits) -> Result<Bytes, Error> {
    let announced = incoming.size_hint().lower().min(limits.body_bytes as u64);
    let mut body = BytesMut::with_capacity(announced as usize);
    while let Some(frame) = incoming.frame().await {
        let frame = frame
            .map_err(|error| Error::bad_request(format!("the body could not be read: {error}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if body.len() + data.len() > limits.body_bytes {
            return Err(too_large(limits));
        }
        body.extend_from_slice(&data);
    }
    Ok(body.freeze())
}

fn too_large(limits: &Limits) -> Error {
    Error::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        format!("the body may have up to {} bytes", limits.body_bytes),
    )
}

/// A key out of a path segment.
pub(super) fn key(encoded: &str, limits: &Limits) -> Result<Bytes, Error> {
    let key = percent_decode_str(encoded)
        .decode_utf8()
        .map_err(|_| Error::bad_request("the key is not UTF-8"))?;
    check_key(&key, limits)?;
    Ok(Bytes::from(key.into_owned()))
}

/// Refuses what cannot be a key.
pub(super) fn check_key(key: &str, limits: &Limits) -> Result<(), Error> {
    if key.is_empty() || key.len() > limits.key_bytes {
        return Err(Error::bad_request(format!(
            "a key has 1 to {} bytes, this one {}",
            limits.key_bytes,
            key.len()
        )));
    }
    Ok(())
}
