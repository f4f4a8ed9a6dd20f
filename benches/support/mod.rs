//! Models of real shapes with random weights, made once under `target/bench-models`.

#![allow(clippy::unwrap_used, dead_code, missing_docs)]

pub mod measure;

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use embedding_engine::batch::PackedBatch;
use embedding_engine::model::*;

/// Rows of the embedding tables: a table is only looked up in, so a small one measures the same.
const VOCAB: usize = 4096;

/// Qwen2 of 0.5 B parameters: 0.716 GFLOP a token.
pub fn qwen2_half_b() -> ModelSpec {
    let config = QwenConfig {
        vocab_size: VOCAB,
        hidden_size: 896,
        intermediate_size: 4864,
        num_layers: 24,
        num_heads: 14,
        num_kv_heads: 2,
        head_dim: 64,
        rope_theta: 1e6,
        rms_norm_eps: 1e-6,
        qkv_bias: true,
        output_bias: false,
        qk_norm: false,
        windows: vec![None; 24],
    };
    let mut tensors = vec![("embed_tokens.weight".to_owned(), vec![VOCAB, 896]), ("norm.weight".to_owned(), vec![896])];
    for i in 0..config.num_layers {
        let mut add = |name: &str, shape: &[usize]| tensors.push((format!("layers.{i}.{name}"), shape.to_vec()));
        for (name, out) in [("q", 896), ("k", 128), ("v", 128)] {
            add(&format!("self_attn.{name}_proj.weight"), &[out, 896]);
            add(&format!("self_attn.{name}_proj.bias"), &[out]);
        }
        add("self_attn.o_proj.weight", &[896, 896]);
        add("mlp.gate_proj.weight", &[4864, 896]);
        add("mlp.up_proj.weight", &[4864, 896]);
        add("mlp.down_proj.weight", &[896, 4864]);
        add("input_layernorm.weight", &[896]);
        add("post_attention_layernorm.weight", &[896]);
    }
    spec("qwen2-0.5b", Architecture::Qwen(config), Attention::Causal, Pooling::LastToken, 896, &tensors)
}

/// all-MiniLM-L6-v2's shape: 22 M parameters.
pub fn minilm() -> ModelSpec {
    let config = BertConfig {
        vocab_size: VOCAB,
        hidden_size: 384,
        intermediate_size: 1536,
        num_layers: 6,
        num_heads: 12,
        max_positions: 512,
        type_vocab_size: 2,
        position_offset: 0,
        layer_norm_eps: 1e-12,
        activation: Activation::Gelu,
    };
    let mut tensors = Vec::new();
    for (name, rows) in [("word", VOCAB), ("position", 512), ("token_type", 2)] {
        tensors.push((format!("embeddings.{name}_embeddings.weight"), vec![rows, 384]));
    }
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for i in 0..config.num_layers {
        let layer = format!("encoder.layer.{i}");
        for (name, out, inputs) in [
            ("attention.self.query", 384, 384),
            ("attention.self.key", 384, 384),
            ("attention.self.value", 384, 384),
            ("attention.output.dense", 384, 384),
            ("intermediate.dense", 1536, 384),
            ("output.dense", 384, 1536),
        ] {
            tensors.push((format!("{layer}.{name}.weight"), vec![out, inputs]));
            tensors.push((format!("{layer}.{name}.bias"), vec![out]));
        }
        norms.push(format!("{layer}.attention.output.LayerNorm"));
        norms.push(format!("{layer}.output.LayerNorm"));
    }
    for norm in norms {
        tensors.push((format!("{norm}.weight"), vec![384]));
        tensors.push((format!("{norm}.bias"), vec![384]));
    }
    spec("minilm", Architecture::Bert(config), Attention::Bidirectional, Pooling::Mean, 384, &tensors)
}

fn spec(
    name: &str,
    architecture: Architecture,
    attention: Attention,
    pooling: Pooling,
    dimensions: usize,
    tensors: &[(String, Vec<usize>)],
) -> ModelSpec {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench-models").join(name);
    let weights = root.join("model.safetensors");
    if !weights.exists() {
        write(&root, &weights, tensors);
    }
    ModelSpec {
        id: name.to_owned(),
        revision: None,
        files: ModelFiles {
            transformer: root.clone(),
            tokenizer: root.join("tokenizer.json"),
            weights: vec![weights],
            root,
        },
        backend: BackendKind::Candle,
        architecture,
        attention,
        pooling,
        include_prompt: true,
        head: Vec::new(),
        tasks: BTreeMap::new(),
        end_token: EndToken::Tokenizer,
        lower_case: false,
        max_tokens: 32768,
        dimensions,
        matryoshka: Vec::new(),
        license: None,
        content: String::new(),
    }
}

fn write(root: &Path, target: &PathBuf, tensors: &[(String, Vec<usize>)]) {
    std::fs::create_dir_all(root).unwrap();
    let mut header = serde_json::Map::new();
    let mut at = 0;
    for (name, shape) in tensors {
        let end = at + shape.iter().product::<usize>() * 4;
        header.insert(name.clone(), serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [at, end]}));
        at = end;
    }
    let header = serde_json::Value::Object(header).to_string();
    let header = format!("{header}{}", " ".repeat(header.len().next_multiple_of(8) - header.len()));
    let part = root.join("model.safetensors.part");
    let mut file = BufWriter::new(std::fs::File::create(&part).unwrap());
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    for (name, shape) in tensors {
        // Norms near 1, everything else spread as a trained layer would be.
        let (scale, offset) = if shape.len() == 1 && name.contains("weight") {
            (0.1, 1.0)
        } else {
            (1.0 / (*shape.last().unwrap() as f32).sqrt(), 0.0)
        };
        for _ in 0..shape.iter().product::<usize>() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let uniform = (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
            file.write_all(&(offset + scale * uniform).to_le_bytes()).unwrap();
        }
    }
    file.into_inner().unwrap().sync_all().unwrap();
    std::fs::rename(part, target).unwrap();
}

/// `lengths.len()` texts of random tokens.
pub fn batch(lengths: &[usize]) -> PackedBatch {
    let mut batch = PackedBatch::new();
    let mut state = 1u32;
    for len in lengths {
        let ids: Vec<u32> = (0..*len)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) % VOCAB as u32
            })
            .collect();
        batch.push(&ids, std::slice::from_ref(&(0..*len as u32)), None);
    }
    batch
}

/// 32 lengths between 20 and 400, as code chunks have them.
pub fn mixed() -> Vec<usize> {
    (0..32).map(|i| 20 + (i * 7919) % 381).collect()
}

/// The folder of a test model, made by the generator of the fixtures (it takes node).
pub fn test_model(name: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../__test__/fixtures/make-models.mjs");
    let output = std::process::Command::new("node").arg(script.canonicalize().unwrap()).arg(name).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().lines().last().unwrap().trim()).join(name)
}

/// The folder of the model that comes with the package.
pub fn bundled_model() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/bundled"))
}
