//! Gradients by hand against central differences.

use super::super::adam::row_gradient;
use super::super::contrast::Contrast;
use super::super::cosine::Cosine;
use super::super::kernels::{exp, log_sum_exp};
use super::super::matmul::{Matrix, product};
use super::super::minibatch::{ByToken, Dropout, Minibatch};
use super::super::random::Random;
use super::super::{Bag, Table};
use super::naive::Naive;
use super::{bags, uneven_table};

/// |analytic − numeric| / |numeric|, over all values at once. f32 against f64: rounding is a few 1e-7.
const TOLERANCE: f64 = 1e-5;

/// Loss and gradients by rows and weights, as a step of the trainer computes them.
fn analytic(
    table: &Table,
    texts: &[Bag],
    objective: impl FnOnce(&[f32], &mut [f32]) -> f64,
) -> (f64, Vec<f32>, Vec<f32>) {
    let mut batch = Minibatch::default();
    let none = Dropout { rate: 0.0, occurrences: false };
    texts.iter().for_each(|text| batch.push(text, none, &mut Random::at(0, &[])));
    let mut sums = vec![0f32; texts.len() * table.width];
    for (text, sum) in sums.chunks_exact_mut(table.width).enumerate() {
        let (ids, counts) = batch.text(text);
        table.sum(ids, counts, sum);
    }
    let mut gradient = vec![f32::NAN; sums.len()];
    let loss = objective(&sums, &mut gradient);
    let mut by_token = ByToken::default();
    by_token.fill(&batch, table.vocabulary());
    let mut rows = vec![0f32; table.rows.len()];
    let mut weights = vec![0f32; table.vocabulary()];
    for (token, by_row) in rows.chunks_exact_mut(table.width).enumerate() {
        let row = &table.rows[token * table.width..][..table.width];
        weights[token] = row_gradient(by_token.entries(token), &gradient, row, table.weights[token], by_row);
    }
    (loss, rows, weights)
}

fn close(what: &str, actual: &[f32], expected: &[f64]) {
    let norm = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
    let distance = actual.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum::<f64>().sqrt();
    assert!(norm > 1e-3, "{what}: a gradient of length {norm} proves nothing");
    assert!(distance / norm < TOLERANCE, "{what}: relative error {}", distance / norm);
}

#[test]
fn contrast_equals_central_differences() {
    for (pairs, width, widths) in [
        (5, 12, vec![(12, 1.0), (7, 0.5), (3, 0.25)]),
        (3, 4, vec![(4, 1.0)]),
        // More than one tile, block of texts and block of columns; a cut of more than the lanes of a sum.
        (131, 40, vec![(40, 0.7), (33, 0.3)]),
    ] {
        let vocabulary = if pairs > 100 { 9 } else { 23 };
        let table = uneven_table(vocabulary, width, 1);
        let texts = bags(2 * pairs, 6, vocabulary, 2);
        let mut contrast = Contrast::new(&widths, 0.05);
        let (loss, rows, weights) = analytic(&table, &texts, |sums, gradient| contrast.loss(sums, width, gradient));
        let naive = Naive::of(&table);
        let again = |table: &Naive| table.contrast(&texts[..pairs], &texts[pairs..], &widths, 0.05);
        let expected = again(&naive);
        // The logits go up to 20, so that rounding alone is some 1e-6.
        assert!((loss - expected).abs() < 1e-5 * expected + 1e-6, "loss {loss}, expected {expected}");
        let (by_rows, by_weights) = naive.differences(again);
        close(&format!("rows, {pairs} pairs"), &rows, &by_rows);
        close(&format!("weights, {pairs} pairs"), &weights, &by_weights);
    }
}

#[test]
fn cosine_equals_central_differences() {
    let (count, width) = (9, 12);
    let table = uneven_table(23, width, 3);
    let texts = bags(count, 6, 23, 4);
    let mut teacher = Table::random(count, width, 5).rows;
    for vector in teacher.chunks_exact_mut(width) {
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|x| *x /= norm);
    }
    let (loss, rows, weights) = analytic(&table, &texts, |sums, gradient| {
        Cosine::default().loss(sums, width, teacher.chunks_exact(width), gradient)
    });
    let naive = Naive::of(&table);
    let again = |table: &Naive| table.distance(&texts, &teacher);
    assert!((loss - again(&naive)).abs() < 1e-6, "loss {loss}, expected {}", again(&naive));
    let (by_rows, by_weights) = naive.differences(again);
    close("rows", &rows, &by_rows);
    close("weights", &weights, &by_weights);
}

#[test]
fn buffers_of_a_larger_batch_do_not_leak_into_a_smaller() {
    let table = uneven_table(23, 8, 1);
    let texts = bags(20, 6, 23, 2);
    let mut used = Contrast::new(&[(8, 1.0), (4, 1.0)], 0.05);
    let run = |contrast: Option<&mut Contrast>, texts: &[Bag]| {
        let mut fresh = Contrast::new(&[(8, 1.0), (4, 1.0)], 0.05);
        let contrast = contrast.unwrap_or(&mut fresh);
        analytic(&table, texts, |sums, gradient| contrast.loss(sums, 8, gradient))
    };
    run(Some(&mut used), &texts);
    assert_eq!(run(Some(&mut used), &texts[..6]), run(None, &texts[..6]));
}

#[test]
fn cold_logits_neither_overflow_nor_vanish() {
    let table = uneven_table(23, 8, 1);
    let texts = bags(12, 6, 23, 2);
    for temperature in [0.005f32, 10.0] {
        let mut contrast = Contrast::new(&[(8, 1.0)], temperature);
        let (loss, rows, _) = analytic(&table, &texts, |sums, gradient| contrast.loss(sums, 8, gradient));
        let expected = Naive::of(&table).contrast(&texts[..6], &texts[6..], &[(8, 1.0)], f64::from(temperature));
        assert!((loss - expected).abs() < 1e-4 * expected, "loss {loss}, expected {expected}");
        assert!(rows.iter().all(|value| value.is_finite()));
    }
}

#[test]
fn texts_without_direction_teach_nothing() {
    let mut table = uneven_table(4, 8, 1);
    table.rows[..8].fill(0.0);
    let texts: Vec<Bag> = [0u32, 1, 2, 3].iter().map(|id| Bag::of(&[*id])).collect();
    let mut contrast = Contrast::new(&[(8, 1.0)], 0.05);
    let (loss, rows, weights) = analytic(&table, &texts, |sums, gradient| contrast.loss(sums, 8, gradient));
    assert!(loss.is_finite() && rows.iter().chain(&weights).all(|value| value.is_finite()));
    assert_eq!(rows[..8], [0.0; 8]);
}

#[test]
fn exponentials_equal_the_library() {
    for i in 0..=9000 {
        let x = -0.01 * i as f32;
        let (actual, expected) = (f64::from(exp(x)), f64::from(x).exp());
        let bound = if x < -87.3 { 2e-38 } else { 3e-7 * expected };
        assert!((actual - expected).abs() <= bound, "exp({x}) = {actual}, expected {expected}");
    }
    let values: Vec<f32> = (0..77).map(|i| ((i * 37) % 50) as f32 - 25.0).collect();
    let expected = values.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
    assert!((f64::from(log_sum_exp(&values)) - expected).abs() < 1e-5);
}

#[test]
fn products_equal_the_naive_ones() {
    for (rows, inner, cols) in [(1, 1, 1), (130, 17, 5), (300, 40, 131)] {
        let (a, b) = (Table::random(rows, inner, 1).rows, Table::random(inner, cols, 2).rows);
        let mut out = vec![f32::NAN; rows * cols];
        // `a` transposed twice: stored by columns.
        let stored: Vec<f32> = (0..inner * rows).map(|i| a[i % rows * inner + i / rows]).collect();
        let mut other = out.clone();
        product(&mut out, Matrix::new(&a, rows, inner), Matrix::new(&b, inner, cols), 3.0);
        product(&mut other, Matrix::new(&stored, inner, rows).transposed(), Matrix::new(&b, inner, cols), 3.0);
        for (i, (x, y)) in out.iter().zip(&other).enumerate() {
            let expected: f64 =
                (0..inner).map(|k| f64::from(a[i / cols * inner + k]) * f64::from(b[k * cols + i % cols])).sum();
            for x in [x, y] {
                assert!((f64::from(*x) - 3.0 * expected).abs() < 1e-6, "{x}, expected {}", 3.0 * expected);
            }
        }
    }
}
