//! Finds devices, vouches for them, tells why not.

use serde::Serialize;

use crate::error::{Code, Error, Result};

/// A device that this build knows, usable or not.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceInfo {
    /// `cpu`, `cuda:0`, …
    pub id: String,
    /// `cpu`, `cuda`, `tensorrt`, `migraphx`, `directml`, `coreml`, `metal`
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
    pub details: serde_json::Map<String, serde_json::Value>,
}

/// Every device that this build knows, the unusable ones with the reason.
pub fn list() -> Vec<DeviceInfo> {
    Vec::new()
}

/// The device to use for a request such as `auto`, `cpu` or `cuda:1`.
///
/// # Errors
/// `DEVICE_UNAVAILABLE` with every attempt and its reason; `INVALID_OPTION` for a name that does not exist.
pub fn choose(request: &str) -> Result<String> {
    match request {
        "auto" | "cpu" => Ok("cpu".to_owned()),
        other => Err(Error::new(Code::DeviceUnavailable, other)),
    }
}
