//! The encoders once more, as plainly as can be: f64, loops, one text at a time, nothing shared with
//! the code under test but the configuration.

use std::collections::BTreeMap;

use embedding_engine::model::*;

/// xorshift64*, enough for weights.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Uniform in −1 … 1.
    pub fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

#[derive(Default)]
pub struct Tensors(BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Tensors {
    fn add(&mut self, name: String, shape: &[usize], scale: f64, offset: f64) {
        let mut random = Random::new(name.bytes().fold(7, |hash, byte| hash * 31 + u64::from(byte)));
        let len = shape.iter().product();
        let values = (0..len).map(|_| (offset + scale * random.uniform()) as f32).collect();
        self.0.insert(name, (shape.to_vec(), values));
    }

    fn linear(&mut self, name: &str, out: usize, inputs: usize, bias: bool) {
        self.add(format!("{name}.weight"), &[out, inputs], 2.0 / (inputs as f64).sqrt(), 0.0);
        if bias {
            self.add(format!("{name}.bias"), &[out], 0.2, 0.0);
        }
    }

    /// Makes some channels `factor` times as large where they come out of the tensors that end in `from` (their
    /// rows), and as much smaller where those that end in `to` take them in (their columns): what the whole
    /// computes stays the same.
    pub fn outliers(&mut self, from: &str, to: &[&str], every: usize, factor: f32) {
        let mut ends = 0;
        for (name, (shape, values)) in &mut self.0 {
            let inputs = if shape.len() == 2 { shape[1] } else { 1 };
            if name.ends_with(from) {
                values.chunks_exact_mut(inputs).step_by(every).flatten().for_each(|value| *value *= factor);
                ends |= 1;
            } else if to.iter().any(|to| name.ends_with(to)) {
                values
                    .chunks_exact_mut(inputs)
                    .flat_map(|row| row.iter_mut().step_by(every))
                    .for_each(|v| *v /= factor);
                ends |= 2;
            }
        }
        assert_eq!(ends, 3, "no tensors end in {from} and {to:?}");
    }

    fn get(&self, name: &str) -> &[f32] {
        &self.0.get(name).unwrap_or_else(|| panic!("no {name}")).1
    }

    pub fn write(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = self
            .0
            .iter()
            .map(|(name, (shape, values))| {
                (name.clone(), shape.clone(), values.iter().flat_map(|value| value.to_le_bytes()).collect())
            })
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap();
            (name.clone(), view)
        });
        safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
        folder
    }
}

pub fn qwen_tensors(config: &QwenConfig) -> Tensors {
    let mut tensors = Tensors::default();
    let (h, inner) = (config.hidden_size, config.intermediate_size);
    let (q, kv) = (config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim);
    tensors.add("embed_tokens.weight".to_owned(), &[config.vocab_size, h], 1.0, 0.0);
    tensors.add("norm.weight".to_owned(), &[h], 0.3, 1.0);
    for i in 0..config.num_layers {
        let layer = format!("layers.{i}");
        tensors.linear(&format!("{layer}.self_attn.q_proj"), q, h, config.qkv_bias);
        tensors.linear(&format!("{layer}.self_attn.k_proj"), kv, h, config.qkv_bias);
        tensors.linear(&format!("{layer}.self_attn.v_proj"), kv, h, config.qkv_bias);
        tensors.linear(&format!("{layer}.self_attn.o_proj"), h, q, config.output_bias);
        tensors.linear(&format!("{layer}.mlp.gate_proj"), inner, h, false);
        tensors.linear(&format!("{layer}.mlp.up_proj"), inner, h, false);
        tensors.linear(&format!("{layer}.mlp.down_proj"), h, inner, false);
        tensors.add(format!("{layer}.input_layernorm.weight"), &[h], 0.3, 1.0);
        tensors.add(format!("{layer}.post_attention_layernorm.weight"), &[h], 0.3, 1.0);
        if config.qk_norm {
            tensors.add(format!("{layer}.self_attn.q_norm.weight"), &[config.head_dim], 0.3, 1.0);
            tensors.add(format!("{layer}.self_attn.k_norm.weight"), &[config.head_dim], 0.3, 1.0);
        }
    }
    tensors
}

pub fn bert_tensors(config: &BertConfig) -> Tensors {
    let mut tensors = Tensors::default();
    let (h, inner) = (config.hidden_size, config.intermediate_size);
    tensors.add("embeddings.word_embeddings.weight".to_owned(), &[config.vocab_size, h], 1.0, 0.0);
    tensors.add("embeddings.position_embeddings.weight".to_owned(), &[config.max_positions, h], 0.5, 0.0);
    tensors.add("embeddings.token_type_embeddings.weight".to_owned(), &[config.type_vocab_size, h], 0.5, 0.0);
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for i in 0..config.num_layers {
        let layer = format!("encoder.layer.{i}");
        for name in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"] {
            tensors.linear(&format!("{layer}.{name}"), h, h, true);
        }
        tensors.linear(&format!("{layer}.intermediate.dense"), inner, h, true);
        tensors.linear(&format!("{layer}.output.dense"), h, inner, true);
        norms.push(format!("{layer}.attention.output.LayerNorm"));
        norms.push(format!("{layer}.output.LayerNorm"));
    }
    for norm in norms {
        tensors.add(format!("{norm}.weight"), &[h], 0.3, 1.0);
        tensors.add(format!("{norm}.bias"), &[h], 0.2, 0.0);
    }
    tensors
}

type Matrix = Vec<Vec<f64>>;

fn linear(t: &Tensors, name: &str, x: &Matrix) -> Matrix {
    let weight = t.get(&format!("{name}.weight"));
    let bias = t.0.get(&format!("{name}.bias")).map(|(_, bias)| bias);
    x.iter()
        .map(|x| {
            (0..weight.len() / x.len())
                .map(|o| {
                    let sum: f64 = x.iter().zip(&weight[o * x.len()..]).map(|(x, w)| x * f64::from(*w)).sum();
                    sum + bias.map_or(0.0, |bias| f64::from(bias[o]))
                })
                .collect()
        })
        .collect()
}

fn rms_norm(x: &[f64], weight: &[f32], eps: f64) -> Vec<f64> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter().zip(weight).map(|(x, w)| x / (mean + eps).sqrt() * f64::from(*w)).collect()
}

fn layer_norm(t: &Tensors, name: &str, x: &[f64], eps: f64) -> Vec<f64> {
    let (weight, bias) = (t.get(&format!("{name}.weight")), t.get(&format!("{name}.bias")));
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
    let scale = (variance + eps).sqrt();
    x.iter().zip(weight).zip(bias).map(|((x, w), b)| (x - mean) / scale * f64::from(*w) + f64::from(*b)).collect()
}

fn rotate(x: &[f64], position: usize, theta: f64) -> Vec<f64> {
    let half = x.len() / 2;
    let mut out = x.to_vec();
    for i in 0..half {
        let angle = position as f64 * theta.powf(-(2.0 * i as f64) / x.len() as f64);
        out[i] = x[i] * angle.cos() - x[i + half] * angle.sin();
        out[i + half] = x[i + half] * angle.cos() + x[i] * angle.sin();
    }
    out
}

/// Heads of q attend to the heads of k and v that they share; `sees(query, key)` is the mask.
fn attention(q: &[Matrix], k: &[Matrix], v: &[Matrix], sees: impl Fn(usize, usize) -> bool) -> Matrix {
    let len = q[0].len();
    let group = q.len() / k.len();
    (0..len)
        .map(|query| {
            let mut row = Vec::new();
            for (head, q) in q.iter().enumerate() {
                let (k, v) = (&k[head / group], &v[head / group]);
                let keys: Vec<usize> = (0..len).filter(|key| sees(query, *key)).collect();
                let scale = (q[query].len() as f64).sqrt();
                let scores: Vec<f64> = keys
                    .iter()
                    .map(|key| q[query].iter().zip(&k[*key]).map(|(a, b)| a * b).sum::<f64>() / scale)
                    .collect();
                let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
                let total: f64 = weights.iter().sum();
                let mut sums = vec![0.0; v[0].len()];
                for (key, weight) in keys.iter().zip(&weights) {
                    sums.iter_mut().zip(&v[*key]).for_each(|(sum, v)| *sum += weight * v / total);
                }
                row.extend(sums);
            }
            row
        })
        .collect()
}

fn split(x: &Matrix, heads: usize) -> Vec<Matrix> {
    let dim = x[0].len() / heads;
    (0..heads).map(|head| x.iter().map(|row| row[head * dim..(head + 1) * dim].to_vec()).collect()).collect()
}

fn add(x: &mut Matrix, y: &Matrix) {
    for (x, y) in x.iter_mut().zip(y) {
        x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
    }
}

fn rows(t: &Tensors, name: &str, width: usize, ids: impl Iterator<Item = usize>) -> Matrix {
    let table = t.get(name);
    ids.map(|id| table[id * width..(id + 1) * width].iter().map(|x| f64::from(*x)).collect()).collect()
}

fn qwen(config: &QwenConfig, causal: bool, t: &Tensors, ids: &[u32]) -> Matrix {
    let eps = config.rms_norm_eps;
    let mut h = rows(t, "embed_tokens.weight", config.hidden_size, ids.iter().map(|id| *id as usize));
    for i in 0..config.num_layers {
        let layer = format!("layers.{i}");
        let norm = |x: &Matrix, name: &str| -> Matrix { x.iter().map(|x| rms_norm(x, t.get(name), eps)).collect() };
        let x = norm(&h, &format!("{layer}.input_layernorm.weight"));
        let heads = |name: &str, count: usize, rotary: bool| -> Vec<Matrix> {
            let mut heads = split(&linear(t, &format!("{layer}.self_attn.{name}_proj"), &x), count);
            for head in &mut heads {
                for (position, x) in head.iter_mut().enumerate() {
                    if rotary && config.qk_norm {
                        *x = rms_norm(x, t.get(&format!("{layer}.self_attn.{name}_norm.weight")), eps);
                    }
                    if rotary {
                        *x = rotate(x, position, config.rope_theta);
                    }
                }
            }
            heads
        };
        let window = config.windows[i];
        let sees = |query: usize, key: usize| match window {
            Some(window) if causal => key <= query && query - key < window,
            Some(window) => query.abs_diff(key) <= window,
            None => !causal || key <= query,
        };
        let (q, k, v) = (
            heads("q", config.num_heads, true),
            heads("k", config.num_kv_heads, true),
            heads("v", config.num_kv_heads, false),
        );
        let x = attention(&q, &k, &v, sees);
        add(&mut h, &linear(t, &format!("{layer}.self_attn.o_proj"), &x));
        let x = norm(&h, &format!("{layer}.post_attention_layernorm.weight"));
        let gate = linear(t, &format!("{layer}.mlp.gate_proj"), &x);
        let mut up = linear(t, &format!("{layer}.mlp.up_proj"), &x);
        for (up, gate) in up.iter_mut().zip(&gate) {
            up.iter_mut().zip(gate).for_each(|(up, gate)| *up *= gate / (1.0 + (-gate).exp()));
        }
        add(&mut h, &linear(t, &format!("{layer}.mlp.down_proj"), &up));
    }
    h.iter().map(|x| rms_norm(x, t.get("norm.weight"), eps)).collect()
}

fn bert(config: &BertConfig, t: &Tensors, ids: &[u32]) -> Matrix {
    let width = config.hidden_size;
    let eps = config.layer_norm_eps;
    let mut h = rows(t, "embeddings.word_embeddings.weight", width, ids.iter().map(|id| *id as usize));
    let padding = config.position_offset.checked_sub(1);
    let positions = (0..ids.len()).map(|at| match padding {
        Some(padding) if ids[at] as usize == padding => padding,
        _ => config.position_offset + ids[..at].iter().filter(|id| Some(**id as usize) != padding).count(),
    });
    add(&mut h, &rows(t, "embeddings.position_embeddings.weight", width, positions));
    add(&mut h, &rows(t, "embeddings.token_type_embeddings.weight", width, ids.iter().map(|_| 0)));
    let norm = |h: &Matrix, name: &str| -> Matrix { h.iter().map(|x| layer_norm(t, name, x, eps)).collect() };
    h = norm(&h, "embeddings.LayerNorm");
    for i in 0..config.num_layers {
        let layer = format!("encoder.layer.{i}");
        let heads = |name: &str| split(&linear(t, &format!("{layer}.attention.self.{name}"), &h), config.num_heads);
        let x = attention(&heads("query"), &heads("key"), &heads("value"), |_, _| true);
        add(&mut h, &linear(t, &format!("{layer}.attention.output.dense"), &x));
        h = norm(&h, &format!("{layer}.attention.output.LayerNorm"));
        let mut x = linear(t, &format!("{layer}.intermediate.dense"), &h);
        x.iter_mut().flatten().for_each(|x| *x = activate(*x, config.activation));
        add(&mut h, &linear(t, &format!("{layer}.output.dense"), &x));
        h = norm(&h, &format!("{layer}.output.LayerNorm"));
    }
    h
}

fn activate(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + (std::f64::consts::FRAC_2_PI.sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        Activation::Gelu => {
            let z = (x / 2f64.sqrt()).clamp(-5.0, 5.0);
            let (mut sum, mut term) = (z, z);
            for n in 1..300 {
                term *= -z * z / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            0.5 * x * (1.0 + sum * std::f64::consts::FRAC_2_SQRT_PI)
        }
        other => panic!("the twin has no {other:?}"),
    }
}

/// The last hidden states of one text.
pub fn hidden(spec: &ModelSpec, tensors: &Tensors, ids: &[u32]) -> Vec<Vec<f64>> {
    match &spec.architecture {
        Architecture::Qwen(config) => qwen(config, spec.attention == Attention::Causal, tensors, ids),
        Architecture::Bert(config) => bert(config, tensors, ids),
        other => panic!("the twin has no {other:?}"),
    }
}

/// The pooled vector of one text, not normalised.
pub fn embed(spec: &ModelSpec, tensors: &Tensors, ids: &[u32]) -> Vec<f64> {
    let hidden = hidden(spec, tensors, ids);
    let n = hidden.len() as f64;
    (0..hidden[0].len())
        .map(|c| {
            let column = || hidden.iter().map(|row| row[c]);
            match spec.pooling {
                Pooling::LastToken => hidden[hidden.len() - 1][c],
                Pooling::Cls | Pooling::None => hidden[0][c],
                Pooling::Mean => column().sum::<f64>() / n,
                Pooling::MeanSqrtLen => column().sum::<f64>() / n.sqrt(),
                Pooling::Max => column().fold(f64::NEG_INFINITY, f64::max),
                Pooling::WeightedMean => {
                    column().enumerate().map(|(i, x)| x * (i + 1) as f64).sum::<f64>() / (n * (n + 1.0) / 2.0)
                }
            }
        })
        .collect()
}
