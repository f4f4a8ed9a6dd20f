//! An ONNX graph in the making: nodes, constants, and weights that stay where they are.
//!
//! Field numbers are those of `onnx.proto` (IR version 8, the first with opset 17, whose
//! `LayerNormalization` is what sets the lower bound).

use std::collections::HashMap;

use safetensors::Dtype as Stored;

use super::files::Files;
use super::proto::Message;
use crate::backend::weights::Weight;
use crate::error::Result;

const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;
/// The domain of ONNX Runtime's own operators.
pub(super) const CONTRIB: &str = "com.microsoft";

/// A `TensorProto.DataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32 = 1,
    I32 = 6,
    I64 = 7,
    Bool = 9,
    F16 = 10,
    Bf16 = 16,
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Element::I64 => 8,
            Element::F32 | Element::I32 => 4,
            Element::F16 | Element::Bf16 => 2,
            Element::Bool => 1,
        }
    }
}

/// An attribute of a node.
#[derive(Debug, Clone, Copy)]
pub(super) enum Attribute<'a> {
    Int(&'a str, i64),
    Float(&'a str, f32),
    Ints(&'a str, &'a [i64]),
}

/// What a node computes, by name.
pub(super) type Value = String;

/// A graph in the making.
pub(super) struct Graph<'f> {
    nodes: Message,
    initializers: Message,
    inputs: Message,
    outputs: Message,
    /// Constants and shapes that are there already, by what they are.
    known: HashMap<Vec<u8>, Value>,
    /// Weights that are there already, by name and type.
    weights: HashMap<(String, i64), Value>,
    names: usize,
    files: &'f Files,
    /// Bytes of the weights in the types in which they are used.
    pub(super) weight_bytes: u64,
}

impl<'f> Graph<'f> {
    /// An empty graph over the weights in `files`.
    pub(super) fn new(files: &'f Files) -> Self {
        Graph {
            nodes: Message::default(),
            initializers: Message::default(),
            inputs: Message::default(),
            outputs: Message::default(),
            known: HashMap::new(),
            weights: HashMap::new(),
            names: 0,
            files,
            weight_bytes: 0,
        }
    }

    /// Adds a node of ONNX's own operators with one output.
    pub(super) fn node(&mut self, operator: &str, inputs: &[&str], attributes: &[Attribute<'_>]) -> Value {
        let mut outputs = self.outputs_of("", operator, inputs, attributes, 1);
        outputs.pop().unwrap_or_default()
    }

    /// Adds a node of `domain` with any number of outputs. An empty input is one that is left out.
    pub(super) fn outputs_of(
        &mut self,
        domain: &str,
        operator: &str,
        inputs: &[&str],
        attributes: &[Attribute<'_>],
        outputs: usize,
    ) -> Vec<Value> {
        let outputs: Vec<Value> = (0..outputs).map(|_| self.fresh(operator)).collect();
        let name = outputs.first().cloned().unwrap_or_default();
        self.nodes.message(1, |node| {
            inputs.iter().for_each(|input| _ = node.bytes(1, input.as_bytes()));
            outputs.iter().for_each(|output| _ = node.bytes(2, output.as_bytes()));
            node.bytes(3, name.as_bytes()).bytes(4, operator.as_bytes());
            attributes.iter().for_each(|attribute| _ = node.message(5, |message| write_attribute(message, attribute)));
            if !domain.is_empty() {
                node.bytes(7, domain.as_bytes());
            }
        });
        outputs
    }

    /// Adds the choice between two ways to compute an f32 value. The ways must not use
    /// [`Graph::once`] for anything new: what they compute is known to them alone.
    pub(super) fn choose(
        &mut self,
        condition: &str,
        then: impl FnOnce(&mut Self) -> Value,
        otherwise: impl FnOnce(&mut Self) -> Value,
    ) -> Value {
        let outside = std::mem::take(&mut self.nodes);
        let result = then(self);
        let then = self.take_branch(&result);
        let result = otherwise(self);
        let otherwise = self.take_branch(&result);
        self.nodes = outside;
        let output = self.fresh("If");
        self.nodes.message(1, |node| {
            node.bytes(1, condition.as_bytes()).bytes(2, output.as_bytes()).bytes(3, output.as_bytes()).bytes(4, b"If");
            for (name, branch) in [("then_branch", then), ("else_branch", otherwise)] {
                // GRAPH
                node.message(5, |attribute| _ = attribute.bytes(1, name.as_bytes()).bytes(6, &branch).number(20, 5));
            }
        });
        output
    }

    /// The nodes so far as a graph that gives `result`.
    fn take_branch(&mut self, result: &str) -> Vec<u8> {
        let mut branch = std::mem::take(&mut self.nodes);
        branch.bytes(2, result.as_bytes()).message(12, |port| {
            port.bytes(1, result.as_bytes());
            port.message(2, |kind| _ = kind.message(1, |tensor| _ = tensor.number(1, Element::F32 as i64)));
        });
        branch.finish()
    }

    /// Casts a value.
    pub(super) fn cast(&mut self, value: &str, to: Element) -> Value {
        self.node("Cast", &[value], &[Attribute::Int("to", to as i64)])
    }

    /// A list of integers.
    pub(super) fn integers(&mut self, values: &[i64]) -> Value {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(Element::I64, &[values.len()], &bytes)
    }

    /// One integer, as a scalar.
    pub(super) fn integer(&mut self, value: i64) -> Value {
        self.constant(Element::I64, &[], &value.to_le_bytes())
    }

    /// One f32, as a scalar.
    pub(super) fn float(&mut self, value: f32) -> Value {
        self.constant(Element::F32, &[], &value.to_le_bytes())
    }

    /// A tensor that the graph holds itself.
    pub(super) fn constant(&mut self, element: Element, shape: &[usize], bytes: &[u8]) -> Value {
        let mut tensor = Message::default();
        shape.iter().for_each(|&size| _ = tensor.number(1, size as i64));
        tensor.number(2, element as i64).bytes(9, bytes);
        let key = tensor.clone().finish();
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let name = self.fresh("constant");
        tensor.bytes(8, name.as_bytes());
        self.initializers.bytes(5, &tensor.finish());
        self.known.insert(key, name.clone());
        name
    }

    /// A weight as `element`: where it is stored in another type, ONNX Runtime converts it once, while
    /// it loads the graph.
    ///
    /// # Errors
    /// `BAD_CHECKPOINT` for NaN or infinity, `MODEL_UNSUPPORTED` for a type that is not a float,
    /// `INVALID_OPTION` for values that f16 cannot hold.
    pub(super) fn weight(&mut self, weight: &Weight, element: Element) -> Result<Value> {
        self.tensor(weight, element, weight.shape(), true)
    }

    /// A weight as it is stored.
    ///
    /// # Errors
    /// As [`Graph::weight`].
    pub(super) fn stored_weight(&mut self, weight: &Weight) -> Result<Value> {
        self.tensor(weight, stored(weight), weight.shape(), true)
    }

    /// The first row of a weight, as f32 and `[columns]`.
    ///
    /// # Errors
    /// As [`Graph::weight`].
    pub(super) fn first_row(&mut self, weight: &Weight) -> Result<Value> {
        let columns = weight.shape().last().copied().unwrap_or(0);
        self.tensor(weight, Element::F32, &[columns], false)
    }

    fn tensor(&mut self, weight: &Weight, element: Element, shape: &[usize], whole: bool) -> Result<Value> {
        let key = (format!("{}{}", weight.name(), if whole { "" } else { ".first_row" }), element as i64);
        if let Some(known) = self.weights.get(&key) {
            return Ok(known.clone());
        }
        weight.check_finite()?;
        let source = stored(weight);
        if element == Element::F16 && source != element {
            weight.append_f16(&mut Vec::new())?;
        }
        let count: usize = shape.iter().product();
        let (file, bytes) = weight.place();
        let location = self.files.location(file);
        self.initializers.message(5, |tensor| {
            shape.iter().for_each(|&size| _ = tensor.number(1, size as i64));
            tensor.number(2, source as i64).bytes(8, key.0.as_bytes());
            let length = count * source.bytes();
            let entries = [("location", location), ("offset", bytes.start.to_string()), ("length", length.to_string())];
            for (key, value) in &entries {
                tensor.message(13, |entry| _ = entry.bytes(1, key.as_bytes()).bytes(2, value.as_bytes()));
            }
            // EXTERNAL
            tensor.number(14, 1);
        });
        self.weight_bytes += (count * element.bytes()) as u64;
        let value = if source == element { key.0.clone() } else { self.cast(&key.0, element) };
        self.weights.insert(key, value.clone());
        Ok(value)
    }

    /// A matrix that a run gives, `[batch, sequence]`.
    pub(super) fn input(&mut self, name: &str) {
        write_port(&mut self.inputs, 11, name, Element::I64, None);
    }

    /// What a run computes: `value` as `name`, f32, `[batch, sequence, width]`.
    pub(super) fn output(&mut self, name: &str, value: &str, width: usize) {
        self.nodes.message(1, |node| {
            node.bytes(1, value.as_bytes()).bytes(2, name.as_bytes()).bytes(4, b"Identity");
        });
        write_port(&mut self.outputs, 12, name, Element::F32, Some(width));
    }

    /// The graph as an ONNX file.
    pub(super) fn finish(self) -> Vec<u8> {
        let mut model = Message::default();
        model.number(1, IR_VERSION).bytes(2, b"embedding-engine");
        for (domain, version) in [("", OPSET), (CONTRIB, 1)] {
            model.message(8, |opset| _ = opset.bytes(1, domain.as_bytes()).number(2, version));
        }
        let mut graph = self.nodes;
        graph.bytes(2, b"encoder").append(&self.initializers).append(&self.inputs).append(&self.outputs);
        model.bytes(7, &graph.finish());
        model.finish()
    }

    /// A value that is computed once and used by all layers.
    pub(super) fn once(&mut self, key: &str, compute: impl FnOnce(&mut Self) -> Value) -> Value {
        if let Some(known) = self.known.get(key.as_bytes()) {
            return known.clone();
        }
        let value = compute(self);
        self.known.insert(key.as_bytes().to_vec(), value.clone());
        value
    }

    fn fresh(&mut self, what: &str) -> Value {
        self.names += 1;
        format!("{what}_{}", self.names)
    }
}

/// The type in which a weight is stored. Other types than these are refused before it matters.
fn stored(weight: &Weight) -> Element {
    match weight.dtype() {
        Stored::F16 => Element::F16,
        Stored::BF16 => Element::Bf16,
        _ => Element::F32,
    }
}

fn write_attribute(message: &mut Message, attribute: &Attribute<'_>) {
    match *attribute {
        Attribute::Float(name, value) => _ = message.bytes(1, name.as_bytes()).float(2, value).number(20, 1),
        Attribute::Int(name, value) => _ = message.bytes(1, name.as_bytes()).number(3, value).number(20, 2),
        Attribute::Ints(name, values) => {
            message.bytes(1, name.as_bytes());
            values.iter().for_each(|&value| _ = message.number(8, value));
            message.number(20, 7);
        }
    }
}

fn write_port(ports: &mut Message, field: u32, name: &str, element: Element, width: Option<usize>) {
    ports.message(field, |port| {
        port.bytes(1, name.as_bytes()).message(2, |kind| {
            kind.message(1, |tensor| {
                tensor.number(1, element as i64).message(2, |shape| {
                    for free in ["batch", "sequence"] {
                        shape.message(1, |size| _ = size.bytes(2, free.as_bytes()));
                    }
                    if let Some(width) = width {
                        shape.message(1, |size| _ = size.number(1, width as i64));
                    }
                });
            });
        });
    });
}
