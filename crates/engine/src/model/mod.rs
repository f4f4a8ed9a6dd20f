//! What a model is: reading its folder, the catalogue of known models, the space id.

mod spec;

pub use spec::*;

use crate::error::{Error, Result};
use crate::hub::Located;

/// Reads everything in a model's folder but its weights.
///
/// # Errors
/// `MODEL_UNSUPPORTED` (what was found, what is supported), `BAD_CHECKPOINT` (which file), `INVALID_OPTION`
/// for overrides that this model cannot have.
pub fn describe(located: &Located, _overrides: &ModelOverrides) -> Result<ModelSpec> {
    Err(Error::unsupported(located.id.clone()))
}

/// What a space id is made of, besides the model itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceParts<'a> {
    /// The model as described (its content digest, pooling, attention and head are used).
    pub content: &'a str,
    /// Name and digest of the adapter, if one is used.
    pub adapter: Option<&'a str>,
    /// The task family and, where a caller gave one, the prompt.
    pub family: &'a str,
    /// A caller's own prompt; `None` where the model's own prompts are used.
    pub prompt: Option<&'a str>,
    /// Effective pooling and attention.
    pub pooling: Pooling,
    /// Effective attention.
    pub attention: Attention,
    /// Width of the vectors as returned.
    pub dimensions: usize,
    /// Whether they are unit vectors.
    pub normalize: bool,
    /// Whether the weights are int8.
    pub int8_weights: bool,
}

/// A short stable string: equal strings mean comparable vectors.
pub fn space_id(_parts: &SpaceParts<'_>) -> String {
    String::new()
}

/// What `model: 'auto'` means for these texts: the alias `code` or `text`, once for all of them.
pub fn choose_auto<'a>(_texts: impl Iterator<Item = &'a str>) -> &'static str {
    "code"
}
