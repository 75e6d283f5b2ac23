//! The node's HTTP face.
//!
//! Requests are matched by hand on raw hyper: the hot path is one hash of the key, one hop to the
//! group and one small JSON text, and a router crate would cost as much as all of that.

mod admin;
mod error;
mod json;
mod kv;
mod lease;
mod listener;
mod metrics;
mod request;
mod txn;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};

use crate::group::{Failure, ReadMode};
use crate::router::Router;
use error::Error;
pub use listener::serve;
pub use metrics::Metrics;
use request::Request;

type Response = hyper::Response<Full<Bytes>>;

/// Everything a handler needs.
#[derive(Debug)]
pub struct Api {
    /// The way to the groups.
    pub router: Arc<Router>,
    /// The counters that `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// Limits and defaults.
    pub limits: Limits,
    /// When set, the admin verbs want it as a bearer token.
    pub admin_token: Option<String>,
}

/// What a client may ask for, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest request body.
    pub body_bytes: usize,
    /// Longest key.
    pub key_bytes: usize,
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// How long an operation may take before its outcome is called unknown.
    pub timeout: Duration,
    /// How a read is served that does not say.
    pub reads: ReadMode,
}

impl Api {
    async fn handle(&self, request: hyper::Request<Incoming>) -> Response {
        let begun = Instant::now();
        let answered = match Request::new(request, &self.limits) {
            Ok(request) => self.dispatch(request).await,
            Err(error) => Err(error),
        };
        let response = answered.unwrap_or_else(Error::into_response);
        self.metrics
            .count_response(response.status(), begun.elapsed());
        response
    }

    async fn dispatch(&self, mut request: Request) -> Result<Response, Error> {
        if let Some(rest) = request.take_path_after("/kv/") {
            return match *request.method() {
                Method::PUT => self.put(request, &rest).await,
                Method::GET => self.get(&request, &rest).await,
                Method::DELETE => Box::pin(self.delete(&request, &rest)).await,
                Method::POST => Box::pin(self.cas(request, &rest)).await,
                _ => Err(method_not_allowed()),
            };
        }
        Box::pin(self.dispatch_rest(request)).await
    }

    /// What is asked more rarely. Its futures are boxed, here and above: a put's would be as large
    /// as the largest of them otherwise, and is moved and kept for each request under way.
    async fn dispatch_rest(&self, mut request: Request) -> Result<Response, Error> {
        if let Some(rest) = request.take_path_after("/lease/") {
            return self.lease(request, &rest).await;
        }
        if let Some(rest) = request.take_path_after("/sessions/") {
            return self.keep_session(request, &rest).await;
        }
        let method = request.method().clone();
        let path = request.path().to_owned();
        match (method, path.as_str()) {
            (Method::GET, "/kv") => self.range(&request).await,
            (Method::POST, "/txn") => self.txn(request).await,
            (Method::POST, "/sessions") => self.open_session().await,
            (Method::GET, "/status") => self.status().await,
            (Method::GET, "/members") => self.members().await,
            (Method::POST, "/members") => self.change_members(request).await,
            (Method::POST, "/transfer") => self.transfer(request).await,
            (Method::POST, "/campaign") => self.campaign(request).await,
            (Method::POST, "/snapshot") => self.snapshot(request).await,
            (Method::GET, "/health") => Ok(json_response(StatusCode::OK, "{\"healthy\":true}")),
            (Method::GET, "/ready") => self.ready().await,
            (Method::GET, "/metrics") => self.show_metrics().await,
            (Method::GET, "/openapi.json") => {
                Ok(json_response(StatusCode::OK, include_str!("openapi.json")))
            }
            (
                _,
                "/kv" | "/txn" | "/sessions" | "/status" | "/members" | "/transfer" | "/campaign"
                | "/snapshot" | "/health" | "/ready" | "/metrics" | "/openapi.json",
            ) => Err(method_not_allowed()),
            _ => Err(Error::new(
                StatusCode::NOT_FOUND,
                "no_such_path",
                "no such path; see /openapi.json",
            )),
        }
    }

    fn failed(&self, failure: &Failure) -> Error {
        Error::from_failure(failure, |id| self.router.http_address(id))
    }
}

fn method_not_allowed() -> Error {
    Error::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "not with this method",
    )
}

fn json_response(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = hyper::Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
