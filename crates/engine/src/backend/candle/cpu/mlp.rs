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

/// `into += second(between(first(x)))`; without an `x`, what `into` holds is the input as well. The inner width is
/// never held for all rows at once.
pub(super) fn mlp_add(
    (first, between, second): (&Linear, Between, &Linear),
    x: Option<&[f32]>,
    into: &mut [f32],
    buffers: &Buffers,
    cancel: &Cancel,
) -> Result<()> {
    let rows = into.len() / second.outputs();
    let (Layer::Packed(packed_first), Layer::Packed(packed_second)) = (&first.0, &second.0) else {
        return in_tiles((first, between, second), x, into, buffers, cancel);
    };
    let activation = match between {
        Between::Gate => KernelActivation::Identity,
        Between::Of(activation) => kernel_activation(activation),
    };
    let mlp = Mlp { first: packed_first, activation, second: packed_second };
    let mut inner = buffers.take(mlp.inner(rows))?;
    match mlp.forward(x, rows, into, &mut inner, &|| cancel.is_cancelled()) {
        true => Ok(()),
        false => cancel.check().and(Err(Error::internal("an MLP stopped by itself"))),
    }
}

/// Layer by layer, a tile of rows at a time.
fn in_tiles(
    (first, between, second): (&Linear, Between, &Linear),
    x: Option<&[f32]>,
    into: &mut [f32],
    buffers: &Buffers,
    cancel: &Cancel,
) -> Result<()> {
    let (width, outputs, wide) = (first.inputs(), second.outputs(), first.outputs());
    for tile in tiles(into.len() / outputs) {
        cancel.check()?;
        let rows = tile.len();
        let into = &mut into[tile.start * outputs..tile.end * outputs];
        let x = x.map_or(&*into, |x| &x[tile.start * width..tile.end * width]);
        let mut results = buffers.take(rows * wide)?;
        first.forward(x, &mut results, false)?;
        let mut gated = None;
        let inner = match between {
            Between::Of(activation) => {
                elementwise::activate(&mut results, wide, activation);
                &results
            }
            Between::Gate => {
                let gated = gated.insert(buffers.take(rows * wide / 2)?);
                elementwise::swiglu(&results, gated, wide / 2);
                &*gated
            }
        };
        cancel.check()?;
        second.forward(inner, into, true)?;
    }
    Ok(())
}
