//! The vocabulary of a static model, learned from texts: byte pair encoding of their words.

use std::collections::HashSet;

use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::tokenizer::{Model, Trainer};

use crate::error::{Error, Result};
use crate::tokenize::words;

/// Learns `size` tokens (the 256 bytes among them) from texts, and returns the `tokenizer.json` of
/// [`words::WordTokenizer`]. The same texts give the same file.
///
/// # Errors
/// `INVALID_INPUT` for a size that does not hold the bytes; `INTERNAL` if the library fails.
pub fn learn<'t>(texts: impl Iterator<Item = &'t str> + Send, size: usize) -> Result<String> {
    if size < 256 {
        return Err(Error::new(
            crate::Code::InvalidInput,
            format!("A vocabulary of {size} tokens does not hold the 256 bytes."),
        ));
    }
    let failed = |error: tokenizers::Error| Error::internal(format!("Learning a vocabulary failed: {error}."));
    let alphabet = words::byte_level();
    let mut trainer = BpeTrainer::builder()
        .vocab_size(size)
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(alphabet.into_iter().collect::<HashSet<char>>())
        .build();
    let process = |text: &str| {
        let mut all = Vec::new();
        words::for_each_word(text, |word| {
            all.push(word.bytes().map(|byte| alphabet[usize::from(byte)]).collect::<String>());
        });
        Ok(all)
    };
    trainer.feed(texts, process).map_err(failed)?;
    let mut bpe = BPE::default();
    trainer.train(&mut bpe).map_err(failed)?;

    let decode = words::decoder();
    let mut tokens = vec![Vec::new(); bpe.get_vocab_size()];
    for (token, id) in bpe.get_vocab() {
        tokens[id as usize] = token.chars().filter_map(|c| decode.get(&c).copied()).collect();
    }
    let ids = bpe.get_vocab();
    let model = serde_json::to_value(&bpe).map_err(|error| Error::internal(error.to_string()))?;
    let merges = model["merges"].as_array().into_iter().flatten().filter_map(|merge| {
        let pair = merge.as_array()?;
        let id = |index: usize| ids.get(pair.get(index)?.as_str()?).copied();
        Some((id(0)?, id(1)?))
    });
    Ok(words::tokenizer_json(&tokens, &merges.collect::<Vec<_>>()))
}
