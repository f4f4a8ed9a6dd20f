//! Which texts share a run. Graphs want rectangles, and each cell of padding costs what a token costs.

/// What a run costs besides its cells, in cells: starting the operators, and reading all weights
/// once, which for a few tokens takes longer than the arithmetic. It keeps a crowd of short texts
/// of various lengths from becoming a crowd of runs.
const RUN_COST: usize = 32;

/// Bounds on a rectangle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Cells, padding included; a text that is longer runs alone.
    pub(super) cells: usize,
    /// Rows that every run has, where the graph fixes them.
    pub(super) rows: Option<usize>,
    /// Tokens that every row has, where the graph fixes them.
    pub(super) tokens: Option<usize>,
    /// Rows that a run has at most, where the device was set up for a number of them.
    pub(super) most_rows: usize,
}

/// Texts that run together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rectangle {
    /// Indices into the lengths.
    pub(super) texts: Vec<usize>,
    /// Length that all are padded to.
    pub(super) tokens: usize,
}

/// Splits texts of the given lengths into rectangles, each text in exactly one, the longest first.
///
/// The texts are sorted by length and cut where the sum of cells and [`RUN_COST`]s is the smallest
/// possible. Where the graph fixes the rows or the tokens there is nothing to choose but how many
/// texts go into a run.
pub(super) fn rectangles(lengths: &[usize], limits: Limits) -> Vec<Rectangle> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&text| lengths[text]);
    let sorted: Vec<usize> = order.iter().map(|&text| limits.tokens.unwrap_or(lengths[text])).collect();
    let cuts = match (limits.rows, limits.tokens) {
        (Some(rows), _) => chunks(sorted.len(), rows),
        (None, Some(tokens)) => chunks(sorted.len(), limits.most_rows.min(limits.cells / tokens.max(1))),
        (None, None) => cheapest_cuts(&sorted, limits),
    };
    let mut rectangles: Vec<_> = cuts
        .windows(2)
        .map(|cut| Rectangle { texts: order[cut[0]..cut[1]].to_vec(), tokens: sorted[cut[1] - 1] })
        .collect();
    rectangles.reverse();
    rectangles
}

/// Bounds of pieces of `size` texts; the smallest texts get the rest.
fn chunks(texts: usize, size: usize) -> Vec<usize> {
    let size = size.max(1);
    let first = texts % size;
    let mut cuts = vec![0];
    if first > 0 {
        cuts.push(first);
    }
    cuts.extend((1..=(texts - first) / size).map(|piece| first + piece * size));
    cuts
}

/// Bounds of the pieces of ascending `lengths` with the smallest total cost, by dynamic programming:
/// `best[end]` is the cost of the texts before `end`, and `start[end]` where its last piece starts.
fn cheapest_cuts(lengths: &[usize], limits: Limits) -> Vec<usize> {
    let mut best = vec![0];
    let mut start = vec![0];
    for end in 1..=lengths.len() {
        let tokens = lengths[end - 1];
        let rows = limits.most_rows.min(limits.cells / tokens.max(1)).clamp(1, end);
        let costs = (end - rows..end).map(|begin| (best[begin] + RUN_COST + (end - begin) * tokens, begin));
        let (cost, begin) = costs.min().unwrap_or((0, end - 1));
        best.push(cost);
        start.push(begin);
    }
    let mut cuts = vec![lengths.len()];
    while let Some(&end) = cuts.last().filter(|&&end| end > 0) {
        cuts.push(start[end]);
    }
    cuts.reverse();
    cuts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FREE: Limits = Limits { cells: 512, rows: None, tokens: None, most_rows: usize::MAX };

    fn plain(lengths: &[usize], limits: Limits) -> Vec<(Vec<usize>, usize)> {
        rectangles(lengths, limits).into_iter().map(|rectangle| (rectangle.texts, rectangle.tokens)).collect()
    }

    #[test]
    fn like_lengths_run_together() {
        assert_eq!(plain(&[100, 10, 100, 11], FREE), [(vec![0, 2], 100), (vec![1, 3], 11)]);
    }

    #[test]
    fn short_texts_are_not_split_for_the_sake_of_a_few_cells() {
        assert_eq!(plain(&[3, 4, 6, 8], FREE), [(vec![0, 1, 2, 3], 8)]);
    }

    #[test]
    fn a_long_text_runs_alone() {
        assert_eq!(plain(&[5, 9000, 5], FREE), [(vec![1], 9000), (vec![0, 2], 5)]);
    }

    #[test]
    fn fixed_sizes_are_kept() {
        let lengths = [3, 9, 5, 7, 1];
        let rows = Limits { rows: Some(2), ..FREE };
        assert_eq!(plain(&lengths, rows), [(vec![3, 1], 9), (vec![0, 2], 5), (vec![4], 1)]);
        let tokens = Limits { cells: 256, tokens: Some(128), ..FREE };
        assert_eq!(plain(&lengths, tokens), [(vec![3, 1], 128), (vec![0, 2], 128), (vec![4], 128)]);
    }

    #[test]
    fn no_more_rows_than_the_device_takes() {
        let limits = Limits { most_rows: 2, ..FREE };
        assert_eq!(plain(&[5, 5, 5], limits), [(vec![1, 2], 5), (vec![0], 5)]);
        assert_eq!(plain(&[5, 5, 5], Limits { tokens: Some(9), ..limits }).len(), 2);
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(plain(&[], FREE).is_empty());
        assert!(plain(&[], Limits { rows: Some(4), ..FREE }).is_empty());
    }

    proptest! {
        #[test]
        fn each_text_once_within_the_limits(
            lengths in prop::collection::vec(1usize..600, 0..80),
            cells in 1usize..2000,
            rows in prop::option::of(1usize..5),
        ) {
            let planned = rectangles(&lengths, Limits { cells, rows, ..FREE });
            let mut seen: Vec<_> = planned.iter().flat_map(|rectangle| rectangle.texts.clone()).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for Rectangle { texts, tokens } in &planned {
                prop_assert_eq!(texts.iter().map(|&text| lengths[text]).max(), Some(*tokens));
                match rows {
                    Some(rows) => prop_assert!(texts.len() <= rows),
                    None => prop_assert!(texts.len() == 1 || texts.len() * tokens <= cells),
                }
            }
        }

        #[test]
        fn padding_is_small_where_it_matters(lengths in prop::collection::vec(32usize..512, 64..200)) {
            let planned = rectangles(&lengths, Limits { cells: 4096, ..FREE });
            let cells: usize = planned.iter().map(|rectangle| rectangle.texts.len() * rectangle.tokens).sum();
            let tokens: usize = lengths.iter().sum();
            prop_assert!((cells as f64) < 1.15 * tokens as f64, "{cells} cells for {tokens} tokens");
        }
    }
}
