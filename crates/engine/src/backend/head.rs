//! The modules after pooling (Dense, Normalize), in f32 on the host: rows are few and small.

use candle_core::{Device, Tensor};

use super::candle::generic::activate;
use super::weights::Checkpoint;
use crate::error::{Error, Result};
use crate::model::{Activation, HeadModule};

/// The loaded modules of a model's head.
#[derive(Debug, Default)]
pub struct Head {
    modules: Vec<Module>,
}

#[derive(Debug)]
enum Module {
    Dense {
        /// `[in, out]`
        weight: Tensor,
        bias: Option<Tensor>,
        activation: Activation,
    },
    Normalize,
}

impl Head {
    /// Loads the weights of `modules`.
    ///
    /// # Errors
    /// `BAD_CHECKPOINT` for missing tensors, other shapes, values that are not finite.
    pub fn load(modules: &[HeadModule]) -> Result<Self> {
        let modules = modules.iter().map(|module| match module {
            HeadModule::Normalize => Ok(Module::Normalize),
            HeadModule::Dense { file, in_features, out_features, bias, activation } => {
                let checkpoint = Checkpoint::open(std::slice::from_ref(file))?;
                let tensor = |name: &str, shape: &[usize]| {
                    let mut values = Vec::new();
                    checkpoint.get(name, shape)?.append_f32(&mut values)?;
                    Tensor::from_vec(values, shape, &Device::Cpu).map_err(internal)
                };
                let weight = tensor("linear.weight", &[*out_features, *in_features])?;
                Ok(Module::Dense {
                    weight: weight.t().and_then(|weight| weight.contiguous()).map_err(internal)?,
                    bias: if *bias { Some(tensor("linear.bias", &[*out_features])?) } else { None },
                    activation: *activation,
                })
            }
        });
        Ok(Head { modules: modules.collect::<Result<_>>()? })
    }

    /// Applies the modules to rows of `width`; gives the rows and their new width.
    ///
    /// # Errors
    /// `INTERNAL` on a width mismatch.
    pub fn apply(&self, mut rows: Vec<f32>, mut width: usize) -> Result<(Vec<f32>, usize)> {
        for module in &self.modules {
            match module {
                Module::Normalize => rows.chunks_exact_mut(width).for_each(normalize),
                Module::Dense { weight, bias, activation } => {
                    let count = rows.len() / width;
                    let dense = || {
                        let y = Tensor::from_vec(rows, (count, width), &Device::Cpu)?.matmul(weight)?;
                        let y = match bias {
                            Some(bias) => y.broadcast_add(bias)?,
                            None => y,
                        };
                        let y = activate(&y, *activation)?;
                        Ok((y.flatten_all()?.to_vec1()?, y.dim(1)?))
                    };
                    (rows, width) = dense().map_err(internal)?;
                }
            }
        }
        Ok((rows, width))
    }
}

/// Divides by the L2 norm, floored at 1e-12 as `torch.nn.functional.normalize` does.
fn normalize(row: &mut [f32]) {
    let norm = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt().max(1e-12);
    row.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
}

fn internal(error: candle_core::Error) -> Error {
    Error::internal(format!("the modules after pooling: {error}"))
}
