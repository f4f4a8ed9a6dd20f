//! A backend that takes several batches at once.

use super::*;

fn start(engine: &Engine, texts: impl Into<Texts>) -> Running {
    start_request(engine, of("lanes"), texts)
}

/// Starts a call, and waits until a batch of it is in each lane.
fn start_in_all_lanes(engine: &Engine, stage: &dummy::Stage, texts: impl Into<Texts>) -> Running {
    start_held(engine, stage, of("lanes"), texts, 3)
}

#[test]
fn as_many_batches_run_as_there_are_lanes() {
    let (engine, stage) = dummy::engine("{}");
    let texts = job("large", 100, 50);
    let large = start_in_all_lanes(&engine, &stage, texts.clone());
    // A small one is in the very next.
    let small = start(&engine, strings(["small"]));
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(stage.batches().len(), 3);
    stage.allow(4);
    assert_rows(&small.result().unwrap(), &strings(["small"]));
    assert!(!large.is_over());
    stage.allow_all();
    assert_rows(&large.result().unwrap(), &texts);
}

#[test]
fn many_calls_on_lanes() {
    let (engine, stage) = dummy::engine("{}");
    assert_a_hundred_calls(&engine, &of("lanes"));
    assert_eq!(stage.loads(), 1);
}

#[test]
fn failures_in_lanes_are_their_calls_own() {
    let (engine, stage) = dummy::engine("{}");
    stage.limit_memory(60);
    let texts = job("text", 20, 20);
    let fine = start(&engine, texts.clone());
    let large = start(&engine, vec!["l".repeat(100)]);
    assert_rows(&fine.result().unwrap(), &texts);
    assert_eq!(large.code(), Code::OutOfMemory);
    for word in ["backend fails", "backend panics", "too few rows"] {
        assert_eq!(start(&engine, strings([word])).code(), Code::Internal);
    }
    assert_rows(&start(&engine, texts.clone()).result().unwrap(), &texts);
}

#[test]
fn cancelling_frees_the_lanes() {
    let (engine, stage) = dummy::engine("{}");
    let cancelled = start_in_all_lanes(&engine, &stage, job("cancelled", 100, 50));
    cancelled.cancel.cancel();
    assert_eq!(cancelled.code(), Code::Aborted);
    let next = start(&engine, strings(["next"]));
    stage.allow_all();
    assert_rows(&next.result().unwrap(), &strings(["next"]));
    assert!(stage.batches().len() <= 4);
}

#[test]
fn what_the_backend_has_to_say_is_told_once() {
    let (engine, stage) = dummy::engine("{}");
    stage.notice("cuda:1 failed");
    let notices = |running: &Running| {
        let is_notice = |event: &Event| matches!(event, Event::Notice { level: Level::Warn, message } if message == "cuda:1 failed");
        running.result().unwrap();
        running.events().iter().filter(|event| is_notice(event)).count()
    };
    assert_eq!(notices(&start(&engine, strings(["first"]))), 1);
    assert_eq!(notices(&start(&engine, strings(["second"]))), 0);
    // One lane or several.
    stage.notice("cuda:1 failed");
    assert_eq!(notices(&super::start(&engine, strings(["first"]))), 1);
}

#[test]
fn a_model_on_lanes_is_unloaded_and_disposed_of() {
    let (engine, stage) = dummy::engine(r#"{"idleUnloadMs":30}"#);
    start(&engine, strings(["a"])).result().unwrap();
    stage.wait_for("the unloading", |stage| stage.dropped().len() == 1);
    let running = start_in_all_lanes(&engine, &stage, job("held", 100, 50));
    engine.dispose();
    assert_eq!(running.code(), Code::Disposed);
    stage.wait_for("the end", |stage| stage.dropped().len() == 2);
}
