//! ONNX Runtime libraries of Python packages: `onnxruntime-gpu` and its like come with providers that the
//! library of our package does not have. Looked for without starting Python.

use std::env::consts::OS;
use std::ffi::OsString;
use std::fs::read_dir;
use std::path::{Path, PathBuf};

/// Reads a variable of the environment.
type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// An installed library that comes with the provider for devices of `kind`: of the active virtual or conda
/// environment, of the user, of the system.
pub(super) fn with_provider(kind: &str) -> Option<PathBuf> {
    find(kind, &roots_here(), true)
}

/// One that would do, if its version, which its name tells, were not too old for us.
pub(super) fn too_old_with_provider(kind: &str) -> Option<PathBuf> {
    find(kind, &roots_here(), false)
}

fn roots_here() -> Vec<PathBuf> {
    roots(&|name: &str| std::env::var_os(name).filter(|value| !value.is_empty()))
}

/// Whether a library, or a folder of libraries, has the file of the provider for `kind` beside it.
pub(super) fn has_provider(library: &Path, kind: &str) -> bool {
    let folder = if library.is_dir() { Some(library) } else { library.parent() };
    marker(kind).is_some_and(|file| folder.is_some_and(|folder| folder.join(file).is_file()))
}

/// Whether Windows, which lies in `windows`, finds DirectML for a library: beside it, or its own. ONNX Runtime loads it
/// only when it is used, and where there is none that ends the process.
pub(super) fn finds_directml(library: &Path, windows: Option<&Path>) -> bool {
    has_provider(library, "directml")
        || windows.is_some_and(|windows| windows.join("System32").join("DirectML.dll").is_file())
}

/// The file that only builds with a provider have; `None` for providers that are no file of their own.
fn marker(kind: &str) -> Option<String> {
    match kind {
        "cuda" | "tensorrt" | "migraphx" | "openvino" => Some(match OS {
            "windows" => format!("onnxruntime_providers_{kind}.dll"),
            _ => format!("libonnxruntime_providers_{kind}.so"),
        }),
        "directml" => Some("DirectML.dll".to_owned()),
        _ => None,
    }
}

/// Where Python installations lie.
fn roots(env: Env<'_>) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> =
        ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().filter_map(|name| env(name)).map(PathBuf::from).collect();
    if OS != "windows" {
        roots.extend(env("HOME").map(|home| PathBuf::from(home).join(".local")));
        roots.extend(["/usr/local", "/usr"].map(PathBuf::from));
    }
    roots
}

/// The first library with the provider that is new enough, or the first that is not.
fn find(kind: &str, roots: &[PathBuf], new: bool) -> Option<PathBuf> {
    let places = roots.iter().flat_map(|root| packages(root)).map(|packages| packages.join("onnxruntime").join("capi"));
    let libraries = places.filter(|place| has_provider(place, kind)).filter_map(|place| library(&place));
    libraries.into_iter().find(|library| may_be_new_enough(library) == new)
}

/// By the version in the name, such as `libonnxruntime.so.1.24.1`; `true` where it tells none.
fn may_be_new_enough(library: &Path) -> bool {
    let name = library.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let version = name.trim_start_matches(|c: char| !c.is_ascii_digit()).trim_end_matches(".dylib");
    // `.so.1` is the interface of all of them.
    !version.contains('.') || super::runtime::new_enough(version)
}

/// The folders of packages of one installation, those of the newest Python first.
fn packages(root: &Path) -> Vec<PathBuf> {
    if OS == "windows" {
        return vec![root.join("Lib").join("site-packages")];
    }
    let lib = root.join("lib");
    let mut pythons: Vec<(u32, PathBuf)> = read_dir(&lib)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let minor = entry.file_name().to_str()?.strip_prefix("python3")?.trim_start_matches('.').parse().ok();
            let unversioned = entry.file_name() == "python3";
            minor.or(unversioned.then_some(0)).map(|minor| (minor, entry.path()))
        })
        .collect();
    pythons.sort_by(|a, b| b.cmp(a));
    let folders = ["site-packages", "dist-packages"];
    pythons.iter().flat_map(|(_, python)| folders.map(|folder| python.join(folder))).collect()
}

/// The library itself in a folder of `onnxruntime/capi`.
fn library(folder: &Path) -> Option<PathBuf> {
    super::runtime::candidates(folder).into_iter().find(|path| path.is_file())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::{create_dir_all, write};

    use super::*;

    /// An installed package with a library and the files of `providers`.
    fn install(root: &Path, python: &str, packages: &str, providers: &[&str]) -> PathBuf {
        let capi = root.join("lib").join(python).join(packages).join("onnxruntime/capi");
        create_dir_all(&capi).unwrap();
        for provider in providers {
            write(capi.join(format!("libonnxruntime_providers_{provider}.so")), "").unwrap();
        }
        let library = capi.join("libonnxruntime.so.1.31.1");
        write(&library, "").unwrap();
        library
    }

    #[test]
    fn the_first_installation_that_has_the_provider() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cpu = install(one.path(), "python3.12", "site-packages", &["shared"]);
        let old = install(two.path(), "python3.9", "site-packages", &["cuda"]);
        let new = install(two.path(), "python3.13", "dist-packages", &["cuda", "tensorrt"]);
        let roots = [one.path().to_owned(), two.path().to_owned(), "/nowhere".into()];
        assert_eq!(find("cuda", &roots, true), Some(new.clone()));
        assert_eq!(find("tensorrt", &roots, true), Some(new.clone()));
        assert_eq!(find("openvino", &roots, true), None);
        assert_eq!(find("coreml", &roots, true), None);
        assert!(has_provider(&old, "cuda") && has_provider(old.parent().unwrap(), "cuda"));
        assert!(!has_provider(&old, "tensorrt") && !has_provider(&cpu, "cuda"));
    }

    #[test]
    fn directml_is_beside_the_library_or_in_windows() {
        let root = tempfile::tempdir().unwrap();
        let (library, windows) = (root.path().join("onnxruntime.dll"), root.path().join("Windows"));
        create_dir_all(windows.join("System32")).unwrap();
        assert!(!finds_directml(&library, Some(&windows)) && !finds_directml(&library, None));
        write(windows.join("System32/DirectML.dll"), "").unwrap();
        assert!(finds_directml(&library, Some(&windows)) && !finds_directml(&library, None));
        write(root.path().join("DirectML.dll"), "").unwrap();
        assert!(finds_directml(&library, None));
    }

    #[test]
    fn what_is_too_old_is_passed_over_and_told_of() {
        let root = tempfile::tempdir().unwrap();
        let old = install(root.path(), "python3.13", "site-packages", &["openvino"])
            .with_file_name("libonnxruntime.so.1.24.1");
        std::fs::rename(old.with_file_name("libonnxruntime.so.1.31.1"), &old).unwrap();
        let roots = [root.path().to_owned()];
        assert_eq!((find("openvino", &roots, true), find("openvino", &roots, false)), (None, Some(old)));
        let new = install(root.path(), "python3.9", "site-packages", &["openvino"]);
        assert_eq!(find("openvino", &roots, true), Some(new));
        for (name, new) in
            [("libonnxruntime.so.1", true), ("libonnxruntime.1.29.0.dylib", false), ("onnxruntime.dll", true)]
        {
            assert_eq!(may_be_new_enough(Path::new(name)), new, "{name}");
        }
    }

    #[test]
    fn the_active_environment_comes_first() {
        let env = |name: &str| match name {
            "VIRTUAL_ENV" => Some("/venv".into()),
            "HOME" => Some("/home/u".into()),
            _ => None,
        };
        assert_eq!(roots(&env), ["/venv", "/home/u/.local", "/usr/local", "/usr"].map(PathBuf::from));
    }
}
