//! Cards that are not there, with limits and faults.

#![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::*;

const WIDTH: usize = 2;

/// How a fake card behaves, seen and changed from the test.
#[derive(Default)]
struct Plan {
    /// Tokens above which a batch does not fit; 0 for none.
    fits: AtomicUsize,
    /// The number of the batch (from 1) at which the device fails for good; 0 for never.
    fails_at: AtomicUsize,
    panics_at: AtomicUsize,
    /// An error that is the batch's own.
    refuses_at: AtomicUsize,
    /// Whether the device works.
    dead: AtomicBool,
    /// Bytes that the device tells are free; 0 if it does not tell.
    free: AtomicUsize,
    /// Batches so far, and their tokens.
    runs: Mutex<Vec<usize>>,
    freed: AtomicBool,
}

impl Plan {
    fn runs(&self) -> Vec<usize> {
        lock(&self.runs).clone()
    }
}

struct Fake {
    plan: Arc<Plan>,
    info: BackendInfo,
    /// Waited for in each batch, if there is one.
    gate: Option<Receiver<()>>,
}

impl Card for Fake {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn footprint(&self) -> Footprint {
        Footprint { weights: 0, fixed: 1 << 20, per_pair: 1 << 20, per_token: 1 << 20 }
    }

    fn memory(&self) -> Option<Memory> {
        let free = self.plan.free.load(Ordering::Relaxed) as u64;
        (free > 0).then_some(Memory { free, total: 1 << 40 })
    }

    fn run(&mut self, batch: &PackedBatch, cancel: &Cancel) -> Result<Vec<f32>> {
        let number = {
            let mut runs = lock(&self.plan.runs);
            runs.push(batch.tokens());
            runs.len()
        };
        if let Some(gate) = &self.gate {
            gate.recv().unwrap();
        }
        cancel.check()?;
        let is_now = |at: &AtomicUsize| at.load(Ordering::Relaxed) == number;
        assert!(!is_now(&self.plan.panics_at), "a library lacks a function");
        if self.plan.dead.load(Ordering::Relaxed) || is_now(&self.plan.fails_at) {
            self.plan.dead.store(true, Ordering::Relaxed);
            return Err(Error::new(Code::DeviceUnavailable, "The device failed: CUDA_ERROR_ILLEGAL_ADDRESS"));
        }
        if is_now(&self.plan.refuses_at) {
            return Err(Error::internal("shapes differ"));
        }
        let fits = self.plan.fits.load(Ordering::Relaxed);
        if fits > 0 && batch.tokens() > fits {
            return Err(Error::new(Code::OutOfMemory, "The device has no memory left"));
        }
        let span = |span: &crate::batch::Span| {
            let ids = &batch.ids[batch.range(span.sequence as usize)][span.start as usize..span.end as usize];
            [ids.iter().sum::<u32>() as f32, ids.len() as f32]
        };
        Ok(batch.spans.iter().flat_map(span).collect())
    }

    fn check(&mut self) -> Result<()> {
        if self.plan.dead.load(Ordering::Relaxed) {
            return Err(Error::new(Code::DeviceUnavailable, "gone"));
        }
        Ok(())
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.plan.freed.store(true, Ordering::Relaxed);
    }
}

fn fake(index: usize, plan: &Arc<Plan>, gate: Option<Receiver<()>>) -> (String, MakeCard) {
    let name = format!("cuda:{index}");
    let info = BackendInfo { device: name.clone(), dtype: "bfloat16".to_owned(), width: WIDTH, weight_bytes: 5 };
    let plan = Arc::clone(plan);
    (name, Box::new(move || Ok(Box::new(Fake { plan, info, gate }))))
}

fn cards(plans: &[Arc<Plan>]) -> Cards {
    let cards = plans.iter().enumerate().map(|(index, plan)| fake(index, plan, None));
    Cards::start(cards.collect(), Limits::default()).unwrap()
}

fn plans<const N: usize>() -> [Arc<Plan>; N] {
    std::array::from_fn(|_| Arc::default())
}

/// Sequences of these lengths, with two spans where they are long enough, and what comes of them.
fn batch(lengths: &[usize]) -> (PackedBatch, Vec<f32>) {
    let mut batch = PackedBatch::new();
    let mut expected = Vec::new();
    for (index, len) in lengths.iter().enumerate() {
        let ids: Vec<u32> = (0..*len).map(|at| (index * 31 + at) as u32).collect();
        let spans = if *len > 3 { vec![1..2, 0..*len as u32] } else { vec![0..*len as u32] };
        for span in &spans {
            let part = &ids[span.start as usize..span.end as usize];
            expected.extend([part.iter().sum::<u32>() as f32, part.len() as f32]);
        }
        batch.push(&ids, &spans, None);
    }
    (batch, expected)
}

#[test]
fn rows_come_in_the_order_of_the_texts() {
    let plans = plans::<2>();
    let cards = cards(&plans);
    for lengths in [&[1][..], &[5, 5, 5], &[9, 2, 30, 2, 17, 1]] {
        let (batch, expected) = batch(lengths);
        assert_eq!(cards.run(&batch, &Cancel::never()).unwrap(), expected);
    }
    assert_eq!(cards.info().device, "cuda:0,1");
    assert_eq!((cards.info().weight_bytes, cards.lanes()), (10, 4));
    assert_eq!(cards.run(&PackedBatch::new(), &Cancel::never()).unwrap(), [0f32; 0]);
    drop(cards);
    assert!(plans.iter().all(|plan| plan.freed.load(Ordering::Relaxed)));
}

#[test]
fn names_are_put_together() {
    assert_eq!(together(&["cuda:0"]), "cuda:0");
    assert_eq!(together(&["cuda:2", "cuda:0"]), "cuda:2,0");
    assert_eq!(together(&["cuda:0", "metal:0", "metal:1"]), "cuda:0,metal:0,1");
    assert_eq!(Cards::start(Vec::new(), Limits::default()).err().unwrap().code, Code::InvalidOption);
}

#[test]
fn batches_follow_the_free_memory() {
    let [plan] = plans();
    // 0.9 of it, less the fixed part, at 1 MiB a token: 20 tokens.
    plan.free.store(((21 << 20) * 10usize).div_ceil(9), Ordering::Relaxed);
    let cards = cards(std::slice::from_ref(&plan));
    assert_eq!(cards.tokens_per_batch(), Some(20));
    let (batch, expected) = batch(&[7, 12, 8, 3, 6, 40]);
    assert_eq!(cards.run(&batch, &Cancel::never()).unwrap(), expected);
    // Longest first; the one that exceeds the budget runs alone.
    assert_eq!(plan.runs(), [40, 20, 16]);
    // Another process takes memory.
    plan.free.store(1 << 20, Ordering::Relaxed);
    assert_eq!(cards.run(&batch, &Cancel::never()).unwrap(), expected);
    assert_eq!(plan.runs()[3..], [40, 12, 8, 7, 6, 3]);
    assert_eq!(cards.tokens_per_batch(), Some(1));
}

#[test]
fn what_does_not_fit_is_halved_and_learnt() {
    let [plan] = plans();
    plan.fits.store(30, Ordering::Relaxed);
    let cards = cards(std::slice::from_ref(&plan));
    let (batch, expected) = batch(&[10; 8]);
    assert_eq!(cards.run(&batch, &Cancel::never()).unwrap(), expected);
    assert_eq!(plan.runs(), [80, 40, 20, 20, 20, 20]);
    // The next one begins with what fitted.
    assert_eq!(cards.tokens_per_batch(), Some(20));
    assert_eq!(cards.run(&batch, &Cancel::never()).unwrap(), expected);
    assert_eq!(plan.runs()[6..], [20, 20, 20, 20]);
    // Forgotten in the end.
    plan.fits.store(0, Ordering::Relaxed);
    while cards.tokens_per_batch().unwrap() < GPU_BATCH_TOKENS {
        let (batch, _) = self::batch(&[cards.tokens_per_batch().unwrap()]);
        cards.run(&batch, &Cancel::never()).unwrap();
        assert!(plan.runs().len() < 5000, "never forgotten");
    }
}

#[test]
fn a_text_that_cannot_fit_is_told_with_the_figures() {
    let [plan] = plans();
    plan.fits.store(30, Ordering::Relaxed);
    plan.free.store(100 << 20, Ordering::Relaxed);
    let cards = cards(std::slice::from_ref(&plan));
    let error = cards.run(&batch(&[10, 31]).0, &Cancel::never()).unwrap_err();
    assert_eq!(error.code, Code::OutOfMemory);
    assert_eq!(error.details["tokens"], 31);
    assert_eq!(error.details["bytesNeeded"], 32 << 20);
    assert_eq!(error.details["bytesFree"], 100 << 20);
    assert!(error.message.contains("31 tokens") && error.message.contains("cuda:0"), "{}", error.message);
    // The card goes on.
    let (batch, expected) = batch(&[10, 10]);
    assert_eq!(cards.run(&batch, &Cancel::never()).unwrap(), expected);
    assert!(cards.notices().is_empty());
}

#[test]
fn a_card_that_fails_drops_out_with_one_warning() {
    let plans = plans::<2>();
    plans[0].fails_at.store(2, Ordering::Relaxed);
    let cards = cards(&plans);
    let (batch, expected) = batch(&[3, 9, 4]);
    for _ in 0..5 {
        assert_eq!(cards.run(&batch, &Cancel::never()).unwrap(), expected);
    }
    assert_eq!((plans[0].runs().len(), plans[1].runs().len()), (2, 4));
    let notices = cards.notices();
    assert_eq!(notices.len(), 1);
    assert!(notices[0].contains("cuda:0 failed") && notices[0].contains("goes on with cuda:1"), "{}", notices[0]);
    assert!(cards.notices().is_empty());
    assert!(plans[0].freed.load(Ordering::Relaxed));

    plans[1].dead.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        let error = cards.run(&batch, &Cancel::never()).unwrap_err();
        assert_eq!(error.code, Code::DeviceUnavailable);
        let attempts = error.details["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 2);
        assert_eq!((&attempts[0]["device"], &attempts[1]["device"]), (&"cuda:0".into(), &"cuda:1".into()));
        assert!(attempts.iter().all(|attempt| attempt["reason"].as_str().unwrap().contains("ILLEGAL_ADDRESS")));
        assert!(error.message.contains("cuda:0:") && error.message.contains("cuda:1:"), "{}", error.message);
    }
    assert_eq!(cards.tokens_per_batch(), None);
}

#[test]
fn a_panic_is_an_error_of_its_batch_if_the_device_still_works() {
    let [plan] = plans();
    plan.panics_at.store(1, Ordering::Relaxed);
    plan.refuses_at.store(2, Ordering::Relaxed);
    let cards = cards(std::slice::from_ref(&plan));
    let (batch, expected) = batch(&[3]);
    let error = cards.run(&batch, &Cancel::never()).unwrap_err();
    assert_eq!(error.code, Code::Internal);
    assert!(error.message.contains("lacks a function"), "{}", error.message);
    assert_eq!(cards.run(&batch, &Cancel::never()).unwrap_err().message, "shapes differ");
    assert_eq!(cards.run(&batch, &Cancel::never()).unwrap(), expected);
    // And the card's end if it does not.
    plan.panics_at.store(4, Ordering::Relaxed);
    plan.dead.store(true, Ordering::Relaxed);
    assert_eq!(cards.run(&batch, &Cancel::never()).unwrap_err().code, Code::DeviceUnavailable);
}

#[test]
fn a_card_that_cannot_be_made_is_the_error_of_the_load() {
    let failing: MakeCard = Box::new(|| Err(Error::new(Code::DeviceUnavailable, "no such card")));
    let panicking: MakeCard = Box::new(|| panic!("no library"));
    let [plan] = plans();
    for (make, expected) in [(failing, Code::DeviceUnavailable), (panicking, Code::Internal)] {
        let made = Cards::start(vec![fake(0, &plan, None), ("cuda:1".to_owned(), make)], Limits::default());
        assert_eq!(made.err().unwrap().code, expected);
        assert!(plan.freed.load(Ordering::Relaxed));
    }
}

/// Cards whose batches wait for a word each.
fn gated(plans: &[Arc<Plan>]) -> (Arc<Cards>, Vec<Sender<()>>) {
    let mut gates = Vec::new();
    let cards = plans.iter().enumerate().map(|(index, plan)| {
        let (gate, waiting) = channel();
        gates.push(gate);
        fake(index, plan, Some(waiting))
    });
    let cards = cards.collect();
    (Arc::new(Cards::start(cards, Limits::default()).unwrap()), gates)
}

fn start(cards: &Arc<Cards>, lengths: &[usize], cancel: &Cancel) -> Receiver<Result<Vec<f32>>> {
    let (sender, result) = channel();
    let (cards, cancel, batch) = (Arc::clone(cards), cancel.clone(), batch(lengths).0);
    thread::spawn(move || sender.send(cards.run(&batch, &cancel)));
    result
}

fn until(what: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !what() {
        assert!(begin.elapsed().as_secs() < 20, "it never happened");
        thread::yield_now();
    }
}

#[test]
fn batches_go_to_the_card_with_the_fewest_tokens_to_do() {
    let plans = plans::<2>();
    let (cards, gates) = gated(&plans);
    let never = Cancel::never();
    let large = start(&cards, &[100], &never);
    until(|| plans[0].runs().len() == 1);
    let small: Vec<_> = (1..=3)
        .map(|number| {
            let result = start(&cards, &[30], &never);
            until(|| cards.cards[1].outstanding() == 30 * number);
            result
        })
        .collect();
    assert_eq!(cards.cards[0].outstanding(), 100);
    gates.iter().for_each(|gate| (0..3).for_each(|_| gate.send(()).unwrap()));
    assert_eq!(large.recv().unwrap().unwrap(), batch(&[100]).1);
    assert!(small.iter().all(|result| result.recv().unwrap().is_ok()));
    assert_eq!((plans[0].runs(), plans[1].runs()), (vec![100], vec![30; 3]));
    until(|| cards.cards.iter().all(|card| card.outstanding() == 0));
}

#[test]
fn cancelling_ends_the_wait_at_once_and_the_work_is_skipped() {
    let [plan] = plans();
    let (cards, gates) = gated(std::slice::from_ref(&plan));
    let (running, waiting) = (Cancel::new(), Cancel::new());
    let first = start(&cards, &[10], &running);
    until(|| plan.runs().len() == 1);
    let second = start(&cards, &[20], &waiting);
    until(|| cards.cards[0].outstanding() == 30);
    // The gate is still closed: both leave without the card.
    for (cancel, result) in [(waiting, second), (running, first)] {
        cancel.cancel();
        assert_eq!(result.recv().unwrap().unwrap_err().code, Code::Aborted);
    }
    let third = start(&cards, &[3], &Cancel::never());
    gates[0].send(()).unwrap();
    gates[0].send(()).unwrap();
    assert_eq!(third.recv().unwrap().unwrap(), batch(&[3]).1);
    assert_eq!(plan.runs(), [10, 3]);
    assert!(cards.notices().is_empty());
}

#[test]
fn what_waits_on_a_card_that_fails_runs_elsewhere() {
    let plans = plans::<2>();
    plans[0].fails_at.store(1, Ordering::Relaxed);
    let (cards, gates) = gated(&plans);
    let never = Cancel::never();
    let lengths = [50, 60, 55, 20, 7, 9];
    let results: Vec<_> = lengths.iter().map(|len| start(&cards, &[*len], &never)).collect();
    until(|| cards.cards.iter().map(CardThread::outstanding).sum::<usize>() == lengths.iter().sum::<usize>());
    // The gate of the card that fails goes with it.
    for gate in &gates {
        for _ in lengths {
            let _ = gate.send(());
        }
    }
    for (result, len) in results.iter().zip(lengths) {
        assert_eq!(result.recv().unwrap().unwrap(), batch(&[len]).1);
    }
    assert_eq!(plans[0].runs().len(), 1);
    assert_eq!(cards.notices().len(), 1);
}

#[test]
fn many_callers_at_once_lose_nothing() {
    let plans = plans::<3>();
    plans[0].fails_at.store(20, Ordering::Relaxed);
    plans[1].fits.store(60, Ordering::Relaxed);
    plans[2].fits.store(90, Ordering::Relaxed);
    let cards = cards(&plans);
    thread::scope(|scope| {
        for caller in 0..8 {
            let cards = &cards;
            scope.spawn(move || {
                for round in 0..40 {
                    let lengths: Vec<usize> =
                        (0..1 + (caller + round) % 6).map(|i| 1 + (i * 13 + round) % 50).collect();
                    let (batch, expected) = batch(&lengths);
                    assert_eq!(cards.run(&batch, &Cancel::never()).unwrap(), expected);
                }
            });
        }
    });
    assert!(plans.iter().all(|plan| !plan.runs().is_empty()));
    assert_eq!(cards.notices().len(), 1);
}
