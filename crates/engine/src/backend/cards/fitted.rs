//! Running a batch in pieces that fit, and in smaller ones where they did not.

use std::collections::VecDeque;
use std::ops::Range;

use super::Card;
use super::budget::{Learnt, Limits};
use crate::batch::PackedBatch;
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};

/// Runs `batch`, in consecutive pieces of at most as many tokens as fit now; rows in order.
///
/// A piece that does not fit all the same is tried again in halves, down to single sequences.
///
/// # Errors
/// `OUT_OF_MEMORY` with the figures if a single sequence does not fit; those of [`Card::run`] and
/// [`Card::check`].
pub(super) fn run(
    card: &mut dyn Card,
    learnt: &mut Learnt,
    limits: Limits,
    batch: &PackedBatch,
    cancel: &Cancel,
) -> Result<Vec<f32>> {
    let suggested = card.footprint().tokens(card.memory(), limits);
    let mut waiting: VecDeque<Range<usize>> = pieces(batch, learnt.apply(suggested)).into();
    let mut rows = Vec::new();
    while let Some(piece) = waiting.pop_front() {
        cancel.check()?;
        let middle = piece.start + piece.len() / 2;
        if piece.len() > 1 && tokens_of(batch, &piece) > learnt.apply(suggested) {
            // Learnt since it was cut.
            waiting.push_front(middle..piece.end);
            waiting.push_front(piece.start..middle);
            continue;
        }
        let whole = piece.len() == batch.sequences();
        let part = if whole { None } else { Some(batch.part(piece.clone())) };
        let part = part.as_ref().unwrap_or(batch);
        let error = match card.run(part, cancel) {
            Ok(mut more) => {
                learnt.fitted(part.tokens(), suggested);
                if rows.is_empty() {
                    rows = more;
                } else {
                    rows.append(&mut more);
                }
                continue;
            }
            Err(error) if error.code == Code::OutOfMemory => error,
            Err(error) => return Err(error),
        };
        // What the failed run had taken must be free before the next begins.
        card.check()?;
        learnt.too_large(part.tokens());
        if piece.len() == 1 {
            return Err(does_not_fit(card, part.tokens(), &error));
        }
        waiting.push_front(middle..piece.end);
        waiting.push_front(piece.start..middle);
    }
    Ok(rows)
}

fn tokens_of(batch: &PackedBatch, sequences: &Range<usize>) -> usize {
    (batch.cumulative[sequences.end] - batch.cumulative[sequences.start]) as usize
}

/// Ranges of sequences of at most `tokens` tokens, or of one sequence.
fn pieces(batch: &PackedBatch, tokens: usize) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let (mut start, mut taken) = (0, 0);
    for sequence in 0..batch.sequences() {
        let len = batch.len_of(sequence);
        if sequence > start && taken + len > tokens {
            pieces.push(start..sequence);
            (start, taken) = (sequence, 0);
        }
        taken += len;
    }
    if start < batch.sequences() {
        pieces.push(start..batch.sequences());
    }
    pieces
}

fn does_not_fit(card: &dyn Card, tokens: usize, cause: &Error) -> Error {
    let needed = card.footprint().bytes(tokens);
    let device = card.info().device.as_str();
    let memory = card.memory();
    let free = memory.map_or_else(String::new, |memory| {
        format!(", and {} of {} are free", mebibytes(memory.free), mebibytes(memory.total))
    });
    let message = format!(
        "A text of {tokens} tokens does not fit into the memory of {device}: it needs about {}{free}. Free memory on \
         the card, cut the text (modelDefaults' maxTokens), or use device 'cpu'. ({})",
        mebibytes(needed),
        cause.message
    );
    let error = Error::new(Code::OutOfMemory, message)
        .with("device", device)
        .with("tokens", tokens)
        .with("bytesNeeded", needed);
    match memory {
        Some(memory) => error.with("bytesFree", memory.free).with("bytesTotal", memory.total),
        None => error,
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
