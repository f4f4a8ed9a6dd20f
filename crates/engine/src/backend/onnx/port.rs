//! An input or an output of a graph, as the session tells it.

use std::fmt;

use ort::value::{Outlet, TensorElementType, ValueType};

/// Name, element type and shape of an input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) name: String,
    /// `Undefined` for what is not a tensor.
    pub(super) element: TensorElementType,
    /// -1 where the graph leaves the size open. Empty for a scalar, and also where the graph does
    /// not tell the shape at all: ONNX Runtime does not distinguish the two.
    pub(super) dimensions: Vec<i64>,
}

impl Port {
    /// Reads what a session tells.
    pub(super) fn new(outlet: &Outlet) -> Self {
        let (element, dimensions) = match outlet.dtype() {
            ValueType::Tensor { ty, shape, .. } => (*ty, shape.to_vec()),
            _ => (TensorElementType::Undefined, Vec::new()),
        };
        Port { name: outlet.name().to_owned(), element, dimensions }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |size: &i64| if *size < 0 { "?".to_owned() } else { size.to_string() };
        let dimensions: Vec<_> = self.dimensions.iter().map(size).collect();
        write!(f, "{} {}[{}]", self.name, self.element, dimensions.join(", "))
    }
}
