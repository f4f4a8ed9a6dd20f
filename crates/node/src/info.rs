//! What the core knows of itself and of this machine.

use embedding_engine::device::cuda;
use embedding_engine::engine::{self, EngineOptions};
use napi::bindgen_prelude::{Env, Object};
use napi_derive::napi;
use serde_json::json;

use crate::errors::{guarded, guarded_napi, to_napi};
use crate::promise::{in_background, promise};

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

/// JSON of where a model lies: `{ id, revision, path }`. No network.
#[napi]
pub fn model_path(options_json: String, model: String) -> napi::Result<String> {
    guarded(|| {
        let options = EngineOptions::from_json(&options_json)?;
        let found = engine::model_path(&options, &model)?;
        Ok(json!({ "id": found.id, "revision": found.revision, "path": found.root }).to_string())
    })
}

/// Removes a model from the hub cache; JSON of what was removed: `{ id, revisions, bytes, path }`.
#[napi]
pub fn remove_model(options_json: String, model: String) -> napi::Result<String> {
    guarded(|| {
        let options = EngineOptions::from_json(&options_json)?;
        Ok(json!(engine::remove_model(&options, &model)?).to_string())
    })
}

/// JSON of where the hub is and whether it answers: `{ endpoint, offline, token, answers?, milliseconds?,
/// reason? }`. Takes 2.5 s at most.
#[napi(ts_return_type = "Promise<string>")]
pub fn hub_status(env: &Env, options_json: String) -> napi::Result<Object<'_>> {
    guarded_napi(|| {
        let options = EngineOptions::from_json(&options_json).map_err(to_napi)?;
        let convert = |status: engine::HubStatus| json!(status).to_string();
        promise(env, None, convert, |done| {
            in_background("embedding-hub", done, move || Ok(engine::hub_status(&options)));
        })
    })
}

/// Tries CUDA's libraries as the environment says, and tells of it on stdout. For a process of its own only, which
/// it may end.
#[napi]
pub fn probe_cuda() -> napi::Result<()> {
    guarded(|| {
        cuda::probe_main(&std::env::var(cuda::TRIAL_VARIABLE).unwrap_or_default());
        Ok(())
    })
}

/// The version of the core.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
