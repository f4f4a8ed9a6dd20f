//! Where NVIDIA's libraries lie on this machine: only looking, nothing is opened.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A library that running on CUDA needs, beside what is linked into the addon. Candle's kernels come as PTX, so
/// nvrtc is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Library {
    /// The driver's interface. Comes with the driver.
    Driver,
    /// What cuBLAS stands on.
    CublasLt,
    /// Matrix products.
    Cublas,
    /// Random numbers: Candle opens it with every device.
    Curand,
}

impl Library {
    /// Those of the toolkit, in the order in which they are opened.
    pub const TOOLKIT: [Library; 3] = [Library::CublasLt, Library::Cublas, Library::Curand];

    /// The name in NVIDIA's documentation.
    pub fn name(self) -> &'static str {
        match self {
            Library::Driver => "the NVIDIA driver",
            Library::CublasLt => "cuBLASLt",
            Library::Cublas => "cuBLAS",
            Library::Curand => "cuRAND",
        }
    }

    fn stem(self) -> &'static str {
        match self {
            Library::Driver => "cuda",
            Library::CublasLt => "cublasLt",
            Library::Cublas => "cublas",
            Library::Curand => "curand",
        }
    }

    /// The major version of the library in toolkit `cuda`: cuRAND has been 10 since CUDA 10.
    fn major(self, cuda: u32) -> u32 {
        match self {
            Library::Driver => 1,
            Library::CublasLt | Library::Cublas => cuda,
            Library::Curand => 10,
        }
    }

    /// File names that a build for toolkit `cuda` finds, the surest first. A bare `.so` may be of any version.
    pub fn file_names(self, system: System, cuda: u32) -> Vec<String> {
        let (stem, major) = (self.stem(), self.major(cuda));
        match (system, self) {
            (System::Windows, Library::Driver) => vec!["nvcuda.dll".to_owned()],
            (System::Windows, _) => vec![format!("{stem}64_{major}.dll")],
            (System::Linux, _) => vec![format!("lib{stem}.so.{major}"), format!("lib{stem}.so")],
        }
    }
}

/// Whose names and folders apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// `libX.so.N`
    Linux,
    /// `X64_N.dll`
    Windows,
}

/// What the search looks at; tests give their own.
pub struct Surroundings<'a> {
    /// Variables that are set and not empty.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// `/`; put before the folders that every machine has.
    pub root: &'a Path,
    /// Whose names and folders apply.
    pub system: System,
    /// Folders of `EMBEDDING_ENGINE_CUDA_LIBS`, looked at first.
    pub own: &'a [PathBuf],
}

/// A file that may be the library.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Candidate {
    /// Full path, as it will be opened.
    pub path: PathBuf,
    /// Why it was looked for there, such as `CUDA_PATH`.
    pub origin: String,
}

/// A file that was found and is not tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The file.
    pub path: PathBuf,
    /// Why it cannot be used.
    pub reason: String,
}

/// What was found, in the order in which it should be tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The driver's library.
    pub driver: Vec<Candidate>,
    /// Those of the toolkit, as [`Library::TOOLKIT`]. Empty where there is no driver: they would be of no use.
    pub toolkit: [Vec<Candidate>; 3],
    /// Files of another version than the build needs.
    pub unfit: Vec<Attempt>,
}

impl Found {
    /// All files that may be opened.
    pub fn all(&self) -> impl Iterator<Item = &Candidate> {
        self.driver.iter().chain(self.toolkit.iter().flatten())
    }
}

/// Looks for the libraries that a build for toolkit version `cuda` (its major) needs.
pub fn search(around: &Surroundings<'_>, cuda: u32) -> Found {
    let mut found = Found::default();
    let loader = loader_folders(around);
    let own = || around.own.iter().map(|folder| (folder.clone(), "EMBEDDING_ENGINE_CUDA_LIBS".to_owned()));
    let driver_folders: Vec<_> = own().chain(loader.iter().cloned()).collect();
    found.driver = look(Library::Driver, &driver_folders, around.system, cuda, &mut found.unfit);
    if found.driver.is_empty() {
        return found;
    }
    let folders: Vec<_> = own().chain(loader).chain(toolkit_folders(around)).chain(python_folders(around)).collect();
    for (library, candidates) in Library::TOOLKIT.into_iter().zip(&mut found.toolkit) {
        *candidates = look(library, &folders, around.system, cuda, &mut found.unfit);
        if candidates.is_empty() {
            note_other_versions(library, &folders, around.system, cuda, &mut found.unfit);
        }
    }
    found
}

type Folder = (PathBuf, String);

fn look(library: Library, folders: &[Folder], system: System, cuda: u32, unfit: &mut Vec<Attempt>) -> Vec<Candidate> {
    let mut seen = Vec::new();
    let mut candidates = Vec::new();
    for (folder, origin) in folders {
        for name in library.file_names(system, cuda) {
            let path = folder.join(name);
            // The file itself, behind links: `.so` and `.so.12` of a folder are one.
            let Ok(file) = path.canonicalize() else { continue };
            if seen.contains(&file) || !file.is_file() {
                continue;
            }
            seen.push(file.clone());
            match version_in_name(&file) {
                Some(version) if version != library.major(cuda) => unfit.push(Attempt {
                    path,
                    reason: format!("it is version {version}, and this build needs {}", library.major(cuda)),
                }),
                _ => candidates.push(Candidate { path, origin: origin.clone() }),
            }
        }
    }
    candidates
}

/// Libraries of other toolkits explain why one that is installed is not found.
fn note_other_versions(library: Library, folders: &[Folder], system: System, cuda: u32, unfit: &mut Vec<Attempt>) {
    for other in (11..=14).filter(|&other| library.major(other) != library.major(cuda)) {
        let Some(name) = library.file_names(system, other).into_iter().next() else { continue };
        for path in folders.iter().map(|(folder, _)| folder.join(&name)) {
            if path.is_file() && unfit.iter().all(|attempt| attempt.path != path) {
                let reason = format!("it is version {other}, and this build needs {cuda}");
                unfit.push(Attempt { path, reason });
            }
        }
    }
}

/// The 12 of `libcublas.so.12.4.5`.
fn version_in_name(file: &Path) -> Option<u32> {
    let (_, version) = file.file_name()?.to_str()?.split_once(".so.")?;
    // The driver's file is named after the driver: libcuda.so.550.54 has the interface version 1.
    if file.file_name()?.to_str()?.starts_with("libcuda.so") {
        return None;
    }
    version.split('.').next()?.parse().ok()
}

/// Where the system's own loader looks, and where containers and distributions put the driver.
fn loader_folders(around: &Surroundings<'_>) -> Vec<Folder> {
    let variable = if around.system == System::Windows { "PATH" } else { "LD_LIBRARY_PATH" };
    let paths = (around.env)(variable).unwrap_or_default();
    let mut folders: Vec<Folder> = std::env::split_paths(&paths)
        .filter(|path| path.is_absolute())
        .map(|path| (path, variable.to_owned()))
        .collect();
    let mut add = |folder: PathBuf, origin: &str| folders.push((folder, origin.to_owned()));
    if around.system == System::Windows {
        if let Some(windows) = (around.env)("SystemRoot") {
            add(Path::new(&windows).join("System32"), "the system's folder");
        }
        return folders;
    }
    for folder in configured_folders(&around.root.join("etc/ld.so.conf"), around.root, 0) {
        add(folder, "/etc/ld.so.conf");
    }
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    for folder in [
        &format!("lib/{triple}"),
        &format!("usr/lib/{triple}"),
        "usr/lib64",
        "lib64",
        "usr/lib",
        "lib",
        "usr/lib/wsl/lib",        // Windows Subsystem for Linux
        "usr/local/nvidia/lib64", // NVIDIA's containers and GKE
        "usr/local/nvidia/lib",
        "run/opengl-driver/lib", // NixOS
    ] {
        add(around.root.join(folder), "the system's folders");
    }
    folders
}

/// Reads `ld.so.conf` with the files that it includes.
fn configured_folders(file: &Path, root: &Path, depth: usize) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut folders = Vec::new();
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        if let Some(pattern) = line.strip_prefix("include").filter(|_| depth < 4) {
            let pattern = under(root, file.parent().unwrap_or(root), pattern.trim());
            // Only the last part may have a star, as every distribution writes it.
            let Some((folder, name)) = pattern.parent().zip(pattern.file_name().and_then(|name| name.to_str())) else {
                continue;
            };
            let (start, end) = name.split_once('*').unwrap_or((name, ""));
            let fits = |name: &str| name.starts_with(start) && name.ends_with(end);
            for included in children(folder, &fits) {
                folders.extend(configured_folders(&included, root, depth + 1));
            }
        } else if line.starts_with('/') {
            folders.push(under(root, root, line));
        }
    }
    folders
}

/// A path of a file, within the root that is looked at.
fn under(root: &Path, folder: &Path, path: &str) -> PathBuf {
    match path.strip_prefix('/') {
        Some(rest) => root.join(rest),
        None => folder.join(path),
    }
}

/// What is in a folder and fits, by name, the last first: the newest version.
fn children(folder: &Path, fits: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(fits))
        .collect();
    found.sort_by_cached_key(|path| std::cmp::Reverse(numbers(path)));
    found
}

/// Compares `cuda-12.10` after `cuda-12.9`.
fn numbers(path: &Path) -> (Vec<u32>, PathBuf) {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let parts = name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok());
    (parts.collect(), path.to_owned())
}

/// Installed toolkits, and conda's, which has one folder for everything.
fn toolkit_folders(around: &Surroundings<'_>) -> Vec<Folder> {
    let inside: &[&str] = match around.system {
        System::Windows => &["bin", "bin/x64"],
        System::Linux => &["lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"],
    };
    let named = |name: &'static str| (around.env)(name).map(|path| (PathBuf::from(path), name.to_owned()));
    let mut toolkits: Vec<Folder> = ["CUDA_PATH", "CUDA_HOME"].into_iter().filter_map(named).collect();
    if around.system == System::Linux {
        let local = around.root.join("usr/local");
        let installed = std::iter::once(local.join("cuda")).chain(children(&local, &|name| name.starts_with("cuda-")));
        toolkits.extend(installed.map(|path| (path, "/usr/local/cuda*".to_owned())));
    }
    let mut folders: Vec<Folder> = toolkits
        .iter()
        .flat_map(|(path, origin)| inside.iter().map(move |folder| (path.join(folder), origin.clone())))
        .collect();
    if let Some((conda, origin)) = named("CONDA_PREFIX") {
        let lib = if around.system == System::Windows { "Library/bin" } else { "lib" };
        folders.push((conda.join(lib), origin));
    }
    folders
}

/// NVIDIA's wheels: `nvidia/cublas/lib` of CUDA 12 and `nvidia/cu13/lib` of CUDA 13, in the site-packages of the
/// active environment, the user and the system.
fn python_folders(around: &Surroundings<'_>) -> Vec<Folder> {
    let mut places: Vec<(PathBuf, &str)> = Vec::new();
    for name in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        places.extend((around.env)(name).map(|path| (PathBuf::from(path), name)));
    }
    let mut packages: Vec<Folder> = Vec::new();
    if around.system == System::Windows {
        let user = (around.env)("APPDATA").map(|data| Path::new(&data).join("Python"));
        packages.extend(places.iter().map(|(place, name)| (place.join("Lib/site-packages"), format!("pip ({name})"))));
        let versions = user.iter().flat_map(|user| children(user, &|name| name.starts_with("Python3")));
        packages.extend(versions.map(|version| (version.join("site-packages"), "pip (user)".to_owned())));
    } else {
        places.extend((around.env)("HOME").map(|home| (Path::new(&home).join(".local"), "user")));
        places.push((around.root.join("usr/local"), "system"));
        places.push((around.root.join("usr"), "system"));
        for (place, name) in &places {
            for python in children(&place.join("lib"), &|name| name.starts_with("python3")) {
                for folder in ["site-packages", "dist-packages"] {
                    packages.push((python.join(folder), format!("pip ({name})")));
                }
            }
        }
    }
    let inside = if around.system == System::Windows { "bin" } else { "lib" };
    let wheels = |(packages, origin): Folder| {
        let wheels = children(&packages.join("nvidia"), &|_| true);
        wheels.into_iter().map(move |wheel| (wheel.join(inside), origin.clone()))
    };
    packages.into_iter().flat_map(wheels).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashMap;

    use super::*;

    /// A machine in a folder.
    struct Machine {
        root: tempfile::TempDir,
        env: HashMap<&'static str, String>,
        own: Vec<PathBuf>,
        system: System,
    }

    impl Machine {
        fn new(files: &[&str]) -> Self {
            let root = tempfile::tempdir().unwrap();
            for file in files {
                let path = root.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "x").unwrap();
            }
            Machine { root, env: HashMap::new(), own: Vec::new(), system: System::Linux }
        }

        fn set(mut self, name: &'static str, path: &str) -> Self {
            self.env.insert(name, self.root.path().join(path).to_str().unwrap().to_owned());
            self
        }

        fn search(&self) -> Found {
            let env = |name: &str| self.env.get(name).cloned();
            let around = Surroundings { env: &env, root: self.root.path(), system: self.system, own: &self.own };
            search(&around, 12)
        }

        fn relative(&self, candidates: &[Candidate]) -> Vec<String> {
            let root = self.root.path();
            candidates
                .iter()
                .map(|candidate| candidate.path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/"))
                .collect()
        }
    }

    const DRIVER: &str = "usr/lib64/libcuda.so.1";

    #[test]
    fn without_a_driver_nothing_else_is_looked_for() {
        let machine = Machine::new(&["usr/local/cuda/lib64/libcublas.so.12"]);
        assert_eq!(machine.search(), Found::default());
        // The toolkit's folder of stubs is for linking, and never a driver.
        let machine = Machine::new(&["usr/local/cuda/lib64/stubs/libcuda.so"]);
        assert_eq!(machine.search(), Found::default());
    }

    #[test]
    fn every_place_is_looked_at_in_order() {
        let places = [
            "own/libcublas.so.12",
            "ld/libcublas.so.12",
            "opt/conf/libcublas.so.12",
            "path/lib64/libcublas.so.12",
            "home/targets/x86_64-linux/lib/libcublas.so.12",
            "usr/local/cuda/lib64/libcublas.so.12",
            "usr/local/cuda-12.10/lib64/libcublas.so.12",
            "usr/local/cuda-12.9/lib64/libcublas.so.12",
            "conda/lib/libcublas.so.12",
            "venv/lib/python3.11/site-packages/nvidia/cublas/lib/libcublas.so.12",
            "user/.local/lib/python3.12/site-packages/nvidia/cublas/lib/libcublas.so.12",
            "usr/lib/python3/dist-packages/nvidia/cublas/lib/libcublas.so.12",
        ];
        let machine = Machine::new(&places);
        std::fs::create_dir_all(machine.root.path().join("etc/ld.so.conf.d")).unwrap();
        std::fs::write(machine.root.path().join("etc/ld.so.conf"), "include ld.so.conf.d/*.conf # x\n").unwrap();
        std::fs::write(machine.root.path().join("etc/ld.so.conf.d/a.conf"), "# none\n/opt/conf\n").unwrap();
        std::fs::create_dir_all(machine.root.path().join("usr/lib64")).unwrap();
        std::fs::write(machine.root.path().join(DRIVER), "x").unwrap();
        let mut machine = machine
            .set("LD_LIBRARY_PATH", "ld")
            .set("CUDA_PATH", "path")
            .set("CUDA_HOME", "home")
            .set("CONDA_PREFIX", "conda")
            .set("VIRTUAL_ENV", "venv")
            .set("HOME", "user");
        machine.own = vec![machine.root.path().join("own")];
        let found = machine.search();
        assert_eq!(machine.relative(&found.driver), [DRIVER]);
        assert_eq!(machine.relative(&found.toolkit[1]), places);
        assert_eq!(found.toolkit[1][0].origin, "EMBEDDING_ENGINE_CUDA_LIBS");
        assert_eq!(found.toolkit[1][2].origin, "/etc/ld.so.conf");
        assert!(found.toolkit[0].is_empty() && found.unfit.is_empty());
    }

    #[test]
    fn another_major_version_is_not_taken_and_told_of() {
        let machine = Machine::new(&[
            DRIVER,
            "usr/local/cuda/lib64/libcublas.so.13",
            "venv/lib/python3.11/site-packages/nvidia/cu13/lib/libcublasLt.so.13",
            "usr/local/cuda/lib64/libcurand.so.10",
        ])
        .set("VIRTUAL_ENV", "venv");
        let found = machine.search();
        assert!(found.toolkit[0].is_empty() && found.toolkit[1].is_empty());
        assert_eq!(machine.relative(&found.toolkit[2]), ["usr/local/cuda/lib64/libcurand.so.10"]);
        assert_eq!(found.unfit.len(), 2);
        assert!(found.unfit.iter().all(|attempt| attempt.reason.contains("version 13")), "{:?}", found.unfit);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_to_the_version() {
        let machine = Machine::new(&[
            DRIVER,
            "usr/lib64/libcublas.so.13.0.1",
            "usr/local/cuda/lib64/libcublas.so.12.4.5",
            "usr/lib64/libcuda.so.550.54",
        ]);
        let link = |to: &str, at: &str| {
            std::os::unix::fs::symlink(to, machine.root.path().join(at)).unwrap();
        };
        link("libcublas.so.13.0.1", "usr/lib64/libcublas.so");
        link("libcublas.so.12.4.5", "usr/local/cuda/lib64/libcublas.so.12");
        link("libcublas.so.12", "usr/local/cuda/lib64/libcublas.so");
        std::fs::remove_file(machine.root.path().join(DRIVER)).unwrap();
        link("libcuda.so.550.54", DRIVER);
        let found = machine.search();
        assert_eq!(machine.relative(&found.driver), [DRIVER]);
        assert_eq!(machine.relative(&found.toolkit[1]), ["usr/local/cuda/lib64/libcublas.so.12"]);
        assert!(found.unfit[0].path.ends_with("usr/lib64/libcublas.so"), "{:?}", found.unfit);
    }

    #[test]
    fn windows_has_its_own_names() {
        let mut machine = Machine::new(&[
            "windows/System32/nvcuda.dll",
            "toolkit/bin/cublas64_12.dll",
            "toolkit/bin/cublasLt64_12.dll",
            "venv/Lib/site-packages/nvidia/curand/bin/curand64_10.dll",
        ])
        .set("SystemRoot", "windows")
        .set("CUDA_PATH", "toolkit")
        .set("VIRTUAL_ENV", "venv");
        machine.system = System::Windows;
        let found = machine.search();
        let all: Vec<Candidate> = found.all().cloned().collect();
        assert_eq!(
            machine.relative(&all),
            [
                "windows/System32/nvcuda.dll",
                "toolkit/bin/cublasLt64_12.dll",
                "toolkit/bin/cublas64_12.dll",
                "venv/Lib/site-packages/nvidia/curand/bin/curand64_10.dll",
            ]
        );
    }
}
