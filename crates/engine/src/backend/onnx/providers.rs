//! Execution providers: which device name is which provider, whether the library has it, and
//! whether it really took the graph.
//!
//! ONNX Runtime falls back to the CPU silently: at registration, unless asked not to, and again when
//! a provider takes none of the nodes. Both are errors here.

use std::ffi::{CStr, c_char};
use std::path::PathBuf;
use std::ptr;

use ort::AsPointer;
use ort::ep::{
    self, ArbitrarilyConfigurableExecutionProvider, ArenaExtendStrategy, ExecutionProvider, ExecutionProviderDispatch,
};
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::sys::OrtEpAssignedSubgraph;

use super::message::tidy;
use super::runtime::{self, ENVIRONMENT_VARIABLE, Runtime};
use super::{OnnxOptions, installed, preload};
use crate::error::{Code, Error, Result};

/// A provider that this package knows, and whether the loaded library can use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderInfo {
    /// The device name that asks for it, such as `tensorrt`.
    pub kind: &'static str,
    /// What ONNX Runtime calls it, such as `TensorrtExecutionProvider`.
    pub name: &'static str,
    /// Whether a session can use it.
    pub available: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// One row of the table of providers.
struct Provider {
    kind: &'static str,
    name: &'static str,
    is_compiled_in: fn() -> ort::Result<bool>,
    /// The provider as it is to be set up, and those that must stand behind it.
    build: fn(&Setup) -> Vec<ExecutionProviderDispatch>,
}

/// How a provider is to run one model.
#[derive(Debug, Clone, Default)]
pub(super) struct Setup {
    /// Which of several devices of the kind.
    pub(super) index: i32,
    /// Whether products may be computed in bf16, and in f16: the precision that was asked for.
    pub(super) bf16: bool,
    pub(super) f16: bool,
    /// A folder of this model's own for what the provider compiles; `None` to keep nothing.
    pub(super) cache: Option<PathBuf>,
    /// The rectangles that runs will have, where they are known before.
    pub(super) profile: Option<Profile>,
    /// Bytes of the weights, where they lie outside of the graph; 0 for a graph that holds them.
    pub(super) outside_bytes: u64,
    /// Threads of a provider that computes on the CPU.
    pub(super) threads: usize,
}

/// The largest rectangle that runs may have, for providers that compile for a range of shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) rows: usize,
    pub(super) tokens: usize,
}

impl Profile {
    /// The profile for texts of up to `longest` tokens within a budget of `cells`.
    ///
    /// Memory is reserved for the largest rectangle, so that its rows times its tokens is the budget, or
    /// one text that is longer than it.
    pub(super) fn new(cells: usize, longest: usize) -> Self {
        Profile { rows: (cells / longest.max(1)).max(1), tokens: longest.max(1) }
    }

    /// `input_ids:4x512,attention_mask:4x512`
    fn shapes(rows: usize, tokens: usize) -> String {
        ["input_ids", "attention_mask"].map(|input| format!("{input}:{rows}x{tokens}")).join(",")
    }
}

/// Tokens for which TensorRT chooses its kernels, if texts can be so long: that of most passages.
const USUAL_TOKENS: usize = 256;

/// The most that protobuf can hold, less what the nodes take. TensorRT is handed the graph in it.
const PROTOBUF_LIMIT: u64 = (1 << 31) - (1 << 26);

const PROVIDERS: [Provider; 7] = [
    Provider { kind: "cpu", name: ep::CPU::NAME, is_compiled_in: ep::CPU::is_available, build: |_| Vec::new() },
    Provider {
        kind: "cuda",
        name: ep::CUDA::NAME,
        is_compiled_in: ep::CUDA::is_available,
        build: |setup| vec![cuda(setup.index).build()],
    },
    Provider {
        kind: "tensorrt",
        name: ep::TensorRT::NAME,
        is_compiled_in: ep::TensorRT::is_available,
        // What TensorRT cannot run belongs on the same GPU, not on the CPU.
        build: |setup| vec![tensorrt(setup).build(), cuda(setup.index).build()],
    },
    Provider {
        kind: "migraphx",
        name: ep::MIGraphX::NAME,
        is_compiled_in: ep::MIGraphX::is_available,
        build: |setup| {
            let provider = ep::MIGraphX::default().with_device_id(setup.index);
            vec![provider.with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested).build()]
        },
    },
    Provider {
        kind: "directml",
        name: ep::DirectML::NAME,
        is_compiled_in: ep::DirectML::is_available,
        build: |setup| vec![ep::DirectML::default().with_device_id(setup.index).build()],
    },
    Provider {
        kind: "coreml",
        name: ep::CoreML::NAME,
        is_compiled_in: ep::CoreML::is_available,
        build: |setup| vec![coreml(setup).build()],
    },
    Provider {
        kind: "openvino",
        name: ep::OpenVINO::NAME,
        is_compiled_in: ep::OpenVINO::is_available,
        build: |setup| vec![openvino(setup).build()],
    },
];

/// TF32 keeps 10 bits of mantissa where f32 has 23: vectors would differ from every other device's.
/// The arena grows by what is needed, not by powers of two.
fn cuda(index: i32) -> ep::CUDA {
    let provider = ep::CUDA::default().with_device_id(index).with_tf32(false);
    provider.with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
}

/// Compiling takes minutes, so that engines and timings are kept. Without a profile TensorRT compiles
/// again for every shape that is larger than those before.
fn tensorrt(setup: &Setup) -> ep::TensorRT {
    let mut provider = ep::TensorRT::default().with_device_id(setup.index);
    provider = provider.with_fp16(setup.f16).with_bf16(setup.bf16).with_layer_norm_fp32_fallback(true);
    if let Some(folder) = &setup.cache {
        provider = provider.with_engine_cache(true).with_engine_cache_path(folder.display());
        provider = provider.with_timing_cache(true).with_timing_cache_path(folder.display());
    }
    if let Some(Profile { rows, tokens }) = setup.profile {
        provider = provider
            .with_profile_min_shapes(Profile::shapes(1, 1))
            .with_profile_opt_shapes(Profile::shapes(rows, tokens.min(USUAL_TOKENS)))
            .with_profile_max_shapes(Profile::shapes(rows, tokens));
    }
    if setup.outside_bytes > PROTOBUF_LIMIT {
        provider = provider.with_arbitrary_config("trt_load_user_initializer", "1");
    }
    provider
}

/// ML programs know more operators than the older format, and f32 on the CPU and the GPU.
fn coreml(setup: &Setup) -> ep::CoreML {
    let mut provider = ep::CoreML::default().with_model_format(ep::coreml::ModelFormat::MLProgram);
    if let Some(folder) = &setup.cache {
        provider = provider.with_model_cache_dir(folder.display());
    }
    provider
}

/// `ACCURACY` keeps the precision of the graph; the default on a GPU is f16.
fn openvino(setup: &Setup) -> ep::OpenVINO {
    let mut provider = ep::OpenVINO::default().with_precision("ACCURACY");
    if setup.threads > 0 {
        provider = provider.with_num_threads(setup.threads);
    }
    if let Some(folder) = &setup.cache {
        provider = provider.with_cache_dir(folder.display());
    }
    provider
}

/// A device of this backend, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    /// Index into the table of providers.
    provider: usize,
    /// Which of several devices of the kind.
    index: i32,
    /// How it is reported: `cpu`, `cuda:0`, `tensorrt`.
    pub(super) label: String,
}

impl Device {
    /// Reads `cpu`, `cuda`, `cuda:1`, `tensorrt`, `migraphx`, `directml`, `coreml` or `openvino`.
    ///
    /// # Errors
    /// `DEVICE_UNAVAILABLE` for a kind that ONNX Runtime has no provider for; `INVALID_OPTION` for an
    /// index that is none, or for one of a device that there is only one of.
    pub(super) fn parse(device: &str) -> Result<Self> {
        let (kind, index) = device.split_once(':').map_or((device, None), |(kind, index)| (kind, Some(index)));
        let Some(provider) = PROVIDERS.iter().position(|provider| provider.kind == kind) else {
            let known: Vec<_> = PROVIDERS.iter().map(|provider| provider.kind).collect();
            let reason = format!("ONNX Runtime has no provider of that name, only {}.", known.join(", "));
            return Err(unavailable(device, &reason));
        };
        let countable = !matches!(kind, "cpu" | "coreml" | "openvino");
        let number = match index.map(str::parse::<u16>) {
            None => 0,
            Some(Ok(number)) if countable => i32::from(number),
            Some(_) => {
                let expected = if countable { format!("{kind} or {kind}:0, {kind}:1 …") } else { kind.to_owned() };
                let message = format!("device {device:?} does not exist: expected {expected}.");
                return Err(Error::invalid_option("device", message));
            }
        };
        let label = match index {
            None if kind != "cuda" => kind.to_owned(),
            _ => format!("{kind}:{number}"),
        };
        Ok(Device { provider, index: number, label })
    }

    fn provider(&self) -> &'static Provider {
        &PROVIDERS[self.provider]
    }

    /// Whether it is the CPU.
    pub(super) fn is_cpu(&self) -> bool {
        self.provider == 0
    }

    /// The name that asks for it, without an index.
    pub(super) fn kind(&self) -> &'static str {
        self.provider().kind
    }

    /// Whether what it compiles is worth keeping.
    pub(super) fn compiles(&self) -> bool {
        matches!(self.kind(), "tensorrt" | "coreml" | "openvino")
    }

    /// Makes sure that the library has the device's provider and that it can be set up.
    ///
    /// # Errors
    /// `DEVICE_UNAVAILABLE` with the reason.
    pub(super) fn check(&self, runtime: &Runtime) -> Result<()> {
        let setup = Setup { index: self.index, ..Setup::default() };
        probe(self.provider(), runtime, &setup).map_err(|reason| unavailable(&self.label, &reason))
    }

    /// Adds the device's provider to a session that is being built. The CPU needs none.
    ///
    /// # Errors
    /// `DEVICE_UNAVAILABLE` with the reason.
    pub(super) fn register(&self, builder: &mut SessionBuilder, runtime: &Runtime, setup: &Setup) -> Result<()> {
        let setup = Setup { index: self.index, ..setup.clone() };
        register(self.provider(), builder, runtime, &setup).map_err(|reason| unavailable(&self.label, &reason))
    }

    /// Makes sure that the provider took at least one node of the graph, where ONNX Runtime tells.
    ///
    /// # Errors
    /// `DEVICE_UNAVAILABLE`: all of the graph would run elsewhere.
    pub(super) fn confirm(&self, session: &Session) -> Result<()> {
        if self.is_cpu() {
            return Ok(());
        }
        let name = self.provider().name;
        match assigned(session) {
            Some(used) if !used.iter().any(|used| used == name) => {
                let reason = format!("{name} takes no part of this graph; it would run on {}.", used.join(", "));
                Err(unavailable(&self.label, &reason))
            }
            _ => Ok(()),
        }
    }
}

/// The providers that run parts of the graph; `None` where the session did not record it.
pub(super) fn assigned(session: &Session) -> Option<Vec<String>> {
    let mut subgraphs: *const *const OrtEpAssignedSubgraph = ptr::null();
    let mut count = 0;
    let api = ort::api();
    // SAFETY: the session is alive, and both pointers lead to writable places of the right types.
    let status = unsafe { (api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &mut subgraphs, &mut count) };
    // SAFETY: the status is the one just given, and it is used once.
    unsafe { ort::Error::result_from_status(status) }.ok()?;
    if subgraphs.is_null() {
        return None;
    }
    let mut names = Vec::new();
    for index in 0..count {
        let mut name: *const c_char = ptr::null();
        // SAFETY: the call above gave `count` pointers, which live as long as the session.
        let status = unsafe { (api.EpAssignedSubgraph_GetEpName)(*subgraphs.add(index), &mut name) };
        // SAFETY: the status is the one just given, and it is used once.
        unsafe { ort::Error::result_from_status(status) }.ok()?;
        if name.is_null() {
            return None;
        }
        // SAFETY: a successful call gives a null-terminated string that lives as long as the session.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Some(names)
}

/// Every provider that this package knows, the unusable ones with the reason (for `doctor` and
/// `listDevices`).
///
/// A provider that the library has is tried by registering it, which loads its own libraries; no
/// model is needed.
pub fn providers(options: &OnnxOptions) -> Vec<ProviderInfo> {
    let runtime = runtime::open(options, "cpu");
    let report = |provider: &Provider| {
        let tried = runtime
            .as_ref()
            .map_err(|error| error.message.clone())
            .and_then(|runtime| probe(provider, runtime, &Setup::default()));
        ProviderInfo { kind: provider.kind, name: provider.name, available: tried.is_ok(), reason: tried.err() }
    };
    PROVIDERS.iter().map(report).collect()
}

fn probe(provider: &Provider, runtime: &Runtime, setup: &Setup) -> Result<(), String> {
    let builder = Session::builder(&runtime.environment);
    let mut builder = builder.map_err(|error| tidy(error.message()).to_owned())?;
    register(provider, &mut builder, runtime, setup)
}

fn register(provider: &Provider, builder: &mut SessionBuilder, runtime: &Runtime, setup: &Setup) -> Result<(), String> {
    if !(provider.is_compiled_in)().map_err(|error| tidy(error.message()).to_owned())? {
        return Err(not_compiled_in(provider, runtime));
    }
    preload::for_provider(provider.kind, &runtime.library);
    for dispatch in (provider.build)(setup) {
        dispatch.register(builder).map_err(|error| refusal(provider.kind, dispatch.name(), runtime, &error))?;
    }
    Ok(())
}

/// Microsoft's libraries know more providers than they come with: those are files of their own, which
/// need libraries of the device's maker.
fn refusal(kind: &str, name: &str, runtime: &Runtime, error: &ort::Error) -> String {
    let told = tidy(error.message());
    if !told.contains("Failed to load library") {
        return format!("{name} refuses: {told}");
    }
    if !installed::has_provider(&runtime.library, kind) {
        return format!("{told}. {}", remedy(kind, name));
    }
    let install = match kind {
        _ if told.contains("libcuda.so") => " It is part of NVIDIA's driver, which is not installed.",
        "cuda" => " `pip install \"onnxruntime-gpu[cuda,cudnn]\"` into the environment of that library brings them.",
        "tensorrt" => " NVIDIA's TensorRT, and what `pip install \"onnxruntime-gpu[cuda,cudnn]\"` brings, are needed.",
        _ => "",
    };
    format!("{told}. The provider is there, but libraries that it needs are not.{install}")
}

fn not_compiled_in(provider: &Provider, runtime: &Runtime) -> String {
    format!(
        "the ONNX Runtime {} at {} was built without {}. {}",
        runtime.version,
        runtime.library.display(),
        provider.name,
        remedy(provider.kind, provider.name)
    )
}

/// Which library to use, as the end of a message: one that is there, if any.
fn remedy(kind: &str, name: &str) -> String {
    match installed::with_provider(kind) {
        Some(library) => format!(
            "{} comes with it: set {ENVIRONMENT_VARIABLE} to that path and start the process again, since a process \
             has one ONNX Runtime.",
            library.display()
        ),
        None => format!("Set {ENVIRONMENT_VARIABLE} to a build of ONNX Runtime that comes with {name}."),
    }
}

fn unavailable(device: &str, reason: &str) -> Error {
    let message = format!("device {device:?} cannot be used for this model: {reason}");
    Error::new(Code::DeviceUnavailable, message).with("device", device).with("reason", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices() {
        for (asked, kind, index, label) in [
            ("cpu", "cpu", 0, "cpu"),
            ("cuda", "cuda", 0, "cuda:0"),
            ("cuda:1", "cuda", 1, "cuda:1"),
            ("tensorrt", "tensorrt", 0, "tensorrt"),
            ("tensorrt:2", "tensorrt", 2, "tensorrt:2"),
            ("migraphx", "migraphx", 0, "migraphx"),
            ("directml:1", "directml", 1, "directml:1"),
            ("coreml", "coreml", 0, "coreml"),
            ("openvino", "openvino", 0, "openvino"),
        ] {
            let device = Device::parse(asked).expect(asked);
            assert_eq!((device.provider().kind, device.index, device.label.as_str()), (kind, index, label));
        }
    }

    #[test]
    fn names_of_no_device() {
        for (asked, code) in [
            ("metal", Code::DeviceUnavailable),
            ("", Code::DeviceUnavailable),
            ("cuda:x", Code::InvalidOption),
            ("cuda:-1", Code::InvalidOption),
            ("cuda:99999", Code::InvalidOption),
            ("cpu:0", Code::InvalidOption),
            ("coreml:1", Code::InvalidOption),
        ] {
            assert_eq!(Device::parse(asked).expect_err(asked).code, code, "{asked}");
        }
    }
}
