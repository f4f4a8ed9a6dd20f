//! The optimiser and the schedule against their definitions.

use super::super::Bag;
use super::super::adam::Moments;
use super::super::minibatch::{ByToken, Dropout, Minibatch};
use super::super::options::Adam;
use super::super::random::Random;
use super::super::trainer::Schedule;
use super::uneven_table;

/// Algorithm 1 of the paper, in f64.
#[derive(Clone, Default)]
struct Naive {
    m: f64,
    v: f64,
    t: i32,
}

impl Naive {
    fn step(&mut self, value: &mut f64, gradient: f64, rate: f64) {
        self.t += 1;
        self.m = 0.9 * self.m + 0.1 * gradient;
        self.v = 0.999 * self.v + 0.001 * gradient * gradient;
        let (m, v) = (self.m / (1.0 - 0.9f64.powi(self.t)), self.v / (1.0 - 0.999f64.powi(self.t)));
        *value -= rate * m / (v.sqrt() + 1e-8);
    }
}

#[test]
fn updates_are_dense_adam_unless_lazy() {
    compare(false);
    compare(true);
}

fn compare(lazy: bool) {
    // 40 tokens: more than two blocks of rows. Token 7 is in the first step only, token 30 in none.
    let (vocabulary, width) = (40usize, 3);
    let mut table = uneven_table(vocabulary, width, 1);
    let mut rows: Vec<f64> = table.rows.iter().map(|x| f64::from(*x)).collect();
    let mut weights: Vec<f64> = table.weights.iter().map(|x| f64::from(*x)).collect();
    let mut naive_rows = vec![Naive::default(); rows.len()];
    let mut naive_weights = vec![Naive::default(); weights.len()];
    let start = table.clone();
    let mut moments = Moments::new(&table);
    let mut after_first = table.clone();
    for step in 0..6 {
        let tokens: &[u32] = if step == 0 { &[7, 7, 17, 39] } else { &[0, 17, 17, 17, 39] };
        let texts = [Bag::of(tokens), Bag::of(&[17, 20])];
        let by_sums: Vec<f32> = (0..2 * width).map(|i| ((i * 7 + step * 3) % 5) as f32 * 1e-3 - 2e-3).collect();
        for token in 0..vocabulary {
            if lazy && texts.iter().all(|text| !text.ids.contains(&(token as u32))) {
                // Only the number of the step goes on.
                naive_rows[token * width..][..width].iter_mut().for_each(|naive| naive.t += 1);
                naive_weights[token].t += 1;
                continue;
            }
            let mut by_weight = 0.0;
            let row = rows[token * width..][..width].to_vec();
            for i in 0..width {
                let count = |text: usize| {
                    let at = texts[text].ids.iter().position(|id| *id as usize == token);
                    at.map_or(0.0, |at| f64::from(texts[text].counts[at]))
                };
                let g: f64 = (0..2).map(|text| count(text) * f64::from(by_sums[text * width + i])).sum();
                by_weight += g * row[i];
                let at = token * width + i;
                naive_rows[at].step(&mut rows[at], weights[token] * g, 1e-2);
            }
            naive_weights[token].step(&mut weights[token], by_weight, 5e-3);
        }
        let mut batch = Minibatch::default();
        let none = Dropout { rate: 0.0, occurrences: false };
        texts.iter().for_each(|text| batch.push(text, none, &mut Random::at(0, &[])));
        let mut by_token = ByToken::default();
        by_token.fill(&batch, vocabulary);
        moments.step(&mut table, &by_token, &by_sums, [1e-2, 5e-3], Adam { lazy, ..Adam::default() });
        if step == 0 {
            after_first = table.clone();
        }
    }
    for (what, actual, expected) in [("row", &table.rows, &rows), ("weight", &table.weights, &weights)] {
        for (i, (actual, expected)) in actual.iter().zip(expected).enumerate() {
            assert!((f64::from(*actual) - expected).abs() < 1e-5, "{what} value {i}: {actual}, expected {expected}");
        }
    }
    // A row that is not touched moves on, or stays if lazy; one that never was stays.
    assert_eq!(table.rows[21..24] == after_first.rows[21..24], lazy);
    assert_eq!(table.rows[90..93], start.rows[90..93]);
}

#[test]
fn rates_rise_then_fall() {
    let schedule = Schedule { rates: [1.0, 0.5], warm_up: 0.1, floor: 0.0 };
    let rates: Vec<f32> = (0..100).map(|step| schedule.at(step, 100)[0]).collect();
    assert_eq!((rates[0], rates[9], rates[10]), (0.1, 1.0, 1.0));
    assert!(rates[10..].windows(2).all(|pair| pair[1] < pair[0]));
    assert!((rates[99] - 1.0 / 90.0).abs() < 1e-6, "{}", rates[99]);
    assert_eq!(schedule.at(9, 100)[1], 0.5);
    assert_eq!(Schedule { floor: 0.2, ..schedule }.at(99, 100), [0.2, 0.1]);
    assert_eq!(Schedule { warm_up: 0.0, ..schedule }.at(0, 1), [1.0, 0.5]);
    assert_eq!(schedule.at(0, 1), [1.0, 0.5]);
}
