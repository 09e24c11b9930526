//! What this process holds, for the examples that measure it.

/// Resident memory in KiB, from `/proc/self/status`.
pub(crate) fn resident_kib() -> Result<u64, crate::Failed> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
