//! Finding and initialising the ONNX Runtime library, once per process.
//!
//! The library is loaded by its absolute path and looked at before `ort` takes it: `ort` keeps the
//! first one for the life of the process, resolves relative paths against the `node` executable and
//! panics where a library is not what it seems.

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use libloading::{Library, Symbol};
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::sys::{ORT_API_VERSION, OrtApiBase};
use serde_json::json;

use super::{OnnxOptions, installed};
use crate::error::{Code, Error, Result};

/// Names the library where [`OnnxOptions::library`] does not.
pub(super) const ENVIRONMENT_VARIABLE: &str = "EMBEDDING_ENGINE_ONNXRUNTIME";

/// The library of this process, initialised.
#[derive(Clone)]
pub(super) struct Runtime {
    /// What sessions are opened in. Kept for the life of the process: there can be no second one.
    pub(super) environment: Environment,
    /// Absolute path of the library.
    pub(super) library: PathBuf,
    /// Its version, such as `1.30.0`.
    pub(super) version: String,
    /// Whether it was found, and not named by anybody.
    found: bool,
}

static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

/// Loads the library for a device of `kind`, or gives the one that is loaded: the one that `options` or the
/// environment name; where the environment names none and that one comes without a provider for the
/// device, one of an installed Python package that has it.
///
/// # Errors
/// `NATIVE_LOAD_FAILED` with every path that was tried and its reason (`details.attempts`), or
/// because this process runs another library already.
pub(super) fn open(options: &OnnxOptions, kind: &str) -> Result<Runtime> {
    let wanted = wanted(options);
    let is_free = from_environment().is_none();
    // Nothing that runs under the lock leaves it half done, so a poisoned one is still good.
    let mut loaded = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*loaded {
        let found = is_free && runtime.found;
        return match wanted {
            Some(path) if !found && !candidates(&path).iter().any(|path| same_file(path, &runtime.library)) => {
                Err(second(&path, runtime))
            }
            _ => Ok(runtime.clone()),
        };
    }
    let has = wanted.as_ref().is_some_and(|path| installed::has_provider(path, kind));
    let found = if is_free && !has { installed::with_provider(kind) } else { None };
    if found.is_none() && wanted.is_none() {
        return Err(none_named());
    }
    let mut attempts = Vec::new();
    let named = wanted.iter().flat_map(|path| candidates(path)).map(|path| (path, false));
    for (path, found) in found.into_iter().map(|path| (path, true)).chain(named) {
        match initialise(&path) {
            Ok(runtime) => return Ok(loaded.insert(Runtime { found, ..runtime }).clone()),
            Err(reason) => attempts.push((path, reason)),
        }
    }
    Err(all_failed(&attempts))
}

/// What the environment names; empty is not set.
fn from_environment() -> Option<PathBuf> {
    std::env::var_os(ENVIRONMENT_VARIABLE).map(PathBuf::from).filter(|path| !path.as_os_str().is_empty())
}

/// The path that the caller or the environment names, made absolute; empty is not set.
fn wanted(options: &OnnxOptions) -> Option<PathBuf> {
    let given = options.library.clone().or_else(from_environment).filter(|path| !path.as_os_str().is_empty())?;
    Some(std::path::absolute(&given).unwrap_or(given))
}

/// The files that a path stands for: itself, or what lies in a folder under one of the library's names.
pub(super) fn candidates(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let is_library = |name: &str| match std::env::consts::OS {
        "windows" => name.eq_ignore_ascii_case("onnxruntime.dll"),
        "macos" => name.starts_with("libonnxruntime.") && name.ends_with(".dylib"),
        _ => name == "libonnxruntime.so" || name.starts_with("libonnxruntime.so."),
    };
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut found: Vec<_> =
        entries.filter(|entry| entry.file_name().to_str().is_some_and(is_library)).map(|entry| entry.path()).collect();
    found.sort();
    if found.is_empty() { vec![path.to_owned()] } else { found }
}

fn same_file(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Loads one library and creates the environment; the reason if that fails.
fn initialise(path: &Path) -> Result<Runtime, String> {
    let (_library, version) = examine(path)?;
    let created = catch_unwind(AssertUnwindSafe(|| create_environment(path)));
    let environment = created.unwrap_or_else(|_| Err("initialising it failed with a panic".to_owned()))?;
    Ok(Runtime { environment, library: path.to_owned(), version, found: false })
}

/// Loads a library and makes sure that it is an ONNX Runtime that is new enough. Gives its version
/// and a handle, to be kept until `ort` has its own.
fn examine(path: &Path) -> Result<(Library, String), String> {
    let metadata = path.metadata().map_err(|error| error.to_string())?;
    if metadata.is_dir() {
        return Err("is a folder without an ONNX Runtime library in it".to_owned());
    }
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    // SAFETY: loading runs the library's initialisers. It is the file that the user named as ONNX
    // Runtime, whose initialisers have no requirements.
    let library = unsafe { Library::new(path) }.map_err(|error| causes(&error))?;
    let base = {
        // SAFETY: `OrtGetApiBase` has this signature in every release (onnxruntime_c_api.h), and no
        // other library exports the name.
        let entry: Symbol<'_, unsafe extern "C" fn() -> *const OrtApiBase> = unsafe { library.get(b"OrtGetApiBase\0") }
            .map_err(|_| "is not ONNX Runtime: it does not export OrtGetApiBase".to_owned())?;
        // SAFETY: the function takes nothing and gives a pointer to a static table or null.
        unsafe { entry().as_ref() }.ok_or("is not a usable ONNX Runtime: OrtGetApiBase gives nothing")?
    };
    // SAFETY: `GetVersionString` gives a static, null-terminated string for as long as the library
    // is loaded, and `library` outlives this borrow.
    let version = unsafe { CStr::from_ptr((base.GetVersionString)()) }.to_string_lossy().into_owned();
    if !new_enough(&version) {
        return Err(format!("is ONNX Runtime {version}, but 1.{ORT_API_VERSION} or newer is needed"));
    }
    // SAFETY: `GetApi` may be called with any version and gives null for one that it does not have.
    if unsafe { (base.GetApi)(ORT_API_VERSION) }.is_null() {
        return Err(format!("is ONNX Runtime {version}, which does not offer API {ORT_API_VERSION}"));
    }
    Ok((library, version))
}

/// `1.x.y` with x at least the API that we were built for. A release 2 may break it.
pub(super) fn new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    parts.next() == Some(Some(1)) && parts.next().flatten().is_some_and(|minor| minor >= ORT_API_VERSION)
}

/// An error with its causes, which is where the loader's own words are.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn create_environment(path: &Path) -> Result<Environment, String> {
    let builder = ort::init_from(path).map_err(|error| error.to_string())?;
    let builder = builder.with_name("embedding-engine").with_telemetry(false);
    // A library writes nothing to the program's stderr: what matters comes back as an error. Whoever
    // debugs sets ort's own variable and sees all of it.
    if std::env::var_os("ORT_LOG").is_some() {
        return builder.build().map_err(|error| error.to_string());
    }
    let silent = Arc::new(|_: LogLevel, _: &str, _: &str, _: &str, _: &str| {});
    let environment = builder.with_logger(silent).build().map_err(|error| error.to_string())?;
    environment.set_log_level(LogLevel::Fatal);
    Ok(environment)
}

/// How to get the library, as the end of a message.
fn remedy() -> String {
    let file = match std::env::consts::OS {
        "windows" => "onnxruntime.dll",
        "macos" => "libonnxruntime.dylib",
        _ => "libonnxruntime.so",
    };
    format!(
        "Install it with `npm install onnxruntime-node`, or set {ENVIRONMENT_VARIABLE} to the path of {file} \
         (1.{ORT_API_VERSION} or newer)."
    )
}

fn none_named() -> Error {
    let message = format!("ONNX models need the ONNX Runtime library, and none was found. {}", remedy());
    Error::new(Code::NativeLoadFailed, message).with("attempts", json!([]))
}

fn all_failed(attempts: &[(PathBuf, String)]) -> Error {
    let tried: Vec<_> = attempts.iter().map(|(path, reason)| format!("{}: {reason}", path.display())).collect();
    let message = format!("The ONNX Runtime library cannot be loaded. {}. {}", tried.join("; "), remedy());
    let details: Vec<_> =
        attempts.iter().map(|(path, reason)| json!({ "path": path.display().to_string(), "reason": reason })).collect();
    Error::new(Code::NativeLoadFailed, message).with("attempts", details)
}

fn second(path: &Path, runtime: &Runtime) -> Error {
    let (library, version) = (runtime.library.display(), &runtime.version);
    let message = format!(
        "{} cannot be loaded, because this process already runs ONNX Runtime {version} from {library}, \
         and a process can have only one. Name the same library everywhere, or start a new process.",
        path.display()
    );
    Error::new(Code::NativeLoadFailed, message).with("loaded", library.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert!(new_enough("1.30.0"));
        assert!(new_enough("1.32.1-dev"));
        for old in ["1.29.3", "1.9.0", "0.40.0", "2.0.0", "1", "", "one.two"] {
            assert!(!new_enough(old), "{old}");
        }
    }

    #[test]
    fn a_relative_path_counts_from_the_working_directory() {
        let options = OnnxOptions { library: Some("lib/x.so".into()), ..OnnxOptions::default() };
        let expected = std::env::current_dir().expect("a working directory").join("lib/x.so");
        assert_eq!(wanted(&options), Some(expected));
        let empty = OnnxOptions { library: Some("".into()), ..OnnxOptions::default() };
        assert_eq!(wanted(&empty), None);
    }

    #[test]
    fn what_is_not_a_library_is_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = folder.path().join("text.so");
        std::fs::write(&text, "not a library").expect("written");
        assert!(
            examine(&folder.path().join("absent.so")).expect_err("absent").contains("No such file") || cfg!(windows)
        );
        assert!(examine(folder.path()).expect_err("a folder").contains("folder"));
        assert!(!examine(&text).expect_err("text").is_empty());
    }

    #[test]
    fn a_folder_stands_for_the_libraries_in_it() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(candidates(folder.path()), [folder.path()]);
        let names: &[&str] = match std::env::consts::OS {
            "windows" => &["onnxruntime.dll"],
            "macos" => &["libonnxruntime.1.dylib", "libonnxruntime.dylib"],
            _ => &["libonnxruntime.so", "libonnxruntime.so.1"],
        };
        for name in names.iter().chain(&["libonnxruntime_providers_cuda.so", "onnxruntime_binding.node"]) {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        let expected: Vec<_> = names.iter().map(|name| folder.path().join(name)).collect();
        assert_eq!(candidates(folder.path()), expected);
    }
}
