//! The system's own word on the order: revisions, log indices. Never trusted, only tried.

use super::certificate;
use super::space::{Space, Timed};
use crate::history::History;
use crate::model::Effect;

/// The order that the revisions of the completions give, when each has one and the order is a
/// linearization. One that is none says nothing: what is wrong may be the revisions.
pub(crate) fn order(
    history: &History,
    space: &mut impl Space,
    operations: &[Timed],
) -> Option<Vec<u32>> {
    if !history.has_revisions() {
        return None;
    }
    let mut placed = Vec::with_capacity(operations.len());
    for (number, it) in operations.iter().enumerate() {
        if it.is_open() {
            // Nobody was told its revision. When it is missed, the order is none.
            continue;
        }
        let revision = history.revision(it.ret as usize)?;
        // What is seen at a revision is what was written with it.
        let observes = space.effect(it.class) == Effect::Observes;
        placed.push((revision, observes, it.invoke, number as u32));
    }
    placed.sort_unstable();
    let order: Vec<u32> = placed.into_iter().map(|(.., number)| number).collect();
    certificate::replay(space, operations, &order).ok()?;
    Some(order)
}
