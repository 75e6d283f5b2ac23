//! What the templates and expressions of an operation see: names that are looked up when they are
//! used. Nothing is copied into a map, and an answer's body is only parsed for a rule that asks.

use std::sync::{Arc, OnceLock};

use minijinja::value::{Object, Value};

/// Names and what they stand for.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    /// Parameters that the workload changed.
    with: Arc<[(String, Value)]>,
    own: Vec<(&'static str, Value)>,
    body: Vec<u8>,
    json: OnceLock<Value>,
    text: OnceLock<Value>,
}

impl Scope {
    /// Only the parameters that a workload has changed.
    pub(super) fn new(with: &Arc<[(String, Value)]>) -> Scope {
        Scope {
            with: Arc::clone(with),
            ..Scope::default()
        }
    }

    /// One name more; of two alike the later counts.
    pub(super) fn put(&mut self, name: &'static str, value: impl Into<Value>) {
        self.own.push((name, value.into()));
    }

    /// The same with an answer: `status`, `json` and `text`.
    pub(super) fn answered(mut self, status: u16, body: Vec<u8>) -> Value {
        self.put("status", status);
        self.body = body;
        self.json = OnceLock::new();
        self.text = OnceLock::new();
        self.value()
    }

    /// The whole as what templates are rendered with.
    pub(super) fn value(self) -> Value {
        Value::from_object(self)
    }
}

impl Object for Scope {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        if let Some((_, value)) = self.own.iter().rev().find(|(own, _)| *own == name) {
            return Some(value.clone());
        }
        match name {
            "json" if !self.body.is_empty() => {
                let parse = || serde_json::from_slice(&self.body).unwrap_or(Value::UNDEFINED);
                Some(self.json.get_or_init(parse).clone())
            }
            "text" => {
                let read = || Value::from(String::from_utf8_lossy(&self.body));
                Some(self.text.get_or_init(read).clone())
            }
            _ => {
                let mut with = self.with.iter().rev();
                let (_, value) = with.find(|(own, _)| own == name)?;
                Some(value.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operations_own_names_count_before_those_of_the_workload() {
        let with: Arc<[_]> = Arc::new([("key".into(), 1.into()), ("reads".into(), 2.into())]);
        let mut scope = Scope::new(&with);
        scope.put("key", "k");
        let value = scope.answered(200, br#"{"value":[7]}"#.to_vec());
        let environment = minijinja::Environment::new();
        let text = "{{ key }} {{ reads }} {{ status }} {{ json.value[0] }} {{ text }} {{ other }}";
        let said = environment.render_str(text, value).unwrap();
        assert_eq!(said, r#"k 2 200 7 {"value":[7]} "#);
    }
}
