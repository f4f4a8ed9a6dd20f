//! A linear layer.

use std::collections::TryReserveError;
use std::fmt;

pub use crate::panels::Precision;

use crate::isa::Isa;
use crate::panels::Panels;
use crate::schedule;

/// What happens to results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// They replace what the output holds.
    Replace,
    /// They are added to it: the residual connection of a transformer.
    Add,
}

/// A linear layer `y = x · Wᵀ + bias` whose weights are packed for the kernels.
pub struct Linear {
    panels: Panels,
    bias: Option<Vec<f32>>,
    isa: Isa,
}

impl Linear {
    /// A layer of `outputs × inputs` weights, all zero, for the best instructions of this CPU.
    ///
    /// # Errors
    /// The allocator's, if there is no memory for the weights.
    pub fn zeros(outputs: usize, inputs: usize, precision: Precision) -> Result<Self, TryReserveError> {
        Ok(Linear { panels: Panels::zeros(outputs, inputs, precision)?, bias: None, isa: Isa::best() })
    }

    /// Sets all weights: `read(output, row)` fills `row` with the `inputs` weights of one output. It is
    /// called once for each output, from the threads of the current rayon pool; the matrix is never
    /// held a second time.
    ///
    /// # Errors
    /// The first that `read` gives; the weights are then of no use.
    pub fn fill<E: Send>(&mut self, read: impl Fn(usize, &mut [f32]) -> Result<(), E> + Sync) -> Result<(), E> {
        self.panels.fill(read)
    }

    /// The same layer with a bias.
    ///
    /// # Panics
    /// If there is not one value for each output.
    pub fn with_bias(self, bias: Vec<f32>) -> Self {
        assert!(bias.len() == self.outputs(), "a bias of {} values for {} outputs", bias.len(), self.outputs());
        Linear { bias: Some(bias), ..self }
    }

    /// The same layer on other instructions than the best: for tests and measurements.
    pub fn with_isa(self, isa: Isa) -> Self {
        Linear { isa, ..self }
    }

    /// The instructions that it runs on.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Width of the output.
    pub fn outputs(&self) -> usize {
        self.panels.outputs()
    }

    /// Width of the input.
    pub fn inputs(&self) -> usize {
        self.panels.inputs()
    }

    /// How the weights are held.
    pub fn precision(&self) -> Precision {
        self.panels.precision()
    }

    /// Bytes held. The outputs are rounded up to a multiple of 32.
    pub fn bytes(&self) -> usize {
        self.panels.bytes() + self.bias.as_ref().map_or(0, |bias| size_of_val(bias.as_slice()))
    }

    /// Applies the layer to `rows` rows of `x`; the work is shared among the threads of the current rayon
    /// pool. A row's result depends neither on the other rows nor on the number of threads.
    ///
    /// # Panics
    /// If `x` has not `rows · inputs` values or `out` not `rows · outputs`.
    pub fn forward(&self, x: &[f32], rows: usize, out: &mut [f32], output: Output) {
        assert!(x.len() == rows * self.inputs(), "x has {} values, not {rows} × {}", x.len(), self.inputs());
        assert!(out.len() == rows * self.outputs(), "out has {} values, not {rows} × {}", out.len(), self.outputs());
        schedule::run(&self.panels, self.bias.as_deref(), self.isa, x, rows, out, output);
    }
}

impl fmt::Debug for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Linear")
            .field("outputs", &self.outputs())
            .field("inputs", &self.inputs())
            .field("precision", &self.precision())
            .field("bias", &self.bias.is_some())
            .field("isa", &self.isa)
            .finish()
    }
}
