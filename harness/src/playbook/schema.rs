//! The JSON Schemas that editors complete and check playbooks and system files with.

use super::Playbook;
use super::matrix::Matrix;
use crate::system::Definition;

/// The schema of a playbook.
pub fn playbook() -> serde_json::Value {
    schemars::schema_for!(Playbook).to_value()
}

/// The schema of a system file.
pub fn system() -> serde_json::Value {
    schemars::schema_for!(Definition).to_value()
}

/// The schema of a matrix file.
pub fn matrix() -> serde_json::Value {
    schemars::schema_for!(Matrix).to_value()
}
