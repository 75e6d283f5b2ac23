//! The operator's verbs: status, members, transfer, campaign, snapshot.

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::error::Error;
use super::request::Request;
use super::{Api, Response, json_response};
use crate::admission;
use crate::config::{Addresses, is_address};
use crate::group::{AdminVerb, Forward, GroupId};
use raft::{Change, MembershipChange, NodeId, Transition};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MembersBody {
    changes: Vec<ChangeBody>,
    group: Option<GroupId>,
    /// Go through a joint configuration even for one change.
    #[serde(default)]
    joint: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ChangeBody {
    /// Votes at once.
    AddVoter(NewMember),
    /// Receives the log until it is promoted by hand.
    AddLearner(NewMember),
    /// Receives the log and votes as soon as it has caught up.
    Join(NewMember),
    Promote(NodeId),
    Demote(NodeId),
    Remove(NodeId),
    /// Gives a member that lost its disk its vote back. Goes alone.
    Readmit(NodeId),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMember {
    id: NodeId,
    peer: String,
    http: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TransferBody {
    to: NodeId,
    group: Option<GroupId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupBody {
    group: Option<GroupId>,
}

impl ChangeBody {
    fn into_change(self) -> Result<Change, Error> {
        Ok(match self {
            ChangeBody::AddVoter(new) => Change::AddVoter {
                id: new.id,
                context: new.context()?,
            },
            ChangeBody::AddLearner(new) => Change::AddLearner {
                id: new.id,
                context: new.context()?,
            },
            ChangeBody::Join(new) => Change::Join {
                id: new.id,
                context: new.context()?,
            },
            ChangeBody::Promote(id) => Change::Promote { id },
            ChangeBody::Demote(id) => Change::Demote { id },
            ChangeBody::Remove(id) => Change::Remove { id },
            ChangeBody::Readmit(_) => return Err(Error::bad_request("readmit goes alone")),
        })
    }
}

impl NewMember {
    fn context(self) -> Result<bytes::Bytes, Error> {
        if self.id == 0 {
            return Err(Error::bad_request("ids begin at 1"));
        }
        for address in [&self.peer, &self.http] {
            if !is_address(address) {
                return Err(Error::bad_request(format!("{address:?} is not host:port")));
            }
        }
        Ok(Addresses {
            peer: self.peer,
            http: self.http,
        }
        .to_context())
    }
}

impl Api {
    fn authorize(&self, request: &Request) -> Result<(), Error> {
        let Some(token) = &self.admin_token else {
            return Ok(());
        };
        // Compared without an early exit, so that time tells nothing of the token.
        let given = request.bearer().unwrap_or_default().as_bytes();
        let differ = given.len() ^ token.len()
            | given
                .iter()
                .zip(token.as_bytes())
                .fold(0, |sum, (a, b)| sum | usize::from(a ^ b));
        if differ == 0 {
            return Ok(());
        }
        Err(Error::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "this verb wants authorization: Bearer TOKEN",
        ))
    }

    pub(super) async fn status(&self) -> Result<Response, Error> {
        let status = self
            .router
            .status()
            .await
            .map_err(|failure| self.failed(&failure))?;
        let text = serde_json::to_string(&status).expect("a status has a JSON form");
        Ok(json_response(StatusCode::OK, text))
    }

    pub(super) async fn ready(&self) -> Result<Response, Error> {
        let status = self
            .router
            .status()
            .await
            .map_err(|failure| self.failed(&failure))?;
        let lacking = |group: &&crate::group::GroupStatus| {
            group.leader.is_none() || group.applied < group.commit
        };
        match status.groups.iter().find(lacking) {
            None => Ok(json_response(StatusCode::OK, "{\"ready\":true}")),
            Some(group) => Err(Error::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not_ready",
                match group.leader {
                    None => format!("group {} knows no leader", group.group),
                    Some(_) => format!(
                        "group {} has applied {} of {} committed entries",
                        group.group, group.applied, group.commit
                    ),
                },
            )),
        }
    }

    pub(super) async fn members(&self) -> Result<Response, Error> {
        let status = self
            .router
            .status()
            .await
            .map_err(|failure| self.failed(&failure))?;
        let first = &status.groups[0];
        let members: Vec<Json> = status
            .members
            .iter()
            .map(|member| {
                let kind = match &first.configuration {
                    held if held.voters.contains(&member.id) => "voter",
                    held if held.outgoing.contains(&member.id) => "outgoing",
                    held if held.joining.contains(&member.id) => "joining",
                    _ => "learner",
                };
                let progress = first.progress.iter().find(|peer| peer.id == member.id);
                json!({
                    "id": member.id, "peer": member.peer, "http": member.http, "kind": kind,
                    "leader": first.leader == Some(member.id), "progress": progress,
                })
            })
            .collect();
        let text =
            json!({"members": members, "leader": first.leader, "index": first.configuration.index});
        Ok(json_response(StatusCode::OK, text.to_string()))
    }

    pub(super) async fn change_members(&self, request: Request) -> Result<Response, Error> {
        self.authorize(&request)?;
        let forward = request.forward();
        let MembersBody {
            changes,
            group,
            joint,
        } = request.parse().await?;
        if changes.is_empty() {
            return Err(Error::bad_request("changes lists no change"));
        }
        if let [ChangeBody::Readmit(node)] = changes[..] {
            let readmitted = admission::readmit(&self.router, node).await;
            let index = readmitted.map_err(|failure| self.failed(&failure))?;
            return Ok(json_response(
                StatusCode::OK,
                format!("{{\"index\":{index}}}"),
            ));
        }
        let changes = changes
            .into_iter()
            .map(ChangeBody::into_change)
            .collect::<Result<_, _>>()?;
        let transition = if joint {
            Transition::Joint
        } else {
            Transition::Automatic
        };
        let change = MembershipChange::Apply {
            changes,
            transition,
        };
        self.on_groups(group, forward, &AdminVerb::Change(change))
            .await
    }

    pub(super) async fn transfer(&self, request: Request) -> Result<Response, Error> {
        self.authorize(&request)?;
        let forward = request.forward();
        let TransferBody { to, group } = request.parse().await?;
        self.on_groups(group, forward, &AdminVerb::Transfer(to))
            .await
    }

    pub(super) async fn campaign(&self, request: Request) -> Result<Response, Error> {
        self.authorize(&request)?;
        let GroupBody { group } = request.parse().await?;
        self.on_groups(group, Forward::No, &AdminVerb::Campaign)
            .await
    }

    pub(super) async fn snapshot(&self, request: Request) -> Result<Response, Error> {
        self.authorize(&request)?;
        let GroupBody { group } = request.parse().await?;
        self.on_groups(group, Forward::No, &AdminVerb::Snapshot)
            .await
    }

    /// Carries a verb out in one group, or in all of them; stops at the first that fails.
    async fn on_groups(
        &self,
        group: Option<GroupId>,
        forward: Forward,
        verb: &AdminVerb,
    ) -> Result<Response, Error> {
        if let Some(group) = group.filter(|group| *group >= self.router.groups().end) {
            return Err(Error::bad_request(format!("there is no group {group}")));
        }
        let groups = group.map_or(self.router.groups(), |group| group..group + 1);
        let several = groups.len() > 1;
        let mut index = 0;
        for group in groups {
            index = self
                .router
                .admin(group, verb.clone(), forward)
                .await
                .map_err(|failure| {
                    let error = self.failed(&failure);
                    if several {
                        error.with("group", group)
                    } else {
                        error
                    }
                })?;
        }
        Ok(json_response(
            StatusCode::OK,
            format!("{{\"index\":{index}}}"),
        ))
    }
}
