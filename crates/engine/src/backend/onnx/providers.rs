//! Execution providers: which device name is which provider, whether the library has it, and
//! whether it really took the graph.
//!
//! ONNX Runtime falls back to the CPU silently: at registration, unless asked not to, and again when
//! a provider takes none of the nodes. Both are errors here.

use std::ffi::{CStr, c_char};
use std::path::PathBuf;
use std::ptr;

use ort::AsPointer;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::sys::{ORT_API_VERSION, OrtEpAssignedSubgraph};

use super::message::tidy;
use super::runtime::{self, ENVIRONMENT_VARIABLE, Runtime};
use super::setup::{PROVIDERS, Provider, Setup};
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
    let windows = std::env::var_os("SystemRoot").map(PathBuf::from);
    if provider.kind == "directml" && !installed::finds_directml(&runtime.library, windows.as_deref()) {
        let library = runtime.library.display();
        let remedy = remedy(provider.kind, provider.name);
        return Err(format!("DirectML.dll is neither beside {library} nor in the system's folder. {remedy}"));
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
        None => {
            let old = installed::too_old_with_provider(kind).map_or_else(String::new, |library| {
                format!(" {} has it, but is too old: install a newer version of its package.", library.display())
            });
            format!(
                "Set {ENVIRONMENT_VARIABLE} to a build of ONNX Runtime 1.{ORT_API_VERSION} or newer that comes with \
                 {name}.{old}"
            )
        }
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
