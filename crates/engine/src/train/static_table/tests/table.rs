//! The table: where it comes from, what it gives, how it ships.

use super::super::{Bag, Table};
use super::naive::{Naive, dot};
use super::{bags, uneven_table};

#[test]
fn bags_count_their_tokens() {
    let bag = Bag::of(&[5, 2, 5, 9, 5, 2]);
    assert_eq!((&*bag.ids, &*bag.counts), (&[2, 5, 9][..], &[2.0, 3.0, 1.0][..]));
    assert_eq!(Bag::of(&[]), Bag::default());
}

#[test]
fn vectors_equal_the_naive_ones() {
    let table = uneven_table(50, 37, 1);
    let naive = Naive::of(&table);
    for bag in bags(20, 30, 50, 2) {
        let mut out = vec![f32::NAN; 37];
        table.embed(&bag, &mut out);
        for (actual, expected) in out.iter().zip(naive.embed(&bag, 37)) {
            assert!((f64::from(*actual) - expected).abs() < 1e-6, "{actual}, expected {expected}");
        }
    }
}

#[test]
fn random_tables_have_the_deviation_and_follow_the_seed() {
    let table = Table::random(1_000, 64, 1);
    let variance = table.rows.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / 64_000.0;
    assert!((variance.sqrt() - 0.05).abs() < 0.001, "{}", variance.sqrt());
    assert_eq!(table, Table::random(1_000, 64, 1));
    assert_ne!(table, Table::random(1_000, 64, 2));
}

#[test]
fn a_teachers_rows_are_centred_directions() {
    let vectors = [3.0, 0.0, 0.0, 3.0, 3.0, 3.0]; // mean (2, 2)
    let table = Table::from_teacher(&vectors, 2);
    assert_eq!((table.vocabulary(), &*table.weights), (3, &[1.0; 3][..]));
    let expected = [1.0, -2.0, -2.0, 1.0, 1.0, 1.0].map(|x: f64| x * 0.05 * 2f64.sqrt());
    let norms = [5f64.sqrt(), 5f64.sqrt(), 2f64.sqrt()];
    for (i, actual) in table.rows.iter().enumerate() {
        assert!((f64::from(*actual) - expected[i] / norms[i / 2]).abs() < 1e-7, "value {i}: {actual}");
    }
    assert_eq!(Table::from_teacher(&[1.0, 1.0, 1.0, 1.0], 2).rows, [0.0; 4]);
}

#[test]
fn weights_are_idf_over_mean_idf() {
    let mut table = Table::random(4, 2, 1);
    let texts = [Bag::of(&[0, 0, 1]), Bag::of(&[0, 2]), Bag::of(&[0, 2, 77]), Bag::of(&[0])];
    table.set_idf_weights(texts.iter());
    let idf = [2f64.ln(), 5f64.ln(), 3f64.ln(), 5f64.ln()];
    let mean = (idf[0] + idf[1] + idf[2]) / 3.0;
    for (actual, idf) in table.weights.iter().zip(idf) {
        assert!((f64::from(*actual) - idf / mean).abs() < 1e-6, "{actual}, expected {}", idf / mean);
    }
    let before = table.clone();
    table.set_idf_weights([].iter());
    assert_eq!(table, before);
}

#[test]
fn codes_are_rounded_half_to_even() {
    // The largest is 127 · 0.5, so that the scale is 0.5: 0.25 / 0.5 and 0.75 / 0.5 lie in the middle.
    let rows = vec![63.5, 0.25, 0.75, -0.25, 0.0, 0.0, 0.0, 0.0];
    let table = Table { width: 4, rows, weights: vec![1.0, 3.0] };
    let quantized = table.quantize();
    assert_eq!((quantized.width, &*quantized.scales), (4, &[0.5, 0.0][..]));
    assert_eq!(quantized.codes, [127, 0, 2, 0, 0, 0, 0, 0]);
    // A weight is folded into its row, with its sign.
    let table = Table { width: 4, rows: table.rows, weights: vec![-2.0, 1.0] };
    assert_eq!((table.quantize().scales[0], table.quantize().codes[0]), (1.0, -127));
}

/// The smallest cosine of a bag's vector to that of the quantised table.
pub(super) fn least_quantized_cosine(table: &Table, bags: &[Bag]) -> f64 {
    let naive = Naive::of(table);
    let quantized = table.quantize();
    let rows = quantized.codes.iter().enumerate();
    let rows = rows.map(|(i, code)| f64::from(*code) * f64::from(quantized.scales[i / table.width])).collect();
    let folded = Naive { width: table.width, rows, weights: vec![1.0; table.vocabulary()] };
    let cosines = bags.iter().map(|bag| dot(&naive.embed(bag, table.width), &folded.embed(bag, table.width)));
    cosines.fold(1.0, f64::min)
}
