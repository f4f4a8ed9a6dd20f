//! The MLP of a layer.

use embedding_engine_kernels::{Activation as KernelActivation, Mlp};

use super::buffers::Buffers;
use super::elementwise;
use super::linear::{Layer, Linear, kernel_activation};
use super::parts::tiles;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::model::Activation;

/// What is between the two layers of an MLP.
#[derive(Debug, Clone, Copy)]
pub(super) enum Between {
    /// `silu(gate) · up`; the first layer was loaded as gated.
    Gate,
    /// A function of each value.
    Of(Activation),
}

/// The two layers, and what they run with.
pub(super) struct MlpAdd<'a> {
    pub(super) first: &'a Linear,
    pub(super) between: Between,
    pub(super) second: &'a Linear,
    pub(super) buffers: &'a Buffers,
    pub(super) cancel: &'a Cancel,
}

impl MlpAdd<'_> {
    /// `into += second(between(first(x)))`; without an `x`, what `into` holds is the input as well. The inner width is
    /// never held for all rows at once.
    ///
    /// # Errors
    /// `ABORTED` once cancelled; `OUT_OF_MEMORY`.
    pub(super) fn run(&self, x: Option<&[f32]>, into: &mut [f32]) -> Result<()> {
        let (Layer::Packed(first), Layer::Packed(second)) = (&self.first.0, &self.second.0) else {
            return self.in_tiles(x, into);
        };
        let activation = match self.between {
            Between::Gate => KernelActivation::Identity,
            Between::Of(activation) => kernel_activation(activation),
        };
        let mlp = Mlp { first, activation, second };
        let rows = into.len() / second.outputs();
        let mut inner = self.buffers.take(mlp.inner(rows))?;
        match mlp.forward(x, rows, into, &mut inner, &|| self.cancel.is_cancelled()) {
            true => Ok(()),
            false => self.cancel.check().and(Err(Error::internal("an MLP stopped by itself"))),
        }
    }

    /// Layer by layer, a tile of rows at a time: for weights that the kernels do not hold.
    fn in_tiles(&self, x: Option<&[f32]>, into: &mut [f32]) -> Result<()> {
        let (width, outputs, wide) = (self.first.inputs(), self.second.outputs(), self.first.outputs());
        for tile in tiles(into.len() / outputs) {
            self.cancel.check()?;
            let rows = tile.len();
            let into = &mut into[tile.start * outputs..tile.end * outputs];
            let x = x.map_or(&*into, |x| &x[tile.start * width..tile.end * width]);
            let mut results = self.buffers.take(rows * wide)?;
            self.first.forward(x, &mut results, false)?;
            let inner = match self.between {
                Between::Of(activation) => {
                    elementwise::activate(&mut results, wide, activation);
                    results
                }
                Between::Gate => {
                    let mut gated = self.buffers.take(rows * wide / 2)?;
                    elementwise::swiglu(&results, &mut gated, wide / 2);
                    gated
                }
            };
            self.cancel.check()?;
            self.second.forward(&inner, into, true)?;
        }
        Ok(())
    }
}
