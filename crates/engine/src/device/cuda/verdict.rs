//! From candidates to a verdict: which libraries work here, with which cards, and what is missing.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::child::{Failure, Outcome};
use super::driver::{Card, Refusal};
use super::probe::Trial;
use super::search::{Attempt, Candidate, Found, Library};
use super::{MIN_CAPABILITY, Toolkit};

/// Trials for one verdict: a machine full of broken libraries shall not keep a program waiting.
const MAX_TRIALS: usize = 12;
/// Of these, trials that may hang (each takes the whole time limit).
const MAX_HANGS: usize = 2;

/// What is known of CUDA on this machine. Holds nothing that changes while programs run, such as free memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The driver's library, if one works.
    pub driver: Option<Candidate>,
    /// The newest CUDA that the driver knows: 12040 is 12.4. 0 without a driver.
    pub driver_cuda: u32,
    /// In the driver's order. Those that are too old are among them: see [`Card::reason`].
    pub cards: Vec<Card>,
    /// The toolkit's libraries that work, in the order in which they must be opened. All of
    /// [`Library::TOOLKIT`] where there is no `problem`.
    pub libraries: Vec<(Library, Candidate)>,
    /// Every file that was found and cannot be used.
    pub attempts: Vec<Attempt>,
    /// Why no card can be used.
    pub problem: Option<Problem>,
    /// Whether it may be otherwise in a while without any file having changed: a library failed, which may have been
    /// the card's state (full, in another process's hands, just waking up), and not the library's.
    pub passing: bool,
}

/// Why no card can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// What kind of thing is wrong.
    pub kind: ProblemKind,
    /// In words, with what to do, as whole sentences.
    pub reason: String,
    /// A command that mends it, if there is one.
    pub command: Option<String>,
}

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProblemKind {
    /// No driver is installed.
    NoDriver,
    /// The driver works and sees no card.
    NoCard,
    /// A driver is there and does not work.
    DriverBroken,
    /// The driver does not know the build's CUDA.
    DriverTooOld,
    /// A library of the toolkit is not there.
    LibraryMissing,
    /// A library of the toolkit is there and does not work.
    LibraryBroken,
    /// Nothing could be tried.
    NoProbe,
}

impl ProblemKind {
    /// Whether there is, or may be, a card that is not used: worth a warning where `auto` takes the CPU.
    pub fn is_worth_a_warning(self) -> bool {
        !matches!(self, ProblemKind::NoDriver | ProblemKind::NoCard)
    }
}

impl Card {
    /// Why our build cannot use the card, however good the libraries are.
    pub fn reason(&self) -> Option<String> {
        let (major, minor) = self.compute_capability;
        (self.compute_capability < MIN_CAPABILITY).then(|| {
            format!(
                "The {} has compute capability {major}.{minor}, and {}.{} or newer is needed (Ampere, 2020).",
                self.name, MIN_CAPABILITY.0, MIN_CAPABILITY.1
            )
        })
    }
}

/// Tries the candidates, the most promising first, until a set of libraries works or there are no more. `run` tries
/// one set, which may end a child process.
pub fn decide(found: &Found, toolkit: Toolkit, run: &mut dyn FnMut(&Trial) -> Outcome) -> Verdict {
    let mut verdict = Verdict { attempts: found.unfit.clone(), ..Verdict::default() };
    if found.driver.is_empty() {
        verdict.problem = Some(no_driver());
        return verdict;
    }
    let mut rest: [Vec<Candidate>; 3] = found.toolkit.clone();
    let mut drivers = found.driver.iter();
    let mut driver = drivers.next();
    let (mut trials, mut hangs) = (0, 0);
    let mut worst: Option<Problem> = None;
    while let Some(candidate) = driver {
        pair(&mut rest);
        let libraries: Vec<(Library, Candidate)> = Library::TOOLKIT
            .into_iter()
            .zip(&rest)
            .filter_map(|(library, candidates)| Some((library, candidates.first()?.clone())))
            .collect();
        let trial = Trial {
            driver: candidate.path.clone(),
            libraries: libraries.iter().map(|(library, candidate)| (*library, candidate.path.clone())).collect(),
            cuda: toolkit.number(),
        };
        let outcome = run(&trial);
        trials += 1;
        hangs += usize::from(matches!(outcome.failure, Some((_, Failure::Hung))));
        if let Some((version, cards)) = outcome.driver {
            verdict.driver = Some(candidate.clone());
            (verdict.driver_cuda, verdict.cards) = (version, cards);
        }
        let Some((library, failure)) = outcome.failure else {
            verdict.libraries = libraries;
            verdict.problem = judge(&verdict, toolkit);
            // What was passed over is of no interest any more, unless it is what is missing now.
            verdict.passing &= verdict.problem.is_some();
            return verdict;
        };
        verdict.passing = true;
        let reason = match &failure {
            Failure::Refused(Refusal::NoCard) => {
                worst.get_or_insert_with(no_card);
                "it finds no card".to_owned()
            }
            Failure::Refused(Refusal::Broken(reason)) | Failure::Crashed(reason) => reason.clone(),
            Failure::Hung => "it did not answer in time".to_owned(),
            Failure::NotTried(why) => {
                verdict.problem = Some(no_probe(why));
                return verdict;
            }
        };
        let index = Library::TOOLKIT.iter().position(|other| *other == library);
        let failed = index.map_or(candidate, |index| rest[index].first().unwrap_or(candidate));
        verdict.attempts.push(Attempt { path: failed.path.clone(), reason: reason.clone() });
        if failure != Failure::Refused(Refusal::NoCard) {
            worst = Some(broken(library, failed, &reason, toolkit));
        }
        match index {
            Some(index) => {
                rest[index].remove(0);
                // Without it there is nothing to gain: why, is known.
                if rest[index].is_empty() {
                    break;
                }
            }
            None => driver = drivers.next(),
        }
        if trials >= MAX_TRIALS || hangs >= MAX_HANGS {
            break;
        }
    }
    verdict.problem = worst.or_else(|| judge(&verdict, toolkit));
    verdict
}

/// cuBLAS leans on the cuBLASLt of its own folder: of several, that one goes first.
fn pair(rest: &mut [Vec<Candidate>; 3]) {
    let [lt, cublas, _] = rest;
    let Some(folder) = cublas.first().and_then(|candidate| candidate.path.parent()) else { return };
    if let Some(index) = lt.iter().position(|candidate| candidate.path.parent() == Some(folder)) {
        lt[..=index].rotate_right(1);
    }
}

/// What is wrong where nothing that was tried failed.
fn judge(verdict: &Verdict, toolkit: Toolkit) -> Option<Problem> {
    if verdict.driver_cuda < toolkit.number() {
        return Some(too_old(verdict.driver_cuda, toolkit));
    }
    let lacks = |library: &Library| verdict.libraries.iter().all(|(has, _)| has != library);
    let missing: Vec<Library> = Library::TOOLKIT.into_iter().filter(lacks).collect();
    (!missing.is_empty()).then(|| libraries_missing(&missing, &verdict.attempts, toolkit))
}

fn no_driver() -> Problem {
    let what = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };
    Problem {
        kind: ProblemKind::NoDriver,
        reason: format!(
            "There is no NVIDIA driver here ({what} was not found). With an NVIDIA card, install its driver; in a \
             container, start it with the card (docker run --gpus all)."
        ),
        command: None,
    }
}

fn no_card() -> Problem {
    Problem {
        kind: ProblemKind::NoCard,
        reason: "The NVIDIA driver finds no card. Look at nvidia-smi and at CUDA_VISIBLE_DEVICES; in a container, \
                 start it with the card (docker run --gpus all)."
            .to_owned(),
        command: Some("nvidia-smi".to_owned()),
    }
}

fn no_probe(why: &str) -> Problem {
    Problem {
        kind: ProblemKind::NoProbe,
        reason: format!("The NVIDIA driver is installed, but could not be tried in a process of its own: {why}."),
        command: None,
    }
}

fn too_old(version: u32, toolkit: Toolkit) -> Problem {
    Problem {
        kind: ProblemKind::DriverTooOld,
        reason: format!(
            "The NVIDIA driver knows CUDA up to {}.{}, and this build needs {}.{}: install driver {} or newer.",
            version / 1000,
            version % 1000 / 10,
            toolkit.major,
            toolkit.minor,
            toolkit.driver()
        ),
        command: None,
    }
}

fn libraries_missing(missing: &[Library], attempts: &[Attempt], toolkit: Toolkit) -> Problem {
    let names: Vec<&str> = missing.iter().map(|library| library.name()).collect();
    let command = install(missing, toolkit);
    let others = attempts.iter().map(|attempt| format!(" {}: {}.", attempt.path.display(), attempt.reason));
    Problem {
        kind: ProblemKind::LibraryMissing,
        reason: format!(
            "{} of CUDA {} not found. Install with `{command}`, or name the folders that have them in \
             EMBEDDING_ENGINE_CUDA_LIBS.{}",
            names.join(" and "),
            if names.len() == 1 { format!("{} was", toolkit.major) } else { format!("{} were", toolkit.major) },
            others.collect::<String>()
        ),
        command: Some(command),
    }
}

fn broken(library: Library, candidate: &Candidate, reason: &str, toolkit: Toolkit) -> Problem {
    let Candidate { path, origin } = candidate;
    let (kind, remedy, command) = if library == Library::Driver {
        (ProblemKind::DriverBroken, "Install the NVIDIA driver again, and restart.".to_owned(), None)
    } else {
        let command = install(&[library], toolkit);
        let remedy = format!("Install another with `{command}`, or name its folder in EMBEDDING_ENGINE_CUDA_LIBS.");
        (ProblemKind::LibraryBroken, remedy, Some(command))
    };
    let reason = reason.trim_end_matches('.');
    let name = library.name();
    Problem {
        kind,
        reason: format!("{name} at {} ({origin}) does not work: {reason}. {remedy}", path.display()),
        command,
    }
}

/// NVIDIA's wheels: their names bore the version up to CUDA 12. cuBLASLt comes with cuBLAS.
fn install(libraries: &[Library], toolkit: Toolkit) -> String {
    let mut packages: Vec<String> = Vec::new();
    for library in libraries {
        let name = match library {
            Library::Curand => "curand",
            _ => "cublas",
        };
        let package = match (toolkit.major, name) {
            (..=12, _) => format!("nvidia-{name}-cu{}", toolkit.major),
            (major, "cublas") => format!("\"nvidia-cublas=={major}.*\""),
            _ => format!("nvidia-{name}"),
        };
        if !packages.contains(&package) {
            packages.push(package);
        }
    }
    format!("pip install {}", packages.join(" "))
}

impl Verdict {
    /// Full paths in the order in which they must be opened.
    pub fn paths(&self) -> Vec<PathBuf> {
        let libraries = self.libraries.iter().map(|(_, candidate)| candidate);
        self.driver.iter().chain(libraries).map(|candidate| candidate.path.clone()).collect()
    }

    /// Why the card cannot be used; `None` if it can.
    pub fn reason(&self, card: &Card) -> Option<String> {
        self.problem.as_ref().map(|problem| problem.reason.clone()).or_else(|| card.reason())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const TOOLKIT: Toolkit = Toolkit { major: 12, minor: 4 };

    fn candidates(paths: &[&str]) -> Vec<Candidate> {
        paths.iter().map(|path| Candidate { path: path.into(), origin: "test".to_owned() }).collect()
    }

    fn card(name: &str, compute_capability: (u32, u32)) -> Card {
        Card { name: name.to_owned(), uuid: String::new(), memory_total: 80, compute_capability }
    }

    fn found(lt: &[&str], cublas: &[&str], curand: &[&str]) -> Found {
        let toolkit = [candidates(lt), candidates(cublas), candidates(curand)];
        Found { driver: candidates(&["/d/libcuda.so.1"]), toolkit, unfit: Vec::new() }
    }

    /// A machine on which the files in `bad` fail, each in its way.
    fn verdict(found: &Found, version: u32, bad: &[(&str, Failure)]) -> (Verdict, Vec<Trial>) {
        let mut trials = Vec::new();
        let verdict = decide(found, TOOLKIT, &mut |trial| {
            trials.push(trial.clone());
            let fails = |path: &PathBuf| bad.iter().find(|(name, _)| path == std::path::Path::new(name));
            if let Some((_, failure)) = fails(&trial.driver) {
                return Outcome { driver: None, failure: Some((Library::Driver, failure.clone())) };
            }
            let driver = Some((version, vec![card("A", (9, 0)), card("B", (7, 5))]));
            if version < trial.cuda {
                return Outcome { driver, failure: None };
            }
            let failure = trial.libraries.iter().find_map(|(library, path)| Some((*library, fails(path)?.1.clone())));
            Outcome { driver, failure }
        });
        (verdict, trials)
    }

    fn kind(verdict: &Verdict) -> ProblemKind {
        verdict.problem.as_ref().unwrap().kind
    }

    #[test]
    fn what_works_is_taken_at_once() {
        let found = found(&["/a/lt", "/b/lt"], &["/b/cublas"], &["/c/curand"]);
        let (verdict, trials) = verdict(&found, 12040, &[]);
        assert_eq!((verdict.problem.as_ref(), trials.len()), (None, 1));
        // The cuBLASLt that lies beside cuBLAS.
        let paths: Vec<_> = ["/d/libcuda.so.1", "/b/lt", "/b/cublas", "/c/curand"].map(PathBuf::from).into();
        assert_eq!(verdict.paths(), paths);
        assert_eq!(verdict.reason(&verdict.cards[0]), None);
        assert!(verdict.reason(&verdict.cards[1]).unwrap().contains("7.5"));
    }

    #[test]
    fn a_bad_library_gives_way_to_the_next() {
        let found = found(&["/a/lt", "/b/lt"], &["/a/cublas", "/b/cublas"], &["/c/curand"]);
        let crash = Failure::Crashed("it ended the probe with signal 6 (SIGABRT)".to_owned());
        let (verdict, trials) = verdict(&found, 12080, &[("/a/cublas", crash)]);
        assert_eq!((verdict.problem.as_ref(), trials.len(), verdict.passing), (None, 2, false));
        assert_eq!(verdict.paths()[1..3], [PathBuf::from("/b/lt"), PathBuf::from("/b/cublas")]);
        assert!(verdict.attempts[0].reason.contains("SIGABRT"));
    }

    #[test]
    fn each_failure_has_its_problem() {
        let whole = found(&["/lt"], &["/cublas"], &["/curand"]);
        let broken = || Failure::Refused(Refusal::Broken("it is broken".to_owned()));
        let driver = "/d/libcuda.so.1";
        assert_eq!(kind(&verdict(&Found::default(), 12040, &[]).0), ProblemKind::NoDriver);
        let none = verdict(&whole, 12040, &[(driver, Failure::Refused(Refusal::NoCard))]).0;
        assert_eq!((kind(&none), none.passing), (ProblemKind::NoCard, true));
        let error = verdict(&whole, 12040, &[(driver, broken())]).0;
        assert_eq!((kind(&error), error.passing), (ProblemKind::DriverBroken, true));
        let hung = verdict(&whole, 12040, &[(driver, Failure::Hung)]).0;
        assert_eq!((kind(&hung), hung.passing), (ProblemKind::DriverBroken, true));
        // A card that was full, or another process's, makes the best library fail.
        let curand = verdict(&whole, 12040, &[("/curand", broken())]).0;
        assert_eq!((kind(&curand), curand.passing), (ProblemKind::LibraryBroken, true));
        assert_eq!(curand.problem.unwrap().command.unwrap(), "pip install nvidia-curand-cu12");
        assert_eq!(curand.cards.len(), 2, "the cards are known all the same");
        let old = verdict(&whole, 12020, &[]).0;
        assert_eq!((kind(&old), old.passing), (ProblemKind::DriverTooOld, false));
        assert!(old.problem.unwrap().reason.contains("CUDA up to 12.2"));
        let untried = verdict(&whole, 12040, &[(driver, Failure::NotTried("why".to_owned()))]).0;
        assert_eq!((kind(&untried), untried.passing), (ProblemKind::NoProbe, true));
    }

    #[test]
    fn what_is_missing_is_named_with_the_command() {
        let (verdict, _) = verdict(&found(&[], &[], &[]), 12040, &[]);
        assert_eq!(kind(&verdict), ProblemKind::LibraryMissing);
        let problem = verdict.problem.unwrap();
        assert_eq!(problem.command.as_deref(), Some("pip install nvidia-cublas-cu12 nvidia-curand-cu12"));
        assert!(
            problem.reason.contains("cuBLASLt and cuBLAS and cuRAND of CUDA 12 were not found"),
            "{}",
            problem.reason
        );
        let next = Toolkit { major: 13, minor: 0 };
        assert_eq!(install(&Library::TOOLKIT, next), "pip install \"nvidia-cublas==13.*\" nvidia-curand");
    }

    #[test]
    fn trials_come_to_an_end() {
        let many: Vec<String> = (0..50).map(|i| format!("/{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let whole = found(&["/lt"], &many, &["/curand"]);
        let all = |failure: &Failure| many.iter().map(|path| (*path, failure.clone())).collect::<Vec<_>>();
        assert_eq!(verdict(&whole, 12040, &all(&Failure::Crashed(String::new()))).1.len(), MAX_TRIALS);
        assert_eq!(verdict(&whole, 12040, &all(&Failure::Hung)).1.len(), MAX_HANGS);
    }
}
