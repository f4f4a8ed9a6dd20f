//! Reading options from JSON so that an error names the option and the value that it had.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Code, Error, Result};

/// As much of a value as a message shows.
const SHOWN: usize = 80;

/// Parses a JSON object; members that are null count as absent.
pub(super) fn object(json: &str, what: &str) -> Result<Map<String, Value>> {
    let value = serde_json::from_str(json)
        .map_err(|error| Error::new(Code::InvalidInput, format!("The {what} are no JSON: {error}.")))?;
    let Value::Object(mut members) = value else {
        return Err(Error::new(Code::InvalidInput, format!("The {what} must be a JSON object, not {}.", show(&value))));
    };
    members.retain(|_, value| !value.is_null());
    Ok(members)
}

/// Reads one option; `expected` completes "must be …".
pub(super) fn option<T: DeserializeOwned>(name: &str, value: &Value, expected: &str) -> Result<T> {
    T::deserialize(value).map_err(|_| refused(name, value, expected))
}

/// `INVALID_OPTION` for a value that an option does not take.
pub(super) fn refused(name: &str, value: &Value, expected: &str) -> Error {
    Error::invalid_option(name, format!("{name} must be {expected}, not {}.", show(value))).with("value", value.clone())
}

/// `INVALID_OPTION` for an option that does not exist.
pub(super) fn unknown(name: &str, known: &[&str]) -> Error {
    Error::invalid_option(name, format!("There is no option {name}. The options are {}.", known.join(", ")))
}

/// A value as a message shows it.
pub(super) fn show(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
