//! A linear layer.

use std::collections::TryReserveError;
use std::fmt;

pub use crate::panels::Precision;

use crate::block::Layer;
use crate::isa::Isa;
use crate::panels::{COLUMNS, Panels};
use crate::schedule;

/// What happens to results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// They replace what the output holds.
    Replace,
    /// They are added to it: the residual connection of a transformer.
    Add,
}

/// A function of each result, computed while it is in a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// The result as it is.
    #[default]
    Identity,
    /// x · Φ(x), by the error function.
    Gelu,
    /// Its approximation by tanh.
    GeluTanh,
    /// max(x, 0)
    Relu,
    /// x · σ(x)
    Silu,
    /// tanh(x)
    Tanh,
    /// σ(x)
    Sigmoid,
}

/// A linear layer `y = x · Wᵀ + bias` whose weights are packed for the kernels.
pub struct Linear {
    panels: Panels,
    /// As the panels have their columns.
    bias: Option<Vec<[f32; COLUMNS]>>,
    isa: Isa,
}

impl Linear {
    /// A layer of `outputs × inputs` weights, all zero, for the best instructions of this CPU.
    ///
    /// # Errors
    /// The allocator's, if there is no memory for the weights.
    pub fn zeros(outputs: usize, inputs: usize, precision: Precision) -> Result<Self, TryReserveError> {
        Self::with_panels(Panels::zeros(outputs, inputs, precision, false)?)
    }

    /// A gated layer `y = silu(x · Gᵀ) · (x · Uᵀ)`, value by value, of `outputs` results: the first half of an
    /// MLP with SwiGLU (Shazeer, 2020). Its matrix has `2 · outputs` rows, those of `G` (gate) first.
    ///
    /// # Errors
    /// As [`Linear::zeros`].
    pub fn gated(outputs: usize, inputs: usize, precision: Precision) -> Result<Self, TryReserveError> {
        Self::with_panels(Panels::zeros(2 * outputs, inputs, precision, true)?)
    }

    fn with_panels(panels: Panels) -> Result<Self, TryReserveError> {
        Ok(Linear { panels, bias: None, isa: Isa::best() })
    }

    /// Sets all weights: `read(row, weights)` fills in the `inputs` weights of one row of the matrix. It is
    /// called once for each row (twice for int8), from the threads of the current rayon pool; the matrix is
    /// never held a second time.
    ///
    /// # Errors
    /// The first that `read` gives; the weights are then of no use.
    pub fn fill<E: Send>(&mut self, read: impl Fn(usize, &mut [f32]) -> Result<(), E> + Sync) -> Result<(), E> {
        self.panels.fill(read)
    }

    /// The same layer with a bias.
    ///
    /// # Panics
    /// If there is not one value for each row of the matrix.
    pub fn with_bias(self, bias: Vec<f32>) -> Self {
        let rows = self.panels.rows();
        assert!(bias.len() == rows, "a bias of {} values for {rows} outputs", bias.len());
        let value = |panel, column| self.panels.row(panel, column).map_or(0.0, |row| bias[row]);
        let panels = (0..self.panels.count()).map(|panel| std::array::from_fn(|column| value(panel, column)));
        let bias = Some(panels.collect());
        Linear { bias, ..self }
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

    /// Bytes held. The outputs are rounded up to a multiple of 32 (16, if gated).
    pub fn bytes(&self) -> usize {
        self.panels.bytes() + self.bias.as_ref().map_or(0, |bias| size_of_val(bias.as_slice()))
    }

    /// Applies the layer to `rows` rows of `x`; the work is shared among the threads of the current rayon
    /// pool. A row's result depends neither on the other rows nor on the number of threads.
    ///
    /// # Panics
    /// If `x` has not `rows · inputs` values or `out` not `rows · outputs`.
    pub fn forward(&self, x: &[f32], rows: usize, out: &mut [f32], output: Output) {
        self.run(x, rows, out, output, Activation::Identity);
    }

    /// As [`Linear::forward`], and then `activation` of each result, which replaces what `out` holds.
    ///
    /// # Panics
    /// As there; and if the layer is gated: it has a function of its own.
    pub fn forward_activated(&self, x: &[f32], rows: usize, out: &mut [f32], activation: Activation) {
        assert!(!self.panels.is_gated(), "a gated layer has an activation of its own");
        self.run(x, rows, out, Output::Replace, activation);
    }

    pub(crate) fn run(&self, x: &[f32], rows: usize, out: &mut [f32], output: Output, activation: Activation) {
        assert!(x.len() == rows * self.inputs(), "x has {} values, not {rows} × {}", x.len(), self.inputs());
        assert!(out.len() == rows * self.outputs(), "out has {} values, not {rows} × {}", out.len(), self.outputs());
        schedule::run(self.layer(activation), x, rows, out, output);
    }

    /// As the kernels need it.
    pub(crate) fn layer(&self, activation: Activation) -> Layer<'_> {
        Layer { panels: &self.panels, bias: self.bias.as_deref(), activation, isa: self.isa }
    }
}

impl fmt::Debug for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Linear")
            .field("outputs", &self.outputs())
            .field("inputs", &self.inputs())
            .field("precision", &self.precision())
            .field("gated", &self.panels.is_gated())
            .field("bias", &self.bias.is_some())
            .field("isa", &self.isa)
            .finish()
    }
}
