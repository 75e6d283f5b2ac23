//! From an answer to an outcome, by the rules of the system file.

use minijinja::value::Value;
use serde_json::Value as Json;

use super::client::{Answer, Outcome};
use super::definition::Rule;
use super::template::{Engine, Expr, Text, to_json};

/// The names that an outcome's expressions may use.
pub(super) const NAMES: [&str; 8] = [
    "status", "json", "text", "key", "value", "f", "node", "process",
];

/// Rules, compiled.
#[derive(Debug)]
pub(super) struct Rules {
    rules: Vec<CompiledRule>,
}

#[derive(Debug)]
struct CompiledRule {
    outcome: Outcome,
    /// Always, when there is none.
    when: Option<Expr>,
    value: Option<Answered>,
    error: Option<Expr>,
    revision: Option<Expr>,
}

impl Rules {
    /// Compiles an operation's rules and behind them the ones that all operations share.
    pub(super) fn compile<'a>(
        engine: &Engine,
        rules: impl Iterator<Item = &'a Rule>,
    ) -> Result<Rules, String> {
        let rules = rules
            .map(|rule| compile(engine, rule))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Rules { rules })
    }

    /// Whether some rule always holds, so that no answer is left undecided.
    pub(super) fn decide_all(&self) -> bool {
        self.rules.iter().any(|rule| rule.when.is_none())
    }

    /// What an answer means. No rule, or one that cannot be evaluated, is an unknown outcome.
    pub(super) fn apply(&self, context: &Value) -> Answer {
        self.try_apply(context)
            .unwrap_or_else(|why| Some(Answer::info(format!("outcome rule: {why}"))))
            .unwrap_or_else(|| Answer::info("no outcome rule holds"))
    }

    fn try_apply(&self, context: &Value) -> Result<Option<Answer>, String> {
        for rule in &self.rules {
            if let Some(when) = &rule.when
                && !when.eval(context)?.is_true()
            {
                continue;
            }
            let eval = |it: &Option<Expr>| it.as_ref().map(|it| it.eval(context)).transpose();
            let error = eval(&rule.error)?.filter(|error| !error.is_undefined());
            return Ok(Some(Answer {
                outcome: rule.outcome,
                value: rule
                    .value
                    .as_ref()
                    .map(|value| value.of(context))
                    .transpose()?,
                error: error.map(|error| error.to_string()),
                revision: eval(&rule.revision)?.and_then(|revision| revision.as_i64()),
                unavailable: false,
            }));
        }
        Ok(None)
    }
}

/// How a value is read from an answer.
#[derive(Debug)]
enum Answered {
    /// By an expression.
    Expression(Expr),
    /// By a template that writes it as JSON.
    Template(Text),
}

impl Answered {
    fn compile(engine: &Engine, source: &str) -> Result<Answered, String> {
        Ok(match engine.text(source, &NAMES)? {
            Text::Plain(_) => Answered::Expression(engine.expression(source, &NAMES)?),
            template @ Text::Template(_) => Answered::Template(template),
        })
    }

    /// The value. An answer without it is not understood: nothing may be made of that but info.
    fn of(&self, context: &Value) -> Result<Json, String> {
        match self {
            Answered::Expression(expression) => {
                let value = expression.eval(context)?;
                if value.is_undefined() {
                    return Err("the answer has no value where one is looked for".into());
                }
                Ok(to_json(&value))
            }
            Answered::Template(template) => {
                let text = template.render(context)?;
                serde_json::from_str(&text).map_err(|error| format!("its value: {error}"))
            }
        }
    }
}

fn compile(engine: &Engine, rule: &Rule) -> Result<CompiledRule, String> {
    let given = [
        (&rule.ok, Outcome::Ok),
        (&rule.fail, Outcome::Fail),
        (&rule.info, Outcome::Info),
    ];
    let mut given = given
        .into_iter()
        .filter_map(|(when, outcome)| Some((when.as_ref()?, outcome)));
    let (Some((when, outcome)), None) = (given.next(), given.next()) else {
        return Err("a rule needs exactly one of `ok`, `fail` and `info`".into());
    };
    let expression = |source: &Option<String>| {
        source
            .as_ref()
            .map(|source| engine.expression(source, &NAMES))
            .transpose()
    };
    Ok(CompiledRule {
        outcome,
        when: match when.0.trim() {
            "true" => None,
            source => Some(engine.expression(source, &NAMES)?),
        },
        value: rule
            .value
            .as_ref()
            .map(|source| Answered::compile(engine, source))
            .transpose()?,
        error: expression(&rule.error)?,
        revision: expression(&rule.revision)?,
    })
}
