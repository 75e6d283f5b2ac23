//! Leases over HTTP: acquire, renew, release.

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::error::Error;
use super::request::{Request, key};
use super::{Api, Response, json, json_response};
use crate::state_machine::Operation;

/// Bounds of a lease's time to live.
const TTL_MS: std::ops::RangeInclusive<u64> = 1..=24 * 60 * 60 * 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaseBody {
    owner: String,
    ttl_ms: Option<u64>,
    token: Option<u64>,
}

impl Api {
    pub(super) async fn lease(&self, request: Request, path: &str) -> Result<Response, Error> {
        let usage = || Error::bad_request("POST goes to /lease/{name}/acquire, renew or release");
        let (name, verb) = path.rsplit_once('/').ok_or_else(usage)?;
        if request.method() != Method::POST {
            return Err(usage());
        }
        let name = key(name, &self.limits)?;
        let (ticket, forward) = (request.ticket()?, request.forward());
        let operation = operation(verb, name.clone(), request.parse().await?)
            .transpose()
            .ok_or_else(usage)??;
        let group = self.router.group_of(&name);
        let answer = self.write(group, ticket, forward, operation).await?;
        let body = json::answer(&answer).expect("a lease has a plain answer");
        Ok(json_response(StatusCode::OK, body))
    }
}

/// What `verb` asks for, or `None` if there is no such verb.
fn operation(verb: &str, name: Bytes, body: LeaseBody) -> Result<Option<Operation>, Error> {
    let LeaseBody {
        owner,
        ttl_ms,
        token,
    } = body;
    if owner.is_empty() || owner.len() > 1024 {
        return Err(Error::bad_request("an owner has 1 to 1024 bytes"));
    }
    let token = || token.ok_or_else(|| Error::bad_request("give the token that acquire returned"));
    Ok(Some(match verb {
        "acquire" => {
            let ttl_ms = ttl_ms.filter(|ttl| TTL_MS.contains(ttl)).ok_or_else(|| {
                Error::bad_request(format!(
                    "ttl_ms must be {} to {}",
                    TTL_MS.start(),
                    TTL_MS.end()
                ))
            })?;
            Operation::Acquire {
                name,
                owner,
                ttl_ms,
            }
        }
        "renew" => Operation::Renew {
            name,
            owner,
            token: token()?,
        },
        "release" => Operation::Release {
            name,
            owner,
            token: token()?,
        },
        _ => return Ok(None),
    }))
}
