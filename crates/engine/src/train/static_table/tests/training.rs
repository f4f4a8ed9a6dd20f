//! Whole trainings on toy tasks.

use super::super::{Bag, DistillOptions, Example, FitOptions, Table, distill, fit};
use super::table::least_quantized_cosine;
use super::{bags, toy, toy_options, uneven_table};
use crate::{Cancel, Code};

const WIDTH: usize = 32;

fn vector(table: &Table, bag: &Bag) -> Vec<f32> {
    let mut out = vec![0.0; table.width];
    table.embed(bag, &mut out);
    out
}

/// Share of queries whose nearest document, by the first `cut` dimensions, is of their own topic.
fn precision(table: &Table, examples: &[Example], cut: usize) -> f64 {
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let documents: Vec<_> = examples.iter().map(|example| vector(table, &example.document)).collect();
    let right = examples.iter().filter(|example| {
        let query = vector(table, &example.query);
        let score = |index: usize| cosine(&query[..cut], &documents[index][..cut]);
        let best = (0..documents.len()).max_by(|a, b| score(*a).total_cmp(&score(*b))).unwrap();
        examples[best].group == example.group
    });
    right.count() as f64 / examples.len() as f64
}

fn trained(examples: &[Example], vocabulary: usize, options: &FitOptions) -> (Table, Vec<f64>) {
    let mut table = Table::random(vocabulary, WIDTH, 3);
    let mut losses = Vec::new();
    fit(&mut table, examples, options, &Cancel::never(), &mut |epoch| {
        assert_eq!(epoch.epoch, losses.len() + 1);
        assert!(epoch.steps > 0 && epoch.seconds >= 0.0 && epoch.table.width == WIDTH);
        losses.push(epoch.loss);
        true
    })
    .unwrap();
    (table, losses)
}

#[test]
fn a_toy_task_is_learned() {
    let (examples, vocabulary) = toy(24, 480, 1);
    let (unseen, _) = toy(24, 120, 2);
    for dropout_occurrences in [false, true] {
        let options = FitOptions { dropout_occurrences, ..toy_options() };
        let before = precision(&Table::random(vocabulary, WIDTH, 3), &unseen, WIDTH);
        assert!(before < 0.3, "the task is too easy: {before}");
        let (table, losses) = trained(&examples, vocabulary, &options);
        assert_eq!(losses.len(), options.epochs);
        assert!(losses[11] < 0.2 * losses[0], "{losses:?}");
        for cut in [32, 16, 8] {
            assert_eq!(precision(&table, &unseen, cut), 1.0, "at {cut} dimensions");
        }
        // Noise has lost weight against the tokens that tell.
        let mean = |weights: &[f32]| weights.iter().sum::<f32>() / weights.len() as f32;
        let (topics, noise) = table.weights.split_at(8 * 24);
        assert!(mean(noise) < 0.9 * mean(topics), "noise {}, topics {}", mean(noise), mean(topics));
        let texts: Vec<Bag> = unseen.iter().map(|example| example.document.clone()).collect();
        let cosine = least_quantized_cosine(&table, &texts);
        assert!(cosine >= 0.9999, "int8 is off: {cosine}");
    }
}

#[test]
fn a_teacher_is_followed() {
    // The teacher is a table itself, so that its vectors can be reached.
    let (vocabulary, texts) = (60, bags(400, 8, 60, 5));
    let teacher = uneven_table(vocabulary, WIDTH, 8);
    let vectors: Vec<f32> = texts.iter().flat_map(|text| vector(&teacher, text)).collect();
    let options = DistillOptions { epochs: 40, batch: 32, learning_rate: 1e-2, ..DistillOptions::default() };
    let mut table = Table::random(vocabulary, WIDTH, 9);
    let mut losses = Vec::new();
    distill(&mut table, &texts, &vectors, &options, &Cancel::never(), &mut |epoch| {
        losses.push(epoch.loss);
        true
    })
    .unwrap();
    assert!(losses[0] > 0.5 && losses[39] < 0.01, "{losses:?}");
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
    let (examples, vocabulary) = toy(160, 640, 1);
    let texts: Vec<Bag> = examples.iter().map(|example| example.document.clone()).collect();
    let teacher = uneven_table(vocabulary, WIDTH, 8);
    let vectors: Vec<f32> = texts.iter().flat_map(|text| vector(&teacher, text)).collect();
    let run = |threads: usize, seed: u64| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let options = DistillOptions { epochs: 2, batch: 150, dropout: 0.2, seed, ..DistillOptions::default() };
            let mut table = Table::random(vocabulary, WIDTH, 3);
            distill(&mut table, &texts, &vectors, &options, &Cancel::never(), &mut |_| true).unwrap();
            // More pairs than a tile of the products has rows.
            let options = FitOptions { epochs: 2, batch: 150, seed, ..toy_options() };
            let mut losses = Vec::new();
            fit(&mut table, &examples, &options, &Cancel::never(), &mut |epoch| {
                losses.push(epoch.loss.to_bits());
                true
            })
            .unwrap();
            let bits: Vec<u32> = table.rows.iter().chain(&table.weights).map(|value| value.to_bits()).collect();
            (bits, losses)
        })
    };
    let one = run(1, 4);
    assert!(one == run(2, 4), "two threads give other bits than one");
    assert!(one == run(5, 4), "five threads give other bits than one");
    assert!(one == run(1, 4), "a second run gives other bits");
    assert!(one != run(1, 5), "the seed changes nothing");
}

#[test]
fn a_training_can_be_cancelled_and_ended() {
    let (examples, vocabulary) = toy(24, 240, 1);
    let mut table = Table::random(vocabulary, WIDTH, 3);
    let cancel = Cancel::new();
    let mut epochs = 0;
    let error = fit(&mut table, &examples, &toy_options(), &cancel, &mut |_| {
        epochs += 1;
        cancel.cancel();
        true
    })
    .unwrap_err();
    assert_eq!((error.code, epochs), (Code::Aborted, 1));
    let before = table.clone();
    assert_eq!(fit(&mut table, &examples, &toy_options(), &cancel, &mut |_| true).unwrap_err().code, Code::Aborted);
    assert_eq!(table, before);
    let mut epochs = 0;
    fit(&mut table, &examples, &toy_options(), &Cancel::never(), &mut |_| {
        epochs += 1;
        epochs < 2
    })
    .unwrap();
    assert_eq!(epochs, 2);
}

#[test]
fn a_training_that_breaks_down_says_so() {
    let (examples, vocabulary) = toy(24, 240, 1);
    let mut table = Table::random(vocabulary, WIDTH, 3);
    let options = FitOptions { learning_rate: 1e30, ..toy_options() };
    let error = fit(&mut table, &examples, &options, &Cancel::never(), &mut |_| true).unwrap_err();
    assert_eq!(error.code, Code::NonFinite);
    assert!(error.message.contains("learning rate"), "{}", error.message);
}
