//! NVIDIA cards as devices: what `listDevices` and `doctor` tell of them.

use serde_json::{Map, Value, json};

use super::cuda::{self, Card, Verdict};
use super::{Accelerator, DeviceInfo, backends, plain, sentence};
use crate::backend::onnx::ProviderInfo;

/// What stands in the way of a card where the build has nothing for it, and what to do: on most systems nothing that is
/// published has.
pub(super) const NOT_COMPILED_IN: &str = if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
    "This build of embedding-engine has no CUDA encoders: install the published package (npm install \
     embedding-engine), or build with npm run build:cuda."
} else {
    "This build of embedding-engine has no CUDA encoders: they are in the package for Linux x64 only. Elsewhere models \
     run on the card in ONNX Runtime, with device 'cuda' and backend 'onnx' in modelDefaults, if its library has CUDA."
};

/// Why our own encoders cannot use the card; `None` if they can.
pub(super) fn reason(verdict: &Verdict, card: &Card, compiled_in: bool) -> Option<String> {
    verdict.reason(card).or_else(|| (!compiled_in).then(|| NOT_COMPILED_IN.to_owned()))
}

/// Each card; or one entry that says why there is none.
pub(super) fn list(accelerator: &Accelerator, verdict: &Verdict, provider: Option<&ProviderInfo>) -> Vec<DeviceInfo> {
    // Where nothing is tried in this process, nothing is asked of the driver either.
    let free = if verdict.problem.is_none() { cuda::memory_free(verdict) } else { vec![None; verdict.cards.len()] };
    describe(accelerator, verdict, &free, provider, cuda::compiled_in())
}

fn describe(
    accelerator: &Accelerator,
    verdict: &Verdict,
    free: &[Option<u64>],
    provider: Option<&ProviderInfo>,
    compiled_in: bool,
) -> Vec<DeviceInfo> {
    let onnx = provider.is_some_and(|provider| provider.available);
    let info = |id: String, name: String, own: Option<String>, mut details: Map<String, Value>| {
        details.insert("backends".to_owned(), backends(own.is_none(), provider));
        DeviceInfo {
            id,
            kind: "cuda".to_owned(),
            name,
            available: own.is_none() || onnx,
            reason: own.filter(|_| !onnx).map(|own| with_provider(&own, provider)),
            memory_total: None,
            memory_free: None,
            details,
        }
    };
    if verdict.cards.is_empty() {
        let own = match &verdict.problem {
            _ if !accelerator.systems.contains(&std::env::consts::OS) => accelerator.reason(None),
            Some(problem) => problem.reason.clone(),
            None => accelerator.reason(None),
        };
        return vec![info("cuda".to_owned(), accelerator.name.to_owned(), Some(own), common(verdict))];
    }
    let device = |(index, card): (usize, &Card)| {
        let mut details = common(verdict);
        let (major, minor) = card.compute_capability;
        details.insert("computeCapability".to_owned(), format!("{major}.{minor}").into());
        if !card.uuid.is_empty() {
            details.insert("uuid".to_owned(), card.uuid.clone().into());
        }
        let mut device = info(format!("cuda:{index}"), card.name.clone(), reason(verdict, card, compiled_in), details);
        device.memory_total = Some(card.memory_total);
        device.memory_free = free.get(index).copied().flatten();
        device
    };
    verdict.cards.iter().enumerate().map(device).collect()
}

/// What is the same for all cards: the driver, the libraries, what is missing.
fn common(verdict: &Verdict) -> Map<String, Value> {
    let mut details = Map::new();
    if let Some(driver) = &verdict.driver {
        let cuda = verdict.driver_cuda;
        details.insert("driver".to_owned(), driver_version().map_or(Value::Null, Value::from));
        details.insert("driverCuda".to_owned(), format!("{}.{}", cuda / 1000, cuda % 1000 / 10).into());
        let libraries = std::iter::once(driver).chain(verdict.libraries.iter().map(|(_, library)| library));
        let shown = libraries.map(|library| format!("{} ({})", library.path.display(), library.origin));
        details.insert("libraries".to_owned(), shown.collect::<Vec<_>>().into());
    }
    if !verdict.attempts.is_empty() {
        details.insert("attempts".to_owned(), json!(verdict.attempts));
    }
    if let Some(command) = verdict.problem.as_ref().and_then(|problem| problem.command.as_ref()) {
        details.insert("command".to_owned(), command.as_str().into());
    }
    details
}

/// Such as `550.54.15`. From the kernel's part of the driver; not told on Windows and in WSL.
fn driver_version() -> Option<String> {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    version_of(&text)
}

fn version_of(text: &str) -> Option<String> {
    let is_version = |word: &&str| {
        let mut parts = word.split('.');
        word.contains('.') && parts.all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    text.lines().next()?.split_whitespace().find(is_version).map(str::to_owned)
}

fn with_provider(own: &str, provider: Option<&ProviderInfo>) -> String {
    match provider.and_then(|provider| provider.reason.as_deref()) {
        Some(reason) => format!("{} In ONNX Runtime: {}", sentence(own), sentence(plain(reason))),
        None => sentence(own),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::ACCELERATORS;
    use super::cuda::{Candidate, Problem, ProblemKind};
    use super::*;

    fn verdict() -> Verdict {
        let card = |name: &str, compute_capability| Card {
            name: name.to_owned(),
            uuid: "GPU-1".to_owned(),
            memory_total: 80,
            compute_capability,
        };
        Verdict {
            driver: Some(Candidate { path: "/d/libcuda.so.1".into(), origin: "LD_LIBRARY_PATH".to_owned() }),
            driver_cuda: 12040,
            cards: vec![card("New", (9, 0)), card("Old", (7, 0))],
            ..Verdict::default()
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn each_card_is_a_device() {
        let devices = describe(&ACCELERATORS[0], &verdict(), &[Some(60), None], None, true);
        assert_eq!(devices.len(), 2);
        let [new, old] = &devices[..] else { unreachable!() };
        assert_eq!((new.id.as_str(), new.name.as_str(), new.available), ("cuda:0", "New", true));
        assert_eq!((new.memory_total, new.memory_free), (Some(80), Some(60)));
        assert_eq!(new.details["computeCapability"], "9.0");
        assert_eq!(new.details["driverCuda"], "12.4");
        assert_eq!(new.details["libraries"][0], "/d/libcuda.so.1 (LD_LIBRARY_PATH)");
        assert_eq!(new.details["backends"], json!(["candle"]));
        assert_eq!((old.id.as_str(), old.available, old.memory_free), ("cuda:1", false, None));
        assert!(old.reason.as_ref().unwrap().contains("compute capability 7.0"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_build_without_cuda_shows_the_card_all_the_same() {
        let devices = describe(&ACCELERATORS[0], &verdict(), &[None, None], None, false);
        assert_eq!((devices[0].name.as_str(), devices[0].available), ("New", false));
        assert!(devices[0].reason.as_ref().unwrap().contains("no CUDA encoders"));
        assert_eq!(devices[0].details["backends"], json!([]));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn without_cards_one_entry_says_why() {
        let problem =
            Problem { kind: ProblemKind::LibraryMissing, reason: "Gone.".to_owned(), command: Some("get".to_owned()) };
        let verdict = Verdict { problem: Some(problem), ..Verdict::default() };
        let devices = describe(&ACCELERATORS[0], &verdict, &[], None, true);
        assert_eq!((devices.len(), devices[0].id.as_str(), devices[0].available), (1, "cuda", false));
        assert_eq!((devices[0].reason.as_deref(), &devices[0].details["command"]), (Some("Gone."), &json!("get")));
    }

    #[test]
    fn the_version_of_the_driver() {
        let text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC";
        assert_eq!(version_of(text).as_deref(), Some("550.54.15"));
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n";
        assert_eq!(version_of(open).as_deref(), Some("580.65.06"));
        assert_eq!(version_of(""), None);
    }
}
