//! Graphs in ONNX Runtime: exported ones, and those that we write over a folder's safetensors.
//!
//! | file | does |
//! |---|---|
//! | `runtime` | finds and initialises the library, once per process |
//! | `installed`, `preload` | libraries that Python packages brought, and those that they need |
//! | `providers` | devices other than the CPU, and whether they are really in use |
//! | `setup` | how each provider is set up |
//! | `protobuf`, `graph` | looks into the file before ONNX Runtime does: weights, missing or cut files |
//! | `writer` | graphs of Qwen and BERT folders |
//! | `session` | opens the session |
//! | `cache` | where providers keep what they compiled |
//! | `port`, `inputs`, `outputs` | what goes into the graph and which output is read |
//! | `rectangles` | which texts share a run |
//! | `message` | what ONNX Runtime's messages mean |
//! | `exclusive`, `worker` | one run at a time, and how it is cancelled |
//! | `run` | packed batch in, pooled rows out |

mod cache;
mod exclusive;
mod graph;
mod inputs;
mod installed;
mod message;
mod outputs;
mod port;
mod preload;
mod protobuf;
mod providers;
mod rectangles;
mod run;
mod runtime;
mod session;
mod setup;
mod worker;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ort::session::Session;

pub use self::providers::{ProviderInfo, providers};

use self::exclusive::Exclusive;
use self::inputs::Inputs;
use self::port::Port;
use self::providers::Device;
use self::rectangles::Limits;
use self::run::{OnnxBackend, Runner};
use self::session::{Opening, Source};
use self::setup::{Profile, Setup};
use self::worker::Stop;
use self::writer::{Operators, Precision, Written};
use crate::backend::candle::Dtype;
use crate::backend::{Backend, BackendInfo};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::model::{Architecture, HeadModule, ModelSpec};

/// Cells of a run where [`OnnxOptions::max_padded_tokens`] is 0: enough for the matrix products to
/// be efficient, few enough that a run of a graph of 0.5 B parameters can be cancelled in time.
const DEFAULT_PADDED_TOKENS: usize = 2048;

/// How to run a session.
#[derive(Debug, Clone, Default)]
pub struct OnnxOptions {
    /// The ONNX Runtime library, or the folder that it lies in; without it the environment variable
    /// `EMBEDDING_ENGINE_ONNXRUNTIME`. A relative path counts from the working directory. Where the
    /// variable is not set and a device needs a provider that is not beside this library, one of an
    /// installed Python package (`onnxruntime-gpu` …) is used, if it comes first in the process.
    pub library: Option<PathBuf>,
    /// Threads inside an operator; 0 for one per core.
    pub threads: usize,
    /// Tokens, padding included, that one run may hold; 0 for 2048. A text that is longer runs alone.
    pub max_padded_tokens: usize,
    /// Precision of the products of a graph that is written here. An exported graph has its own.
    pub dtype: Dtype,
    /// The folder of our own state, where providers keep what they compiled; `None` to keep nothing.
    pub home: Option<PathBuf>,
    /// Writes graphs with ONNX's own operators only, as for every device but the CPU: for comparing.
    pub plain_operators: bool,
    /// Ends the loading of a session.
    pub cancel: Cancel,
}

/// Opens the session of a model on `device`: `cpu`, `cuda`, `cuda:1`, `tensorrt`, `migraphx`,
/// `directml`, `coreml` or `openvino`. For a Qwen or BERT folder the graph is written first.
///
/// # Errors
/// `NATIVE_LOAD_FAILED` (the library), `MODEL_UNSUPPORTED` (inputs, outputs or operators that are not
/// known), `BAD_CHECKPOINT` naming the file, `DEVICE_UNAVAILABLE` with the reason, `INVALID_OPTION` for
/// a device that cannot exist or a precision that it does not have.
pub fn load(spec: &ModelSpec, device: &str, options: &OnnxOptions) -> Result<Arc<dyn Backend>> {
    let device = Device::parse(device)?;
    match spec.architecture {
        Architecture::Qwen(_) | Architecture::Bert(_) => load_written(spec, &device, options),
        Architecture::Onnx | Architecture::Static => load_exported(spec, &device, options),
    }
}

fn load_exported(spec: &ModelSpec, device: &Device, options: &OnnxOptions) -> Result<Arc<dyn Backend>> {
    let [file] = &spec.files.weights[..] else {
        return Err(Error::internal(format!("{}: one ONNX file expected, not {}", spec.id, spec.files.weights.len())));
    };
    let runtime = runtime::open(options, device.kind())?;
    let weights = graph::inspect(file)?;
    device.check(&runtime)?;
    let cache = || {
        let identity = cache::identity_of(weights.files(file));
        cache::folder(options.home.as_deref(), device.kind(), &[identity.as_bytes(), device.label.as_bytes()])
    };
    let setup = Setup { cache: device.compiles().then(cache).flatten(), threads: options.threads, ..Setup::default() };
    let opening = Opening { device, runtime: &runtime, setup: &setup, cancel: &options.cancel };
    let session = session::open(Source { file, written: None }, &opening)?;
    let loading = Loading {
        file,
        device,
        dtype: weights.dtype(),
        weight_bytes: weights.total(),
        cells: options.cells(),
        most_rows: usize::MAX,
        vocabulary: None,
        longest: None,
    };
    loading.finish(spec, session)
}

fn load_written(spec: &ModelSpec, device: &Device, options: &OnnxOptions) -> Result<Arc<dyn Backend>> {
    let [file, ..] = &spec.files.weights[..] else {
        return Err(Error::internal(format!("{}: no file of weights", spec.id)));
    };
    let runtime = runtime::open(options, device.kind())?;
    let precision = Precision::choose(spec, device.kind(), options.dtype)?;
    // Before gigabytes are read for a device that is not there.
    device.check(&runtime)?;
    let operators = match device.is_cpu() && !options.plain_operators {
        true => Operators::OnnxRuntime,
        false => Operators::Plain,
    };
    let written = writer::write(spec, operators, precision, &options.cancel)?;
    let profile = (device.kind() == "tensorrt").then(|| Profile::new(options.cells(), spec.max_tokens));
    let setup = Setup {
        bf16: precision == Precision::Bf16,
        f16: precision == Precision::F16,
        cache: compiled(&written, device, profile, options),
        profile,
        outside_bytes: written.weight_bytes,
        threads: options.threads,
        ..Setup::default()
    };
    let opening = Opening { device, runtime: &runtime, setup: &setup, cancel: &options.cancel };
    let session = session::open(Source { file, written: Some(&written) }, &opening)?;
    let loading = Loading {
        file,
        device,
        dtype: precision.name(),
        weight_bytes: written.weight_bytes,
        cells: options.cells(),
        most_rows: profile.map_or(usize::MAX, |profile| profile.rows),
        vocabulary: Some(written.vocabulary),
        longest: Some(spec.max_tokens),
    };
    loading.finish(spec, session)
}

/// The folder for what the device compiles of a written graph.
fn compiled(written: &Written, device: &Device, profile: Option<Profile>, options: &OnnxOptions) -> Option<PathBuf> {
    if !device.compiles() {
        return None;
    }
    let identity = written.files.identity();
    let shapes = format!("{profile:?} {}", device.label);
    let parts = [&written.model[..], identity.as_bytes(), shapes.as_bytes()];
    cache::folder(options.home.as_deref(), device.kind(), &parts)
}

impl OnnxOptions {
    fn cells(&self) -> usize {
        match self.max_padded_tokens {
            0 => DEFAULT_PADDED_TOKENS,
            cells => cells,
        }
    }
}

/// What is known of a graph once its session is open.
struct Loading<'a> {
    file: &'a Path,
    device: &'a Device,
    dtype: &'a str,
    weight_bytes: u64,
    cells: usize,
    most_rows: usize,
    vocabulary: Option<usize>,
    longest: Option<usize>,
}

impl Loading<'_> {
    /// Makes sure that the session fits the model.
    fn finish(self, spec: &ModelSpec, session: Session) -> Result<Arc<dyn Backend>> {
        let file = self.file;
        let ports = |outlets: &[ort::value::Outlet]| outlets.iter().map(Port::new).collect::<Vec<_>>();
        let name_file = |error: Error| Error { message: format!("{}: {}", file.display(), error.message), ..error };
        let inputs = Inputs::read(&ports(session.inputs())).map_err(name_file)?;
        let output = outputs::choose(&ports(session.outputs()), spec.pooling).map_err(name_file)?;
        check_tasks(spec, &inputs).map_err(name_file)?;
        let limits = Limits {
            cells: self.cells,
            rows: inputs.fixed_rows,
            tokens: inputs.fixed_tokens,
            most_rows: self.most_rows,
        };
        let info = BackendInfo {
            device: self.device.label.clone(),
            dtype: self.dtype.to_owned(),
            width: output.width.unwrap_or(0),
            weight_bytes: self.weight_bytes,
        };
        let mut runner = Runner {
            info,
            file: file.to_owned(),
            inputs,
            output,
            pooling: spec.pooling,
            limits,
            vocabulary: self.vocabulary,
            longest: self.longest,
            session: Exclusive::new(session),
        };
        if runner.info.width == 0 {
            runner.info.width = measure_width(&runner, spec)?;
        }
        check_width(spec, runner.info.width).map_err(name_file)?;
        Ok(Arc::new(OnnxBackend(Arc::new(runner))))
    }
}

/// Path and version of the ONNX Runtime library in use, or why there is none (for `doctor`). Loads
/// the library if that was not done yet.
///
/// # Errors
/// The reason, as a sentence.
pub fn runtime(options: &OnnxOptions) -> Result<(PathBuf, String), String> {
    let runtime = runtime::open(options, "cpu").map_err(|error| error.message)?;
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
