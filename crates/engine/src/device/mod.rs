//! Finds devices, vouches for them, tells why not.

mod cards;
mod choose;
mod cpu;
pub mod cuda;
mod memory;
pub mod metal;
mod selection;

use serde::Serialize;
use serde_json::Value;

use crate::backend::onnx::{self, OnnxOptions, ProviderInfo};
use crate::error::Result;

pub use choose::choose;
pub use cuda::Host;
pub use selection::{DeviceId, Request, Selection};

/// A device that this build knows, usable or not.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceInfo {
    /// `cpu`, `cuda:0`, …
    pub id: String,
    /// `cpu`, `cuda`, `tensorrt`, `migraphx`, `directml`, `coreml`, `openvino`, `metal`
    pub kind: String,
    /// What the maker calls it.
    pub name: String,
    /// Whether it can be used.
    pub available: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_total: Option<u64>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_free: Option<u64>,
    /// What else is known, such as CPU features.
    pub details: serde_json::Map<String, Value>,
}

/// A kind of device that is no CPU: what it is called, and where it can exist.
struct Accelerator {
    kind: &'static str,
    name: &'static str,
    systems: &'static [&'static str],
}

/// In the order in which they are listed. `auto` looks at the first only: the others are for who names them.
const ACCELERATORS: &[Accelerator] = &[
    Accelerator { kind: "cuda", name: "NVIDIA GPU (CUDA)", systems: &["linux", "windows"] },
    Accelerator { kind: "tensorrt", name: "NVIDIA GPU (TensorRT)", systems: &["linux", "windows"] },
    Accelerator { kind: "migraphx", name: "AMD GPU (MIGraphX)", systems: &["linux"] },
    Accelerator { kind: "directml", name: "GPU (DirectML)", systems: &["windows"] },
    Accelerator { kind: "coreml", name: "Apple Neural Engine and GPU (Core ML)", systems: &["macos"] },
    Accelerator { kind: "openvino", name: "Intel CPU, GPU and NPU (OpenVINO)", systems: &["linux", "windows"] },
    Accelerator { kind: "metal", name: "Apple GPU (Metal)", systems: &["macos"] },
];

impl Accelerator {
    /// Why it cannot be used, by our own encoders nor by ONNX Runtime.
    fn reason(&self, provider: Option<&ProviderInfo>) -> String {
        let here = std::env::consts::OS;
        if !self.systems.contains(&here) {
            return format!("{} exists on {} only, and this is {here}.", self.name, self.systems.join(" and "));
        }
        let own = format!("This build of embedding-engine has no encoders of its own for {}.", self.name);
        match provider.and_then(|provider| provider.reason.as_deref()) {
            Some(reason) => format!("{own} In ONNX Runtime: {}", sentence(plain(reason))),
            None => own,
        }
    }
}

/// Without what ONNX Runtime puts before its messages: source line, function, code.
fn plain(reason: &str) -> &str {
    reason.rsplit("[ONNXRuntimeError]").next().and_then(|rest| rest.splitn(4, " : ").nth(3)).unwrap_or(reason)
}

/// Ends with one full stop.
fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end().trim_end_matches('.'))
}

/// Every device that this build knows, the unusable ones with the reason. The CPU comes first.
///
/// A device that only ONNX Runtime reaches is available for models that are exported to ONNX, and for those whose
/// graph we write (Qwen, BERT); `details.backends` says so. Each NVIDIA card is a device of its own.
pub fn list(onnx: &OnnxOptions, host: &Host) -> Vec<DeviceInfo> {
    let providers = onnx::providers(onnx);
    let provider = |kind: &str| providers.iter().find(|provider| provider.kind == kind);
    let mut cpu = cpu::info();
    cpu.details.insert("backends".to_owned(), backends(true, provider("cpu")));
    let verdict = cuda::find(host);
    let accelerators = ACCELERATORS.iter().flat_map(|accelerator| {
        let provider = provider(accelerator.kind);
        if accelerator.kind == "cuda" {
            return cards::list(accelerator, &verdict, provider);
        }
        // Metal is ours alone, all others are ONNX Runtime's.
        let own = (accelerator.kind == "metal" && metal::compiled_in()).then(metal::try_device);
        let ours = own == Some(Ok(()));
        let available = ours || provider.is_some_and(|provider| provider.available);
        let reason = match own {
            Some(Err(reason)) => sentence(&reason),
            _ => accelerator.reason(provider),
        };
        let mut details = serde_json::Map::new();
        details.insert("backends".to_owned(), backends(ours, provider));
        vec![DeviceInfo {
            id: accelerator.kind.to_owned(),
            kind: accelerator.kind.to_owned(),
            name: accelerator.name.to_owned(),
            available,
            reason: (!available).then_some(reason),
            memory_total: None,
            memory_free: None,
            details,
        }]
    });
    std::iter::once(cpu).chain(accelerators).collect()
}

/// Which backends can use a device.
fn backends(candle: bool, provider: Option<&ProviderInfo>) -> Value {
    let onnx = provider.is_some_and(|provider| provider.available);
    let both = [("candle", candle), ("onnx", onnx)];
    both.into_iter().filter_map(|(name, usable)| usable.then_some(name)).collect()
}

/// Whether `name` is one that [`choose`] knows, usable or not; `option` is where it was given.
///
/// # Errors
/// `INVALID_OPTION` with the names that exist.
pub fn check_name(name: &str, option: &str) -> Result<()> {
    request(name, option).map(|_| ())
}

/// Reads a name of the option `device`.
fn request(name: &str, option: &str) -> Result<Request> {
    let kinds: Vec<&'static str> = std::iter::once("cpu").chain(ACCELERATORS.iter().map(|a| a.kind)).collect();
    Request::parse(name, option, &kinds)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::Code;

    #[test]
    fn the_cpu_can_be_used_and_is_described() {
        let devices = list(&OnnxOptions::default(), &Host::default());
        let cpu = &devices[0];
        assert!(cpu.available && cpu.reason.is_none());
        assert!(!cpu.name.is_empty());
        assert!(cpu.details["logicalCores"].as_u64().unwrap() >= 1);
        assert!(cpu.details["features"].is_array());
        #[cfg(target_os = "linux")]
        assert!(cpu.memory_free.unwrap() <= cpu.memory_total.unwrap());
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        for device in &list(&OnnxOptions::default(), &Host::default())[1..] {
            assert_eq!(device.reason.is_none(), device.available);
            assert!(device.reason.as_ref().is_none_or(|reason| reason.ends_with('.')));
            let error = choose(&device.id, 0, &Host::default()).unwrap_err();
            assert_eq!(error.code, Code::DeviceUnavailable);
            assert_eq!(error.details["attempts"][0]["device"], device.id);
            let reason = error.details["attempts"][0]["reason"].as_str().unwrap();
            assert!(reason.ends_with('.') && error.message.contains(reason), "{}", error.message);
        }
        let error = choose("metal:1", 0, &Host::default()).unwrap_err();
        assert_eq!(error.details["attempts"][0]["device"], "metal:1");
    }

    #[test]
    fn reasons_are_for_people() {
        let raw =
            "/src/provider.cc:1988 Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load library x.so with error: no";
        assert_eq!(sentence(plain(raw)), "Failed to load library x.so with error: no.");
        assert_eq!(sentence(plain("There is none.")), "There is none.");
    }

    #[test]
    fn the_list_is_what_the_public_api_says() {
        let devices = serde_json::to_value(list(&OnnxOptions::default(), &Host::default())).unwrap();
        let cpu = &devices[0];
        assert_eq!((cpu["id"].as_str(), cpu["kind"].as_str()), (Some("cpu"), Some("cpu")));
        let kinds: Vec<&str> =
            devices.as_array().unwrap().iter().filter_map(|device| device["kind"].as_str()).collect();
        assert_eq!(kinds, ["cpu", "cuda", "tensorrt", "migraphx", "directml", "coreml", "openvino", "metal"]);
    }
}
