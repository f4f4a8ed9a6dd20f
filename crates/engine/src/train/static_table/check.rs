//! What cannot be trained on or with is refused before anything is computed.

use super::bag::{Bag, Example};
use super::options::{Adam, DistillOptions, FitOptions};
use super::table::Table;
use crate::{Code, Error, Result};

/// Largest batch: its logits take a gigabyte.
const LARGEST_BATCH: usize = 16_384;

/// How far a teacher's vector may be from unit length.
const UNIT_TOLERANCE: f64 = 1e-2;

fn invalid(message: String) -> Error {
    Error::new(Code::InvalidInput, message)
}

/// A table of some width, with as many rows as weights, all finite.
pub(super) fn table(table: &Table) -> Result<()> {
    let (width, rows, weights) = (table.width, table.rows.len(), table.weights.len());
    if width == 0 || weights == 0 || width.checked_mul(weights) != Some(rows) {
        return Err(invalid(format!(
            "The table has {rows} values in rows of {width} for {weights} weights: give every token one row of at \
             least one dimension, and one weight."
        )));
    }
    if let Some(at) = table.rows.iter().position(|value| !value.is_finite()) {
        let (token, value) = (at / width, table.rows[at]);
        return Err(invalid(format!("The table's row of token {token} has the value {value}: give finite values."))
            .with("token", token));
    }
    if let Some(token) = table.weights.iter().position(|weight| !weight.is_finite()) {
        let weight = table.weights[token];
        return Err(invalid(format!("The table's weight of token {token} is {weight}: give finite values."))
            .with("token", token));
    }
    Ok(())
}

/// At least one pair of examples that may stand in one batch; good bags.
pub(super) fn examples(examples: &[Example], table: &Table) -> Result<()> {
    countable(examples.len(), "examples")?;
    for (index, example) in examples.iter().enumerate() {
        for (part, side) in [("query", &example.query), ("document", &example.document)] {
            bag(side, table, &format!("The {part} of example {index}")).map_err(|error| error.with("index", index))?;
        }
    }
    if examples.iter().all(|example| example.group == examples[0].group) {
        let (count, group) = (examples.len(), examples[0].group);
        return Err(invalid(format!(
            "All {count} examples are of group {group}: a batch needs two of different groups, to have negatives."
        ))
        .with("examples", count));
    }
    Ok(())
}

/// At least one bag; good bags.
pub(super) fn bags(bags: &[Bag], table: &Table) -> Result<()> {
    countable(bags.len(), "texts")?;
    for (index, text) in bags.iter().enumerate() {
        bag(text, table, &format!("Text {index}")).map_err(|error| error.with("index", index))?;
    }
    Ok(())
}

/// Vectors of unit length, one for each of `count` texts.
pub(super) fn teacher(teacher: &[f32], count: usize, width: usize) -> Result<()> {
    let values = teacher.len();
    if count.checked_mul(width) != Some(values) {
        return Err(invalid(format!(
            "The teacher gave {values} values for {count} texts: give one vector of {width} dimensions for each."
        )));
    }
    for (index, vector) in teacher.chunks_exact(width).enumerate() {
        let norm = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        // Written so that NaN is refused.
        if !matches!((norm - 1.0).abs(), distance if distance <= UNIT_TOLERANCE) {
            return Err(invalid(format!(
                "The teacher's vector of text {index} has length {norm}: give finite vectors of length 1."
            ))
            .with("index", index));
        }
    }
    Ok(())
}

fn countable(count: usize, what: &str) -> Result<()> {
    match count {
        0 => Err(invalid(format!("There are no {what} to train on: give at least one."))),
        count if u32::try_from(count).is_err() => {
            Err(invalid(format!("There are {count} {what}: give at most {}.", u32::MAX)))
        }
        _ => Ok(()),
    }
}

fn bag(bag: &Bag, table: &Table, what: &str) -> Result<()> {
    let (ids, counts) = (bag.ids.len(), bag.counts.len());
    if ids == 0 || ids != counts {
        return Err(invalid(format!(
            "{what} has {ids} tokens with {counts} counts: give at least one token, and each one count."
        )));
    }
    if let Some(pair) = bag.ids.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(invalid(format!(
            "{what} has token {} before {}: give distinct ids in ascending order.",
            pair[0], pair[1]
        )));
    }
    let (last, vocabulary) = (bag.ids[ids - 1], table.vocabulary());
    if last as usize >= vocabulary {
        return Err(invalid(format!(
            "{what} has token {last}, but the table has {vocabulary} tokens: use the tokenizer that belongs to it."
        ))
        .with("token", last));
    }
    match bag.counts.iter().position(|count| !(count.is_finite() && *count > 0.0)) {
        Some(at) => Err(invalid(format!(
            "{what} has token {} {} times: give finite counts above 0.",
            bag.ids[at], bag.counts[at]
        ))),
        None => Ok(()),
    }
}

/// Options within their ranges, for a table of `width`.
pub(super) fn fit_options(options: &FitOptions, width: usize) -> Result<()> {
    size("epochs", options.epochs, 1, usize::MAX)?;
    size("batch", options.batch, 2, LARGEST_BATCH)?;
    rates(options.learning_rate, options.weight_learning_rate, options.warm_up, options.min_learning_rate)?;
    number("temperature", options.temperature, "above 0", |value| value > 0.0)?;
    number("dropout", options.dropout, SHARE, is_share)?;
    adam(options.adam)?;
    if options.widths.is_empty() {
        return Err(Error::invalid_option("widths", "widths is empty: give at least one, such as the table's own."));
    }
    for (cut, weight) in &options.widths {
        size("widths", *cut, 1, width)?;
        number("widths' weight", *weight, "above 0", |value| value > 0.0)?;
    }
    Ok(())
}

/// Options within their ranges.
pub(super) fn distill_options(options: &DistillOptions) -> Result<()> {
    size("epochs", options.epochs, 1, usize::MAX)?;
    size("batch", options.batch, 1, LARGEST_BATCH)?;
    rates(options.learning_rate, options.weight_learning_rate, options.warm_up, options.min_learning_rate)?;
    number("dropout", options.dropout, SHARE, is_share)?;
    adam(options.adam)
}

const SHARE: &str = "from 0 up to, but not, 1";

fn is_share(value: f32) -> bool {
    (0.0..1.0).contains(&value)
}

fn rates(rows: f32, weights: f32, warm_up: f32, floor: f32) -> Result<()> {
    number("learning_rate", rows, "above 0", |value| value > 0.0)?;
    number("weight_learning_rate", weights, "0 or above", |value| value >= 0.0)?;
    number("warm_up", warm_up, SHARE, is_share)?;
    number("min_learning_rate", floor, "from 0 to 1", |value| (0.0..=1.0).contains(&value))
}

fn adam(adam: Adam) -> Result<()> {
    number("adam.beta1", adam.beta1, SHARE, is_share)?;
    number("adam.beta2", adam.beta2, SHARE, is_share)?;
    number("adam.epsilon", adam.epsilon, "above 0", |value| value > 0.0)
}

fn size(option: &str, value: usize, least: usize, most: usize) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let range = if most == usize::MAX { format!("at least {least}") } else { format!("from {least} to {most}") };
    Err(Error::invalid_option(option, format!("{option} is {value}: give a number {range}.")))
}

fn number(option: &str, value: f32, range: &str, fits: impl Fn(f32) -> bool) -> Result<()> {
    if value.is_finite() && fits(value) {
        return Ok(());
    }
    Err(Error::invalid_option(option, format!("{option} is {value}: give a number {range}.")))
}
