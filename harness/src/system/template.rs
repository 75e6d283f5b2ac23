//! Templates and expressions of a system file, compiled once, with their names checked.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, Expression, Template, UndefinedBehavior};

/// How much work one template or expression may do, in the engine's own steps.
const FUEL: u64 = 100_000;

/// Compiles templates and expressions, with a system's parameters as names they all know.
#[derive(Debug, Clone)]
pub struct Engine {
    environment: &'static Environment<'static>,
}

impl Engine {
    /// An engine with these parameters.
    pub fn new(parameters: &BTreeMap<String, serde_json::Value>) -> Engine {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.add_filter("base64", |text: &str| BASE64.encode(text));
        environment.add_filter("unbase64", unbase64);
        environment.add_filter("enumerate", |list: Vec<Value>| -> Vec<Value> {
            list.into_iter()
                .enumerate()
                .map(|(at, item)| Value::from(vec![at.into(), item]))
                .collect()
        });
        environment.add_filter(
            "fromjson",
            |text: &str| -> Result<Value, minijinja::Error> {
                serde_json::from_str(text).map_err(|error| {
                    minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, error.to_string())
                })
            },
        );
        for (name, value) in parameters {
            environment.add_global(name.clone(), Value::from(Serde(value)));
        }
        // A system's templates are used by all its clients until the process ends; there is one
        // system in a process, so what is leaked here is bounded and saves a lifetime everywhere.
        Engine {
            environment: Box::leak(Box::new(environment)),
        }
    }

    /// Compiles a template that may use the `names` given, the parameters and nothing else.
    pub fn text(&self, source: &str, names: &[&str]) -> Result<Text, String> {
        if !source.contains("{{") && !source.contains("{%") && !source.contains("{#") {
            return Ok(Text::Plain(source.to_owned()));
        }
        let source: &'static str = Box::leak(source.to_owned().into_boxed_str());
        let template = self
            .environment
            .template_from_str(source)
            .map_err(|e| describe(&e))?;
        self.check_names(template.undeclared_variables(false), names)?;
        refuse_unknown(template.render(()).map(drop))?;
        Ok(Text::Template(template))
    }

    /// Compiles an expression, under the same rule.
    pub fn expression(&self, source: &str, names: &[&str]) -> Result<Expr, String> {
        let expression = self
            .environment
            .compile_expression_owned(source.to_owned())
            .map_err(|e| describe(&e))?;
        self.check_names(expression.undeclared_variables(false), names)?;
        refuse_unknown(expression.eval(()).map(drop))?;
        Ok(Expr { expression })
    }

    fn check_names(
        &self,
        used: impl IntoIterator<Item = String>,
        names: &[&str],
    ) -> Result<(), String> {
        let globals: Vec<&str> = self.environment.globals().map(|(name, _)| name).collect();
        for name in used {
            if !names.contains(&name.as_str()) && !globals.contains(&name.as_str()) {
                let near = crate::playbook::source::nearest(
                    &name,
                    names.iter().copied().chain(globals.iter().copied()),
                );
                let hint = near.map_or_else(
                    || format!("known here are {}", names.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                return Err(format!("nothing is called `{name}` here; {hint}"));
            }
        }
        Ok(())
    }
}

/// A filter, test or function that does not exist shows only when it is reached; so everything is
/// tried once without values, and of what goes wrong then only that counts.
fn refuse_unknown(tried: Result<(), minijinja::Error>) -> Result<(), String> {
    use minijinja::ErrorKind::{UnknownFilter, UnknownFunction, UnknownTest};
    match tried {
        Err(error) if matches!(error.kind(), UnknownFilter | UnknownFunction | UnknownTest) => {
            Err(describe(&error))
        }
        _ => Ok(()),
    }
}

/// A template.
#[derive(Debug)]
pub enum Text {
    /// Without anything to fill in.
    Plain(String),
    /// With.
    Template(Template<'static, 'static>),
}

impl Text {
    /// The text with everything filled in.
    pub fn render(&self, context: &Value) -> Result<std::borrow::Cow<'_, str>, String> {
        match self {
            Text::Plain(text) => Ok(text.into()),
            Text::Template(template) => template
                .render(context.clone())
                .map(Into::into)
                .map_err(|e| describe(&e)),
        }
    }
}

/// An expression.
pub struct Expr {
    expression: Expression<'static, 'static>,
}

impl std::fmt::Debug for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expr").finish_non_exhaustive()
    }
}

impl Expr {
    /// Its value.
    pub fn eval(&self, context: &Value) -> Result<Value, String> {
        self.expression
            .eval(context.clone())
            .map_err(|e| describe(&e))
    }
}

/// The value as JSON; undefined is null.
pub(super) fn to_json(value: &Value) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or(serde_json::Value::Null)
}

/// An error of the engine in one line, with its cause.
fn describe(error: &minijinja::Error) -> String {
    let detail = error.detail().map(|d| format!(": {d}")).unwrap_or_default();
    let line = error.line().filter(|line| *line > 1);
    let line = line
        .map(|line| format!(" (its line {line})"))
        .unwrap_or_default();
    format!("{}{detail}{line}", error.kind())
}

fn unbase64(text: &str) -> Result<String, minijinja::Error> {
    let refuse = |what| minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, what);
    let bytes = BASE64.decode(text).map_err(|_| refuse("not base64"))?;
    String::from_utf8(bytes).map_err(|_| refuse("not UTF-8 inside the base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine() -> Engine {
        Engine::new(&BTreeMap::from([("port".to_owned(), 7000.into())]))
    }

    #[test]
    fn base64_goes_there_and_back() {
        let text = engine().text("{{ key | base64 }} {{ key | base64 | unbase64 }}", &["key"]);
        let text = text.unwrap();
        let said = text.render(&minijinja::context!(key => "k1 ±"));
        assert_eq!(said.unwrap(), "azEgwrE= k1 ±");
    }

    #[test]
    fn a_name_that_nobody_knows_is_refused_when_it_is_compiled() {
        let why = engine().text("{{ prot }}/{{ key }}", &["key"]).unwrap_err();
        assert_eq!(why, "nothing is called `prot` here; did you mean `port`?");
        for unknown in ["{{ key | tojsn }}", "{{ key is evn }}"] {
            assert!(engine().text(unknown, &["key"]).is_err(), "{unknown}");
        }
    }

    #[test]
    fn a_template_that_never_ends_runs_out_of_fuel() {
        let text =
            "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}";
        let text = engine().text(text, &[]).unwrap();
        assert!(text.render(&Value::from(())).is_err());
    }
}
