//! How long a text may be, and how wide its vector is.

use super::folder::Json;
use super::{Architecture, ModelOverrides, catalogue};
use crate::error::{Error, Result};

/// What bounds the length of a text.
pub(super) struct Lengths<'a> {
    pub(super) config: &'a Json,
    pub(super) architecture: &'a Architecture,
    /// `max_seq_length` of sentence_bert_config.json.
    pub(super) max_seq_length: Option<usize>,
    /// `model_max_length` of tokenizer_config.json.
    pub(super) model_max_length: Option<usize>,
    pub(super) known: Option<&'static catalogue::Known>,
}

/// A model that states no limit at all is read as far as most encoders reach.
const NO_LIMIT: usize = 512;

impl Lengths<'_> {
    /// As sentence-transformers computes it: `max_seq_length` as it is, else the smaller of
    /// `model_max_length` and `max_position_embeddings`. Never more than the position table of a BERT
    /// holds (where sentence-transformers would crash), nor than the catalogue knows; the caller lowers
    /// it, or raises it up to what the positions allow.
    ///
    /// # Errors
    /// `INVALID_OPTION` for a limit of the caller that the positions do not allow.
    pub(super) fn max_tokens(&self, overrides: &ModelOverrides) -> Result<usize> {
        // xlnet writes -1 for "no limit".
        let positions = match self.config.number("max_position_embeddings")? {
            Some(-1.0) => None,
            _ => self.config.size("max_position_embeddings", 1..=super::sbert::MAX_TOKENS)?,
        };
        let table = match self.architecture {
            Architecture::Bert(bert) => Some(bert.max_positions - bert.position_offset),
            // transformers' default.
            Architecture::Qwen(_) => None,
            Architecture::Onnx | Architecture::Static => self.onnx_table(positions)?,
        };
        let positions = match self.architecture {
            Architecture::Qwen(_) => positions.or(Some(32_768)),
            Architecture::Bert(bert) => Some(bert.max_positions),
            Architecture::Onnx | Architecture::Static => positions,
        };
        let stated = self
            .max_seq_length
            .or_else(|| self.model_max_length.into_iter().chain(positions).min())
            .unwrap_or(NO_LIMIT);
        let known = self.known.and_then(|known| known.max_tokens);
        let limit = [Some(stated), table, known].into_iter().flatten().min().unwrap_or(stated);
        let Some(wanted) = overrides.max_tokens else { return Ok(limit) };
        let bound = table.or(positions).map_or(usize::MAX, |bound| bound.max(limit));
        if wanted == 0 || wanted > bound {
            let range = if bound == usize::MAX { "at least 1".to_owned() } else { format!("from 1 to {bound}") };
            return Err(Error::invalid_option(
                "maxTokens",
                format!("maxTokens is {wanted}, but this model takes {range}."),
            )
            .with("value", wanted)
            .with("limit", bound));
        }
        Ok(wanted)
    }

    /// Rows of a graph's position table that texts can use. An architecture with absolute positions that
    /// begin after the padding id has fewer than it says.
    fn onnx_table(&self, positions: Option<usize>) -> Result<Option<usize>> {
        if !matches!(self.config.str("position_embedding_type")?, None | Some("absolute")) {
            return Ok(None);
        }
        let offset = match self.config.str("model_type")? {
            Some("roberta" | "xlm-roberta" | "camembert" | "mpnet") => {
                self.config.size("pad_token_id", 0..=1 << 26)?.unwrap_or(1) + 1
            }
            Some("bert" | "distilbert" | "electra") => 0,
            _ => return Ok(None),
        };
        Ok(positions.map(|positions| positions.saturating_sub(offset).max(1)))
    }
}

/// The widths that a vector of `width` can be cut to, ascending: the caller's, else the catalogue's,
/// else `matryoshka_dimensions` or `matryoshka_dims` of config.json, and `truncate_dim` of
/// config_sentence_transformers.json.
///
/// # Errors
/// `BAD_CHECKPOINT` or `INVALID_OPTION` for widths that are no widths of this model.
pub(super) fn matryoshka(
    config: &Json,
    truncate_dim: Option<usize>,
    width: usize,
    known: Option<&catalogue::Known>,
    overrides: &ModelOverrides,
) -> Result<Vec<usize>> {
    let fits = |dims: &[usize]| dims.iter().all(|&dims| (1..=width).contains(&dims));
    let mut dims = match (&overrides.dimensions, known) {
        (Some(dims), _) if fits(dims) => dims.clone(),
        (Some(dims), _) => {
            let message = format!("dimensions are {dims:?}, but this model's vectors have 1 to {width} components.");
            return Err(Error::invalid_option("dimensions", message).with("limit", width));
        }
        (None, Some(known)) if !known.matryoshka.is_empty() && fits(known.matryoshka) => known.matryoshka.to_vec(),
        (None, _) => {
            let mut found = Vec::new();
            for key in ["matryoshka_dimensions", "matryoshka_dims"] {
                if let Some(dims) = config.sizes(key)? {
                    if !fits(&dims) {
                        return Err(config.wrong(key, format!("a list of widths from 1 to {width}")));
                    }
                    found = dims;
                    break;
                }
            }
            found
        }
    };
    if let Some(cut) = truncate_dim {
        dims.extend([cut, width]);
    }
    dims.sort_unstable();
    dims.dedup();
    Ok(dims)
}
