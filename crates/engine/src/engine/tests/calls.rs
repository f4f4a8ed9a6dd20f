//! What calls give, and what they refuse.

use super::*;
use crate::finish::Precision;
use crate::model::Task;

#[test]
fn rows_come_in_order() {
    let (engine, stage) = dummy::engine("{}");
    let texts: Vec<String> = (0..500).map(|number| format!("{number} {}", "y".repeat(number * 7 % 90))).collect();
    let output = embed(&engine, request(), texts.clone()).unwrap();
    assert_rows(&output, &texts);
    assert_eq!(output.tokens_per_text.len(), 500);
    assert!(output.truncated.iter().all(|cut| !cut));
    assert_eq!(output.model.id, "m");
    assert_eq!((output.model.device.as_str(), output.dimensions), ("cpu", WIDTH));
    assert!(stage.batches().iter().all(|batch| batch.tokens() <= 200));
}

#[test]
fn a_text_gets_the_same_row_alone_and_among_others() {
    let (engine, _) = dummy::engine("{}");
    let texts = job("text", 40, 30);
    let together = embed(&engine, request(), texts.clone()).unwrap();
    for text in &texts {
        let alone = embed(&engine, request(), vec![text.clone()]).unwrap();
        assert_rows(&alone, std::slice::from_ref(text));
    }
    assert_rows(&together, &texts);
}

#[test]
fn no_texts_give_an_empty_result() {
    let (engine, stage) = dummy::engine("{}");
    let output = embed(&engine, request(), Vec::new()).unwrap();
    assert!(output.vectors.is_empty() && output.tokens_per_text.is_empty());
    assert_eq!((output.dimensions, output.model.id.as_str()), (WIDTH, "m"));
    assert!(stage.batches().is_empty());
}

#[test]
fn dimensions_precision_and_normalising() {
    let (engine, _) = dummy::engine("{}");
    let text = strings(["abc"]);
    let full = expected("abc");
    let cut = embed(&engine, EmbedRequest { dimensions: Some(2), ..request() }, text.clone()).unwrap();
    assert_eq!(cut.vectors, Vectors::F32(full[..2].to_vec()));
    let unit =
        embed(&engine, EmbedRequest { dimensions: Some(2), normalize: true, ..request() }, text.clone()).unwrap();
    let Vectors::F32(unit) = unit.vectors else { panic!() };
    assert!((unit.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-6);
    let bits = embed(&engine, EmbedRequest { precision: Precision::Ubinary, ..request() }, text.clone()).unwrap();
    assert_eq!((bits.vectors, bits.dimensions), (Vectors::U8(vec![0b1111_0000]), WIDTH));
    for dimensions in [1, 3, 5] {
        let error =
            embed(&engine, EmbedRequest { dimensions: Some(dimensions), ..request() }, text.clone()).unwrap_err();
        assert_eq!(error.code, Code::InvalidOption);
        assert_eq!((&error.details["option"], &error.details["value"]), (&"dimensions".into(), &dimensions.into()));
    }
}

#[test]
fn prompts_are_put_in_front() {
    let (engine, _) = dummy::engine("{}");
    let row = |request: EmbedRequest| embed(&engine, request, strings(["abc"])).unwrap().vectors;
    let query = EmbedRequest { task: Task::Query, ..request() };
    assert_eq!(row(query.clone()), Vectors::F32(expected("query: abc").to_vec()));
    assert_eq!(row(EmbedRequest { prompt: Prompt::None, ..query.clone() }), Vectors::F32(expected("abc").to_vec()));
    let own = EmbedRequest { prompt: Prompt::Own("my ".to_owned()), ..query };
    assert_eq!(row(own), Vectors::F32(expected("my abc").to_vec()));
}

#[test]
fn a_prompt_that_leaves_no_room_is_refused() {
    let (engine, _) = dummy::engine("{}");
    let request = EmbedRequest {
        model: Some("instructed".to_owned()),
        prompt: Prompt::Own("p".repeat(dummy::MAX_TOKENS)),
        ..request()
    };
    let error = embed(&engine, request, strings(["abc"])).unwrap_err();
    assert_eq!((error.code, &error.details["option"]), (Code::InvalidOption, &"prompt".into()));
}

#[test]
fn refused_before_anything_is_computed() {
    let (engine, stage) = dummy::engine("{}");
    let long = "x".repeat(700);
    let cases = [
        (request(), strings(["a", ""]), Code::EmptyText, 1),
        (request(), strings(["a", "b", " \n"]), Code::EmptyText, 2),
        (request(), strings(["\u{1}"]), Code::EmptyText, 0),
        (EmbedRequest { truncate: false, ..request() }, vec!["a".to_owned(), long.clone()], Code::TextTooLong, 1),
    ];
    for (request, texts, code, index) in cases {
        let error = embed(&engine, request, texts).unwrap_err();
        assert_eq!((error.code, &error.details["index"]), (code, &index.into()), "{}", error.message);
    }
    let error = embed(&engine, EmbedRequest { truncate: false, ..request() }, vec![long.clone()]).unwrap_err();
    assert_eq!((&error.details["tokens"], &error.details["limit"]), (&702.into(), &600.into()));
    assert_eq!((stage.batches().len(), stage.loads()), (0, 0));

    let cut = embed(&engine, request(), vec!["a".to_owned(), long]).unwrap();
    assert_eq!((cut.truncated, cut.tokens_per_text), (vec![false, true], vec![3, 600]));
}

#[test]
fn a_space_that_was_asked_for_is_found_or_refused() {
    let (engine, stage) = dummy::engine("{}");
    let space = embed(&engine, request(), strings(["a"])).unwrap().space;
    let before = stage.batches().len();
    assert!(embed(&engine, EmbedRequest { space: Some(space), ..request() }, strings(["b"])).is_ok());
    let asked = EmbedRequest { space: Some("another".to_owned()), ..request() };
    let error = embed(&engine, asked, strings(["c"])).unwrap_err();
    assert_eq!((error.code, &error.details["expected"]), (Code::SpaceMismatch, &"another".into()));
    assert_eq!(stage.batches().len(), before + 1);
}

#[test]
fn chunks_are_rows() {
    let (engine, _) = dummy::engine("{}");
    let chunked = |text: &str, chunks: &[std::ops::Range<usize>]| {
        let request = EmbedRequest { chunks: Some(chunks.to_vec()), ..request() };
        embed(&engine, request, strings([text]))
    };
    let output = chunked("abcdef", &[0..2, 2..6, 1..3]).unwrap();
    let ids: Vec<u32> = std::iter::once(0).chain("abcdef".chars().map(u32::from)).chain([1]).collect();
    let rows: Vec<f32> = [1..3, 3..7, 2..4].into_iter().flat_map(|span| dummy::row(&ids, span)).collect();
    assert_eq!(output.vectors, Vectors::F32(rows));
    assert_eq!(output.tokens_per_text, [8]);

    let empty = chunked("abc", &[]).unwrap();
    assert!(empty.vectors.is_empty());

    let refused = |text: &str, chunks: &[std::ops::Range<usize>]| {
        let error = chunked(text, chunks).unwrap_err();
        (error.code, error.details.get("index").cloned())
    };
    assert_eq!(refused("abc", &[0..1, 2..9]), (Code::InvalidInput, Some(1.into())));
    assert_eq!(refused("abc", &[2..2]), (Code::InvalidInput, Some(0.into())));
    assert_eq!(refused("a\u{1}c", &[0..1, 1..2]), (Code::InvalidInput, Some(1.into())));
    let long = "x".repeat(900);
    assert_eq!(refused(&long, &[0..100, 100..800, 700..900]), (Code::InvalidInput, Some(2.into())));
    assert!(chunked(&long, &[700..900]).unwrap_err().message.contains("cut to 600 of its 902 tokens"));

    let last = EmbedRequest { chunks: Some(vec![0..1]), ..of("last") };
    assert_eq!(embed(&engine, last, strings(["abc"])).unwrap_err().code, Code::ModelUnsupported);
    let two = EmbedRequest { chunks: Some(vec![0..1]), ..request() };
    assert_eq!(embed(&engine, two, strings(["abc", "def"])).unwrap_err().code, Code::InvalidInput);
}

#[test]
fn equal_texts_are_computed_once() {
    let (engine, stage) = dummy::engine("{}");
    let texts = strings(["same", "other", "same", "same"]);
    let output = embed(&engine, request(), texts.clone()).unwrap();
    assert_rows(&output, &texts);
    assert_eq!(output.tokens_per_text, [6, 7, 6, 6]);
    let computed: usize = stage.batches().iter().map(|batch| batch.sequences()).sum();
    assert_eq!(computed, 2);
}

#[test]
fn rows_that_cannot_be_vouched_for_fail_their_call_only() {
    let (engine, stage) = dummy::engine("{}");
    let first = start_held(&engine, &stage, request(), strings(["hold"]), 1);
    let good = start(&engine, strings(["good"]));
    let bad = start(&engine, strings(["fine", "it gives nan", "fine too"]));
    // Both are queued, and so come into one batch.
    std::thread::sleep(Duration::from_millis(100));
    stage.allow_all();
    let error = bad.result().unwrap_err();
    assert_eq!((error.code, &error.details["index"]), (Code::NonFinite, &1.into()));
    assert!(error.message.contains("text 1"), "{}", error.message);
    assert_rows(&good.result().unwrap(), &strings(["good"]));
    assert!(first.result().is_ok());
}

#[test]
fn a_failing_or_panicking_backend_fails_the_batch_and_no_later_call() {
    let (engine, _) = dummy::engine("{}");
    for text in ["the backend panics", "the backend fails", "too few rows"] {
        let error = embed(&engine, request(), strings([text])).unwrap_err();
        assert_eq!(error.code, Code::Internal, "{text}");
        assert_rows(&embed(&engine, request(), strings(["next"])).unwrap(), &strings(["next"]));
    }
    for text in ["fail", "panic"] {
        assert_eq!(embed(&engine, request(), strings([text])).unwrap_err().code, Code::Internal);
    }
    for model in ["describe-panics", "load-panics"] {
        assert_eq!(embed(&engine, of(model), strings(["a"])).unwrap_err().code, Code::Internal);
    }
    assert!(embed(&engine, request(), strings(["next"])).is_ok());
}

#[test]
fn tokens_are_counted_without_weights() {
    let (engine, stage) = dummy::engine("{}");
    let count =
        |request: CountRequest, texts: Vec<String>| engine.count_tokens_blocking(request, texts, &Cancel::never());
    let model = Some("m".to_owned());
    let document = CountRequest { model: model.clone(), ..CountRequest::default() };
    let texts = vec!["abc".to_owned(), String::new(), "x".repeat(1000)];
    assert_eq!(count(document.clone(), texts).unwrap(), [5, 2, 1002]);
    let query = CountRequest { task: Task::Query, ..document.clone() };
    assert_eq!(count(query, strings(["abc"])).unwrap(), [12]);
    assert_eq!(count(document.clone(), Vec::new()).unwrap(), [0_u32; 0]);
    assert_eq!(count(document, strings(["fail"])).unwrap_err().code, Code::Internal);
    assert_eq!((stage.loads(), stage.describes()), (0, 1));
}

#[test]
fn progress_is_told() {
    let (engine, _) = dummy::engine("{}");
    let running = start(&engine, job("text", 300, 40));
    running.result().unwrap();
    let events = running.events();
    assert_eq!(events[0], Event::Loading { model: "m".to_owned() });
    assert_eq!(events[1], Event::Ready { model: "m".to_owned(), device: "cpu".to_owned() });
    let Some(Event::Embedding { done: 300, total: 300, eta_seconds, tokens_per_second }) = events.last() else {
        panic!("{events:?}")
    };
    assert!(*eta_seconds == 0.0 && *tokens_per_second > 0.0);
    let again = start(&engine, strings(["a"]));
    again.result().unwrap();
    assert_eq!(again.events()[0], Event::Ready { model: "m".to_owned(), device: "cpu".to_owned() });
}

#[test]
fn what_is_not_found_is_told() {
    let (engine, _) = dummy::engine("{}");
    for model in [Some("missing"), Some("bundled")] {
        let request = EmbedRequest { model: model.map(str::to_owned), ..request() };
        assert_eq!(embed(&engine, request, strings(["a"])).unwrap_err().code, Code::ModelNotFound);
    }
}

#[test]
fn a_warning_waits_for_somebody_who_listens() {
    let (engine, stage) = dummy::engine("{}");
    stage.allow(0);
    let left = start(&engine, strings(["left"]));
    stage.wait_for("its batch", |stage| stage.batches().len() == 1);
    left.cancel.cancel();
    assert_eq!(left.code(), Code::Aborted);
    stage.notice("cuda:1 failed");
    stage.allow_all();
    let next = start(&engine, strings(["next"]));
    next.result().unwrap();
    let told = |event: &&Event| matches!(event, Event::Notice { message, .. } if message == "cuda:1 failed");
    assert_eq!(next.events().iter().filter(told).count(), 1);
}
