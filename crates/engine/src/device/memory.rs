//! Main memory: how much there is, and how much of it may still be used.

/// Main memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory {
    /// All that this process may use.
    pub(super) total: u64,
    /// What is left of it.
    pub(super) free: u64,
}

/// What the system tells; a container's limit counts where there is one.
#[cfg(target_os = "linux")]
pub(super) fn read() -> Option<Memory> {
    let machine = linux::parse_meminfo(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
    Some(match linux::container() {
        Some(container) => Memory { total: machine.total.min(container.total), free: machine.free.min(container.free) },
        None => machine,
    })
}

/// The size of the memory; what of it is free is not told in one number.
#[cfg(target_os = "macos")]
pub(super) fn read() -> Option<Memory> {
    let total = sysctl::number(c"hw.memsize")?;
    let free = sysctl::number(c"vm.page_free_count")?.checked_mul(sysctl::number(c"hw.pagesize")?)?;
    Some(Memory { total, free: free.min(total) })
}

/// What the system tells.
#[cfg(windows)]
pub(super) fn read() -> Option<Memory> {
    windows::read()
}

/// Nothing is known of other systems.
#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
pub(super) fn read() -> Option<Memory> {
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use std::path::Path;

    use super::Memory;

    pub(super) fn parse_meminfo(text: &str) -> Option<Memory> {
        let kib = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
        };
        Some(Memory { total: kib("MemTotal")?, free: kib("MemAvailable").or_else(|| kib("MemFree"))? })
    }

    /// The limit of the control group, version 2 or 1. Every level above may hold a tighter one.
    pub(super) fn container() -> Option<Memory> {
        let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let mut tightest: Option<Memory> = None;
        for (base, path, files) in places(&groups) {
            // Inside of a container the path is often that of the host, and only the base exists.
            for folder in path.ancestors().map(|path| base.join(path)) {
                if let Some(memory) = read_group(&folder, files)
                    && tightest.is_none_or(|other| memory.total < other.total)
                {
                    tightest = Some(memory);
                }
            }
        }
        tightest
    }

    /// Names of the files with limit and usage, and the name of evictable cache in `memory.stat`.
    type Files = (&'static str, &'static str, &'static str);
    const V2: Files = ("memory.max", "memory.current", "inactive_file");
    const V1: Files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");

    fn places(groups: &str) -> impl Iterator<Item = (&'static Path, &Path, Files)> {
        groups.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let path = Path::new(path.trim_start_matches('/'));
            if controllers.is_empty() {
                Some((Path::new("/sys/fs/cgroup"), path, V2))
            } else {
                let memory = controllers.split(',').any(|controller| controller == "memory");
                memory.then_some((Path::new("/sys/fs/cgroup/memory"), path, V1))
            }
        })
    }

    fn read_group(folder: &Path, (limit, usage, evictable): Files) -> Option<Memory> {
        let number = |file: &str| std::fs::read_to_string(folder.join(file)).ok()?.trim().parse::<u64>().ok();
        let total = number(limit)?; // "max" is no number: no limit
        let stat = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let cache = stat.lines().find_map(|line| line.strip_prefix(evictable)?.trim().parse::<u64>().ok());
        let used = number(usage)?.saturating_sub(cache.unwrap_or(0));
        Some(Memory { total, free: total.saturating_sub(used) })
    }

    #[cfg(test)]
    mod tests {
        #![allow(clippy::unwrap_used)]

        use super::*;

        #[test]
        fn reads_meminfo() {
            let memory = parse_meminfo("MemTotal:       2048 kB\nMemFree:  10 kB\nMemAvailable:    1024 kB\n").unwrap();
            assert_eq!(memory, Memory { total: 2 << 20, free: 1 << 20 });
            assert_eq!(parse_meminfo("MemTotal: 1 kB\nMemFree: 1 kB\n").unwrap().free, 1024);
            assert_eq!(parse_meminfo(""), None);
        }

        #[test]
        fn finds_control_groups() {
            let text = "12:pids:/a\n4:cpu,memory:/docker/x\n0::/user.slice\n";
            let found: Vec<_> = places(text).map(|(base, path, _)| base.join(path)).collect();
            assert_eq!(found, [Path::new("/sys/fs/cgroup/memory/docker/x"), Path::new("/sys/fs/cgroup/user.slice")]);
        }

        #[test]
        fn reads_a_control_group() {
            let folder = tempfile::tempdir().unwrap();
            let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
            write("memory.max", "max\n");
            write("memory.current", "700\n");
            assert_eq!(read_group(folder.path(), V2), None);
            write("memory.max", "1000\n");
            write("memory.stat", "anon 1\ninactive_file 200\n");
            assert_eq!(read_group(folder.path(), V2), Some(Memory { total: 1000, free: 500 }));
        }
    }
}

#[cfg(target_os = "macos")]
pub(super) mod sysctl {
    use std::ffi::{CStr, c_char, c_int, c_void};

    unsafe extern "C" {
        fn sysctlbyname(
            name: *const c_char,
            old: *mut c_void,
            old_len: *mut usize,
            new: *mut c_void,
            new_len: usize,
        ) -> c_int;
    }

    fn read(name: &CStr, into: &mut [u8]) -> Option<usize> {
        let mut len = into.len();
        // SAFETY: `name` ends with NUL, `len` is the size of the buffer, and nothing is set.
        let status =
            unsafe { sysctlbyname(name.as_ptr(), into.as_mut_ptr().cast(), &mut len, std::ptr::null_mut(), 0) };
        (status == 0 && len <= into.len()).then_some(len)
    }

    pub(in crate::device) fn number(name: &CStr) -> Option<u64> {
        let mut bytes = [0; 8];
        match read(name, &mut bytes)? {
            4 => Some(u64::from(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))),
            8 => Some(u64::from_ne_bytes(bytes)),
            _ => None,
        }
    }

    pub(in crate::device) fn string(name: &CStr) -> Option<String> {
        let mut bytes = [0; 256];
        let len = read(name, &mut bytes)?;
        let text = CStr::from_bytes_until_nul(&bytes[..len]).ok()?;
        Some(text.to_string_lossy().into_owned()).filter(|text| !text.is_empty())
    }
}

#[cfg(windows)]
mod windows {
    use super::Memory;

    /// `MEMORYSTATUSEX` of the Windows API.
    #[repr(C)]
    struct Status {
        length: u32,
        load: u32,
        total_physical: u64,
        available_physical: u64,
        rest: [u64; 5],
    }

    #[link(name = "kernel32")]
    unsafe extern "system" {
        fn GlobalMemoryStatusEx(status: *mut Status) -> i32;
    }

    pub(super) fn read() -> Option<Memory> {
        let length = size_of::<Status>() as u32;
        let mut status = Status { length, load: 0, total_physical: 0, available_physical: 0, rest: [0; 5] };
        // SAFETY: the struct has the layout that the function documents, and `length` its size.
        let done = unsafe { GlobalMemoryStatusEx(&mut status) } != 0;
        done.then_some(Memory { total: status.total_physical, free: status.available_physical })
    }
}
