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
        let mut starts = vec![0_u32; rows + 1];
        for (row, _) in pairs {
            starts[*row as usize + 1] += 1;
        }
        for row in 0..rows {
            starts[row + 1] += starts[row];
        }
        let mut next = starts.clone();
        let mut items = vec![0; pairs.len()];
        for (row, item) in pairs {
            let at = &mut next[*row as usize];
            items[*at as usize] = *item;
            *at += 1;
        }
        Self { starts, items }
    }

    /// Bytes that so many rows and items take.
    pub(crate) fn bytes(rows: usize, items: usize) -> usize {
        size_of::<u32>() * (2 * (rows + 1) + items)
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
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
