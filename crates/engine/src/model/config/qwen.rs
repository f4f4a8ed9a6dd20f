//! Qwen2 and Qwen3, with the defaults of transformers 5 (`Qwen2Config`, `Qwen3Config`).

use super::unsupported;
use crate::error::Result;
use crate::model::QwenConfig;
use crate::model::folder::Json;
use crate::model::modules::MAX_WIDTH;

pub(super) fn read(config: &Json, qwen3: bool) -> Result<QwenConfig> {
    if let Some(activation) = config.str("hidden_act")?
        && !matches!(activation, "silu" | "swish")
    {
        return Err(unsupported(config, format!("the activation is {activation:?}. Supported is silu")));
    }
    let hidden_size = config.required_size("hidden_size", 1..=MAX_WIDTH)?;
    let num_layers = config.required_size("num_hidden_layers", 1..=1024)?;
    let num_heads = config.required_size("num_attention_heads", 1..=4096)?;
    let num_kv_heads = config.size("num_key_value_heads", 1..=4096)?.unwrap_or(num_heads);
    if num_heads % num_kv_heads != 0 {
        return Err(config.wrong("num_key_value_heads", format!("a divisor of num_attention_heads ({num_heads})")));
    }
    let head_dim = match config.size("head_dim", 2..=4096)? {
        Some(width) => width,
        None if qwen3 => 128,
        None if hidden_size % num_heads == 0 => hidden_size / num_heads,
        None => return Err(config.wrong("hidden_size", format!("a multiple of num_attention_heads ({num_heads})"))),
    };
    if head_dim % 2 != 0 {
        return Err(config.wrong("head_dim", "even, because RoPE turns pairs"));
    }
    let attention_bias = config.bool("attention_bias")?.unwrap_or(false);
    Ok(QwenConfig {
        vocab_size: config.required_size("vocab_size", 1..=1 << 26)?,
        hidden_size,
        intermediate_size: config.required_size("intermediate_size", 1..=MAX_WIDTH)?,
        num_layers,
        num_heads,
        num_kv_heads,
        head_dim,
        rope_theta: rope_theta(config)?,
        rms_norm_eps: epsilon(config, "rms_norm_eps", 1e-6)?,
        // Qwen2 always has q, k and v biases and never an output bias; Qwen3 has all four or none.
        qkv_bias: !qwen3 || attention_bias,
        output_bias: qwen3 && attention_bias,
        qk_norm: qwen3,
        windows: windows(config, num_layers)?,
    })
}

pub(super) fn epsilon(config: &Json, key: &str, default: f64) -> Result<f64> {
    let epsilon = config.number(key)?.unwrap_or(default);
    if (0.0..1.0).contains(&epsilon) { Ok(epsilon) } else { Err(config.wrong(key, "from 0 to 1")) }
}

/// The base of RoPE: `rope_parameters.rope_theta`, else `rope_theta`, else 10000. `rope_scaling` is the
/// old name of `rope_parameters`; any rule but the plain one is refused.
fn rope_theta(config: &Json) -> Result<f64> {
    let mut theta = config.number("rope_theta")?;
    let mut key = "rope_theta";
    // transformers: `rope_scaling or rope_parameters`.
    let scaling = config.object("rope_scaling")?.filter(|parameters| !parameters.is_empty());
    let parameters = match scaling {
        Some(parameters) => Some(parameters),
        None => config.object("rope_parameters")?,
    };
    if let Some(parameters) = parameters {
        for name in ["full_attention", "sliding_attention"] {
            if parameters.has(name) {
                return Err(unsupported(config, "RoPE differs between layers, which is not supported"));
            }
        }
        let kind = match parameters.str("rope_type")? {
            Some(kind) => kind,
            None => parameters.str("type")?.unwrap_or("default"),
        };
        if kind != "default" {
            let message = format!("RoPE is scaled by the rule {kind:?}. Supported is the plain one (default)");
            return Err(unsupported(config, message));
        }
        if let Some(own) = parameters.number("rope_theta")? {
            theta = Some(own);
            key = "rope_parameters";
        }
        partial(&parameters)?;
    }
    partial(config)?;
    let theta = theta.unwrap_or(10_000.0);
    if theta > 0.0 { Ok(theta) } else { Err(config.wrong(key, "above 0")) }
}

fn partial(config: &Json) -> Result<()> {
    match config.number("partial_rotary_factor")? {
        None => Ok(()),
        Some(1.0) => Ok(()),
        Some(factor) => {
            Err(unsupported(config, format!("RoPE turns {factor} of each head. Supported is the whole head")))
        }
    }
}

/// Sliding windows per layer as transformers 5 sets them: in use only with `use_sliding_window` and a
/// number; `layer_types` tells which layers, else those from `max_window_layers` (default 28) on.
fn windows(config: &Json, num_layers: usize) -> Result<Vec<Option<usize>>> {
    let window = if config.bool("use_sliding_window")?.unwrap_or(false) {
        match config.size("sliding_window", 1..=1 << 40)? {
            None if !config.has("sliding_window") => Some(4096),
            window => window,
        }
    } else {
        None
    };
    if let Some(types) = config.strings("layer_types")? {
        if types.len() < num_layers {
            return Err(config.wrong("layer_types", format!("a list of {num_layers} layers")));
        }
        return types[..num_layers]
            .iter()
            .map(|kind| match *kind {
                "full_attention" => Ok(None),
                "sliding_attention" if window.is_some() => Ok(window),
                "sliding_attention" => Err(config.wrong(
                    "layer_types",
                    "full_attention everywhere, since no sliding window is in use (use_sliding_window, sliding_window)",
                )),
                other => Err(unsupported(config, format!("a layer has the attention {other:?}"))),
            })
            .collect();
    }
    let first = config.size("max_window_layers", 0..=1 << 30)?.unwrap_or(28);
    Ok((0..num_layers).map(|layer| window.filter(|_| layer >= first)).collect())
}
