//! The inputs of a graph: which it has, in which integer type and shape, and their values for a
//! rectangle of padded rows.

use ort::session::SessionInputValue;
use ort::value::{Tensor, TensorElementType};

use super::port::Port;
use crate::error::{Error, Result};

/// Fills the cells after the end of a row. The attention mask excludes them, so that any id of the
/// vocabulary would do; 0 is one in every vocabulary. (RoBERTa graphs count positions where the id
/// is not that of `<pad>`; the padded cells come last, so that they shift nobody.)
const PAD_ID: i64 = 0;

/// Integer types that exporters use for ids and masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Integer {
    I32,
    I64,
}

/// Shape of the `task_id` input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TaskShape {
    Scalar,
    One,
    PerRow,
}

/// What an input is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Ids,
    Mask,
    TokenTypes,
    Positions,
    Task(TaskShape),
}

/// The inputs of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inputs {
    /// Name, use and integer type of each.
    inputs: Vec<(String, Role, Integer)>,
    /// Rows that each run must have, where the graph fixes them.
    pub(super) fixed_rows: Option<usize>,
    /// Tokens that each row must have, where the graph fixes them.
    pub(super) fixed_tokens: Option<usize>,
    /// Whether the graph takes a task id.
    pub(super) has_task: bool,
}

impl Inputs {
    /// Reads the inputs of a session.
    ///
    /// # Errors
    /// `MODEL_UNSUPPORTED` naming the inputs that are unknown, missing or of a form that we do not feed.
    pub(super) fn read(ports: &[Port]) -> Result<Self> {
        let unknown: Vec<_> = ports.iter().filter(|port| role(port).is_none()).map(Port::to_string).collect();
        if !unknown.is_empty() {
            return Err(Error::unsupported(format!(
                "The graph has inputs that are not supported: {}. Supported are input_ids, attention_mask, \
                 token_type_ids, position_ids and task_id (a graph exported for feature extraction has no others).",
                unknown.join(", ")
            )));
        }
        let mut read = Inputs { inputs: Vec::new(), fixed_rows: None, fixed_tokens: None, has_task: false };
        for port in ports {
            let Some(role) = role(port) else { continue };
            read.add(port, role)?;
        }
        for (name, needed) in [("input_ids", Role::Ids), ("attention_mask", Role::Mask)] {
            if !read.inputs.iter().any(|(_, role, _)| *role == needed) {
                let found: Vec<_> = ports.iter().map(Port::to_string).collect();
                let found = found.join(", ");
                return Err(Error::unsupported(format!("The graph has no input {name}; its inputs are {found}.")));
            }
        }
        Ok(read)
    }

    fn add(&mut self, port: &Port, role: Role) -> Result<()> {
        let integer = match port.element {
            TensorElementType::Int64 => Integer::I64,
            TensorElementType::Int32 => Integer::I32,
            _ => return Err(Error::unsupported(format!("The input {port} of the graph is not int64 or int32."))),
        };
        let mut fixed = (None, None);
        match role {
            Role::Task(TaskShape::One) => self.has_task = true,
            Role::Task(shape) => {
                self.has_task = true;
                if shape == TaskShape::PerRow {
                    fixed.0 = port.dimensions.first().and_then(|&rows| known(rows));
                }
            }
            // Without dimensions the shape is unknown, which is no reason to refuse.
            _ if port.dimensions.is_empty() => {}
            _ => match port.dimensions[..] {
                [rows, tokens] => fixed = (known(rows), known(tokens)),
                _ => {
                    return Err(Error::unsupported(format!("The input {port} of the graph is not [batch, sequence].")));
                }
            },
        }
        let slots = [(&mut self.fixed_rows, fixed.0, "batch"), (&mut self.fixed_tokens, fixed.1, "sequence")];
        for (slot, fixed, axis) in slots {
            let Some(fixed) = fixed else { continue };
            let before = *slot.get_or_insert(fixed);
            if fixed == 0 || before != fixed {
                let message = format!("The inputs of the graph disagree on the {axis} size: {before} and {fixed}.");
                return Err(Error::unsupported(message));
            }
        }
        self.inputs.push((port.name.clone(), role, integer));
        Ok(())
    }

    /// The values of one run: `rows` padded to `tokens` each, all of one task.
    ///
    /// # Errors
    /// `MODEL_UNSUPPORTED` for an id or a task id that the input's type cannot hold; `INTERNAL`.
    pub(super) fn values(
        &self,
        rows: &[&[u32]],
        tokens: usize,
        task: Option<i64>,
    ) -> Result<Vec<(String, SessionInputValue<'static>)>> {
        let matrix = [rows.len(), tokens];
        let mut values = Vec::with_capacity(self.inputs.len());
        for (name, role, integer) in &self.inputs {
            // Each row's own values, then the padding.
            let padded = |own: fn(usize, u32) -> i64, pad: fn(usize) -> i64| -> Vec<i64> {
                let cell = |row: &[u32], at: usize| row.get(at).map_or_else(|| pad(at), |&id| own(at, id));
                rows.iter().flat_map(|row| (0..tokens).map(move |at| cell(row, at))).collect()
            };
            let (shape, cells) = match role {
                Role::Ids => (matrix.to_vec(), padded(|_, id| i64::from(id), |_| PAD_ID)),
                Role::Mask => (matrix.to_vec(), padded(|_, _| 1, |_| 0)),
                Role::TokenTypes => (matrix.to_vec(), vec![0; rows.len() * tokens]),
                Role::Positions => (matrix.to_vec(), padded(|at, _| at as i64, |at| at as i64)),
                Role::Task(shape) => {
                    let task =
                        task.ok_or_else(|| Error::internal("the graph takes a task id and the batch has none"))?;
                    match shape {
                        TaskShape::Scalar => (vec![], vec![task]),
                        TaskShape::One => (vec![1], vec![task]),
                        TaskShape::PerRow => (vec![rows.len()], vec![task; rows.len()]),
                    }
                }
            };
            values.push((name.clone(), tensor(name, *integer, shape, cells)?));
        }
        Ok(values)
    }
}

/// What the input is for, by its name; `None` if that is unknown.
fn role(port: &Port) -> Option<Role> {
    Some(match port.name.as_str() {
        "input_ids" => Role::Ids,
        "attention_mask" => Role::Mask,
        "token_type_ids" => Role::TokenTypes,
        "position_ids" => Role::Positions,
        "task_id" => match port.dimensions[..] {
            [] => Role::Task(TaskShape::Scalar),
            [1] => Role::Task(TaskShape::One),
            [_] => Role::Task(TaskShape::PerRow),
            _ => return None,
        },
        _ => return None,
    })
}

/// A dimension that the graph fixes; exporters write -1 for one that is free.
fn known(dimension: i64) -> Option<usize> {
    usize::try_from(dimension).ok()
}

fn tensor(name: &str, integer: Integer, shape: Vec<usize>, cells: Vec<i64>) -> Result<SessionInputValue<'static>> {
    let failed = |error: ort::Error| Error::internal(format!("the input {name} cannot be made: {error}"));
    match integer {
        Integer::I64 => Ok(Tensor::from_array((shape, cells)).map_err(failed)?.into()),
        Integer::I32 => {
            let narrow = |cell| {
                i32::try_from(cell).map_err(|_| {
                    Error::unsupported(format!("{cell} does not fit the int32 input {name} of the graph."))
                })
            };
            let cells = cells.into_iter().map(narrow).collect::<Result<Vec<_>>>()?;
            Ok(Tensor::from_array((shape, cells)).map_err(failed)?.into())
        }
    }
}

#[cfg(test)]
mod tests;
