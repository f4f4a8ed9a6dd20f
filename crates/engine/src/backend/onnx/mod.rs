//! Exported graphs in ONNX Runtime.
//!
//! | file | does |
//! |---|---|
//! | `runtime` | finds and initialises the library, once per process |
//! | `providers` | devices other than the CPU, and whether they are really in use |
//! | `protobuf`, `graph` | looks into the file before ONNX Runtime does: weights, missing or cut files |
//! | `session` | opens the session |
//! | `port`, `inputs`, `outputs` | what goes into the graph and which output is read |
//! | `rectangles` | which texts share a run |
//! | `message` | what ONNX Runtime's messages mean |
//! | `exclusive`, `worker` | one run at a time, and how it is cancelled |
//! | `run` | packed batch in, pooled rows out |

mod exclusive;
mod graph;
mod inputs;
mod message;
mod outputs;
mod port;
mod protobuf;
mod providers;
mod rectangles;
mod run;
mod runtime;
mod session;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

pub use self::providers::{ProviderInfo, providers};

use self::exclusive::Exclusive;
use self::inputs::Inputs;
use self::port::Port;
use self::providers::Device;
use self::rectangles::Limits;
use self::run::{OnnxBackend, Runner};
use self::worker::Stop;
use crate::backend::{Backend, BackendInfo};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::model::{HeadModule, ModelSpec};

/// Cells of a run where [`OnnxOptions::max_padded_tokens`] is 0: enough for the matrix products to
/// be efficient, few enough that a run of a graph of 0.5 B parameters can be cancelled in time.
const DEFAULT_PADDED_TOKENS: usize = 2048;

/// How to run a session.
#[derive(Debug, Clone, Default)]
pub struct OnnxOptions {
    /// The ONNX Runtime library, or the folder that it lies in; without it the environment variable
    /// `EMBEDDING_ENGINE_ONNXRUNTIME`. A relative path counts from the working directory.
    pub library: Option<PathBuf>,
    /// Threads inside an operator; 0 for one per core.
    pub threads: usize,
    /// Tokens, padding included, that one run may hold; 0 for 2048. A text that is longer runs alone.
    pub max_padded_tokens: usize,
    /// Ends the loading of a session.
    pub cancel: Cancel,
}

/// Opens the session of a model on `device`: `cpu`, `cuda`, `cuda:1`, `tensorrt`, `migraphx`,
/// `directml`, `coreml` or `openvino`.
///
/// # Errors
/// `NATIVE_LOAD_FAILED` (the library), `MODEL_UNSUPPORTED` (inputs, outputs or operators that are not
/// known), `BAD_CHECKPOINT` naming the file, `DEVICE_UNAVAILABLE` with the reason, `INVALID_OPTION` for
/// a device that cannot exist.
pub fn load(spec: &ModelSpec, device: &str, options: &OnnxOptions) -> Result<Arc<dyn Backend>> {
    let device = Device::parse(device)?;
    let [file] = &spec.files.weights[..] else {
        return Err(Error::internal(format!("{}: one ONNX file expected, not {}", spec.id, spec.files.weights.len())));
    };
    let runtime = runtime::open(options)?;
    let weights = graph::inspect(file)?;
    let session = session::open(file, &device, &runtime, options.threads, &options.cancel)?;
    let ports = |outlets: &[ort::value::Outlet]| outlets.iter().map(Port::new).collect::<Vec<_>>();
    let name_file = |error: Error| Error { message: format!("{}: {}", file.display(), error.message), ..error };
    let inputs = Inputs::read(&ports(session.inputs())).map_err(name_file)?;
    let output = outputs::choose(&ports(session.outputs()), spec.pooling).map_err(name_file)?;
    check_tasks(spec, &inputs).map_err(name_file)?;
    let cells = match options.max_padded_tokens {
        0 => DEFAULT_PADDED_TOKENS,
        cells => cells,
    };
    let limits = Limits { cells, rows: inputs.fixed_rows, tokens: inputs.fixed_tokens };
    let info = BackendInfo {
        device: device.label,
        dtype: weights.dtype().to_owned(),
        width: output.width.unwrap_or(0),
        weight_bytes: weights.total(),
    };
    let session = Exclusive::new(session);
    let mut runner = Runner { info, file: file.clone(), inputs, output, pooling: spec.pooling, limits, session };
    if runner.info.width == 0 {
        runner.info.width = measure_width(&runner, spec)?;
    }
    check_width(spec, runner.info.width).map_err(name_file)?;
    Ok(Arc::new(OnnxBackend(Arc::new(runner))))
}

/// Path and version of the ONNX Runtime library in use, or why there is none (for `doctor`). Loads
/// the library if that was not done yet.
///
/// # Errors
/// The reason, as a sentence.
pub fn runtime(options: &OnnxOptions) -> Result<(PathBuf, String), String> {
    let runtime = runtime::open(options).map_err(|error| error.message)?;
    Ok((runtime.library, runtime.version))
}

/// A graph with a task input needs the numbers of the tasks; without one, tasks that differ by
/// number only would silently give the same vectors.
fn check_tasks(spec: &ModelSpec, inputs: &Inputs) -> Result<()> {
    let numbered = spec.tasks.values().filter(|task| task.task_id.is_some()).count();
    if inputs.has_task && numbered < spec.tasks.len() {
        return Err(Error::unsupported(
            "The graph takes a task_id, but the model's description has no numbers for its tasks.",
        ));
    }
    if !inputs.has_task && numbered > 0 {
        return Err(Error::unsupported(
            "The model's description numbers its tasks, but the graph takes no task_id: all tasks would give the same vectors.",
        ));
    }
    Ok(())
}

/// The width of the rows by running one token, for graphs that do not tell it.
fn measure_width(runner: &Runner, spec: &ModelSpec) -> Result<usize> {
    let mut session = runner.session.take(&Cancel::never())?;
    let stop = Stop::new(&runner.output.name)?;
    let task = spec.tasks.values().find_map(|task| task.task_id);
    let tokens = runner.limits.tokens.unwrap_or(1);
    runner.execute(&mut session, &stop, &[&[0]], tokens, task, |_, shape| {
        let width = shape.last().and_then(|&width| usize::try_from(width).ok()).filter(|&width| width > 0);
        width.ok_or_else(|| Error::unsupported(format!("{}: the output has shape {shape:?}.", runner.file.display())))
    })
}

/// The rows must be as wide as the first module after them expects, or as the model says.
fn check_width(spec: &ModelSpec, width: usize) -> Result<()> {
    let dense = spec.head.iter().find_map(|module| match module {
        HeadModule::Dense { in_features, .. } => Some(*in_features),
        HeadModule::Normalize => None,
    });
    let expected = dense.unwrap_or(spec.full_width());
    if width == expected {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "The graph gives rows of {width} values, but the model's description expects {expected}."
    )))
}
