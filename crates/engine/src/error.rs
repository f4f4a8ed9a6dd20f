//! The one error type of the core: a stable code, a message that says what happened, with which
//! value and what to do next, and details for programs.

use serde_json::{Map, Value};

/// Stable error codes, as the TypeScript side and its users see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum Code {
    /// An argument is not of the form that the call takes.
    InvalidInput,
    /// An option has a value that it does not take, or that this model does not have.
    InvalidOption,
    /// A text without content.
    EmptyText,
    /// A text exceeds the model's limit and `truncate` is off.
    TextTooLong,
    /// Neither a folder, nor in the hub cache, nor on the hub; or the hub has no such revision.
    ModelNotFound,
    /// The model is of a kind that this package does not run.
    ModelUnsupported,
    /// The files of the model are broken.
    BadCheckpoint,
    /// The hub refuses access (gated repository or wrong token).
    AccessDenied,
    /// The transfer failed.
    DownloadFailed,
    /// A file does not have the hash that the hub states.
    IntegrityFailed,
    /// The network is needed but may not be used.
    Offline,
    /// No space left for a file.
    DiskFull,
    /// The device that was asked for cannot be used.
    DeviceUnavailable,
    /// An allocation failed, or the memory limit does not allow the work.
    OutOfMemory,
    /// More tokens wait than `maxQueuedTokens` allows.
    QueueFull,
    /// The model computed NaN, infinity or a zero vector.
    NonFinite,
    /// The result would lie in another space than the one that was asked for.
    SpaceMismatch,
    /// Every provider failed.
    ProviderFailed,
    /// The engine was disposed.
    Disposed,
    /// A native library (the addon, ONNX Runtime) cannot be loaded.
    NativeLoadFailed,
    /// The call was cancelled by its caller.
    Aborted,
    /// A bug in this package: please report it.
    Internal,
}

impl Code {
    /// The code as users see it, such as `MODEL_NOT_FOUND`.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidInput => "INVALID_INPUT",
            Code::InvalidOption => "INVALID_OPTION",
            Code::EmptyText => "EMPTY_TEXT",
            Code::TextTooLong => "TEXT_TOO_LONG",
            Code::ModelNotFound => "MODEL_NOT_FOUND",
            Code::ModelUnsupported => "MODEL_UNSUPPORTED",
            Code::BadCheckpoint => "BAD_CHECKPOINT",
            Code::AccessDenied => "ACCESS_DENIED",
            Code::DownloadFailed => "DOWNLOAD_FAILED",
            Code::IntegrityFailed => "INTEGRITY_FAILED",
            Code::Offline => "OFFLINE",
            Code::DiskFull => "DISK_FULL",
            Code::DeviceUnavailable => "DEVICE_UNAVAILABLE",
            Code::OutOfMemory => "OUT_OF_MEMORY",
            Code::QueueFull => "QUEUE_FULL",
            Code::NonFinite => "NON_FINITE",
            Code::SpaceMismatch => "SPACE_MISMATCH",
            Code::ProviderFailed => "PROVIDER_FAILED",
            Code::Disposed => "DISPOSED",
            Code::NativeLoadFailed => "NATIVE_LOAD_FAILED",
            Code::Aborted => "ABORTED",
            Code::Internal => "INTERNAL",
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error with a stable [`Code`].
///
/// Cheap to clone, because one failed batch or load is told to every call that waited for it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of failure it is.
    pub code: Code,
    /// What happened, with which value, and what to do.
    pub message: String,
    /// Values for programs, such as `{"index": 3, "limit": 512}`.
    pub details: Map<String, Value>,
}

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with no details yet.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Error { code, message: message.into(), details: Map::new() }
    }

    /// Adds one detail.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    /// [`Code::ModelUnsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Code::ModelUnsupported, message)
    }

    /// [`Code::BadCheckpoint`] for the given file.
    pub fn bad_checkpoint(file: impl AsRef<std::path::Path>, message: impl std::fmt::Display) -> Self {
        let file = file.as_ref().display().to_string();
        Self::new(Code::BadCheckpoint, format!("{file}: {message}")).with("file", file)
    }

    /// [`Code::InvalidOption`] for the named option.
    pub fn invalid_option(option: &str, message: impl Into<String>) -> Self {
        Self::new(Code::InvalidOption, message).with("option", option)
    }

    /// [`Code::Internal`]: something that cannot happen did.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// [`Code::Aborted`].
    pub fn aborted() -> Self {
        Self::new(Code::Aborted, "The call was cancelled.")
    }
}
