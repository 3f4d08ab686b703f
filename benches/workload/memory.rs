//! The memory of this process, as Linux tells it.

use std::fs;

/// The most bytes that were resident since the start, or since [`forget`]; none where the system does not tell.
pub(crate) fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes = line.split_whitespace().next()?.parse::<u64>().ok()?;
    Some(kibibytes * 1024)
}

/// Lets the peak begin anew, at what is resident now, where the system allows it.
pub(crate) fn forget() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}
