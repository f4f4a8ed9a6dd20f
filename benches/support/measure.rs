//! Medians of wall time, and of the CPU time of all threads, which other jobs on the machine disturb less.

use std::time::{Duration, Instant};

/// One line of a table.
pub struct Line {
    /// Median wall time of a run.
    pub wall: Duration,
    /// Median CPU time of a run, all threads together.
    pub cpu: Duration,
}

/// Runs `f` until `seconds` have passed, at least 3 times after a first one that does not count.
pub fn measure<T>(seconds: f64, mut f: impl FnMut() -> T) -> Line {
    std::hint::black_box(f());
    let begin = Instant::now();
    let mut samples = Vec::new();
    while samples.len() < 3 || begin.elapsed().as_secs_f64() < seconds {
        let (wall, cpu) = (Instant::now(), cpu_time());
        std::hint::black_box(f());
        samples.push((wall.elapsed(), cpu_time().saturating_sub(cpu)));
    }
    let middle = samples.len() / 2;
    samples.sort_by_key(|sample| sample.0);
    let wall = samples[middle].0;
    samples.sort_by_key(|sample| sample.1);
    Line { wall, cpu: samples[middle].1 }
}

/// Measures and prints one line: `items` of `unit` a second, by wall time and by CPU time.
pub fn report<T>(label: &str, items: usize, unit: &str, seconds: f64, f: impl FnMut() -> T) {
    let line = measure(seconds, f);
    let (wall, cpu) = (items as f64 / line.wall.as_secs_f64(), items as f64 / line.cpu.as_secs_f64());
    println!(
        "{label:<44} {items:>7} {unit}  {:>9.1} ms  {wall:>9.0} {unit}/s  {cpu:>9.0} {unit}/CPU s",
        line.wall.as_secs_f64() * 1e3
    );
}

/// What stands above each table.
pub fn header(title: &str) {
    let model = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|info| {
            info.lines()
                .find(|line| line.starts_with("model name"))
                .map(|line| line[line.find(':').unwrap_or(0) + 1..].trim().to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    println!("\n{title}: {model}, {} threads", rayon::current_num_threads());
}

/// CPU time of this process so far (Linux; elsewhere wall time stands in).
pub fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/schedstat").ok();
    let tasks = std::fs::read_dir("/proc/self/task").ok();
    let of = |text: &str| text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    match (stat, tasks) {
        (Some(_), Some(tasks)) => Duration::from_nanos(
            tasks
                .flatten()
                .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
                .map(|text| of(&text))
                .sum(),
        ),
        _ => {
            static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
            START.get_or_init(Instant::now).elapsed()
        }
    }
}
