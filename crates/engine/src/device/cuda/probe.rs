//! What runs in the child process: opens the libraries one by one, computes with them, and tells how far it came.
//!
//! Each step is told before it is taken, so that the parent knows which library ended the child.

use std::ffi::{c_int, c_void};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::compute;
use super::driver::{Card, Driver, Refusal, open};
use super::search::Library;

/// Stands before each line of ours: what runs around the probe may print as well.
pub(super) const PREFIX: &str = "embedding-engine-probe ";
/// A child that its parent left behind ends by itself. More than all steps may take that a parent waits for.
const LIFETIME: Duration = Duration::from_secs(120);
/// `CUBLAS_STATUS_ALLOC_FAILED`: the library works, the card is full.
const ALLOC_FAILED: c_int = 3;
/// `CUBLAS_STATUS_NOT_INITIALIZED`: the library does not work with the driver, or the first card is full.
const NOT_INITIALIZED: c_int = 1;

/// What the child shall try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// The driver's library.
    pub driver: PathBuf,
    /// Those of the toolkit, in order.
    pub libraries: Vec<(Library, PathBuf)>,
    /// The driver must know this CUDA (12040 is 12.4) for the others to be tried.
    pub cuda: u32,
}

/// A line from the child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub(super) enum Message {
    /// The library is opened next.
    Step { library: Library },
    /// The driver works.
    Cards { version: u32, cards: Vec<Card> },
    /// The library of the last step cannot be used.
    Refused { refusal: Refusal },
    /// All was tried, and works.
    Done,
}

/// Tries what `trial` (JSON of a [`Trial`]) says and writes to stdout what came of it. For the child process of a
/// [`ProbeCommand`](super::ProbeCommand) only: a broken library may end the process, or never return.
pub fn probe_main(trial: &str) {
    let watchdog = std::thread::Builder::new().name("embedding-probe".to_owned());
    let _ = watchdog.spawn(|| {
        std::thread::sleep(LIFETIME);
        std::process::abort();
    });
    let outcome = match serde_json::from_str::<Trial>(trial) {
        Ok(trial) => run(&trial),
        Err(error) => Err(Refusal::Broken(format!("the probe was not told what to try: {error}"))),
    };
    tell(&match outcome {
        Ok(()) => Message::Done,
        Err(refusal) => Message::Refused { refusal },
    });
}

fn tell(message: &Message) {
    let Ok(json) = serde_json::to_string(message) else { return };
    // Not `println`, which a test harness takes for itself. A parent that is gone needs nothing.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "\n{PREFIX}{json}").and_then(|()| out.flush());
}

fn run(trial: &Trial) -> Result<(), Refusal> {
    tell(&Message::Step { library: Library::Driver });
    let driver = Driver::start(&trial.driver)?;
    let version = driver.version()?;
    let cards = driver.cards()?;
    tell(&Message::Cards { version, cards: cards.clone() });
    if version < trial.cuda {
        return Ok(());
    }
    for (library, path) in &trial.libraries {
        tell(&Message::Step { library: *library });
        try_library(*library, path)?;
    }
    let whole = Library::TOOLKIT.iter().all(|library| trial.libraries.iter().any(|(other, _)| other == library));
    if whole {
        compute::try_cards(&cards, |library| tell(&Message::Step { library }))?;
    }
    driver.keep();
    Ok(())
}

fn try_library(kind: Library, path: &Path) -> Result<(), Refusal> {
    let library = open(path).map_err(Refusal::Broken)?;
    let symbol = match kind {
        Library::Driver => "cuInit",
        Library::CublasLt => "cublasLtCreate",
        Library::Cublas => "cublasCreate_v2",
        Library::Curand => "curandCreateGenerator",
    };
    // SAFETY: the symbol is only looked up.
    if unsafe { library.get::<*const c_void>(symbol.as_bytes()) }.is_err() {
        return Err(Refusal::Broken(format!("it has no function {symbol}: it is not {}", kind.name())));
    }
    if kind == Library::Cublas {
        use_cublas(&library)?;
    }
    // Those that come later lean on it.
    std::mem::forget(library);
    Ok(())
}

/// Makes a handle and frees it: the library, the driver and a card work together.
fn use_cublas(library: &libloading::Library) -> Result<(), Refusal> {
    type Create = unsafe extern "system" fn(*mut *mut c_void) -> c_int;
    type Destroy = unsafe extern "system" fn(*mut c_void) -> c_int;
    let missing = |_| Refusal::Broken("it has no function cublasDestroy_v2: it is not cuBLAS".to_owned());
    // SAFETY: the types are those of `cublas_api.h`.
    let create = unsafe { library.get::<Create>(b"cublasCreate_v2") }.map_err(missing)?;
    // SAFETY: as above.
    let destroy = unsafe { library.get::<Destroy>(b"cublasDestroy_v2") }.map_err(missing)?;
    let mut handle = std::ptr::null_mut();
    // SAFETY: `handle` is a place for the pointer.
    match unsafe { create(&mut handle) } {
        0 => {
            // SAFETY: the handle was made above, and is used no more. A failure to free it harms nobody here.
            unsafe { destroy(handle) };
            Ok(())
        }
        ALLOC_FAILED => Ok(()),
        // Computing on each card tells which of the two it is.
        NOT_INITIALIZED if cfg!(feature = "cuda") => Ok(()),
        status => {
            Err(Refusal::Broken(format!("cublasCreate_v2 gives status {status}: it does not work with the card")))
        }
    }
}
