//! Listeners that take their time: whom they hold up, and what they are told in which order.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

use super::*;

/// What the test and a listener that waits for it share.
struct Hold {
    began: Receiver<()>,
    release: Sender<()>,
    /// Whether the test released the listener, rather than that the listener gave up.
    released: Arc<AtomicBool>,
}

impl Hold {
    /// A listener that waits at the first event that `which` says. It gives up one day, so that a failure is one of
    /// the test and no hanging.
    fn at(which: impl Fn(&Event) -> bool + Send + Sync + 'static) -> (Self, impl Fn(&Event) + Send + Sync + 'static) {
        let ((began_sender, began), (release, go_on)) = (channel(), channel());
        let released = Arc::new(AtomicBool::new(false));
        let (once, was_released) = (Mutex::new(Some((began_sender, go_on))), Arc::clone(&released));
        let listener = move |event: &Event| {
            let Some((began, go_on)) = which(event).then(|| lock(&once).take()).flatten() else { return };
            began.send(()).unwrap();
            was_released.store(go_on.recv_timeout(Duration::from_secs(5)).is_ok(), Ordering::Relaxed);
        };
        (Hold { began, release, released }, listener)
    }

    fn wait_for_listener(&self) {
        self.began.recv_timeout(Duration::from_secs(20)).expect("the listener is told");
    }

    fn release(&self) {
        self.release.send(()).expect("the listener still waits");
    }

    fn was_released(&self) -> bool {
        self.released.load(Ordering::Relaxed)
    }
}

fn is_embedding(event: &Event) -> bool {
    matches!(event, Event::Embedding { .. })
}

/// Progress goes up, and ends at the end.
fn assert_in_order(events: &[Event], texts: usize) {
    let done: Vec<usize> = events
        .iter()
        .filter_map(|event| if let Event::Embedding { done, .. } = event { Some(*done) } else { None })
        .collect();
    assert!(done.is_sorted_by(|a, b| a < b), "{done:?}");
    assert_eq!(done.last(), Some(&texts));
    assert!(is_embedding(&events[events.len() - 1]));
}

#[test]
fn a_listener_that_waits_holds_up_its_own_lane_alone() {
    let (engine, stage) = dummy::engine("{}");
    let texts = job("slow", 100, 50);
    let (hold, listener) = Hold::at(is_embedding);
    stage.allow(0);
    let slow = start_heard(&engine, of("lanes"), texts.clone(), listener);
    stage.wait_for("a batch in each lane", |stage| stage.batches().len() == 3);
    stage.allow(1);
    hold.wait_for_listener();
    // The others go on with the same call, and with others, and these are told their results.
    stage.allow(6);
    stage.wait_for("further batches", |stage| stage.batches().len() >= 8);
    let other = start(&engine, of("lanes"), "other");
    stage.allow_all();
    assert_rows(&other.result().unwrap(), &strings(["other"]));
    assert_in_order(&other.events(), 1);
    stage.wait_for("all batches", |stage| stage.batches().iter().map(|batch| batch.sequences()).sum::<usize>() == 101);
    assert!(!slow.is_over(), "the result comes after the events");
    hold.release();
    assert_rows(&slow.result().unwrap(), &texts);
    assert!(hold.was_released());
    assert_in_order(&slow.events(), 100);
}

#[test]
fn a_failure_comes_after_the_events_and_ends_the_call_in_the_queue() {
    let (engine, stage) = dummy::engine("{}");
    let (hold, listener) = Hold::at(is_embedding);
    stage.allow(0);
    // The shortest are the last.
    let mut texts = job("fails later", 20, 90);
    texts.extend(job("backend fails", 60, 30));
    let failing = start_heard(&engine, of("lanes"), texts, listener);
    stage.wait_for("a batch in each lane", |stage| stage.batches().len() == 3);
    stage.allow(1);
    hold.wait_for_listener();
    stage.allow_all();
    let other = start(&engine, of("lanes"), "other");
    assert_rows(&other.result().unwrap(), &strings(["other"]));
    assert!(!failing.is_over(), "the failure comes after the events");
    hold.release();
    assert_eq!(failing.code(), Code::Internal);
    assert!(hold.was_released());
}

#[test]
fn cancelling_and_disposing_wait_for_no_listener() {
    let (engine, _) = dummy::engine("{}");
    let calls = [(); 2].map(|()| {
        let (hold, listener) = Hold::at(is_embedding);
        let call = start_heard(&engine, of("lanes"), strings(["text"]), listener);
        hold.wait_for_listener();
        (hold, call)
    });
    // Both are computed, and their results wait for the listeners.
    calls[0].1.cancel.cancel();
    assert_eq!(calls[0].1.results.try_recv().unwrap().unwrap_err().code, Code::Aborted);
    engine.dispose();
    assert_eq!(calls[1].1.results.try_recv().unwrap().unwrap_err().code, Code::Disposed);
    for (hold, call) in &calls {
        hold.release();
        assert!(call.results.recv().is_err(), "there is one result");
    }
}

#[test]
fn a_listener_that_waits_while_a_model_is_found_holds_up_no_other_call() {
    let (engine, _) = dummy::engine("{}");
    // It is found, and not loaded: the next call finds it at once, and is told of the loading. Its folder must be there,
    // or it would be looked for again: this one is that of the crate's source.
    let count = CountRequest { model: Some("src".to_owned()), ..CountRequest::default() };
    engine.count_tokens_blocking(count, ["text"], &Cancel::never()).unwrap();
    let (hold, listener) = Hold::at(|event| matches!(event, Event::Loading { .. }));
    let slow = start_heard(&engine, of("src"), ["slow"], listener);
    hold.wait_for_listener();
    for model in ["src", "other"] {
        assert_rows(&start(&engine, of(model), "text").result().unwrap(), &strings(["text"]));
    }
    assert!(!slow.is_over());
    hold.release();
    assert_rows(&slow.result().unwrap(), &strings(["slow"]));
    assert!(hold.was_released());
}

#[test]
fn events_come_in_order_one_at_a_time_and_before_the_result() {
    let (engine, _) = dummy::engine("{}");
    let calls: Vec<(usize, Running, Arc<AtomicUsize>)> = (0..60)
        .map(|number| {
            let texts = job(&format!("call {number}"), 5 + number % 40, 60);
            let (at_once, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
            let seen = Arc::clone(&most);
            let listener = move |_: &Event| {
                seen.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_micros(200));
                at_once.fetch_sub(1, Ordering::SeqCst);
            };
            (texts.len(), start_heard(&engine, of("lanes"), texts, listener), most)
        })
        .collect();
    for (texts, running, most) in &calls {
        running.result().unwrap();
        assert_in_order(&running.events(), *texts);
        assert_eq!(most.load(Ordering::SeqCst), 1, "one event at a time");
    }
}

fn start(engine: &Engine, request: EmbedRequest, text: &str) -> Running {
    start_request(engine, request, strings([text]))
}
