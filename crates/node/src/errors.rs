//! Errors and panics on their way to JavaScript.

use std::panic::{AssertUnwindSafe, catch_unwind};

use embedding_engine::{Error, Result};
use napi::Status;
use serde_json::json;

/// An error whose message is JSON, because napi carries nothing but a message.
pub(crate) fn to_napi(error: Error) -> napi::Error {
    let Error { code, message, details } = error;
    let json = json!({ "code": code.as_str(), "message": message, "details": details });
    napi::Error::new(Status::GenericFailure, json.to_string())
}

/// Runs what JavaScript called. A panic must not unwind into Node, where it would end the process.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> napi::Result<T> {
    guarded_napi(|| work().map_err(to_napi))
}

/// As [`guarded`], for work that calls napi.
pub(crate) fn guarded_napi<T>(work: impl FnOnce() -> napi::Result<T>) -> napi::Result<T> {
    // What the work was changing is given up with its error.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<&str>().copied();
        let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(to_napi(Error::internal(format!(
            "A bug in embedding-engine: {}. This call failed, later ones work; please report it.",
            message.unwrap_or("a panic without a message")
        ))))
    })
}
