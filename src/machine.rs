//! Owns what the machine says of its memory: how much there is, how much is free now, on the host and on NVIDIA's
//! devices; and gives back what is no longer needed. Never decides what may be used of it.

use std::fs;
use std::path::{Path, PathBuf};

use nvml_wrapper::Nvml;

/// Bytes of memory that this process may use at all: the machine's, or less where a control group says so.
pub fn total_memory_bytes() -> u64 {
    let machine = meminfo("MemTotal:").unwrap_or(u64::MAX);
    groups().map(|group| group.limit_bytes).fold(machine, u64::min)
}

/// Bytes of memory that could be taken now without swapping, or without a control group's being full.
pub fn available_memory_bytes() -> u64 {
    let machine = meminfo("MemAvailable:").unwrap_or(u64::MAX);
    groups()
        .map(|group| group.limit_bytes.saturating_sub(group.used_bytes))
        .fold(machine, u64::min)
}

/// Bytes of this process that are in memory now; `None` where the kernel does not tell.
pub fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

/// Gives memory that was freed back to the system. The allocator keeps what was freed in small pieces for the next
/// picture, which may come tomorrow.
pub fn give_back_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` takes no pointer and is safe to be called from any thread at any time (MT-Safe, malloc(3)):
    // it returns only pages that no allocation is in.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets go of the pages of a library's code; what is still run is read again from its file. A library that was used once
/// counts as this process's memory for ever otherwise, twenty megabytes of it.
pub fn let_go_of_code(library: &Path) {
    let Some(library) = library.canonicalize().ok() else {
        return;
    };
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, len) in code_of(&maps, &library) {
        // SAFETY: the range is a whole mapping, private, of a file, executable and not writable. Nothing has written to
        // it (a library with relocations in its code is refused by every hardened loader, and ONNX Runtime has none), so
        // its pages are those of the file, which the kernel reads again when one is touched, by whatever thread.
        // Mappings that were written to, as relocated tables are, are not executable and not among these.
        let _ = unsafe { rustix::mm::madvise(start as *mut _, len, rustix::mm::Advice::LinuxDontNeed) };
    }
}

/// Address and length of the mappings of this file that hold code, of `/proc/self/maps`.
fn code_of(maps: &str, file: &Path) -> Vec<(usize, usize)> {
    let address = |text: &str| usize::from_str_radix(text, 16).ok();
    let mapping = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let is_code =
            rest.starts_with("r-xp ") && rest.find('/').is_some_and(|at| Path::new(&rest[at..]) == file);
        let (start, end) = range.split_once('-').filter(|_| is_code)?;
        let (start, end) = (address(start)?, address(end)?);
        (end > start).then(|| (start, end - start))
    };
    maps.lines().filter_map(mapping).collect()
}

/// Bytes that are free now on the NVIDIA device with this number, other programs' use taken off; `None` without a
/// driver. The numbers are those of the bus; CUDA's agree where `CUDA_DEVICE_ORDER` is `PCI_BUS_ID`, and where all
/// devices are alike.
pub fn nvidia_free_bytes(device_id: u32) -> Option<u64> {
    // Opened for each question: the driver may be replaced while a service runs, and a question a picture is cheap.
    let nvml = Nvml::init().ok()?;
    let memory = nvml.device_by_index(device_id).ok()?.memory_info().ok()?;
    Some(memory.free)
}

/// An NVIDIA device as its driver tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvidiaDevice {
    /// Its name, as a shop would call it.
    pub name: String,
    /// Version of the driver.
    pub driver: String,
}

/// The NVIDIA device with this number, numbered as by [`nvidia_free_bytes`]; `None` without a driver.
pub fn nvidia_device(device_id: u32) -> Option<NvidiaDevice> {
    let nvml = Nvml::init().ok()?;
    Some(NvidiaDevice {
        name: nvml.device_by_index(device_id).ok()?.name().ok()?,
        driver: nvml.sys_driver_version().ok()?,
    })
}

fn meminfo(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

/// A control group that bounds this process.
struct Group {
    limit_bytes: u64,
    used_bytes: u64,
}

/// Where the kernel mounts control groups.
const GROUPS_ROOT: &str = "/sys/fs/cgroup";

/// Every control group with a limit that this process is in: its own and those above, of version 2 and of version 1
/// (which calls the same things otherwise). In a container its own is the root.
fn groups() -> impl Iterator<Item = Group> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    group_dirs(&own).into_iter().filter_map(|(dir, limit, used)| {
        // Version 1 says "no limit" with a number near the largest there is; it changes no minimum.
        Some(Group {
            limit_bytes: read_number(&dir.join(limit))?,
            used_bytes: read_number(&dir.join(used)).unwrap_or(0),
        })
    })
}

/// The directories of the groups that `/proc/self/cgroup` names, with the files of limit and use in each.
fn group_dirs(own: &str) -> Vec<(PathBuf, &'static str, &'static str)> {
    let mut dirs = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, limit, used) = if controllers.is_empty() {
            (PathBuf::from(GROUPS_ROOT), "memory.max", "memory.current")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            let root = Path::new(GROUPS_ROOT).join("memory");
            (root, "memory.limit_in_bytes", "memory.usage_in_bytes")
        } else {
            continue;
        };
        let path = Path::new(path.trim_start_matches('/'));
        dirs.extend(path.ancestors().map(|above| (root.join(above), limit, used)));
    }
    dirs
}

/// A file that holds one number; `None` for `max` and for a file that is not there.
fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_the_very_file_is_let_go() {
        let maps = "7f00-7f80 r--p 0 fe:00 1 /usr/lib/libort.so\n\
                    7f80-9f80 r-xp 8 fe:00 1 /usr/lib/libort.so\n\
                    9f80-a000 rw-p 9 fe:00 1 /usr/lib/libort.so\n\
                    a000-b000 r-xp 0 fe:00 2 /usr/lib/libort.so.old\n\
                    b000-c000 r-xp 0 00:00 0 [vdso]\n";
        assert_eq!(code_of(maps, Path::new("/usr/lib/libort.so")), [(0x7f80, 0x2000)]);
    }

    #[test]
    fn there_is_some_memory_and_no_more_is_free_than_there_is() {
        assert!(available_memory_bytes() > 0);
        assert!(available_memory_bytes() <= total_memory_bytes());
    }

    /// A service's limit often sits on the slice above it.
    #[test]
    fn all_groups_above_count_of_both_versions() {
        let dirs = |own: &str| -> Vec<String> {
            group_dirs(own)
                .iter()
                .map(|(dir, limit, _)| dir.join(limit).display().to_string())
                .collect()
        };
        assert_eq!(
            dirs("0::/system.slice/upscaled.service\n"),
            [
                "/sys/fs/cgroup/system.slice/upscaled.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(
            dirs("5:cpu,cpuacct:/a\n4:memory:/docker/x\n"),
            [
                "/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
        assert!(dirs("nonsense").is_empty());
    }
}
