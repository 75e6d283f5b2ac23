//! The JSON Schemas that editors complete and check playbooks and system files with.

use schemars::Schema;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::{Value, json};

use super::Playbook;
use super::matrix::Matrix;
use crate::system::Definition;

/// The schema of a playbook.
pub fn playbook() -> Value {
    let mut schema = schemars::schema_for!(Playbook);
    ParametersAnywhere.transform(&mut schema);
    // What is included may have what is missing here.
    if let Some(required) = schema.remove("required") {
        let complete = json!({"required": required});
        schema.insert(
            "anyOf".into(),
            json!([complete, {"required": ["name", "include"]}]),
        );
    }
    schema.to_value()
}

/// The schema of a system file.
pub fn system() -> Value {
    schemars::schema_for!(Definition).to_value()
}

/// The schema of a matrix file.
pub fn matrix() -> Value {
    schemars::schema_for!(Matrix).to_value()
}

/// Allows `${name}` wherever something else than any text is asked for.
#[derive(Debug, Clone)]
struct ParametersAnywhere;

impl Transform for ParametersAnywhere {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else {
            return;
        };
        // A parameter fits each of the choices.
        if let Some(choices) = object.remove("oneOf") {
            object.insert("anyOf".into(), choices);
        }
        let is_number =
            |name: &Value| matches!(name.as_str(), Some("integer" | "number" | "boolean"));
        let asks_for_more = object.contains_key("enum")
            || object.contains_key("const")
            || object.contains_key("pattern")
            || match object.get("type") {
                Some(Value::Array(names)) => names.iter().any(is_number),
                Some(name) => is_number(name),
                None => false,
            };
        if asks_for_more {
            let about = object.remove("description");
            let original = std::mem::take(object);
            object.insert(
                "anyOf".into(),
                json!([original, {"type": "string", "pattern": r"\$\{.+\}"}]),
            );
            object.extend(about.map(|about| ("description".into(), about)));
        }
    }
}
