//! Runs a probe in a process of its own, where a library may crash or hang without harm.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::driver::{Card, Refusal};
use super::probe::{Message, PREFIX, Trial};
use super::search::Library;

/// What the child is told, in this variable. Set in a process, it also says that the process is such a child, and
/// must not start one of its own.
pub const TRIAL_VARIABLE: &str = "EMBEDDING_ENGINE_PROBE";
/// How long each step of a probe may take. A driver that wakes up a card needs two or three seconds.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);
/// What a child may write: more is no report.
const OUTPUT_LIMIT: u64 = 1 << 20;

/// How to start a process that calls [`probe_main`](super::probe_main) with the value of [`TRIAL_VARIABLE`]. The
/// host knows: in Node it is Node itself, in a test the test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProbeCommand {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Variables that it has beside ours; `null` for one that it must not have.
    #[serde(default)]
    pub env: BTreeMap<String, Option<String>>,
}

/// What came of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The newest CUDA that the driver knows, and the cards, if the driver works.
    pub driver: Option<(u32, Vec<Card>)>,
    /// The library that failed, and how; `None` if all work.
    pub failure: Option<(Library, Failure)>,
}

/// How a library failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It says so itself.
    Refused(Refusal),
    /// It ended the process; in words.
    Crashed(String),
    /// It did not return in time ([`TIME_LIMIT`]).
    Hung,
    /// The probe could not be run, so nothing is known of the library; in words.
    NotTried(String),
}

/// Tries the libraries in a child, and waits for it.
pub(super) fn run(command: &ProbeCommand, trial: &Trial, limit: Duration) -> Outcome {
    let mut outcome = Outcome { driver: None, failure: None };
    let mut step = None;
    let ended = watch(command, trial, limit, &mut |message| match message {
        Message::Step { library } => step = Some(library),
        Message::Cards { version, cards } => outcome.driver = Some((version, cards)),
        Message::Refused { refusal } => {
            outcome.failure = Some((step.unwrap_or(Library::Driver), Failure::Refused(refusal)));
        }
        Message::Done => {}
    });
    if let Err(failure) = ended {
        // Before its first step it was not the library that failed.
        let failure = match (step, failure) {
            (None, Failure::Crashed(how)) => Failure::NotTried(how),
            (None, Failure::Hung) => Failure::NotTried(format!("it took more than {} s to start", limit.as_secs())),
            (_, failure) => failure,
        };
        outcome.failure = Some((step.unwrap_or(Library::Driver), failure));
    }
    outcome
}

/// Starts the child and passes its messages on until the last one; then the child is ended. Each message, which is a
/// step forward, gives it `limit` anew: with many cards, or a compiler in the driver, the whole may take long.
fn watch(command: &ProbeCommand, trial: &Trial, limit: Duration, each: &mut dyn FnMut(Message)) -> Result<(), Failure> {
    let not_tried = |error: &dyn std::fmt::Display| Failure::NotTried(error.to_string());
    let json = serde_json::to_string(trial).map_err(|error| not_tried(&error))?;
    let mut child = Command::new(&command.program);
    child.args(&command.args).env(TRIAL_VARIABLE, json);
    child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    for (name, value) in &command.env {
        match value {
            Some(value) => child.env(name, value),
            None => child.env_remove(name),
        };
    }
    // The folder of the process may be gone, and may hold settings of the runtime (bunfig.toml).
    if cfg!(unix) {
        child.current_dir("/");
    }
    #[cfg(windows)]
    {
        const CREATE_NO_WINDOW: u32 = 0x0800_0000;
        std::os::windows::process::CommandExt::creation_flags(&mut child, CREATE_NO_WINDOW);
    }
    let mut since = Instant::now();
    let mut child = child.spawn().map_err(|error| {
        Failure::NotTried(format!("the probe {} cannot be started: {error}", command.program.display()))
    })?;
    let (lines, received) = channel();
    if let Some(out) = child.stdout.take() {
        // Not waited for: a child of the child may hold the pipe open.
        let reading = std::thread::Builder::new().name("embedding-probe".to_owned());
        let _ = reading.spawn(move || {
            for line in BufReader::new(out.take(OUTPUT_LIMIT)).split(b'\n').map_while(Result::ok) {
                let message = line.strip_prefix(PREFIX.as_bytes()).and_then(|json| serde_json::from_slice(json).ok());
                if message.is_some_and(|message: Message| lines.send(message).is_err()) {
                    return;
                }
            }
        });
    } else {
        drop(lines);
    }
    let result = loop {
        match received.recv_timeout(limit.saturating_sub(since.elapsed())) {
            Ok(message) => {
                since = Instant::now();
                let last = matches!(message, Message::Done | Message::Refused { .. });
                each(message);
                if last {
                    break Ok(());
                }
            }
            Err(RecvTimeoutError::Timeout) => break Err(Failure::Hung),
            // The pipe is closed: the child ended, or is about to.
            Err(RecvTimeoutError::Disconnected) => {
                break Err(wait(&mut child, limit.saturating_sub(since.elapsed())));
            }
        }
    };
    // Not left to end by itself: drivers have been seen to hang at the end of a process.
    let _ = child.kill();
    let _ = child.wait();
    result
}

/// Waits for a child that closed its output. There is no wait with a limit in the standard library.
fn wait(child: &mut std::process::Child, limit: Duration) -> Failure {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Failure::Crashed(in_words(status)),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => return Failure::Hung,
            Err(error) => return Failure::NotTried(error.to_string()),
        }
    }
}

fn in_words(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        let name = match signal {
            4 => " (SIGILL)",
            6 => " (SIGABRT)",
            7 => " (SIGBUS)",
            8 => " (SIGFPE)",
            9 => " (SIGKILL)",
            11 => " (SIGSEGV)",
            _ => "",
        };
        return format!("it ended the probe with signal {signal}{name}");
    }
    match status.code() {
        Some(code) => format!("it ended the probe with exit code {code}"),
        None => "it ended the probe".to_owned(),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A child that writes `lines`, each as a message, with pauses between them.
    fn child(lines: &[&str], pause: f32) -> ProbeCommand {
        let lines: Vec<String> = lines.iter().map(|line| format!("echo '{PREFIX}{line}'")).collect();
        let script = lines.join(&format!("; sleep {pause}; "));
        ProbeCommand { program: "/bin/sh".into(), args: vec!["-c".to_owned(), script], env: BTreeMap::new() }
    }

    #[test]
    fn the_limit_is_of_a_step() {
        let trial = Trial { driver: PathBuf::new(), libraries: Vec::new(), cuda: 0 };
        let steps = [r#"{"is":"step","library":"driver"}"#, r#"{"is":"step","library":"cublas"}"#, r#"{"is":"done"}"#];
        // All of it takes longer than the limit.
        let outcome = run(&child(&steps, 1.2), &trial, Duration::from_secs(2));
        assert_eq!(outcome, Outcome { driver: None, failure: None });
        let outcome = run(&child(&steps[..2], 30.0), &trial, Duration::from_secs(1));
        assert_eq!(outcome.failure, Some((Library::Driver, Failure::Hung)));
    }
}
