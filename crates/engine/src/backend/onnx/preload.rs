//! Libraries that a provider of a Python package needs: pip puts them where the loader does not look.
//!
//! Python's package loads them before its provider (`onnxruntime.preload_dlls`). A library that is loaded
//! already serves every later one that names it.

use std::path::{Path, PathBuf};

/// Names of libraries, each before those that need it: CUDA, cuDNN, then TensorRT.
const NEEDED: [&str; 12] = [
    "libcudart.so.",
    "libnvJitLink.so.",
    "libcublasLt.so.",
    "libcublas.so.",
    "libnvrtc.so.",
    "libcurand.so.",
    "libcufft.so.",
    "libcudnn.so.",
    "libnvinfer.so.",
    "libnvinfer_plugin.so.",
    "libnvonnxparser.so.",
    "libnvinfer_builder_resource.so.",
];

/// Loads what pip installed for the provider of `kind` beside the package that `runtime` is of, if it is of
/// one. What is missing is told by the provider when it does not load.
pub(super) fn for_provider(kind: &str, runtime: &Path) {
    if cfg!(target_os = "linux") && matches!(kind, "cuda" | "tensorrt") {
        for file in needed(runtime) {
            load(&file);
        }
    }
}

/// The files, in the order in which they must be loaded.
fn needed(runtime: &Path) -> Vec<PathBuf> {
    // site-packages/onnxruntime/capi/libonnxruntime.so
    let Some(packages) =
        runtime.ancestors().nth(3).filter(|_| runtime.parent().is_some_and(|at| at.ends_with("onnxruntime/capi")))
    else {
        return Vec::new();
    };
    let mut folders = children(&packages.join("nvidia")).iter().map(|package| package.join("lib")).collect::<Vec<_>>();
    folders.push(packages.join("tensorrt_libs"));
    let files: Vec<PathBuf> = folders.iter().flat_map(|folder| children(folder)).collect();
    let named = |file: &Path, start: &str| {
        file.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(start))
    };
    NEEDED.iter().flat_map(|start| files.iter().filter(move |file| named(file, start)).cloned()).collect()
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

#[cfg(target_os = "linux")]
fn load(file: &Path) {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: loading runs the initialisers of a library of NVIDIA's, which the provider, that the user asked
    // for, would run by the same call.
    if let Ok(library) = unsafe { Library::open(Some(file), RTLD_NOW | RTLD_GLOBAL) } {
        // It must stay for as long as the provider, which is for the life of the process.
        std::mem::forget(library);
    }
}

#[cfg(not(target_os = "linux"))]
fn load(_file: &Path) {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_pip_installed_in_the_order_of_need() {
        let packages = tempfile::tempdir().unwrap();
        let file = |path: &str| {
            let file = packages.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "").unwrap();
            file
        };
        let runtime = file("onnxruntime/capi/libonnxruntime.so.1.31.1");
        assert!(needed(&runtime).is_empty());
        let blas = file("nvidia/cu13/lib/libcublas.so.13");
        let light = file("nvidia/cu13/lib/libcublasLt.so.13");
        let dnn = file("nvidia/cudnn/lib/libcudnn.so.9");
        file("nvidia/cudnn/lib/libother.so.1");
        let tensorrt = file("tensorrt_libs/libnvinfer.so.10");
        assert_eq!(needed(&runtime), [light, blas, dnn, tensorrt]);
        assert!(needed(&packages.path().join("libonnxruntime.so")).is_empty());
    }
}
