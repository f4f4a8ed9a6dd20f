//! What the core knows of itself and of this machine.

use embedding_engine::engine::{self, EngineOptions};
use napi_derive::napi;
use serde_json::json;

use crate::errors::guarded;

/// JSON of every device that this build knows, the unusable ones with the reason.
///
/// @param optionsJson as for NativeEngine; `onnxRuntime` tells which library is asked
#[napi]
pub fn list_devices(options_json: Option<String>) -> napi::Result<String> {
    guarded(|| {
        let options = EngineOptions::from_json(options_json.as_deref().unwrap_or("{}"))?;
        Ok(json!(engine::list_devices(&options)).to_string())
    })
}

/// JSON of the models that are known by name or lie in the hub cache.
#[napi]
pub fn list_models(options_json: String) -> napi::Result<String> {
    guarded(|| {
        let options = EngineOptions::from_json(&options_json)?;
        Ok(json!(engine::list_models(&options)?).to_string())
    })
}

/// JSON with what the core knows of itself and its surroundings.
#[napi]
pub fn doctor(options_json: String) -> napi::Result<String> {
    guarded(|| {
        let options = EngineOptions::from_json(&options_json)?;
        Ok(engine::doctor(&options).to_string())
    })
}

/// The version of the core.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
