//! NVIDIA cards: found, tried in a child process, and told of, by every build, with or without CUDA encoders.
//!
//! ```text
//! search -> (memo, cache) -> probe in a child, once for each set of candidates -> verdict -> cards
//! ```
//!
//! Nothing is opened in this process before a child has shown that it works. On a machine without the driver's
//! library all that happens is the search.

mod cache;
mod child;
mod compute;
mod driver;
mod probe;
mod search;
mod verdict;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

pub use child::{ProbeCommand, TIME_LIMIT, TRIAL_VARIABLE};
pub use driver::Card;
pub use probe::probe_main;
pub use search::{Attempt, Candidate, Library};
pub use verdict::{Problem, ProblemKind, Verdict};

use crate::sync::lock;

/// The oldest cards that the build's PTX serves: compute capability 8.0 (Ampere).
pub const MIN_CAPABILITY: (u32, u32) = (8, 0);

/// How long a verdict that may change by itself holds within a process.
const PASSING_FOR: Duration = Duration::from_secs(60);

/// The CUDA toolkit that a build was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Toolkit {
    /// 12 of 12.4. Libraries of another major version are not found by cudarc.
    pub major: u32,
    /// 4 of 12.4. The driver must know it, because the kernels are PTX of this version.
    pub minor: u32,
}

impl Toolkit {
    /// What this build was made with: `EMBEDDING_ENGINE_CUDA_VERSION` (such as `12.4`) at build time, else the one
    /// that is published, 12.4.
    pub const BUILD: Toolkit = match option_env!("EMBEDDING_ENGINE_CUDA_VERSION") {
        Some(version) => Toolkit::read(version),
        None => Toolkit { major: 12, minor: 4 },
    };

    /// Reads `12.4`; what follows a second dot is left out. At build time, where it may panic.
    const fn read(version: &str) -> Toolkit {
        let bytes = version.as_bytes();
        let mut parts = [0u32; 2];
        let (mut part, mut i) = (0, 0);
        while i < bytes.len() && part < 2 {
            match bytes[i] {
                b'.' => part += 1,
                digit @ b'0'..=b'9' => parts[part] = parts[part] * 10 + (digit - b'0') as u32,
                _ => panic!("EMBEDDING_ENGINE_CUDA_VERSION must look like 12.4"),
            }
            i += 1;
        }
        assert!(parts[0] > 0, "EMBEDDING_ENGINE_CUDA_VERSION must look like 12.4");
        Toolkit { major: parts[0], minor: parts[1] }
    }

    /// As the driver counts: 12040 is 12.4.
    pub const fn number(self) -> u32 {
        self.major * 1000 + self.minor * 10
    }

    /// The Linux driver that came with this toolkit (NVIDIA's CUDA release notes, table of driver versions).
    fn driver(self) -> &'static str {
        match (self.major, self.minor) {
            (..=11, _) | (12, 0) => "525",
            (12, 1) => "530",
            (12, 2) => "535",
            (12, 3) => "545",
            (12, 4) => "550",
            (12, 5) => "555",
            (12, 6) => "560",
            (12, 7..=8) => "570",
            (12, _) => "575",
            _ => "580",
        }
    }
}

/// Whether this build has encoders for CUDA.
pub const fn compiled_in() -> bool {
    cfg!(feature = "cuda")
}

/// What finding cards needs to know of its host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// How to start a probe; without one no library is tried, and no card is found.
    pub probe: Option<ProbeCommand>,
    /// The folder of our own state, where verdicts are kept; without one they are kept in the process only.
    pub home: Option<PathBuf>,
    /// Folders to look into first.
    pub libraries: Vec<PathBuf>,
}

/// What is known of CUDA here. The first call of a process may take seconds where there is a driver; later ones, and
/// later processes, find the verdict again.
pub fn find(host: &Host) -> Arc<Verdict> {
    find_within(host, TIME_LIMIT)
}

/// As [`find`], with another limit for each step of a probe.
pub fn find_within(host: &Host, limit: Duration) -> Arc<Verdict> {
    let system = match std::env::consts::OS {
        "windows" => search::System::Windows,
        "linux" => search::System::Linux,
        // NVIDIA has no driver for the others.
        _ => return Arc::new(verdict::decide(&search::Found::default(), Toolkit::BUILD, &mut |_| no_trial())),
    };
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let around = search::Surroundings { env: &env, root: Path::new("/"), system, own: &host.libraries };
    find_in(&around, host, limit)
}

fn no_trial() -> child::Outcome {
    child::Outcome { driver: None, failure: None }
}

type Known = Vec<(String, Instant, Arc<Verdict>)>;

fn find_in(around: &search::Surroundings<'_>, host: &Host, limit: Duration) -> Arc<Verdict> {
    /// Held while a probe runs: who comes meanwhile waits for its verdict, and starts no other.
    static KNOWN: Mutex<Known> = Mutex::new(Vec::new());
    let found = search::search(around, Toolkit::BUILD.major);
    if found.driver.is_empty() {
        return Arc::new(verdict::decide(&found, Toolkit::BUILD, &mut |_| no_trial()));
    }
    let key = cache::key(&found, Toolkit::BUILD, around.env);
    let mut known = lock(&KNOWN);
    known.retain(|(_, since, verdict)| !verdict.passing || since.elapsed() < PASSING_FOR);
    if let Some((_, _, verdict)) = known.iter().find(|(other, _, _)| *other == key) {
        return Arc::clone(verdict);
    }
    let kept = host.home.as_deref().and_then(|home| cache::read(home, &key, SystemTime::now()));
    let verdict = Arc::new(kept.unwrap_or_else(|| {
        let mut untried = false;
        let verdict = verdict::decide(&found, Toolkit::BUILD, &mut |trial| {
            let outcome = try_in_child(host, trial, limit);
            untried |= matches!(outcome.failure, Some((_, child::Failure::NotTried(_))));
            outcome
        });
        if let Some(home) = host.home.as_deref().filter(|_| !untried) {
            cache::write(home, &key, &verdict, SystemTime::now());
        }
        verdict
    }));
    // What could not be tried is tried again by whoever can.
    if verdict.problem.as_ref().is_none_or(|problem| problem.kind != ProblemKind::NoProbe) {
        known.push((key, Instant::now(), Arc::clone(&verdict)));
    }
    verdict
}

fn try_in_child(host: &Host, trial: &probe::Trial, limit: Duration) -> child::Outcome {
    let not_tried = |why: &str| child::Outcome {
        driver: None,
        failure: Some((Library::Driver, child::Failure::NotTried(why.to_owned()))),
    };
    // An executable that does not understand our arguments would be the whole program once more, and so on.
    if std::env::var_os(TRIAL_VARIABLE).is_some() {
        return not_tried("this process is such a process itself");
    }
    match &host.probe {
        Some(command) => child::run(command, trial, limit),
        None => not_tried("the program around embedding-engine has not said how to start one (option probe)"),
    }
}

/// Bytes free on each card of the verdict, now; `None` where it is not known. Asks the driver in this process, which
/// a child has shown to work. Takes a context on each card for a moment (some 100 ms each).
pub fn memory_free(verdict: &Verdict) -> Vec<Option<u64>> {
    let unknown = || vec![None; verdict.cards.len()];
    let Some(candidate) = verdict.driver.as_ref().filter(|_| !verdict.cards.is_empty()) else { return unknown() };
    let Ok(driver) = driver::Driver::start(&candidate.path) else { return unknown() };
    let free = driver.memory_free();
    driver.keep();
    free.ok().filter(|free| free.len() == verdict.cards.len()).unwrap_or_else(unknown)
}

/// Opens the libraries of the verdict by their full paths and leaves them open, so that cudarc's own search by name
/// finds them. To be called before anything of cudarc.
///
/// # Errors
/// The first library that cannot be opened, and what the system says: it was replaced since it was tried.
pub fn open_libraries(verdict: &Verdict) -> Result<(), Attempt> {
    for path in verdict.paths() {
        match driver::open(&path) {
            Ok(library) => std::mem::forget(library),
            Err(reason) => return Err(Attempt { path, reason }),
        }
    }
    Ok(())
}

/// Makes the libraries ready for a device that was chosen: see [`open_libraries`].
///
/// # Errors
/// `DEVICE_UNAVAILABLE`
pub fn make_ready(device: &str, host: &Host) -> crate::error::Result<()> {
    open_libraries(&find(host)).map_err(|Attempt { path, reason }| {
        let message = format!("The device {device} cannot be used: {} cannot be opened: {reason}.", path.display());
        crate::error::Error::new(crate::error::Code::DeviceUnavailable, message).with("device", device)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_toolkits() {
        assert_eq!(Toolkit::read("12.4"), Toolkit { major: 12, minor: 4 });
        assert_eq!(Toolkit::read("13.0.88").number(), 13000);
        assert_eq!(
            (Toolkit { major: 12, minor: 4 }.number(), Toolkit { major: 12, minor: 4 }.driver()),
            (12040, "550")
        );
    }
}
