//! What is refused, and how.

use super::super::{Adam, Bag, DistillOptions, Example, FitOptions, Table, distill, fit};
use super::{bags, toy, toy_options};
use crate::{Cancel, Code, Error};

fn fit_error(table: &Table, examples: &[Example], options: &FitOptions) -> Error {
    let mut after = table.clone();
    let error = fit(&mut after, examples, options, &Cancel::never(), &mut |_| panic!("it trained")).unwrap_err();
    assert_eq!(format!("{after:?}"), format!("{table:?}"), "a refused table is not touched");
    error
}

fn refused(error: &Error, code: Code, words: &str) {
    assert_eq!(error.code, code, "{error}");
    assert!(error.message.contains(words), "{words:?} is not in {:?}", error.message);
}

#[test]
fn tables_and_examples() {
    let (examples, vocabulary) = toy(4, 16, 1);
    let table = Table::random(vocabulary, 32, 1);
    let options = toy_options();
    let broken = |change: &dyn Fn(&mut Table)| {
        let mut table = table.clone();
        change(&mut table);
        fit_error(&table, &examples, &options)
    };
    refused(&broken(&|table| table.width = 0), Code::InvalidInput, "rows of 0");
    refused(&broken(&|table| table.width = 31), Code::InvalidInput, "rows of 31");
    refused(&broken(&|table| table.rows[33] = f32::NAN), Code::InvalidInput, "row of token 1");
    refused(&broken(&|table| table.weights[2] = f32::INFINITY), Code::InvalidInput, "weight of token 2 is inf");
    let empty = Table { width: 32, rows: Vec::new(), weights: Vec::new() };
    refused(&fit_error(&empty, &examples, &options), Code::InvalidInput, "0 weights");
    refused(&fit_error(&table, &[], &options), Code::InvalidInput, "no examples");
    refused(&fit_error(&table, &examples[..1], &options), Code::InvalidInput, "of group 0");
    let with = |document: Bag| {
        let mut examples = examples.clone();
        examples[3].document = document;
        let error = fit_error(&table, &examples, &options);
        assert_eq!(error.details["index"], 3);
        assert!(error.message.starts_with("The document of example 3"), "{error}");
        error
    };
    refused(&with(Bag::of(&[1, 48])), Code::InvalidInput, "token 48, but the table has 48 tokens");
    refused(&with(Bag::of(&[])), Code::InvalidInput, "0 tokens");
    refused(&with(Bag { ids: [1, 2].into(), counts: [1.0].into() }), Code::InvalidInput, "2 tokens with 1 counts");
    refused(&with(Bag { ids: [2, 2].into(), counts: [1.0; 2].into() }), Code::InvalidInput, "token 2 before 2");
    for count in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        refused(&with(Bag { ids: [2].into(), counts: [count].into() }), Code::InvalidInput, "finite counts");
    }
}

#[test]
fn options_out_of_range() {
    let (examples, vocabulary) = toy(4, 16, 1);
    let table = Table::random(vocabulary, 32, 1);
    let adam = Adam { beta1: 1.0, ..Adam::default() };
    let good = toy_options;
    for (option, options) in [
        ("epochs", FitOptions { epochs: 0, ..good() }),
        ("batch", FitOptions { batch: 1, ..good() }),
        ("batch", FitOptions { batch: 1 << 20, ..good() }),
        ("learning_rate", FitOptions { learning_rate: 0.0, ..good() }),
        ("weight_learning_rate", FitOptions { weight_learning_rate: f32::NAN, ..good() }),
        ("warm_up", FitOptions { warm_up: 1.0, ..good() }),
        ("min_learning_rate", FitOptions { min_learning_rate: 1.5, ..good() }),
        ("temperature", FitOptions { temperature: 0.0, ..good() }),
        ("dropout", FitOptions { dropout: 1.0, ..good() }),
        ("adam.beta1", FitOptions { adam, ..good() }),
        ("widths", FitOptions { widths: Vec::new(), ..good() }),
        ("widths", FitOptions { widths: vec![(33, 1.0)], ..good() }),
        ("widths' weight", FitOptions { widths: vec![(32, 0.0)], ..good() }),
    ] {
        let error = fit_error(&table, &examples, &options);
        refused(&error, Code::InvalidOption, option);
        assert_eq!(error.details["option"], option);
    }
}

#[test]
fn teachers() {
    let texts = bags(6, 5, 20, 1);
    let table = Table::random(20, 4, 1);
    let good: Vec<f32> = [0.5; 24].into();
    let run = |texts: &[Bag], teacher: &[f32], options: &DistillOptions| {
        let mut table = table.clone();
        distill(&mut table, texts, teacher, options, &Cancel::never(), &mut |_| true)
    };
    let options = DistillOptions { epochs: 1, ..DistillOptions::default() };
    run(&texts, &good, &options).unwrap();
    let error = |texts: &[Bag], teacher: &[f32]| run(texts, teacher, &options).unwrap_err();
    refused(&error(&[], &[]), Code::InvalidInput, "no texts");
    refused(&error(&texts, &good[1..]), Code::InvalidInput, "23 values for 6 texts");
    for value in [f32::NAN, f32::INFINITY, 0.9] {
        let mut teacher = good.clone();
        teacher[13] = value;
        refused(&error(&texts, &teacher), Code::InvalidInput, "vector of text 3");
    }
    let options = DistillOptions { batch: 0, ..options };
    refused(&run(&texts, &good, &options).unwrap_err(), Code::InvalidOption, "batch is 0");
}
