//! Owns what the machine says of its memory: how much there is, how much is free now. Never decides what may
//! be used of it.

use std::fs;

/// Bytes of memory that this process may use at all: the machine's, or less where a control group says so.
pub fn total_memory_bytes() -> u64 {
    let machine = meminfo("MemTotal:").unwrap_or(u64::MAX);
    cgroup_limit_bytes().map_or(machine, |limit| limit.min(machine))
}

/// Bytes of memory that could be taken now without swapping.
pub fn available_memory_bytes() -> u64 {
    let machine = meminfo("MemAvailable:").unwrap_or(u64::MAX);
    let group = cgroup_limit_bytes()
        .map(|limit| limit.saturating_sub(read_number("/sys/fs/cgroup/memory.current").unwrap_or(0)));
    group.map_or(machine, |left| left.min(machine))
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

fn meminfo(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

/// The limit of the process's own control group (version 2; as seen from inside a container its root).
fn cgroup_limit_bytes() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    read_number(&format!("/sys/fs/cgroup{path}/memory.max"))
        .or_else(|| read_number("/sys/fs/cgroup/memory.max"))
}

/// A file that holds one number; `None` for `max` and for a file that is not there.
fn read_number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_some_memory_and_no_more_is_free_than_there_is() {
        assert!(available_memory_bytes() > 0);
        assert!(available_memory_bytes() <= total_memory_bytes());
    }
}
