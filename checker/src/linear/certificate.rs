//! Proof of a valid verdict: an order of the operations, replayed in one pass.

use super::space::{Space, Timed};

/// What is wrong with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    /// An operation stands in it twice.
    #[error("operation {0} takes effect twice")]
    Twice(u32),
    /// An operation that returned is missing.
    #[error("operation {0} returned and never takes effect")]
    Missing(u32),
    /// An operation stands after one that was invoked only after it had returned.
    #[error("operation {0} returned before one was invoked that takes effect before it")]
    OutOfTime(u32),
    /// The object does not allow it there.
    #[error("operation {0} cannot take effect where it stands")]
    Illegal(u32),
}

/// Whether the order is a linearization of the operations.
pub(crate) fn replay(
    space: &mut impl Space,
    operations: &[Timed],
    order: &[u32],
) -> Result<(), Flaw> {
    let mut seen = vec![false; operations.len()];
    let mut state = space.initial();
    let mut latest_invoke = 0;
    for &number in order {
        let operation = operations[number as usize];
        if std::mem::replace(&mut seen[number as usize], true) {
            return Err(Flaw::Twice(number));
        }
        if operation.ret < latest_invoke {
            return Err(Flaw::OutOfTime(number));
        }
        latest_invoke = latest_invoke.max(operation.invoke);
        state = space
            .step(state, operation.class)
            .ok_or(Flaw::Illegal(number))?;
    }
    let missing = seen
        .iter()
        .zip(operations)
        .position(|(&seen, it)| !seen && !it.is_open());
    missing.map_or(Ok(()), |number| Err(Flaw::Missing(number as u32)))
}

#[cfg(test)]
mod tests {
    use super::{Flaw, replay};
    use crate::linear::space::RegisterSpace;
    use crate::model::register::{Action, Operation};

    #[test]
    fn an_order_that_is_no_linearization_is_refused_for_what_is_wrong_with_it() {
        let operation = |invoke, ret, action| Operation {
            invoke,
            ret,
            action,
        };
        let operations = [
            operation(0, 1, Action::Write(1)),
            operation(2, 4, Action::Write(2)),
            operation(3, 5, Action::Read(2)),
        ];
        let (mut space, timed) = RegisterSpace::new(&operations, 0);
        let mut judge = |order: &[u32]| replay(&mut space, &timed, order);
        assert_eq!(judge(&[0, 1, 2]), Ok(()));
        assert_eq!(judge(&[0, 1, 1, 2]), Err(Flaw::Twice(1)));
        assert_eq!(judge(&[0, 1]), Err(Flaw::Missing(2)));
        assert_eq!(judge(&[1, 0, 2]), Err(Flaw::OutOfTime(0)));
        assert_eq!(judge(&[0, 2, 1]), Err(Flaw::Illegal(2)));
    }
}
