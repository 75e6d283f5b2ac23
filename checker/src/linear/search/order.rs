//! The order that a search found.

use super::{Move, Search};
use crate::linear::space::Space;
use crate::model::Effect;

impl<S: Space, const N: usize> Search<'_, S, N> {
    /// The moves as an order of operations: hidden writes put before the write that hides them, and
    /// for each use of a class the first of it that was invoked.
    pub(super) fn linearization(&self) -> Vec<u32> {
        let mut unknown: Vec<Vec<u32>> = vec![Vec::new(); self.used.len()];
        for (number, operation) in self.operations.iter().enumerate().rev() {
            if operation.is_open() && self.used[operation.class as usize] > 0 {
                unknown[operation.class as usize].push(number as u32);
            }
        }
        let mut order = Vec::with_capacity(self.moves.len());
        let mut hidden: Vec<(usize, u32)> = Vec::new();
        let mut last_overwrite = 0;
        for &it in &self.moves {
            let (number, class) = match it {
                Move::Hide(number) => {
                    hidden.push((last_overwrite, number));
                    continue;
                }
                Move::Take(number) => (number, self.class(number)),
                Move::TakeUnknown(class) => (
                    unknown[class as usize]
                        .pop()
                        .expect("no more are used than invoked"),
                    class,
                ),
            };
            if self.space.effect(class) == Effect::Overwrites {
                last_overwrite = order.len();
            }
            order.push(number);
        }
        let mut merged = Vec::with_capacity(order.len() + hidden.len());
        let mut hidden = hidden.into_iter().peekable();
        for (at, number) in order.into_iter().enumerate() {
            while let Some((_, unseen)) = hidden.next_if(|&(before, _)| before == at) {
                merged.push(unseen);
            }
            merged.push(number);
        }
        merged
    }
}
