//! Attention: in one operator of ONNX Runtime where it has one, else in plain operators.
//!
//! | | plain | operators of ONNX Runtime |
//! |---|---|---|
//! | runs | under every provider | on the CPU |
//! | memory | scores of one layer, `batch × heads × sequence²` | grows with the tokens |
//! | head width | any | a multiple of 16 |
//! | window without causal mask | yes | no |
//!
//! Of those operators (docs/ContribOperators.md of ONNX Runtime), `GroupQueryAttention` knows the lengths
//! of the texts and needs little memory with a causal mask only; `MultiHeadAttention` needs little memory
//! where there is no padding. Without a causal mask both are there: a text that is longer than the budget
//! of a run is alone in its rectangle, so that the scores of all others are bounded by the budget.

use super::Operators;
use super::graph::{Attribute, CONTRIB, Element, Graph, Value};
use super::parts::Encoder;
use crate::backend::weights::Weight;
use crate::error::Result;

/// What is added to the score of a key that a query does not see: the softmax is then 0. Every query sees
/// itself, so that no row is hidden throughout.
const HIDDEN: f32 = -1e9;

/// What the rotary embedding needs: cosines and sines, `[positions, head_dim / 2]`.
#[derive(Debug, Clone)]
pub(super) struct Rotary {
    pub(super) cos: Value,
    pub(super) sin: Value,
}

/// Attention of one layer.
#[derive(Debug, Clone)]
pub(super) struct Attention {
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) causal: bool,
    /// As [`crate::model::QwenConfig::windows`] counts.
    pub(super) window: Option<usize>,
    /// RMS norms of each head of q and of k, and their epsilon.
    pub(super) norms: Option<([Weight; 2], f64)>,
    pub(super) rotary: Option<Rotary>,
}

impl Attention {
    /// Whether ONNX Runtime's operators can do it.
    fn fits_operators(&self) -> bool {
        let window = self.window.is_none_or(|window| self.causal && i32::try_from(window).is_ok());
        self.head_dim.is_multiple_of(16) && window
    }
}

/// The lengths of the texts of a run.
#[derive(Debug, Clone)]
struct Lengths {
    /// The index of the last token of each text.
    last: Value,
    /// The tokens of the longest.
    longest: Value,
    /// Whether all are equally long.
    no_padding: Value,
}

/// `GroupQueryAttention` over `[batch, sequence, heads × head_dim]`.
fn group_query(graph: &mut Graph<'_>, [q, k, v]: [&str; 3], lengths: &Lengths, shape: &Attention) -> Value {
    let mut inputs = vec![q, k, v, "", "", &lengths.last, &lengths.longest];
    let mut attributes = vec![
        Attribute::Int("num_heads", shape.heads as i64),
        Attribute::Int("kv_num_heads", shape.kv_heads as i64),
        Attribute::Int("causal", i64::from(shape.causal)),
    ];
    if let Some(rotary) = &shape.rotary {
        inputs.extend([rotary.cos.as_str(), &rotary.sin]);
        attributes.push(Attribute::Int("do_rotary", 1));
    }
    if let Some(window) = shape.window {
        attributes.push(Attribute::Int("local_window_size", window as i64));
    }
    // The other outputs are the cache of keys and values, which an encoder has no use for.
    let outputs = graph.outputs_of(CONTRIB, "GroupQueryAttention", &inputs, &attributes, 3);
    outputs.into_iter().next().unwrap_or_default()
}

impl Encoder<'_> {
    /// Attention over projected rows; gives `[batch × sequence, heads × head_dim]`.
    ///
    /// # Errors
    /// As [`super::graph::Graph::weight`].
    pub(super) fn attention(&mut self, [q, k, v]: [&str; 3], shape: &Attention) -> Result<Value> {
        let (mut q, mut k) = (q.to_owned(), k.to_owned());
        if let Some(([q_norm, k_norm], epsilon)) = &shape.norms {
            q = self.norm_heads(&q, shape.heads * shape.head_dim, q_norm, *epsilon)?;
            k = self.norm_heads(&k, shape.kv_heads * shape.head_dim, k_norm, *epsilon)?;
        }
        let plain = self.operators == Operators::Plain || !shape.fits_operators();
        Ok(if plain { self.plain([&q, &k, v], shape) } else { self.fused([&q, &k, v], shape) })
    }

    fn norm_heads(&mut self, x: &str, width: usize, weight: &Weight, epsilon: f64) -> Result<Value> {
        let heads = self.flat(x, weight.len());
        let normed = self.rms_norm(&heads, weight, epsilon)?;
        Ok(self.flat(&normed, width))
    }

    fn fused(&mut self, [q, k, v]: [&str; 3], shape: &Attention) -> Value {
        let (heads, kv_heads, dim) = (shape.heads as i64, shape.kv_heads as i64, shape.head_dim as i64);
        let (q_shape, kv_shape) = (self.shape(&[heads * dim]), self.shape(&[kv_heads * dim]));
        let lengths = self.lengths();
        let [q, k, v] = [(q, &q_shape), (k, &kv_shape), (v, &kv_shape)]
            .map(|(x, shape)| self.graph.node("Reshape", &[x, shape], &[]));
        let rows = if shape.causal {
            group_query(&mut self.graph, [&q, &k, &v], &lengths, shape)
        } else {
            let [q, k] = [(q, heads, &q_shape), (k, kv_heads, &kv_shape)].map(|(x, heads, rows)| {
                let Some(rotary) = &shape.rotary else { return x };
                let split = self.shape(&[heads, dim]);
                let x = self.graph.node("Reshape", &[&x, &split], &[]);
                let x = self.rotate(&x, rotary);
                self.graph.node("Reshape", &[&x, rows], &[])
            });
            let group = heads / kv_heads;
            let (one_each, every_head) = (self.shape(&[kv_heads, 1, dim]), self.shape(&[kv_heads, group, dim]));
            let shape = Attention { rotary: None, ..shape.clone() };
            self.graph.choose(
                &lengths.no_padding,
                |graph| {
                    let [k, v] = [&k, &v].map(|x| {
                        if group == 1 {
                            return x.clone();
                        }
                        let x = graph.node("Reshape", &[x, &one_each], &[]);
                        let x = graph.node("Expand", &[&x, &every_head], &[]);
                        graph.node("Reshape", &[&x, &q_shape], &[])
                    });
                    let heads = [Attribute::Int("num_heads", heads)];
                    let outputs = graph.outputs_of(CONTRIB, "MultiHeadAttention", &[&q, &k, &v], &heads, 1);
                    outputs.into_iter().next().unwrap_or_default()
                },
                |graph| group_query(graph, [&q, &k, &v], &lengths, &shape),
            )
        };
        self.flat(&rows, shape.heads * shape.head_dim)
    }

    /// What ONNX Runtime's operators want to know of the lengths of the texts.
    fn lengths(&mut self) -> Lengths {
        let tokens = self.tokens();
        let graph = &mut self.graph;
        let last = graph.once("last", |graph| {
            let (axis, one) = (graph.integers(&[1]), graph.integer(1));
            let count = graph.node("ReduceSum", &[super::MASK, &axis], &[Attribute::Int("keepdims", 0)]);
            let last = graph.node("Sub", &[&count, &one], &[]);
            graph.cast(&last, Element::I32)
        });
        let longest = graph.once("longest", |graph| {
            let axis = graph.integers(&[0]);
            let longest = graph.node("Squeeze", &[&tokens, &axis], &[]);
            graph.cast(&longest, Element::I32)
        });
        let no_padding = graph.once("no padding", |graph| {
            let least = graph.node("ReduceMin", &[super::MASK], &[Attribute::Int("keepdims", 0)]);
            graph.cast(&least, Element::Bool)
        });
        Lengths { last, longest, no_padding }
    }

    fn plain(&mut self, [q, k, v]: [&str; 3], shape: &Attention) -> Value {
        let (heads, kv_heads, dim) = (shape.heads as i64, shape.kv_heads as i64, shape.head_dim as i64);
        let element = self.precision.element();
        let mask = self.mask(shape);
        let scale = self.graph.float((1.0 / (shape.head_dim as f64).sqrt()) as f32);
        let [q, k, v] = [(q, heads, true), (k, kv_heads, true), (v, kv_heads, false)].map(|(x, heads, turns)| {
            let split = self.shape(&[heads, dim]);
            let x = self.graph.node("Reshape", &[x, &split], &[]);
            match &shape.rotary {
                Some(rotary) if turns => self.rotate(&x, rotary),
                _ => x,
            }
        });
        let graph = &mut self.graph;
        let q = graph.node("Mul", &[&q, &scale], &[]);
        let by_head = [Attribute::Ints("perm", &[0, 2, 1, 3])];
        let q = graph.node("Transpose", &[&q], &by_head);
        // The head's width before the tokens: what the product of scores needs.
        let k = graph.node("Transpose", &[&k], &[Attribute::Ints("perm", &[0, 2, 3, 1])]);
        let v = graph.node("Transpose", &[&v], &by_head);
        let [mut q, k, v] = [q, k, v].map(|x| if element == Element::F32 { x } else { graph.cast(&x, element) });
        // Heads that share keys and values are stacked as rows, so that k and v are not copied.
        let shared = heads != kv_heads;
        if shared {
            let stacked = graph.integers(&[0, kv_heads, -1, dim]);
            q = graph.node("Reshape", &[&q, &stacked], &[]);
        }
        let mut scores = graph.node("MatMul", &[&q, &k], &[]);
        if element != Element::F32 {
            scores = graph.cast(&scores, Element::F32);
        }
        if shared {
            let apart = graph.integers(&[0, heads, -1, 0]);
            scores = graph.node("Reshape", &[&scores, &apart], &[]);
        }
        let scores = graph.node("Add", &[&scores, &mask], &[]);
        let mut weights = graph.node("Softmax", &[&scores], &[Attribute::Int("axis", -1)]);
        if element != Element::F32 {
            weights = graph.cast(&weights, element);
        }
        if shared {
            let stacked = graph.integers(&[0, kv_heads, -1, 0]);
            weights = graph.node("Reshape", &[&weights, &stacked], &[]);
        }
        let mut rows = graph.node("MatMul", &[&weights, &v], &[]);
        if element != Element::F32 {
            rows = graph.cast(&rows, Element::F32);
        }
        if shared {
            let apart = graph.integers(&[0, heads, -1, dim]);
            rows = graph.node("Reshape", &[&rows, &apart], &[]);
        }
        let rows = graph.node("Transpose", &[&rows], &by_head);
        self.flat(&rows, shape.heads * shape.head_dim)
    }

    /// Turns the pairs `(i, i + head_dim / 2)` of `[batch, sequence, heads, head_dim]`.
    fn rotate(&mut self, x: &str, rotary: &Rotary) -> Value {
        let tokens = self.tokens();
        let graph = &mut self.graph;
        let [cos, sin] = [("cos", &rotary.cos), ("sin", &rotary.sin)].map(|(name, table)| {
            graph.once(name, |graph| {
                let (zero, axes) = (graph.integers(&[0]), graph.integers(&[0, 2]));
                let rows = graph.node("Slice", &[table, &zero, &tokens, &zero], &[]);
                graph.node("Unsqueeze", &[&rows, &axes], &[])
            })
        });
        let halves = graph.outputs_of("", "Split", &[x], &[Attribute::Int("axis", -1)], 2);
        let (first, second) = (&halves[0], &halves[1]);
        let a = graph.node("Mul", &[first, &cos], &[]);
        let b = graph.node("Mul", &[second, &sin], &[]);
        let turned_first = graph.node("Sub", &[&a, &b], &[]);
        let a = graph.node("Mul", &[second, &cos], &[]);
        let b = graph.node("Mul", &[first, &sin], &[]);
        let turned_second = graph.node("Add", &[&a, &b], &[]);
        graph.node("Concat", &[&turned_first, &turned_second], &[Attribute::Int("axis", -1)])
    }

    /// What is added to the scores, `[batch, 1, sequence, sequence]`: 0 or [`HIDDEN`].
    fn mask(&mut self, shape: &Attention) -> Value {
        let range = self.range();
        self.graph.once(&format!("mask {} {:?}", shape.causal, shape.window), |graph| {
            let (first, second, middle) = (graph.integers(&[0]), graph.integers(&[1]), graph.integers(&[1, 2]));
            let there = graph.cast(super::MASK, Element::Bool);
            let mut seen = graph.node("Unsqueeze", &[&there, &middle], &[]);
            // How far a key lies before its query.
            let queries = graph.node("Unsqueeze", &[&range, &second], &[]);
            let keys = graph.node("Unsqueeze", &[&range, &first], &[]);
            let back = graph.node("Sub", &[&queries, &keys], &[]);
            let mut bounds = Vec::new();
            if shape.causal {
                bounds.push(("GreaterOrEqual", 0));
            }
            if let Some(window) = shape.window.and_then(|window| i64::try_from(window).ok()) {
                match shape.causal {
                    true => bounds.push(("Less", window)),
                    false => bounds.extend([("LessOrEqual", window), ("GreaterOrEqual", -window)]),
                }
            }
            for (comparison, bound) in bounds {
                let bound = graph.integer(bound);
                let within = graph.node(comparison, &[&back, &bound], &[]);
                seen = graph.node("And", &[&seen, &within], &[]);
            }
            if shape.window.is_some() {
                // Padding may see nothing but itself, and a row of nothing would be NaN.
                let zero = graph.integer(0);
                let itself = graph.node("Equal", &[&back, &zero], &[]);
                seen = graph.node("Or", &[&seen, &itself], &[]);
            }
            let (zero, hidden) = (graph.float(0.0), graph.float(HIDDEN));
            graph.node("Where", &[&seen, &zero, &hidden], &[])
        })
    }
}
