//! Opening a session: options that suit batches of many lengths, and errors that name the file.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ort::ErrorCode;
use ort::ep;
use ort::session::Session;
use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder};

use super::message::{is_of_device, is_out_of_memory, is_too_new, tidy};
use super::providers::Device;
use super::runtime::Runtime;
use super::setup::Setup;
use super::writer::Written;
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};

/// The entry of a session's configuration that names the folder of weights for a graph in memory.
const WEIGHTS_FOLDER: &str = "session.model_external_initializers_file_folder_path";

/// A graph to open.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    /// The graph, or the first file of weights of one that was written: for messages.
    pub(super) file: &'a Path,
    /// The graph, where it was written.
    pub(super) written: Option<&'a Written>,
}

/// How to open it.
pub(super) struct Opening<'a> {
    pub(super) device: &'a Device,
    pub(super) runtime: &'a Runtime,
    /// How the device's provider is set up; threads inside an operator are in it (0: all cores).
    pub(super) setup: &'a Setup,
    pub(super) cancel: &'a Cancel,
}

/// Opens a graph.
///
/// Files of weights beside the graph are mapped by ONNX Runtime itself. It refuses those that leave
/// the folder of the graph, but looks at real paths, so that the links of the hub cache, which all
/// lead to one folder of blobs, are fine.
///
/// # Errors
/// `ABORTED` once `cancel` is set; `BAD_CHECKPOINT` naming the file; `MODEL_UNSUPPORTED` for operators that the library does not have;
/// `DEVICE_UNAVAILABLE`; `OUT_OF_MEMORY`.
pub(super) fn open(source: Source<'_>, opening: &Opening<'_>) -> Result<Session> {
    let Opening { device, runtime, setup, cancel } = *opening;
    let unset = |error: ort::Error| Error::internal(format!("ONNX Runtime {} refuses: {error}", runtime.version));
    let recovered = |error: ort::Error<SessionBuilder>| unset(error.into());
    let mut builder = configure(runtime, device, setup.threads).map_err(unset)?;
    if let Some(written) = source.written {
        if let Some(folder) = written.files.folder() {
            builder = builder.with_config_entry(WEIGHTS_FOLDER, folder.to_string_lossy()).map_err(recovered)?;
        } else {
            for (name, bytes) in written.files.in_memory()? {
                builder = builder.with_external_initializer_file_in_memory(name, bytes).map_err(recovered)?;
            }
        }
    }
    if !device.is_cpu() {
        device.register(&mut builder, runtime, setup)?;
    }
    let canceler = builder.canceler();
    let _listening = cancel.on_cancel(move || {
        // It fails for options that are gone, and then the session is open.
        let _ = canceler.cancel();
    });
    // ort panics at types of inputs and outputs that it does not know.
    let opened = catch_unwind(AssertUnwindSafe(|| match source.written {
        Some(written) => builder.commit_from_memory(&written.model),
        None => builder.commit_from_file(source.file),
    }));
    cancel.check()?;
    let session = match opened {
        Ok(opened) => opened.map_err(|error| explain(source.file, device, &error))?,
        Err(_) => {
            let message = format!("{}: an input or output of the graph is of an unknown type.", source.file.display());
            return Err(Error::unsupported(message));
        }
    };
    device.confirm(&session)?;
    Ok(session)
}

fn configure(runtime: &Runtime, device: &Device, threads: usize) -> ort::Result<SessionBuilder> {
    // ONNX Runtime's own default counts the cores of the machine, not those that this process may use,
    // and pins its threads to them.
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let builder = Session::builder(&runtime.environment)?
        // ort's default lets ONNX Runtime choose an accelerator by itself (CoreML on every Mac).
        .with_auto_device(AutoDevicePolicy::PreferCPU)?
        // Freed memory goes back to the system after each operator. The arena would keep the peak of
        // the longest text ever seen, and is not measurably faster for tensors of this size.
        .with_execution_providers([ep::CPU::default().with_arena_allocator(false).build().error_on_failure()])?
        // A pattern is kept for each shape, and here nearly every run has its own.
        .with_memory_pattern(false)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        .with_parallel_execution(false)?
        // Idle threads must not burn the cores of the program that we live in.
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?;
    if device.is_cpu() {
        return Ok(builder);
    }
    // For `Device::confirm`.
    Ok(builder.with_config_entry("session.record_ep_graph_assignment_info", "1")?)
}

/// What a failure to open the session means.
fn explain(file: &Path, device: &Device, error: &ort::Error) -> Error {
    let told = tidy(error.message());
    if is_out_of_memory(told) {
        let message = format!("{}: no memory left while loading: {told}", file.display());
        return Error::new(Code::OutOfMemory, message);
    }
    if error.code() == ErrorCode::NotImplemented || is_too_new(told) {
        let message = format!("{}: this ONNX Runtime cannot run the graph, a newer one may: {told}", file.display());
        return Error::unsupported(message);
    }
    // A device that is not there is found out only now: registering its provider asks the libraries alone.
    if error.code() == ErrorCode::ExecutionProviderFailure || is_of_device(told) {
        let message = format!("device {:?} cannot run {}: {told}", device.label, file.display());
        return Error::new(Code::DeviceUnavailable, message).with("device", device.label.as_str());
    }
    Error::bad_checkpoint(file, format!("ONNX Runtime cannot load the graph: {told}"))
}
