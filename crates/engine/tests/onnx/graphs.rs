//! Vectors of graphs of many forms agree with plain arithmetic in f64.

use std::sync::Arc;
use std::thread;

use embedding_engine::backend::onnx::OnnxOptions;
use embedding_engine::batch::PackedBatch;
use embedding_engine::model::Pooling;
use embedding_engine::{Cancel, Code};

use crate::encoder::{Encoder, Holds};
use crate::proto::{Dimension, Type};
use crate::support::{Loaded, batch, difference, options, text, texts};

const MIXED: [usize; 9] = [5, 1, 33, 7, 33, 12, 2, 60, 5];

#[test]
fn each_pooling() {
    for pooling in
        [Pooling::Mean, Pooling::Cls, Pooling::LastToken, Pooling::Max, Pooling::MeanSqrtLen, Pooling::WeightedMean]
    {
        let error = Loaded::new(Encoder::default(), pooling).error(&texts(&MIXED));
        assert!(error < 2e-6, "{pooling:?}: {error}");
    }
}

#[test]
fn each_form_of_inputs() {
    for encoder in [
        Encoder { token_types: true, positions: true, ..Encoder::default() },
        Encoder { integers: Type::Int32, positions: true, ..Encoder::default() },
        Encoder { rows: Dimension::Fixed(1), ..Encoder::default() },
        Encoder { rows: Dimension::Fixed(4), ..Encoder::default() },
        Encoder { tokens: Dimension::Fixed(60), positions: true, ..Encoder::default() },
        Encoder { rows: Dimension::Fixed(2), tokens: Dimension::Fixed(64), ..Encoder::default() },
        Encoder { external: Some("model.onnx_data"), ..Encoder::default() },
        Encoder { tells_width: false, ..Encoder::default() },
        Encoder { tells_width: false, rows: Dimension::Fixed(3), ..Encoder::default() },
    ] {
        let error = Loaded::new(encoder.clone(), Pooling::Mean).error(&texts(&MIXED));
        assert!(error < 2e-6, "{encoder:?}: {error}");
    }
}

#[test]
fn each_type_of_output() {
    for (element, dtype, bound) in [
        (Type::Float, "float32", 2e-6),
        (Type::Double, "float32", 2e-6),
        (Type::Half, "float32", 1e-3),
        (Type::Bfloat16, "float32", 8e-3),
    ] {
        for outputs in [vec![("last_hidden_state", Holds::Tokens)], vec![("sentence_embedding", Holds::Mean)]] {
            let loaded = Loaded::new(Encoder { element, outputs, ..Encoder::default() }, Pooling::Mean);
            let info = loaded.backend.info();
            assert_eq!((info.device.as_str(), info.dtype.as_str(), info.width), ("cpu", dtype, 8));
            assert_eq!(info.weight_bytes, ((50 + 8) * 8 * 4 + 2 * 8) as u64);
            let error = loaded.error(&texts(&MIXED));
            assert!(error < bound, "{element:?}: {error}");
        }
    }
}

#[test]
fn the_right_output_is_read() {
    let tokens = ("last_hidden_state", Holds::Tokens);
    for (outputs, pooling) in [
        (vec![("pooler_output", Holds::Noise), tokens], Pooling::Max),
        (vec![tokens, ("sentence_embedding", Holds::Mean)], Pooling::None),
        (vec![("y", Holds::Mean)], Pooling::Mean),
        (vec![("sentence_embedding", Holds::Mean), ("token_embeddings", Holds::Tokens)], Pooling::Cls),
    ] {
        let error =
            Loaded::new(Encoder { outputs: outputs.clone(), ..Encoder::default() }, pooling).error(&texts(&MIXED));
        assert!(error < 2e-6, "{outputs:?}: {error}");
    }
}

#[test]
fn alone_and_in_any_batch() {
    let loaded = Loaded::new(Encoder::default(), Pooling::Mean);
    let small = OnnxOptions { max_padded_tokens: 40, ..options() };
    let small = Loaded::with(Encoder::default(), Pooling::Mean, &small);
    let texts = texts(&MIXED);
    let together = loaded.run(&texts);
    let mut reversed = texts.clone();
    reversed.reverse();
    let reversed = loaded.run(&reversed);
    for (at, ids) in texts.iter().enumerate() {
        let expected: Vec<f64> = loaded.run(std::slice::from_ref(ids))[0].iter().map(|&x| f64::from(x)).collect();
        for other in [&together[at], &reversed[texts.len() - 1 - at], &small.run(&texts)[at]] {
            assert!(difference(other, &expected) < 1e-6);
        }
    }
}

#[test]
fn several_spans_in_any_order() {
    let loaded = Loaded::new(Encoder::default(), Pooling::Mean);
    let (first, second) = (text(30, 1), text(9, 2));
    let mut batch = PackedBatch::new();
    batch.push(&first, &[10..30, 0..10], None);
    batch.push(&second, &[0..9], None);
    batch.spans.rotate_left(1);
    let rows = loaded.backend.run(&batch, &Cancel::never()).expect("ran");
    for (row, (ids, span)) in rows.chunks_exact(8).zip([(&first, 0..10), (&second, 0..9), (&first, 10..30)]) {
        assert!(difference(row, &loaded.encoder.pooled(ids, span, Pooling::Mean, None)) < 2e-6);
    }
}

#[test]
fn tasks_do_not_mix() {
    for task in [vec![], vec![Dimension::Fixed(1)], vec![Dimension::Free("batch")]] {
        let encoder = Encoder { task: Some(task), ..Encoder::default() };
        let loaded = Loaded::new(encoder, Pooling::Mean);
        let texts = texts(&MIXED);
        let mut batch = PackedBatch::new();
        for (at, ids) in texts.iter().enumerate() {
            batch.push(ids, &[0..ids.len() as u32], Some(at as i64 % 3));
        }
        let rows = loaded.backend.run(&batch, &Cancel::never()).expect("ran");
        for (at, (ids, row)) in texts.iter().zip(rows.chunks_exact(8)).enumerate() {
            let expected = loaded.encoder.pooled(ids, 0..ids.len(), Pooling::Mean, Some(at as i64 % 3));
            assert!(difference(row, &expected) < 2e-6);
        }
    }
}

#[test]
fn no_text_gives_no_row() {
    let loaded = Loaded::new(Encoder::default(), Pooling::Mean);
    assert!(loaded.run(&[]).is_empty());
    let mut batch = PackedBatch::new();
    batch.push(&text(4, 0), &[], None);
    assert!(loaded.backend.run(&batch, &Cancel::never()).expect("ran").is_empty());
}

#[test]
fn a_text_that_is_longer_than_a_run_may_be_runs_alone() {
    let options = OnnxOptions { max_padded_tokens: 64, ..options() };
    let loaded = Loaded::with(Encoder::default(), Pooling::Mean, &options);
    assert!(loaded.error(&texts(&[3, 900, 40])) < 2e-6);
}

#[test]
fn what_cannot_be_pooled_is_refused() {
    let pooled = Encoder { outputs: vec![("sentence_embedding", Holds::Mean)], ..Encoder::default() };
    let loaded = Loaded::new(pooled, Pooling::Mean);
    let mut batch = PackedBatch::new();
    batch.push(&text(9, 0), &[1..9], None);
    let error = loaded.backend.run(&batch, &Cancel::never()).expect_err("part of a text");
    assert_eq!(error.code, Code::ModelUnsupported);
    assert!(error.message.contains("sentence_embedding") && error.message.contains("late chunking"));
}

#[test]
fn a_text_that_is_longer_than_the_graph_allows_is_refused() {
    let loaded = Loaded::new(Encoder { tokens: Dimension::Fixed(16), ..Encoder::default() }, Pooling::Mean);
    let error = loaded.backend.run(&batch(&[text(17, 0)], None), &Cancel::never()).expect_err("too long");
    assert_eq!((error.code, &error.details["limit"]), (Code::TextTooLong, &16.into()));
}

#[test]
fn an_id_without_an_embedding_names_the_file() {
    let loaded = Loaded::new(Encoder::default(), Pooling::Mean);
    let error = loaded.backend.run(&batch(&[vec![1, 4000]], None), &Cancel::never()).expect_err("no such id");
    assert_eq!(error.code, Code::BadCheckpoint);
    assert!(error.message.contains("model.onnx"), "{}", error.message);
    // The session is still good.
    assert!(loaded.error(&texts(&[4])) < 2e-6);
}

#[test]
fn an_unsound_batch_is_an_error() {
    let loaded = Loaded::new(Encoder::default(), Pooling::Mean);
    for break_it in [
        |batch: &mut PackedBatch| batch.spans[0].sequence = 3,
        |batch: &mut PackedBatch| batch.spans[0].end = 40,
        |batch: &mut PackedBatch| batch.spans[0].start = batch.spans[0].end,
    ] {
        let mut batch = batch(&texts(&[4, 5]), None);
        break_it(&mut batch);
        assert_eq!(loaded.backend.run(&batch, &Cancel::never()).expect_err("unsound").code, Code::Internal);
    }
    let tasked = Loaded::new(Encoder { task: Some(vec![]), ..Encoder::default() }, Pooling::Mean);
    assert_eq!(
        tasked.backend.run(&batch(&texts(&[4]), None), &Cancel::never()).expect_err("no task").code,
        Code::Internal
    );
}

#[test]
fn threads_take_turns() {
    let loaded = Arc::new(Loaded::new(Encoder::default(), Pooling::Mean));
    let worst = thread::scope(|scope| {
        let workers: Vec<_> = (0..6)
            .map(|worker| {
                let loaded = Arc::clone(&loaded);
                scope.spawn(move || {
                    (0..20).map(|round| loaded.error(&texts(&[worker + 1, round + 3, 40]))).fold(0.0, f64::max)
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).fold(0.0, f64::max)
    });
    assert!(worst < 2e-6, "{worst}");
}
