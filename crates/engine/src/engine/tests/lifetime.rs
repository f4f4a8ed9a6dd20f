//! Loading, sharing, unloading, disposing.

use super::*;

#[test]
fn a_model_is_loaded_once_for_all() {
    let (engine, stage) = dummy::engine("{}");
    stage.hold_loads(true);
    let calls: Vec<Running> =
        ["m", "m", "same-as-m"].map(|model| start_request(&engine, of(model), strings(["a"]))).into();
    stage.wait_for("the load", |stage| stage.loads() == 1);
    std::thread::sleep(Duration::from_millis(50));
    stage.hold_loads(false);
    let ids: Vec<String> = calls.iter().map(|call| call.result().unwrap().model.id).collect();
    assert_eq!(ids, ["m", "m", "same-as-m"]);
    assert_eq!((stage.loads(), stage.describes()), (1, 1));
    assert_eq!(engine.loaded_models().len(), 1);
}

#[test]
fn overrides_make_another_model() {
    let (engine, stage) = dummy::engine(r#"{"modelDefaults":{"same-as-m":{"maxTokens":7}}}"#);
    assert_eq!(embed(&engine, of("m"), strings(["a"])).unwrap().model.max_tokens, 600);
    assert_eq!(embed(&engine, of("same-as-m"), strings(["a"])).unwrap().model.max_tokens, 7);
    assert_eq!(stage.loads(), 2);
}

#[test]
fn a_failed_load_is_told_to_all_and_tried_again() {
    let (engine, stage) = dummy::engine("{}");
    stage.hold_loads(true);
    stage.fail_next_load(Error::bad_checkpoint("weights", "broken"));
    let calls = [start(&engine, strings(["a"])), start(&engine, strings(["b"]))];
    stage.wait_for("the load", |stage| stage.loads() == 1);
    std::thread::sleep(Duration::from_millis(50));
    stage.hold_loads(false);
    for call in &calls {
        assert_eq!(call.code(), Code::BadCheckpoint);
    }
    assert!(embed(&engine, request(), strings(["a"])).is_ok());
    assert_eq!(stage.loads(), 2);
}

#[test]
fn cancelling_while_loading_ends_that_call_only() {
    let (engine, stage) = dummy::engine("{}");
    stage.hold_loads(true);
    let (first, second) = (start(&engine, strings(["a"])), start(&engine, strings(["b"])));
    stage.wait_for("the load", |stage| stage.loads() == 1);
    std::thread::sleep(Duration::from_millis(50));
    first.cancel.cancel();
    assert_eq!(first.results.try_recv().unwrap().unwrap_err().code, Code::Aborted);
    stage.hold_loads(false);
    assert_rows(&second.result().unwrap(), &strings(["b"]));
    assert_eq!((stage.loads(), stage.loads_cancelled()), (1, 0));
}

#[test]
fn a_load_that_nobody_waits_for_is_cancelled() {
    let (engine, stage) = dummy::engine("{}");
    stage.hold_loads(true);
    let calls = [start(&engine, strings(["a"])), start(&engine, strings(["b"]))];
    stage.wait_for("the load", |stage| stage.loads() == 1);
    std::thread::sleep(Duration::from_millis(50));
    for call in &calls {
        call.cancel.cancel();
    }
    stage.wait_for("the end of the load", |stage| stage.loads_cancelled() == 1);
    stage.hold_loads(false);
    assert!(embed(&engine, request(), strings(["a"])).is_ok());
    assert_eq!(stage.loads(), 2);
}

#[test]
fn preloading_tells_what_was_loaded() {
    let (engine, stage) = dummy::engine("{}");
    let request = PreloadRequest { model: Some("m".to_owned()) };
    let report = engine.preload_blocking(request.clone(), &Cancel::never()).unwrap();
    assert_eq!((report.id.as_str(), report.dtype.as_str()), ("m", "float32"));
    engine.preload_blocking(request, &Cancel::never()).unwrap();
    assert_eq!((stage.loads(), stage.batches().len()), (1, 0));
    let auto = PreloadRequest { model: Some("auto".to_owned()) };
    assert_eq!(engine.preload_blocking(auto, &Cancel::never()).unwrap_err().code, Code::InvalidOption);
}

#[test]
fn idle_models_are_unloaded_and_loaded_again() {
    let (engine, stage) = dummy::engine(r#"{"idleUnloadMs":60}"#);
    embed(&engine, request(), strings(["a"])).unwrap();
    stage.wait_for("unloading", |stage| stage.dropped() == ["m"]);
    assert!(engine.loaded_models().is_empty());
    assert_rows(&embed(&engine, request(), strings(["b"])).unwrap(), &strings(["b"]));
    assert_eq!((stage.loads(), stage.describes()), (2, 2));
}

#[test]
fn a_model_in_use_is_not_idle() {
    let (engine, stage) = dummy::engine(r#"{"idleUnloadMs":30}"#);
    let running = start_held(&engine, &stage, request(), strings(["a"]), 1);
    std::thread::sleep(Duration::from_millis(150));
    assert!(stage.dropped().is_empty());
    stage.allow_all();
    assert!(running.result().is_ok());
}

#[test]
fn the_least_recently_used_makes_room() {
    let (engine, stage) = dummy::engine(r#"{"memoryLimit":25}"#);
    for model in ["a", "b", "a", "c"] {
        embed(&engine, of(model), strings(["text"])).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((stage.dropped(), stage.alive()), (strings(["b"]), strings(["a", "c"])));
    let error = embed(&engine, of("big"), strings(["text"])).unwrap_err();
    assert_eq!(error.code, Code::OutOfMemory);
    assert_eq!((&error.details["needed"], &error.details["limit"]), (&100.into(), &25.into()));
    assert_eq!(stage.alive(), ["a", "c"], "nothing was unloaded in vain");
}

#[test]
fn models_in_use_do_not_make_room() {
    let (engine, stage) = dummy::engine(r#"{"memoryLimit":15}"#);
    let running = start_held(&engine, &stage, of("a"), strings(["text"]), 1);
    let error = embed(&engine, of("b"), strings(["text"])).unwrap_err();
    assert_eq!((error.code, &error.details["used"]), (Code::OutOfMemory, &10.into()));
    stage.allow_all();
    assert!(running.result().is_ok());
    assert!(embed(&engine, of("b"), strings(["text"])).is_ok());
    assert_eq!(stage.alive(), ["b"]);
}

#[test]
fn disposing_ends_what_runs_and_what_waits() {
    let (engine, stage) = dummy::engine("{}");
    embed(&engine, request(), strings(["a"])).unwrap();
    let computed = start_held(&engine, &stage, request(), strings(["computed"]), 1);
    let queued = start(&engine, strings(["queued"]));
    stage.hold_loads(true);
    let loading = start_request(&engine, of("other"), strings(["loading"]));
    stage.wait_for("the load", |stage| stage.loads() == 2);
    std::thread::sleep(Duration::from_millis(50));
    assert!(engine.dispose_blocking(Some(Duration::from_secs(10))), "all threads left");
    for call in [&computed, &queued, &loading] {
        assert_eq!(call.code(), Code::Disposed);
    }
    assert!(stage.alive().is_empty());
    assert!(engine.is_disposed() && engine.loaded_models().is_empty());
    assert_eq!(embed(&engine, request(), strings(["late"])).unwrap_err().code, Code::Disposed);
    let count = engine.count_tokens_blocking(CountRequest::default(), strings(["late"]), &Cancel::never());
    assert_eq!(count.unwrap_err().code, Code::Disposed);
    assert!(engine.dispose_blocking(None), "once more does nothing");
}

#[test]
fn a_dropped_engine_finishes_its_calls_and_frees_its_models() {
    let (engine, stage) = dummy::engine("{}");
    let running = start_held(&engine, &stage, request(), job("text", 20, 40), 1);
    let weak = engine.downgrade();
    drop(engine);
    assert!(!weak.is_gone());
    stage.allow_all();
    assert_rows(&running.result().unwrap(), &job("text", 20, 40));
    assert!(weak.wait_until_gone(Some(Duration::from_secs(10))));
    assert_eq!(stage.dropped(), ["m"]);
}

#[test]
fn a_dropped_engine_finishes_its_downloads() {
    for _ in 0..20 {
        let (engine, _) = dummy::engine("{}");
        let (sender, results) = channel();
        let request = DownloadRequest { model: Some("./no-such-folder".to_owned()), ..DownloadRequest::default() };
        engine.download(request, &Cancel::never(), None, move |result| {
            let _ = sender.send(result.map(|_| ()).map_err(|error| error.code));
        });
        drop(engine);
        assert_eq!(results.recv_timeout(Duration::from_secs(20)).unwrap(), Err(Code::ModelNotFound));
    }
}

#[test]
fn a_forgotten_engine_can_still_be_disposed() {
    let (engine, stage) = dummy::engine("{}");
    let running = start_held(&engine, &stage, request(), strings(["a"]), 1);
    let weak = engine.downgrade();
    drop(engine);
    weak.dispose();
    assert_eq!(running.code(), Code::Disposed);
    assert!(weak.wait_until_gone(Some(Duration::from_secs(10))));
}

#[test]
fn nothing_begins_after_disposal() {
    let (engine, stage) = dummy::engine("{}");
    // Calls at every stage of their way, while the engine is disposed.
    let calls: Vec<Running> =
        (0..200).map(|number| start_request(&engine, of(&format!("m{}", number % 20)), strings(["a"]))).collect();
    assert!(engine.dispose_blocking(Some(Duration::from_secs(10))));
    let loads = stage.loads();
    for call in &calls {
        if let Err(error) = call.result() {
            assert_eq!(error.code, Code::Disposed);
        }
    }
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!((stage.loads(), stage.alive().len()), (loads, 0));
}
