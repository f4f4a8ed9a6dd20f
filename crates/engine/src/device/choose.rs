//! Which devices a model runs on: what was asked for, or an error; `auto` may fall back, and says so.

use serde_json::{Value, json};

use super::cuda::{self, Host, ProblemKind, Verdict};
use super::selection::{DeviceId, Request, Selection};
use super::{ACCELERATORS, cards, metal, request, sentence};
use crate::error::{Code, Error, Result};

/// The devices on which our own encoders run for a request such as `auto`, `cpu`, `cuda:1`, `cuda:0,1` or `cuda:*`.
///
/// `needed` is what the model takes on one card, in bytes: weights and the work of a batch. `auto` takes the card with
/// the most free memory that can hold it, else the CPU, with a warning if there is a card. `cuda` takes the one with
/// the most free memory.
///
/// # Errors
/// `DEVICE_UNAVAILABLE` with every attempt and its reason; `INVALID_OPTION` for a name that does not exist.
pub fn choose(name: &str, needed: u64, host: &Host) -> Result<Selection> {
    let request = request(name, "device")?;
    match &request {
        Request::Kind("cpu") => return Ok(Selection::one(DeviceId::CPU)),
        Request::Auto | Request::Kind("cuda") | Request::Indices("cuda", _) | Request::All("cuda") => {}
        Request::Kind("metal") if metal::compiled_in() => {
            return match metal::try_device() {
                Ok(()) => Ok(Selection::one(DeviceId { kind: "metal", index: None })),
                Err(reason) => Err(unavailable(name, &reason, vec![json!({ "device": name, "reason": reason })])),
            };
        }
        Request::Kind(kind) | Request::Indices(kind, _) | Request::All(kind) => return Err(never(name, kind)),
    }
    let verdict = cuda::find(host);
    let usable = verdict.problem.is_none() && cuda::compiled_in();
    // Asking takes a context on each card for a moment: not on those that were left out on purpose.
    let is_open = matches!(request, Request::Auto | Request::Kind(_));
    let free = if usable && is_open { cuda::memory_free(&verdict) } else { Vec::new() };
    Machine { verdict: &verdict, free: &free, compiled_in: cuda::compiled_in() }.choose(name, &request, needed)
}

/// A kind that our own encoders never run on.
fn never(name: &str, kind: &str) -> Error {
    let accelerator = ACCELERATORS.iter().find(|accelerator| accelerator.kind == kind);
    let reason = accelerator.map_or_else(String::new, |accelerator| accelerator.reason(None));
    unavailable(name, &reason, vec![json!({ "device": name, "reason": reason })])
}

fn unavailable(name: &str, reason: &str, attempts: Vec<Value>) -> Error {
    let message = format!(
        "The device {name} cannot be used: {} Use device 'cpu' or 'auto'; listDevices() tells more.",
        sentence(reason)
    );
    Error::new(Code::DeviceUnavailable, message).with("device", name).with("attempts", attempts)
}

/// What is known of the cards when the choice is made.
struct Machine<'a> {
    verdict: &'a Verdict,
    /// Bytes free on each card, where it is known.
    free: &'a [Option<u64>],
    compiled_in: bool,
}

impl Machine<'_> {
    fn choose(&self, name: &str, request: &Request, needed: u64) -> Result<Selection> {
        match request {
            Request::Auto => Ok(self.best_or_cpu(needed)),
            Request::Kind(_) => match self.usable().first() {
                Some(&index) => Ok(Selection::one(DeviceId::cuda(index))),
                None => Err(self.refuse(name, &self.indices())),
            },
            Request::All(_) => {
                let mut indices = self.usable();
                indices.sort_unstable();
                self.several(name, &indices)
            }
            Request::Indices(_, indices) => {
                let bad: Vec<u16> = indices.iter().copied().filter(|&index| self.reason(index).is_some()).collect();
                if bad.is_empty() { self.several(name, indices) } else { Err(self.refuse(name, &bad)) }
            }
        }
    }

    fn several(&self, name: &str, indices: &[u16]) -> Result<Selection> {
        if indices.is_empty() {
            return Err(self.refuse(name, &self.indices()));
        }
        Ok(Selection { devices: indices.iter().copied().map(DeviceId::cuda).collect(), warning: None })
    }

    fn best_or_cpu(&self, needed: u64) -> Selection {
        let usable = self.usable();
        if let Some(&index) = usable.iter().find(|&&index| self.free(index) >= needed) {
            return Selection::one(DeviceId::cuda(index));
        }
        let warning = match usable.first() {
            Some(&index) => Some(format!(
                "The model runs on the CPU: it needs about {} of memory, and cuda:{index} has {} free, which is the \
                 most of all cards.",
                gib(needed),
                gib(self.free(index))
            )),
            None => self.why_no_card().map(|why| format!("The model runs on the CPU, not on the NVIDIA card: {why}")),
        };
        Selection { devices: vec![DeviceId::CPU], warning }
    }

    /// What to tell of a card that is, or may be, there and is not used.
    fn why_no_card(&self) -> Option<String> {
        match (&self.verdict.problem, self.verdict.cards.first()) {
            // A program around the core that cannot probe has nothing to be warned of: its user can do nothing.
            (Some(problem), _) if problem.kind == ProblemKind::NoProbe && !self.compiled_in => None,
            (Some(problem), _) => problem.kind.is_worth_a_warning().then(|| problem.reason.clone()),
            (None, Some(card)) => cards::reason(self.verdict, card, self.compiled_in),
            (None, None) => None,
        }
    }

    fn indices(&self) -> Vec<u16> {
        (0..self.verdict.cards.len()).filter_map(|index| u16::try_from(index).ok()).collect()
    }

    /// Cards that can be used, the one with the most free memory first.
    fn usable(&self) -> Vec<u16> {
        let mut usable = self.indices();
        usable.retain(|&index| self.reason(index).is_none());
        usable.sort_by_key(|&index| std::cmp::Reverse(self.free(index)));
        usable
    }

    /// Bytes; where it is not known, none are free for certain.
    fn free(&self, index: u16) -> u64 {
        self.free.get(usize::from(index)).copied().flatten().unwrap_or(0)
    }

    fn reason(&self, index: u16) -> Option<String> {
        match self.verdict.cards.get(usize::from(index)) {
            Some(card) => cards::reason(self.verdict, card, self.compiled_in),
            None => Some(match (&self.verdict.problem, self.verdict.cards.len()) {
                (Some(problem), 0) => problem.reason.clone(),
                (None, 0) => "There is no NVIDIA card here.".to_owned(),
                (_, 1) => format!("There is one NVIDIA card here, cuda:0, and no cuda:{index}."),
                (_, count) => format!("There are {count} NVIDIA cards here, from cuda:0, and no cuda:{index}."),
            }),
        }
    }

    /// Tells of all that was tried: the devices, then the files.
    fn refuse(&self, name: &str, indices: &[u16]) -> Error {
        let reasons: Vec<(String, String)> = if indices.is_empty() {
            vec![(name.to_owned(), self.reason(0).unwrap_or_default())]
        } else {
            let reason = |&index: &u16| (DeviceId::cuda(index).to_string(), self.reason(index).unwrap_or_default());
            indices.iter().map(reason).collect()
        };
        let mut attempts: Vec<Value> =
            reasons.iter().map(|(device, reason)| json!({ "device": device, "reason": sentence(reason) })).collect();
        let files = &self.verdict.attempts;
        attempts
            .extend(files.iter().map(|file| json!({ "device": name, "library": file.path, "reason": file.reason })));
        // Several cards often have one reason.
        let mut told: Vec<&str> = reasons.iter().map(|(_, reason)| reason.as_str()).collect();
        told.dedup();
        let command = self.verdict.problem.as_ref().and_then(|problem| problem.command.clone());
        let error = unavailable(name, &told.join(" "), attempts);
        match command {
            Some(command) => error.with("command", command),
            None => error,
        }
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::device::cuda::{Attempt, Card, Problem};

    const GIB: u64 = 1 << 30;

    fn verdict(capabilities: &[(u32, u32)]) -> Verdict {
        let card = |&compute_capability: &(u32, u32)| Card {
            name: "Card".to_owned(),
            uuid: String::new(),
            memory_total: 80 * GIB,
            compute_capability,
        };
        Verdict { driver_cuda: 12040, cards: capabilities.iter().map(card).collect(), ..Verdict::default() }
    }

    fn with_problem(mut verdict: Verdict, kind: ProblemKind) -> Verdict {
        let reason = "It is broken. Mend it.".to_owned();
        verdict.problem = Some(Problem { kind, reason, command: Some("mend".to_owned()) });
        verdict
    }

    fn pick(verdict: &Verdict, free: &[Option<u64>], name: &str, needed: u64) -> Result<Selection> {
        Machine { verdict, free, compiled_in: true }.choose(name, &request(name, "device").unwrap(), needed)
    }

    fn names(selection: &Selection) -> Vec<String> {
        selection.devices.iter().map(DeviceId::to_string).collect()
    }

    #[test]
    fn auto_takes_the_card_with_the_most_room() {
        let three = verdict(&[(8, 0), (9, 0), (7, 5)]);
        let free = [Some(10 * GIB), Some(20 * GIB), Some(70 * GIB)];
        let chosen = pick(&three, &free, "auto", 5 * GIB).unwrap();
        assert_eq!((names(&chosen), &chosen.warning), (vec!["cuda:1".to_owned()], &None));
        assert_eq!(names(&pick(&three, &free, "cuda", 90 * GIB).unwrap()), ["cuda:1"]);
        let full = pick(&three, &free, "auto", 30 * GIB).unwrap();
        assert_eq!(names(&full), ["cpu"]);
        let warning = full.warning.unwrap();
        assert!(warning.contains("30.0 GiB") && warning.contains("cuda:1 has 20.0 GiB"), "{warning}");
        assert_eq!(names(&pick(&three, &[None, None, None], "auto", 1).unwrap()), ["cpu"]);
    }

    #[test]
    fn auto_is_silent_where_there_is_no_card() {
        for kind in [ProblemKind::NoDriver, ProblemKind::NoCard] {
            let chosen = pick(&with_problem(verdict(&[]), kind), &[], "auto", 1).unwrap();
            assert_eq!(chosen, Selection::one(DeviceId::CPU), "{kind:?}");
        }
        for kind in [ProblemKind::DriverBroken, ProblemKind::DriverTooOld, ProblemKind::LibraryMissing] {
            let chosen = pick(&with_problem(verdict(&[(9, 0)]), kind), &[], "auto", 1).unwrap();
            assert_eq!(names(&chosen), ["cpu"]);
            assert!(chosen.warning.unwrap().ends_with("It is broken. Mend it."), "{kind:?}");
        }
        let old = pick(&verdict(&[(6, 1)]), &[Some(GIB)], "auto", 1).unwrap();
        assert!(old.warning.unwrap().contains("6.1"));
        let plain = verdict(&[(9, 0)]);
        let machine = Machine { verdict: &plain, free: &[Some(GIB)], compiled_in: false };
        assert!(machine.choose("auto", &Request::Auto, 1).unwrap().warning.unwrap().contains("no CUDA encoders"));
    }

    #[test]
    fn several_cards() {
        let three = verdict(&[(8, 0), (9, 0), (7, 5)]);
        let free = [Some(GIB), Some(2 * GIB), Some(GIB)];
        assert_eq!(names(&pick(&three, &free, "cuda:1,0", 0).unwrap()), ["cuda:1", "cuda:0"]);
        assert_eq!(names(&pick(&three, &free, "cuda:*", 0).unwrap()), ["cuda:0", "cuda:1"]);
        let error = pick(&three, &free, "cuda:0,2,5", 0).unwrap_err();
        assert_eq!(error.code, Code::DeviceUnavailable);
        let attempts = error.details["attempts"].as_array().unwrap();
        assert_eq!((attempts.len(), &attempts[0]["device"]), (2, &json!("cuda:2")));
        assert!(attempts[1]["reason"].as_str().unwrap().contains("no cuda:5"));
    }

    #[test]
    fn a_named_card_that_cannot_be_used_is_refused_with_all_attempts() {
        let mut broken = with_problem(verdict(&[(9, 0)]), ProblemKind::LibraryBroken);
        broken.attempts = vec![Attempt { path: "/x/libcublas.so.12".into(), reason: "it crashed".to_owned() }];
        for name in ["cuda", "cuda:0", "cuda:*"] {
            let error = pick(&broken, &[], name, 0).unwrap_err();
            assert_eq!(error.code, Code::DeviceUnavailable, "{name}");
            assert!(error.message.contains("It is broken. Mend it. Use device"), "{}", error.message);
            let attempts = error.details["attempts"].as_array().unwrap();
            assert_eq!(attempts[0]["device"], "cuda:0");
            assert_eq!(
                (&attempts[1]["library"], &attempts[1]["reason"]),
                (&json!("/x/libcublas.so.12"), &json!("it crashed"))
            );
            assert_eq!(error.details["command"], "mend");
        }
        let none = with_problem(verdict(&[]), ProblemKind::NoDriver);
        assert_eq!(pick(&none, &[], "cuda:1", 0).unwrap_err().details["attempts"][0]["device"], "cuda:1");
        assert_eq!(pick(&none, &[], "cuda:*", 0).unwrap_err().details["attempts"][0]["device"], "cuda:*");
    }

    #[test]
    fn the_cpu_needs_nothing() {
        assert_eq!(choose("cpu", 0, &Host::default()).unwrap(), Selection::one(DeviceId::CPU));
        assert_eq!(choose("gpu", 0, &Host::default()).unwrap_err().code, Code::InvalidOption);
    }
}
