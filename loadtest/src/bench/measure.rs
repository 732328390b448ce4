//! Time and memory of children, and the form of a row.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::LoadError;

/// What a child took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Cost {
    /// Processor time of user and system, mean of the runs.
    pub cpu: f64,
    /// Seconds from start to end, the least of the runs.
    pub wall: f64,
    /// Peak of resident memory in bytes, the largest of the runs.
    pub peak: u64,
}

/// Ticks of the clock in which Linux counts processor time.
const TICKS: f64 = 100.0;

/// Processor time of the children that this process has waited for, in seconds.
fn children() -> f64 {
    ticks("self", 13)
}

/// Processor time of user and system that a process has taken so far, in seconds.
pub(super) fn cpu_of(pid: u32) -> f64 {
    ticks(&pid.to_string(), 11)
}

/// The sum of two fields of `/proc/PID/stat` that are counted in ticks, in seconds.
fn ticks(pid: &str, field: usize) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().skip(field).take(2).filter_map(|word| word.parse::<f64>().ok()).sum::<f64>()
        / TICKS
}

/// Peak of resident memory of a process in bytes, while it runs.
pub(super) fn peak_of(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The largest peak among a process and its descendants: some programs are started by a script.
fn peak_below(pid: &str) -> u64 {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = std::fs::read_to_string(path).unwrap_or_default();
    children.split_whitespace().map(peak_below).max().unwrap_or(0).max(peak_of(pid))
}

/// Runs a command so many times and fails if it fails. Nothing else may wait for children meanwhile: the kernel counts
/// in steps of 10 ms, so the sum over all runs is taken, which is exact.
pub(super) fn cost(program: &Path, arguments: &[String], runs: u32) -> Result<Cost, LoadError> {
    let mut out = Cost { wall: f64::MAX, ..Cost::default() };
    let before = children();
    for _ in 0..runs.max(1) {
        let began = Instant::now();
        let mut child = Command::new(program)
            .args(arguments)
            .env("SYFT_CHECK_FOR_APP_UPDATE", "false")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(LoadError::io(format!("run {}", program.display())))?;
        let pid = child.id().to_string();
        let status = loop {
            out.peak = out.peak.max(peak_below(&pid));
            match child.try_wait().map_err(LoadError::io("wait for a child"))? {
                Some(status) => break status,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        out.wall = out.wall.min(began.elapsed().as_secs_f64());
        if !status.success() {
            let line = format!("{} {}: {status}", program.display(), arguments.join(" "));
            return Err(LoadError::Other(line));
        }
    }
    out.cpu = (children() - before) / f64::from(runs.max(1));
    Ok(out)
}

/// Says on what the figures were had.
pub(super) fn machine() {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':')).map(|m| m.1);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    println!(
        "# {cores} cores of {}, load {} before the run",
        model.unwrap_or(" an unknown processor").trim(),
        load.join(" ")
    );
}

/// A headline.
pub(super) fn title(text: &str) {
    println!("\n{text}\n{:52} {:>14} {:>14} {:>7}", "what", "measured", "budget", "ratio");
}

/// A row whose budget is a ceiling: the ratio is measured / budget.
pub(super) fn at_most(what: &str, measured: f64, budget: f64, unit: &str) {
    row(what, measured, "≤", budget, unit, measured / budget);
}

/// A row whose budget is a floor: the ratio is budget / measured.
pub(super) fn at_least(what: &str, measured: f64, budget: f64, unit: &str) {
    row(what, measured, "≥", budget, unit, budget / measured);
}

fn row(what: &str, measured: f64, sign: &str, budget: f64, unit: &str, ratio: f64) {
    let verdict = if ratio <= 1.0 { "" } else { "  OVER" };
    println!(
        "{what:52} {:>14} {:>14} {ratio:>7.2}{verdict}",
        format!("{} {unit}", figure(measured)),
        format!("{sign} {} {unit}", figure(budget))
    );
}

/// A row without a budget.
pub(super) fn note(what: &str, text: &str) {
    println!("{what:52} {text}");
}

/// Three digits that count.
pub(super) fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Bytes in MiB.
pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The value below which the given share of the sorted values lies.
pub(super) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.saturating_sub(1).min(last)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5), 50.0);
        assert_eq!(percentile(&values, 0.99), 99.0);
        assert_eq!(percentile(&values, 1.0), 100.0);
        assert_eq!(percentile(&[7.0], 0.5), 7.0);
        assert!(percentile(&[], 0.5).is_nan());
    }
}
