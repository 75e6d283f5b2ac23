//! Compressed rows: for each of n things a short list of numbers, in two flat arrays.

/// A list of numbers for each row.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    starts: Vec<u32>,
    items: Vec<u32>,
}

impl Rows {
    /// Sorts (row, item) pairs into rows; within a row the order of the pairs stays.
    pub(crate) fn of(rows: usize, pairs: &[(u32, u32)]) -> Self {
        Self::of_parts(rows, &[pairs])
    }

    /// The same of pairs in several parts.
    pub(crate) fn of_parts(rows: usize, parts: &[impl AsRef<[(u32, u32)]>]) -> Self {
        Self::sorted(rows, || parts.iter().flat_map(AsRef::as_ref).copied())
    }

    /// The pairs turned round: for each item its rows.
    pub(crate) fn turned(items: usize, pairs: &[(u32, u32)]) -> Self {
        Self::sorted(items, || pairs.iter().map(|&(row, item)| (item, row)))
    }

    fn sorted<I: Iterator<Item = (u32, u32)>>(rows: usize, pairs: impl Fn() -> I) -> Self {
        // While the items are put in, a row's start stands one place later, and moves.
        let mut starts = vec![0_u32; rows + 2];
        for (row, _) in pairs() {
            starts[row as usize + 2] += 1;
        }
        for row in 2..rows + 2 {
            starts[row] += starts[row - 1];
        }
        let mut items = vec![0; starts[rows + 1] as usize];
        for (row, item) in pairs() {
            let at = &mut starts[row as usize + 1];
            items[*at as usize] = item;
            *at += 1;
        }
        starts.pop();
        Self { starts, items }
    }

    /// The items of each row in order.
    pub(crate) fn ordered(mut self) -> Self {
        for row in self.starts.windows(2) {
            self.items[row[0] as usize..row[1] as usize].sort_unstable();
        }
        self
    }

    /// Bytes that so many rows and items take.
    pub(crate) fn bytes(rows: usize, items: usize) -> usize {
        size_of::<u32>() * (rows + 2 + items)
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The number of items.
    pub(crate) fn items(&self) -> usize {
        self.items.len()
    }

    /// The items of a row.
    pub(crate) fn row(&self, row: u32) -> &[u32] {
        let (start, end) = self.span(row);
        &self.items[start as usize..end as usize]
    }

    /// Whether any row has more than one item.
    pub(crate) fn branches(&self) -> bool {
        self.starts.windows(2).any(|pair| pair[1] - pair[0] > 1)
    }

    /// Where a row starts and ends among the items.
    pub(crate) fn span(&self, row: u32) -> (u32, u32) {
        (self.starts[row as usize], self.starts[row as usize + 1])
    }

    /// The item at a place that [`Rows::span`] gave.
    pub(crate) fn item(&self, at: u32) -> u32 {
        self.items[at as usize]
    }

    /// Bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        4 * (self.starts.capacity() + self.items.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_stay_in_order_within_their_row() {
        let rows = Rows::of_parts(
            4,
            &[vec![(2, 7), (0, 1)], vec![], vec![(2, 5), (3, 9), (2, 7)]],
        );
        let all: Vec<&[u32]> = (0..4).map(|row| rows.row(row)).collect();
        assert_eq!(all, [&[1][..], &[], &[7, 5, 7], &[9]]);
        assert_eq!((rows.len(), rows.items()), (4, 5));
        assert!(rows.branches() && !Rows::of(2, &[(0, 1), (1, 1)]).branches());
        assert_eq!(Rows::of(0, &[]).len(), 0);
    }
}
