//! What a process uses: memory, processor time, wake-ups.
//!
//! In: `/proc`. Out: figures, and the difference of two looks as rates. Under an emulator the
//! processor time is the emulator's; wake-ups and memory are as on a phone.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::handset::{Error, Result};

/// The kernel counts processor time in this unit for user space (`USER_HZ`), per second.
const TICKS_PER_SECOND: u32 = 100;

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Seconds since it was first looked at.
    pub seconds: f64,
    /// Resident memory, KiB.
    pub resident_kib: u64,
    /// The most resident memory that it had, KiB.
    pub peak_kib: u64,
    /// Resident memory that belongs to no file, KiB.
    pub anonymous_kib: u64,
    /// Processor time of all its threads, seconds.
    pub cpu_seconds: f64,
    /// Times that its threads gave up the processor to wait, and were woken.
    pub wakeups: u64,
}

impl Usage {
    /// Looks at a process.
    pub fn of(pid: u32) -> Result<Self> {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            fs::read_to_string(&path).map_err(Error::io(format!("reading {path}")))
        };
        let status = read("status")?;
        let kib = |key: &str| value(&status, key).unwrap_or_default();
        Ok(Self {
            seconds: 0.0,
            resident_kib: kib("VmRSS"),
            peak_kib: kib("VmHWM"),
            anonymous_kib: kib("RssAnon"),
            cpu_seconds: cpu_ticks(&read("stat")?) / f64::from(TICKS_PER_SECOND),
            wakeups: wakeups(pid)?,
        })
    }

    /// What was used since an earlier look, `seconds` ago. Memory is as it is now.
    #[must_use]
    pub fn since(self, earlier: Self, seconds: f64) -> Self {
        Self {
            seconds,
            cpu_seconds: self.cpu_seconds - earlier.cpu_seconds,
            wakeups: self.wakeups.saturating_sub(earlier.wakeups),
            ..self
        }
    }
}

/// A number behind a key of `/proc/PID/status`.
fn value(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| {
        let (found, rest) = line.split_once(':')?;
        (found == key).then_some(rest)
    })?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time of `/proc/PID/stat` (fields 14 and 15), in ticks.
fn cpu_ticks(stat: &str) -> f64 {
    // The name before the last parenthesis may hold anything.
    let rest = stat.rsplit_once(')').map_or(stat, |(_, rest)| rest);
    let fields: Vec<&str> = rest.split_whitespace().collect();
    [11, 12]
        .iter()
        .filter_map(|at| fields.get(*at)?.parse::<f64>().ok())
        .sum()
}

fn wakeups(pid: u32) -> Result<u64> {
    let folder = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&folder).map_err(Error::io(format!("reading {folder}")))?;
    Ok(tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("status")).ok())
        .filter_map(|status| value(&status, "voluntary_ctxt_switches"))
        .sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let status = "Name:\tsakshi\nVmHWM:\t   20480 kB\nvoluntary_ctxt_switches:\t17\n";
        assert_eq!(value(status, "VmHWM"), Some(20_480));
        assert_eq!(value(status, "VmRSS"), None);
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 6 0";
        assert!((cpu_ticks(stat) - 200.0).abs() < f64::EPSILON);
        let mine = Usage::of(std::process::id()).expect("this process");
        assert!(mine.resident_kib > 0 && mine.peak_kib >= mine.resident_kib);
    }
}
