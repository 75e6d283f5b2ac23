//! Errors as clients see them: a status, a code, and whether the operation certainly did not happen.

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Value as Json, json};

use super::{Response, json_response};
use crate::group::Failure;
use crate::state_machine::{Kind, Refusal, Value};

/// An error on its way to the client.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Whether the operation certainly did not happen, nor ever will.
    pub(crate) definite: bool,
    /// Further members of the error object.
    pub(crate) details: Vec<(&'static str, Json)>,
}

impl Error {
    /// An error before anything was done.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Error {
        Error {
            status,
            code,
            message: message.into(),
            definite: true,
            details: Vec::new(),
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Error {
        Error::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Json>) -> Error {
        self.details.push((name, value.into()));
        self
    }

    /// The operation may have happened, or may yet.
    fn indefinite(mut self) -> Error {
        self.definite = false;
        self
    }

    /// What a group's failure means to the client; `leader_http` finds a member's address.
    pub(crate) fn from_failure(
        failure: &Failure,
        leader_http: impl Fn(raft::NodeId) -> Option<String>,
    ) -> Error {
        let unavailable =
            |code| Error::new(StatusCode::SERVICE_UNAVAILABLE, code, failure.to_string());
        match failure {
            Failure::NotLeader { leader } => {
                let error = Error::new(
                    StatusCode::MISDIRECTED_REQUEST,
                    "not_leader",
                    failure.to_string(),
                );
                match leader {
                    Some(id) => error.with("leader", json!({"id": id, "http": leader_http(*id)})),
                    None => error,
                }
            }
            Failure::Overloaded => unavailable("overloaded"),
            Failure::DiskFull => unavailable("disk_full"),
            Failure::Refused(_) => Error::new(StatusCode::CONFLICT, "refused", failure.to_string()),
            Failure::NoLeader
            | Failure::Transferring
            | Failure::Superseded
            | Failure::Deposed
            | Failure::Stopping => unavailable("unavailable"),
            Failure::Timeout | Failure::Lost => {
                Error::new(StatusCode::GATEWAY_TIMEOUT, "timeout", failure.to_string()).indefinite()
            }
        }
    }

    /// What the state machine's refusal means to the client.
    pub(crate) fn from_refusal(refusal: Refusal, index: u64) -> Error {
        let conflict = |code, message: String| Error::new(StatusCode::CONFLICT, code, message);
        let error = match refusal {
            Refusal::Mismatch {
                key,
                actual,
                revision,
            } => conflict(
                "mismatch",
                format!("{:?} is not as expected", key_text(&key)),
            )
            .with("key", key_text(&key))
            .with("actual", actual.map_or(Json::Null, |value| to_json(&value)))
            .with("revision", revision),
            Refusal::WrongKind { key, wanted } => {
                let wanted = match wanted {
                    Kind::List => "a list",
                    Kind::Integer => "an integer that can take the sum",
                };
                conflict(
                    "wrong_kind",
                    format!("{:?} does not hold {wanted}", key_text(&key)),
                )
                .with("key", key_text(&key))
            }
            Refusal::LeaseHeld {
                owner,
                remaining_ms,
            } => conflict("held", format!("the lease is held by {owner:?}"))
                .with("owner", owner)
                .with("remaining_ms", remaining_ms),
            Refusal::LeaseLost => conflict(
                "lease_lost",
                "the lease is not, or no longer, the caller's".into(),
            ),
            Refusal::SessionExpired => Error::new(
                StatusCode::GONE,
                "session_expired",
                "the session ended or never was: open another",
            ),
            Refusal::SequenceForgotten => conflict(
                "sequence_forgotten",
                "too many later requests of the session were answered to know this one's fate"
                    .into(),
            )
            .indefinite(),
            Refusal::Wiped => conflict(
                "wiped",
                "the node lost its disk: it has to be readmitted".into(),
            ),
            Refusal::TooManySessions => Error::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_sessions",
                "the table of sessions is full",
            ),
        };
        error.with("index", index)
    }

    pub(crate) fn into_response(self) -> Response {
        let mut error = serde_json::Map::new();
        error.insert("code".into(), self.code.into());
        error.insert("message".into(), self.message.into());
        error.insert("definite".into(), self.definite.into());
        for (name, value) in self.details {
            error.insert(name.into(), value);
        }
        json_response(
            self.status,
            Bytes::from(json!({ "error": error }).to_string()),
        )
    }
}

fn key_text(key: &Bytes) -> String {
    String::from_utf8_lossy(key).into_owned()
}

/// The value as JSON; bytes that are no text become base-16.
fn to_json(value: &Value) -> Json {
    serde_json::from_str(&super::json::value_text(value)).unwrap_or(Json::Null)
}
