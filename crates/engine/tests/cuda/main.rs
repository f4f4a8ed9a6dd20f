//! Finding NVIDIA cards against stand-ins for NVIDIA's libraries, each with one fault: the verdict is right, and this
//! process lives. Compiled by the C compiler that the build needs anyway.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use embedding_engine::device::cuda::{self, Host, ProbeCommand, ProblemKind, TRIAL_VARIABLE, Verdict};
use embedding_engine::device::{self, DeviceId, Selection};
use embedding_engine::error::Code;

/// The child: this file once more, told to run this "test" only.
#[test]
fn probe_child() {
    if let Ok(trial) = std::env::var(TRIAL_VARIABLE) {
        cuda::probe_main(&trial);
    }
}

/// A folder with stand-ins, and one for our own state.
struct Stubs {
    folder: tempfile::TempDir,
    home: tempfile::TempDir,
}

const ALL: [&str; 3] = ["libcublasLt.so.12", "libcublas.so.12", "libcurand.so.10"];

impl Stubs {
    fn new() -> Self {
        Stubs { folder: tempfile::tempdir().unwrap(), home: tempfile::tempdir().unwrap() }
    }

    /// With a driver built with these definitions, and all libraries of the toolkit.
    fn with_driver(defines: &[&str]) -> Self {
        let stubs = Stubs::new();
        stubs.compile("driver.c", "libcuda.so.1", defines);
        ALL.iter().for_each(|name| stubs.compile("toolkit.c", name, &[]));
        stubs
    }

    fn compile(&self, source: &str, name: &str, defines: &[&str]) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda").join(source);
        let mut cc = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".to_owned()));
        cc.args(["-shared", "-fPIC", "-O0", "-o"]).arg(self.folder.path().join(name)).arg(source);
        cc.arg(format!("-Wl,-soname,{name}"));
        let done = cc.args(defines.iter().map(|define| format!("-D{define}"))).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn remove(self, name: &str) -> Self {
        std::fs::remove_file(self.folder.path().join(name)).unwrap();
        self
    }

    fn host(&self) -> Host {
        let probe = ProbeCommand {
            program: std::env::current_exe().unwrap(),
            args: ["--exact", "probe_child", "--nocapture", "--test-threads=1"].map(str::to_owned).into(),
            env: BTreeMap::from([("RUST_BACKTRACE".to_owned(), Some("0".to_owned()))]),
        };
        let home = Some(self.home.path().to_owned());
        Host { probe: Some(probe), home, libraries: vec![self.folder.path().to_owned()] }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn cache(&self) -> PathBuf {
        self.home.path().join("devices.json")
    }
}

/// Whether this machine has a driver of its own, behind the stand-in.
fn has_real_driver() -> bool {
    cuda::find(&Host::default()).problem.as_ref().is_none_or(|problem| problem.kind != ProblemKind::NoDriver)
}

/// Asserts the verdict, and what it means: `auto` goes on with the CPU, `cuda` is refused with the file's reason.
fn assert_refused(stubs: &Stubs, kind: ProblemKind, said: &str) {
    if has_real_driver() {
        return; // It would rightly be found behind the broken one.
    }
    let host = stubs.host();
    let verdict = cuda::find(&host);
    let problem = verdict.problem.clone().unwrap();
    assert_eq!(problem.kind, kind, "{}", problem.reason);
    let attempts = serde_json::to_string(&verdict.attempts).unwrap();
    assert!(problem.reason.contains(said) || attempts.contains(said), "{} {attempts}", problem.reason);
    let auto = device::choose("auto", 0, &host).unwrap();
    assert_eq!(auto.devices, [DeviceId::CPU]);
    assert_eq!(auto.warning.is_some(), kind.is_worth_a_warning(), "{:?}", auto.warning);
    for name in ["cuda", "cuda:0", "cuda:*"] {
        let error = device::choose(name, 0, &host).unwrap_err();
        assert_eq!(error.code, Code::DeviceUnavailable);
        assert!(error.message.contains(problem.reason.trim_end_matches('.')), "{}", error.message);
        let files =
            error.details["attempts"].as_array().unwrap().iter().filter(|attempt| attempt["library"].is_string());
        assert_eq!(files.count(), verdict.attempts.len());
    }
}

fn assert_works(verdict: &Verdict, stubs: &Stubs) {
    assert_eq!(verdict.problem, None);
    let names: Vec<&str> = verdict.cards.iter().map(|card| card.name.as_str()).collect();
    assert_eq!(names, ["Stub Card A", "Stub Card B"]);
    assert_eq!(verdict.driver.as_ref().unwrap().path, stubs.path("libcuda.so.1"));
    assert_eq!(verdict.paths().len(), 4);
}

#[test]
fn two_cards_that_work() {
    let stubs = Stubs::with_driver(&[]);
    let host = stubs.host();
    let verdict = cuda::find(&host);
    assert_works(&verdict, &stubs);
    assert_eq!(verdict.driver_cuda, 12080);
    let [a, b] = &verdict.cards[..] else { panic!() };
    assert_eq!((a.memory_total, b.memory_total), (8 << 30, 24 << 30));
    assert_eq!((a.compute_capability, b.compute_capability), ((8, 6), (9, 0)));
    assert_eq!(a.uuid, "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f");
    assert_eq!(cuda::memory_free(&verdict), [Some(6 << 30), Some(20 << 30)]);
    assert_eq!(cuda::memory_free(&verdict), [Some(6 << 30), Some(20 << 30)], "and once more");
    cuda::open_libraries(&verdict).unwrap();
    // What only the build decides.
    let chosen = device::choose("auto", 1 << 30, &host).unwrap();
    if cuda::compiled_in() {
        assert_eq!(chosen, Selection::one(DeviceId::cuda(1)));
    } else {
        assert!(chosen.warning.unwrap().contains("no CUDA encoders"));
        assert!(device::choose("cuda:0", 0, &host).unwrap_err().message.contains("no CUDA encoders"));
    }
    let devices = device::list(&Default::default(), &host);
    let cards: Vec<_> = devices.iter().filter(|device| device.kind == "cuda").collect();
    assert_eq!((cards.len(), cards[1].id.as_str(), cards[1].name.as_str()), (2, "cuda:1", "Stub Card B"));
    assert_eq!((cards[1].memory_total, cards[1].memory_free), (Some(24 << 30), Some(20 << 30)));
    assert_eq!(
        (&cards[1].details["computeCapability"], &cards[1].details["driverCuda"]),
        (&"9.0".into(), &"12.8".into())
    );
    assert_eq!(cards[1].details["libraries"].as_array().unwrap().len(), 4);
}

#[test]
fn no_card() {
    assert_refused(&Stubs::with_driver(&["FAULT_NO_CARD"]), ProblemKind::NoCard, "finds no card");
    assert_refused(&Stubs::with_driver(&["CARDS=0"]), ProblemKind::NoCard, "finds no card");
}

#[test]
fn drivers_that_do_not_work() {
    let broken = ProblemKind::DriverBroken;
    assert_refused(&Stubs::with_driver(&["FAULT_ERROR"]), broken, "cuInit gives error 999 (CUDA_ERROR_UNKNOWN)");
    assert_refused(&Stubs::with_driver(&["FAULT_SYMBOLS"]), broken, "no function cuDriverGetVersion");
    assert_refused(&Stubs::with_driver(&["FAULT_ABORT"]), broken, "signal 6 (SIGABRT)");
    assert_refused(&Stubs::with_driver(&["FAULT_SEGFAULT"]), broken, "signal 11 (SIGSEGV)");
    assert_refused(&Stubs::with_driver(&["FAULT_EXIT"]), broken, "exit code 0");
    assert_refused(&Stubs::with_driver(&["CARDS=-7"]), broken, "-7 cards");
    let text = Stubs::with_driver(&[]);
    std::fs::write(text.path("libcuda.so.1"), "no library").unwrap();
    assert_refused(&text, broken, "libcuda.so.1");
}

#[test]
fn a_driver_that_is_too_old() {
    assert_refused(&Stubs::with_driver(&["VERSION=12020"]), ProblemKind::DriverTooOld, "CUDA up to 12.2");
}

#[test]
fn libraries_that_are_missing_or_do_not_work() {
    let missing = Stubs::with_driver(&[]).remove("libcurand.so.10");
    assert_refused(&missing, ProblemKind::LibraryMissing, "pip install nvidia-curand-cu12");
    assert_eq!(cuda::find(&missing.host()).cards.len(), 2, "the cards are known");
    for (defines, said) in [
        (["FAULT_ABORT"], "SIGABRT"),
        (["FAULT_STATUS=1"], "status 1"),
        (["FAULT_SYMBOLS"], "no function cublasCreate_v2"),
    ] {
        let stubs = Stubs::with_driver(&[]);
        stubs.compile("toolkit.c", "libcublas.so.12", &defines);
        assert_refused(&stubs, ProblemKind::LibraryBroken, said);
    }
    let full = Stubs::with_driver(&[]);
    full.compile("toolkit.c", "libcublas.so.12", &["FAULT_STATUS=3"]);
    assert_works(&cuda::find(&full.host()), &full);
}

#[test]
fn behind_a_broken_library_a_good_one_is_found() {
    let (bad, good) = (Stubs::with_driver(&["FAULT_ABORT"]), Stubs::with_driver(&[]));
    bad.compile("toolkit.c", "libcublas.so.12", &["FAULT_ABORT"]);
    let mut host = bad.host();
    host.libraries.push(good.folder.path().to_owned());
    let verdict = cuda::find(&host);
    assert_works(&verdict, &good);
    assert_eq!(verdict.attempts.len(), 2);
    // The cuBLASLt of the folder that cuBLAS came from.
    assert_eq!(verdict.libraries[0].1.path, good.path("libcublasLt.so.12"));
}

#[test]
fn a_driver_that_hangs_is_given_up() {
    if has_real_driver() {
        return;
    }
    let stubs = Stubs::with_driver(&["FAULT_HANG"]);
    let started = Instant::now();
    let verdict = cuda::find_within(&stubs.host(), Duration::from_secs(3));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(verdict.problem.as_ref().unwrap().kind, ProblemKind::DriverBroken);
    assert!(verdict.problem.as_ref().unwrap().reason.contains("did not answer in time"));
    assert!(verdict.passing);
    assert_eq!(device::choose("auto", 0, &stubs.host()).unwrap().devices, [DeviceId::CPU]);
}

#[test]
fn a_verdict_is_kept_until_a_file_changes() {
    let stubs = Stubs::with_driver(&[]);
    assert_works(&cuda::find(&stubs.host()), &stubs);
    assert!(stubs.cache().is_file());
    // Another process: found in the file, without a probe.
    let told = std::fs::read_to_string(stubs.cache()).unwrap();
    assert!(told.contains("Stub Card B") && !told.contains("memoryFree"));
    let mut blind = stubs.host();
    blind.probe = None;
    assert_works(&cuda::find(&blind), &stubs);
    // Another driver: tried anew.
    stubs.compile("driver.c", "libcuda.so.1", &["CARDS=1", "VERSION=13000"]);
    assert_eq!(cuda::find(&blind).problem.as_ref().unwrap().kind, ProblemKind::NoProbe);
    assert_eq!(cuda::find(&stubs.host()).cards.len(), 1);
    assert!(std::fs::read_to_string(stubs.cache()).unwrap().contains("13000"));
}

#[test]
fn without_a_probe_nothing_is_opened() {
    let stubs = Stubs::with_driver(&["FAULT_ABORT"]);
    let mut host = stubs.host();
    host.probe = None;
    assert_eq!(cuda::find(&host).problem.as_ref().unwrap().kind, ProblemKind::NoProbe);
    host.probe = Some(ProbeCommand { program: "/no/such/program".into(), args: Vec::new(), env: BTreeMap::new() });
    let problem = cuda::find(&host).problem.clone().unwrap();
    assert_eq!(problem.kind, ProblemKind::NoProbe);
    assert!(problem.reason.contains("/no/such/program"), "{}", problem.reason);
    assert!(!stubs.cache().exists(), "what could not be tried is no verdict");
}

#[test]
fn without_a_driver_no_child_is_started() {
    if has_real_driver() {
        return;
    }
    let stubs = Stubs::with_driver(&[]).remove("libcuda.so.1");
    let mark = stubs.path("started");
    let mut host = stubs.host();
    host.probe = Some(ProbeCommand {
        program: "/usr/bin/touch".into(),
        args: vec![mark.to_str().unwrap().to_owned()],
        env: BTreeMap::new(),
    });
    assert_eq!(cuda::find(&host).problem.as_ref().unwrap().kind, ProblemKind::NoDriver);
    assert_eq!(device::choose("auto", 0, &host).unwrap(), Selection::one(DeviceId::CPU), "silently");
    assert!(!mark.exists() && !stubs.cache().exists());
}
