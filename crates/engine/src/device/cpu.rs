//! The processor: its name, cores and what it can compute with.

use serde_json::{Map, json};

use super::{DeviceInfo, memory};

/// The CPU as a device.
pub(super) fn info() -> DeviceInfo {
    let system = System::read();
    let memory = memory::read();
    let mut details = Map::new();
    details.insert("architecture".to_owned(), std::env::consts::ARCH.into());
    details.insert("features".to_owned(), json!(features()));
    details.insert("logicalCores".to_owned(), system.logical_cores.into());
    if let Some(cores) = system.physical_cores {
        details.insert("physicalCores".to_owned(), cores.into());
    }
    // Fewer than the cores where a container or an affinity mask holds the process back.
    details.insert("usableThreads".to_owned(), usable_threads().into());
    DeviceInfo {
        id: "cpu".to_owned(),
        kind: "cpu".to_owned(),
        name: system.name.unwrap_or_else(|| format!("{} processor", std::env::consts::ARCH)),
        available: true,
        reason: None,
        memory_total: memory.map(|memory| memory.total),
        memory_free: memory.map(|memory| memory.free),
        details,
    }
}

fn usable_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The instruction sets that our kernels or those of our libraries choose between.
fn features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let known = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
    ];
    #[cfg(target_arch = "aarch64")]
    let known = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("fp16", std::arch::is_aarch64_feature_detected!("fp16")),
        ("dotprod", std::arch::is_aarch64_feature_detected!("dotprod")),
        ("bf16", std::arch::is_aarch64_feature_detected!("bf16")),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let known: [(&'static str, bool); 0] = [];
    known.into_iter().filter_map(|(name, present)| present.then_some(name)).collect()
}

/// What the operating system tells of the processor.
#[derive(Debug, Default, PartialEq, Eq)]
struct System {
    name: Option<String>,
    logical_cores: usize,
    physical_cores: Option<usize>,
}

impl System {
    #[cfg(target_os = "linux")]
    fn read() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let mut system = Self::parse_cpuinfo(&cpuinfo);
        if system.logical_cores == 0 {
            system.logical_cores = usable_threads();
        }
        system
    }

    #[cfg(target_os = "macos")]
    fn read() -> Self {
        use super::memory::sysctl;
        System {
            name: sysctl::string(c"machdep.cpu.brand_string"),
            logical_cores: sysctl::number(c"hw.logicalcpu").map_or_else(usable_threads, |cores| cores as usize),
            physical_cores: sysctl::number(c"hw.physicalcpu").map(|cores| cores as usize),
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    fn read() -> Self {
        let cores = std::env::var("NUMBER_OF_PROCESSORS").ok().and_then(|cores| cores.parse().ok());
        System {
            name: std::env::var("PROCESSOR_IDENTIFIER").ok(),
            logical_cores: cores.unwrap_or_else(usable_threads),
            physical_cores: None,
        }
    }

    /// Reads what Linux writes: a paragraph a logical core. Many ARM kernels give neither name nor cores.
    #[cfg(any(target_os = "linux", test))]
    fn parse_cpuinfo(text: &str) -> Self {
        let mut system = System::default();
        let mut cores = std::collections::BTreeSet::new();
        for paragraph in text.split("\n\n") {
            let value = |key: &str| {
                paragraph.lines().find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    (name.trim() == key).then(|| value.trim().to_owned())
                })
            };
            if value("processor").is_some() {
                system.logical_cores += 1;
            }
            if system.name.is_none() {
                system.name = value("model name").filter(|name| !name.is_empty());
            }
            if let (Some(package), Some(core)) = (value("physical id"), value("core id")) {
                cores.insert((package, core));
            }
        }
        system.physical_cores = (!cores.is_empty()).then_some(cores.len());
        system
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cores_and_name() {
        let text = "processor\t: 0\nmodel name\t: Example CPU @ 2.00GHz\nphysical id\t: 0\ncore id\t\t: 0\n\n\
                    processor\t: 1\nmodel name\t: Example CPU @ 2.00GHz\nphysical id\t: 0\ncore id\t\t: 0\n\n\
                    processor\t: 2\nmodel name\t: Example CPU @ 2.00GHz\nphysical id\t: 1\ncore id\t\t: 0\n";
        let system = System::parse_cpuinfo(text);
        assert_eq!(system.name.as_deref(), Some("Example CPU @ 2.00GHz"));
        assert_eq!((system.logical_cores, system.physical_cores), (3, Some(2)));
    }

    #[test]
    fn what_is_not_told_is_not_made_up() {
        let system = System::parse_cpuinfo("processor\t: 0\nBogoMIPS\t: 50.00\n\nprocessor\t: 1\n\nHardware : x\n");
        assert_eq!(system, System { name: None, logical_cores: 2, physical_cores: None });
        assert_eq!(System::parse_cpuinfo(""), System::default());
    }
}
