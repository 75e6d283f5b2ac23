//! Where the members are reached: taken from the configurations, which carry it as opaque bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::RwLock;
use raft::{Configuration, NodeId};

use crate::config::Addresses;

impl Addresses {
    /// As a configuration carries it.
    pub fn to_context(&self) -> Bytes {
        serde_json::to_vec(self)
            .expect("addresses have a JSON form")
            .into()
    }

    /// What a configuration carries, if it can be read.
    pub fn from_context(context: &[u8]) -> Option<Addresses> {
        serde_json::from_slice(context).ok()
    }
}

/// The members' addresses as the newest configurations name them.
#[derive(Debug, Default)]
pub struct AddressBook {
    members: RwLock<BTreeMap<NodeId, Addresses>>,
}

impl AddressBook {
    /// Starts with those whom the operator named.
    pub fn new(known: BTreeMap<NodeId, Addresses>) -> AddressBook {
        AddressBook {
            members: RwLock::new(known),
        }
    }

    /// Takes up what a configuration says.
    pub fn learn(&self, configuration: &Configuration) {
        let mut members = self.members.write();
        for (id, context) in &configuration.context {
            if let Some(addresses) = Addresses::from_context(context) {
                members.insert(*id, addresses);
            }
        }
    }

    /// Forgets everyone that no group knows any more.
    pub fn retain(&self, keep: impl Fn(NodeId) -> bool) {
        self.members.write().retain(|id, _| keep(*id));
    }

    /// Where a member serves clients.
    pub fn http_of(&self, id: NodeId) -> Option<String> {
        self.members
            .read()
            .get(&id)
            .map(|member| member.http.clone())
    }

    /// Everyone.
    pub fn all(&self) -> BTreeMap<NodeId, Addresses> {
        self.members.read().clone()
    }
}
