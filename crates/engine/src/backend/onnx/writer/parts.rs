//! The parts that the families share. Rows are `[batch × sequence, width]` in f32; products may be of
//! another type.

use super::graph::{Attribute, Element, Graph, Value};
use super::{Operators, Precision};
use crate::backend::weights::Weight;
use crate::error::Result;
use crate::model::Activation;

/// A graph with what all of its parts need to know.
pub(super) struct Encoder<'f> {
    pub(super) graph: Graph<'f>,
    pub(super) operators: Operators,
    pub(super) precision: Precision,
}

impl Encoder<'_> {
    /// Declares the inputs. Their names are those that exporters use.
    pub(super) fn declare_inputs(&mut self) {
        self.graph.input(super::IDS);
        self.graph.input(super::MASK);
    }

    /// `[batch, sequence]`, as a list, followed by `more`.
    pub(super) fn shape(&mut self, more: &[i64]) -> Value {
        let shape = self.graph.once("shape", |graph| graph.node("Shape", &[super::IDS], &[]));
        self.graph.once(&format!("shape {more:?}"), |graph| {
            let more = graph.integers(more);
            graph.node("Concat", &[&shape, &more], &[Attribute::Int("axis", 0)])
        })
    }

    /// The number of tokens of a row of the rectangle, as a list of one.
    pub(super) fn tokens(&mut self) -> Value {
        let shape = self.graph.once("shape", |graph| graph.node("Shape", &[super::IDS], &[]));
        self.graph.once("tokens", |graph| {
            let one = graph.integers(&[1]);
            graph.node("Gather", &[&shape, &one], &[Attribute::Int("axis", 0)])
        })
    }

    /// 0, 1, 2 … for the tokens of a row of the rectangle.
    pub(super) fn range(&mut self) -> Value {
        let tokens = self.tokens();
        self.graph.once("range", |graph| {
            let (zero, one, first) = (graph.integer(0), graph.integer(1), graph.integers(&[0]));
            let end = graph.node("Squeeze", &[&tokens, &first], &[]);
            graph.node("Range", &[&zero, &end, &one], &[])
        })
    }

    /// As `[-1, width]`.
    pub(super) fn flat(&mut self, x: &str, width: usize) -> Value {
        let shape = self.graph.integers(&[-1, width as i64]);
        self.graph.node("Reshape", &[x, &shape], &[])
    }

    /// The rows of `table` at `indices`, in f32.
    pub(super) fn gather(&mut self, table: &Weight, indices: &str) -> Result<Value> {
        let stored = self.graph.stored_weight(table)?;
        let rows = self.graph.node("Gather", &[&stored, indices], &[Attribute::Int("axis", 0)]);
        Ok(self.graph.cast(&rows, Element::F32))
    }

    /// `x · weightᵀ + bias`; the weight is `[out, in]` as it stands in the file.
    pub(super) fn linear(&mut self, x: &str, weight: &Weight, bias: Option<&Weight>) -> Result<Value> {
        let element = self.precision.element();
        let transposed = [Attribute::Int("transB", 1)];
        let matrix = self.graph.weight(weight, element)?;
        let bias = bias.map(|bias| self.graph.weight(bias, Element::F32)).transpose()?;
        if element == Element::F32 {
            let inputs = [x, matrix.as_str()].into_iter().chain(bias.as_deref());
            return Ok(self.graph.node("Gemm", &inputs.collect::<Vec<_>>(), &transposed));
        }
        let x = self.graph.cast(x, element);
        let product = self.graph.node("Gemm", &[&x, &matrix], &transposed);
        let product = self.graph.cast(&product, Element::F32);
        Ok(match bias {
            Some(bias) => self.graph.node("Add", &[&product, &bias], &[]),
            None => product,
        })
    }

    /// RMS norm over the last axis.
    pub(super) fn rms_norm(&mut self, x: &str, weight: &Weight, epsilon: f64) -> Result<Value> {
        let weight = self.graph.weight(weight, Element::F32)?;
        let graph = &mut self.graph;
        if self.operators == Operators::OnnxRuntime {
            let attributes = [
                Attribute::Int("axis", -1),
                Attribute::Float("epsilon", epsilon as f32),
                Attribute::Int("stash_type", 1),
            ];
            return Ok(graph.node("SimplifiedLayerNormalization", &[x, &weight], &attributes));
        }
        let (two, epsilon) = (graph.float(2.0), graph.float(epsilon as f32));
        let squares = graph.node("Pow", &[x, &two], &[]);
        let mean =
            graph.node("ReduceMean", &[&squares], &[Attribute::Ints("axes", &[-1]), Attribute::Int("keepdims", 1)]);
        let mean = graph.node("Add", &[&mean, &epsilon], &[]);
        let root = graph.node("Sqrt", &[&mean], &[]);
        let scaled = graph.node("Div", &[x, &root], &[]);
        Ok(graph.node("Mul", &[&scaled, &weight], &[]))
    }

    /// Layer norm over the last axis.
    pub(super) fn layer_norm(&mut self, x: &str, [weight, bias]: &[Weight; 2], epsilon: f64) -> Result<Value> {
        let weight = self.graph.weight(weight, Element::F32)?;
        let bias = self.graph.weight(bias, Element::F32)?;
        let attributes = [Attribute::Int("axis", -1), Attribute::Float("epsilon", epsilon as f32)];
        Ok(self.graph.node("LayerNormalization", &[x, &weight, &bias], &attributes))
    }

    /// `x + y`.
    pub(super) fn add(&mut self, x: &str, y: &str) -> Value {
        self.graph.node("Add", &[x, y], &[])
    }

    /// Applies an activation. GELU is written out: it became an operator only in opset 20.
    pub(super) fn activate(&mut self, x: &str, activation: Activation) -> Value {
        let graph = &mut self.graph;
        let operator = match activation {
            Activation::Identity => return x.to_owned(),
            Activation::Relu => "Relu",
            Activation::Tanh => "Tanh",
            Activation::Sigmoid => "Sigmoid",
            Activation::Silu => {
                let sigmoid = graph.node("Sigmoid", &[x], &[]);
                return graph.node("Mul", &[x, &sigmoid], &[]);
            }
            Activation::Gelu => {
                // x / 2 · (1 + erf(x / √2))
                let (root, one, half) = (graph.float(std::f32::consts::SQRT_2), graph.float(1.0), graph.float(0.5));
                let scaled = graph.node("Div", &[x, &root], &[]);
                let erf = graph.node("Erf", &[&scaled], &[]);
                let sum = graph.node("Add", &[&erf, &one], &[]);
                let product = graph.node("Mul", &[x, &sum], &[]);
                return graph.node("Mul", &[&product, &half], &[]);
            }
            Activation::GeluTanh => {
                // x / 2 · (1 + tanh(√(2 / π) · (x + 0.044715 · x³))), Hendrycks and Gimpel, 2016
                let (three, cubic) = (graph.float(3.0), graph.float(0.044_715));
                let scale = graph.float((2.0 / std::f64::consts::PI).sqrt() as f32);
                let (one, half) = (graph.float(1.0), graph.float(0.5));
                let cube = graph.node("Pow", &[x, &three], &[]);
                let cube = graph.node("Mul", &[&cube, &cubic], &[]);
                let sum = graph.node("Add", &[x, &cube], &[]);
                let inner = graph.node("Mul", &[&sum, &scale], &[]);
                let tanh = graph.node("Tanh", &[&inner], &[]);
                let sum = graph.node("Add", &[&tanh, &one], &[]);
                let product = graph.node("Mul", &[x, &sum], &[]);
                return graph.node("Mul", &[&product, &half], &[]);
            }
        };
        graph.node(operator, &[x], &[])
    }
}
