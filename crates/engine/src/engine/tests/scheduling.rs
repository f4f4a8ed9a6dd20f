//! Who is computed when: fairness, cancelling, the limits.

use super::*;

/// Starts a job, and waits until its first batch is in the backend, which holds it.
fn held_job(engine: &Engine, stage: &dummy::Stage, texts: Vec<String>) -> Running {
    start_held(engine, stage, request(), texts, 1)
}

/// Gives calls time to come from their start into the queue.
fn settle() {
    std::thread::sleep(Duration::from_millis(150));
}

#[test]
fn a_small_call_overtakes_a_large_one_at_the_next_batch() {
    let (engine, stage) = dummy::engine("{}");
    let large = held_job(&engine, &stage, job("large", 10_000, 50));
    let small = start(&engine, strings(["a small one"]));
    settle();
    stage.allow(2);
    assert_rows(&small.result().unwrap(), &strings(["a small one"]));
    // The third may have begun by now.
    let begun = stage.batches().len();
    assert!(begun == 2 || begun == 3, "it was in the second batch, not one of {begun}");
    assert!(!large.is_over());
    large.cancel.cancel();
    assert_eq!(large.code(), Code::Aborted);
}

#[test]
fn large_calls_share_alike() {
    let (engine, stage) = dummy::engine("{}");
    let held = held_job(&engine, &stage, strings(["hold"]));
    let texts = [job("one", 100, 18), job("two", 100, 18), job("three", 100, 18)];
    let calls: Vec<Running> = texts.iter().map(|texts| start(&engine, texts.clone())).collect();
    settle();
    stage.allow_all();
    held.result().unwrap();
    for (call, texts) in calls.iter().zip(&texts) {
        assert_rows(&call.result().unwrap(), texts);
    }
    let batches = stage.batches();
    let full = &batches[1..batches.len() - 6];
    for batch in full {
        let of = |first: char| {
            let own = |index: &usize| {
                batch.ids[batch.range(*index)][1] == u32::from(first) && batch.ids[batch.range(*index)][2] != 0
            };
            (0..batch.sequences()).filter(own).count()
        };
        // "one", and both "two" and "three" begin with t.
        assert!(of('o') >= 2 && of('t') >= 5, "{} and {} of {}", of('o'), of('t'), batch.sequences());
    }
}

#[test]
fn nobody_starves_behind_a_stream_of_small_calls() {
    let (engine, stage) = dummy::engine("{}");
    let held = held_job(&engine, &stage, strings(["hold"]));
    // A text beyond the budget needs a batch of its own.
    let huge = start(&engine, vec!["h".repeat(500), "h".repeat(499)]);
    let mut small = Vec::new();
    for number in 0..12 {
        small.push(start(&engine, vec![format!("small {number}")]));
        settle();
        stage.allow(1);
        stage.wait_for("a batch", |stage| stage.batches().len() > number + 1);
        if huge.is_over() {
            assert!(number < 6, "the large call waited for {number} batches");
            stage.allow_all();
            return;
        }
    }
    drop((held, small));
    panic!("the large call was never served");
}

#[test]
fn the_longest_come_first_and_no_batch_exceeds_the_budget() {
    let (engine, stage) = dummy::engine(r#"{"maxTokensPerBatch":64}"#);
    let texts: Vec<String> = (1..80).map(|length| "z".repeat(length)).collect();
    let output = embed(&engine, request(), texts.clone()).unwrap();
    assert_rows(&output, &texts);
    let lengths: Vec<usize> = stage
        .batches()
        .iter()
        .flat_map(|batch| (0..batch.sequences()).map(|index| batch.len_of(index)).collect::<Vec<_>>())
        .collect();
    assert!(lengths.is_sorted_by(|a, b| a >= b));
    for batch in stage.batches() {
        assert!(batch.tokens() <= 64 || batch.sequences() == 1);
    }
}

#[test]
fn a_hundred_calls_at_once() {
    let (engine, stage) = dummy::engine("{}");
    assert_a_hundred_calls(&engine, &request());
    assert_eq!(stage.loads(), 1);
}

#[test]
fn cancelling_before_during_and_after() {
    let (engine, stage) = dummy::engine("{}");
    // Before: a token that was cancelled already.
    let cancelled = Cancel::new();
    cancelled.cancel();
    let error = engine.embed_blocking(request(), strings(["a"]), &cancelled).unwrap_err();
    assert_eq!(error.code, Code::Aborted);
    assert_eq!((stage.loads(), stage.batches().len()), (0, 0));

    // During: at once, though the batch is held.
    let running = held_job(&engine, &stage, strings(["during"]));
    running.cancel.cancel();
    assert_eq!(running.results.try_recv().unwrap().unwrap_err().code, Code::Aborted);

    // While it waits in the queue.
    let first = held_job(&engine, &stage, strings(["first"]));
    let waiting = start(&engine, strings(["waiting"]));
    settle();
    waiting.cancel.cancel();
    assert_eq!(waiting.code(), Code::Aborted);
    stage.allow_all();
    assert_rows(&first.result().unwrap(), &strings(["first"]));
    let texts: Vec<Vec<u32>> = stage.batches().iter().map(|batch| batch.ids.clone()).collect();
    let waiting_ids: Vec<u32> = "waiting".chars().map(u32::from).collect();
    assert!(!texts.iter().any(|ids| ids.windows(7).any(|ids| ids == waiting_ids)), "it was not computed");

    // After.
    let done = start(&engine, strings(["after"]));
    done.result().unwrap();
    done.cancel.cancel();
    assert!(embed(&engine, request(), strings(["next"])).is_ok());
}

#[test]
fn a_batch_goes_on_while_anyone_wants_it() {
    let (engine, stage) = dummy::engine("{}");
    let held = held_job(&engine, &stage, strings(["hold"]));
    let (one, two) = (start(&engine, strings(["one"])), start(&engine, strings(["two"])));
    settle();
    stage.allow(1);
    stage.wait_for("their batch", |stage| stage.batches().len() == 2);
    assert_eq!(stage.batches()[1].sequences(), 2);
    one.cancel.cancel();
    assert_eq!(one.code(), Code::Aborted);
    stage.allow_all();
    assert_rows(&two.result().unwrap(), &strings(["two"]));
    held.result().unwrap();
}

#[test]
fn a_full_queue_refuses_at_once_with_figures() {
    let (engine, stage) = dummy::engine(r#"{"maxQueuedTokens":1000,"maxTokensPerBatch":50}"#);
    // Larger than the limit, but nothing else waits.
    let large = held_job(&engine, &stage, job("large", 60, 48));
    let refused = start(&engine, job("refused", 5, 48));
    let error = refused.result().unwrap_err();
    assert_eq!((error.code, &error.details["limit"]), (Code::QueueFull, &1000.into()));
    // Who waits gets in once there is room.
    let patient = start_request(&engine, EmbedRequest { wait: true, ..request() }, job("patient", 5, 48));
    settle();
    assert!(!patient.is_over());
    large.cancel.cancel();
    // Cancelling makes room at once.
    let next = start(&engine, strings(["next"]));
    stage.allow_all();
    assert_rows(&next.result().unwrap(), &strings(["next"]));
    assert_rows(&patient.result().unwrap(), &job("patient", 5, 48));
}

#[test]
fn a_batch_that_does_not_fit_is_halved() {
    let (engine, stage) = dummy::engine("{}");
    stage.limit_memory(60);
    let texts = job("text", 20, 20);
    assert_rows(&embed(&engine, request(), texts.clone()).unwrap(), &texts);
    let after = stage.batches().len();
    // The engine has learned.
    assert_rows(&embed(&engine, request(), texts.clone()).unwrap(), &texts);
    assert!(stage.batches()[after..].iter().all(|batch| batch.tokens() <= 60));

    let long = "l".repeat(100);
    let error = embed(&engine, request(), vec![long.clone()]).unwrap_err();
    assert_eq!(error.code, Code::OutOfMemory);
    assert_rows(&embed(&engine, request(), texts.clone()).unwrap(), &texts);
}

#[test]
fn halving_spares_the_others_in_the_batch() {
    let (engine, stage) = dummy::engine("{}");
    let held = held_job(&engine, &stage, strings(["hold"]));
    let (small, large) = (start(&engine, strings(["small"])), start(&engine, vec!["l".repeat(100)]));
    settle();
    stage.limit_memory(60);
    stage.allow_all();
    assert_rows(&small.result().unwrap(), &strings(["small"]));
    assert_eq!(large.code(), Code::OutOfMemory);
    held.result().unwrap();
}
