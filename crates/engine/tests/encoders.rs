//! Our encoders against a naive twin in f64, on models that are made here: both implementations of
//! the parts and the ONNX graphs that are written for them, every shape of the families, packed batches
//! against texts alone.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod twin;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use embedding_engine::backend::Backend;
use embedding_engine::backend::candle::{self, Dtype};
use embedding_engine::backend::cards;
use embedding_engine::backend::onnx::{self, OnnxOptions};
use embedding_engine::batch::PackedBatch;
use embedding_engine::cancel::Cancel;
use embedding_engine::model::*;
use twin::Tensors;

/// Largest difference of a component, relative to the length of the vector: f32 against f64.
const F32_TOLERANCE: f64 = 2e-6;
/// The same between two runs in f32 that differ in their neighbours alone.
const ALONE_TOLERANCE: f64 = 1e-6;

struct Case {
    name: &'static str,
    spec: ModelSpec,
    tensors: Tensors,
    _folder: tempfile::TempDir,
}

fn spec(
    folder: &Path,
    architecture: Architecture,
    attention: Attention,
    pooling: Pooling,
    dimensions: usize,
) -> ModelSpec {
    ModelSpec {
        id: "twin".to_owned(),
        revision: None,
        files: ModelFiles {
            root: folder.to_owned(),
            transformer: folder.to_owned(),
            tokenizer: folder.join("tokenizer.json"),
            weights: vec![folder.join("model.safetensors")],
        },
        backend: BackendKind::Candle,
        architecture,
        attention,
        pooling,
        include_prompt: true,
        head: Vec::new(),
        tasks: BTreeMap::new(),
        end_token: EndToken::Tokenizer,
        lower_case: false,
        max_tokens: 4096,
        dimensions,
        matryoshka: Vec::new(),
        license: None,
        content: String::new(),
    }
}

fn qwen(name: &'static str, attention: Attention, pooling: Pooling, change: impl FnOnce(&mut QwenConfig)) -> Case {
    let mut config = QwenConfig {
        vocab_size: 50,
        hidden_size: 24,
        intermediate_size: 40,
        num_layers: 3,
        num_heads: 6,
        num_kv_heads: 2,
        head_dim: 4,
        rope_theta: 1e4,
        rms_norm_eps: 1e-6,
        qkv_bias: true,
        output_bias: false,
        qk_norm: false,
        windows: vec![None; 3],
    };
    change(&mut config);
    let tensors = twin::qwen_tensors(&config);
    let folder = tensors.write();
    let spec = spec(folder.path(), Architecture::Qwen(config.clone()), attention, pooling, config.hidden_size);
    Case { name, spec, tensors, _folder: folder }
}

fn bert(name: &'static str, pooling: Pooling, change: impl FnOnce(&mut BertConfig)) -> Case {
    let mut config = BertConfig {
        vocab_size: 50,
        hidden_size: 24,
        intermediate_size: 40,
        num_layers: 2,
        num_heads: 3,
        max_positions: 700,
        type_vocab_size: 2,
        position_offset: 0,
        layer_norm_eps: 1e-12,
        activation: Activation::Gelu,
    };
    change(&mut config);
    let tensors = twin::bert_tensors(&config);
    let folder = tensors.write();
    let width = config.hidden_size;
    let mut spec = spec(folder.path(), Architecture::Bert(config), Attention::Bidirectional, pooling, width);
    spec.max_tokens = 690;
    Case { name, spec, tensors, _folder: folder }
}

fn cases() -> Vec<Case> {
    let (causal, both) = (Attention::Causal, Attention::Bidirectional);
    vec![
        qwen("qwen2", causal, Pooling::LastToken, |_| {}),
        qwen("qwen2, bidirectional", both, Pooling::Mean, |_| {}),
        qwen("qwen3", causal, Pooling::LastToken, |config| {
            config.qk_norm = true;
            config.qkv_bias = false;
            config.head_dim = 8;
        }),
        qwen("one head for all", causal, Pooling::WeightedMean, |config| config.num_kv_heads = 1),
        qwen("window", causal, Pooling::LastToken, |config| config.windows = vec![None, Some(5), Some(300)]),
        qwen("window, bidirectional", both, Pooling::Max, |config| config.windows = vec![Some(7), None, Some(1)]),
        qwen("bias on the output", causal, Pooling::MeanSqrtLen, |config| config.output_bias = true),
        bert("bert", Pooling::Mean, |_| {}),
        bert("roberta", Pooling::Cls, |config| config.position_offset = 2),
        bert("bert, relu", Pooling::Mean, |config| config.activation = Activation::Relu),
        bert("bert, tanh gelu", Pooling::Mean, |config| config.activation = Activation::GeluTanh),
        // Heads of 16, which ONNX Runtime's own attention takes.
        bert("bert, wide heads", Pooling::Mean, |config| config.hidden_size = 48),
        qwen("qwen2, wide heads", causal, Pooling::Mean, |config| {
            config.head_dim = 16;
            config.windows = vec![None, Some(5), Some(300)];
        }),
        qwen("qwen3, wide heads, bidirectional", both, Pooling::Mean, |config| {
            config.head_dim = 32;
            config.qk_norm = true;
            config.windows = vec![None, Some(5), None];
        }),
    ]
}

/// Activations as in trained models, where a few channels stand far above the others (Dettmers et al.,
/// LLM.int8(), 2022): out of the norms and inside of the MLP.
fn with_outliers() -> Case {
    let Case { spec, mut tensors, .. } = qwen("outliers", Attention::Causal, Pooling::LastToken, |_| {});
    tensors.outliers("input_layernorm.weight", &["q_proj.weight", "k_proj.weight", "v_proj.weight"], 11, 30.0);
    tensors.outliers("post_attention_layernorm.weight", &["gate_proj.weight", "up_proj.weight"], 13, 30.0);
    tensors.outliers("up_proj.weight", &["down_proj.weight"], 17, 30.0);
    let folder = tensors.write();
    let files = ModelFiles { weights: vec![folder.path().join("model.safetensors")], ..spec.files };
    Case { name: "outliers", spec: ModelSpec { files, ..spec }, tensors, _folder: folder }
}

/// The smallest cosine with the twin, over texts of several lengths.
fn least_cosine(case: &Case, backend: &dyn Backend) -> f64 {
    let sequences: Vec<_> = [1, 30, 200].iter().map(|len| ids(*len as u64, *len)).collect();
    let rows = backend.run(&pack(&sequences), &Cancel::never()).unwrap();
    let cosines = sequences.iter().enumerate().map(|(index, ids)| {
        let expected = twin::embed(&case.spec, &case.tensors, ids);
        let norm = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
        let found = unit(&rows[index * expected.len()..][..expected.len()]);
        found.iter().zip(&expected).map(|(a, b)| a * b / norm).sum()
    });
    cosines.fold(1.0, f64::min)
}

fn ids(seed: u64, len: usize) -> Vec<u32> {
    let mut random = twin::Random::new(seed);
    (0..len).map(|_| (random.uniform().abs() * 50.0) as u32 % 50).collect()
}

fn pack(sequences: &[Vec<u32>]) -> PackedBatch {
    let mut batch = PackedBatch::new();
    for ids in sequences {
        batch.push(ids, std::slice::from_ref(&(0..ids.len() as u32)), None);
    }
    batch
}

fn implementations(spec: &ModelSpec, dtype: Dtype) -> [(&'static str, Arc<dyn Backend>); 3] {
    let never = Cancel::never();
    // Two replicas, and batches in pieces.
    let devices = ["cpu:0", "cpu:1"].map(|name| {
        let open: cards::Open = Box::new(|| Ok(Device::Cpu));
        (name.to_owned(), open)
    });
    let limits = cards::Limits { tokens: Some(250), ..cards::Limits::default() };
    [
        ("cpu", candle::load(spec, "cpu", dtype, &never).unwrap()),
        ("generic", candle::load_generic(spec, Device::Cpu, "cpu", dtype, &never).unwrap()),
        ("cards", cards::load_on(spec, devices.into(), dtype, limits, &never).unwrap()),
    ]
}

/// ONNX graphs that are written over the weights, run on the CPU.
fn graphs(spec: &ModelSpec) -> [(&'static str, Arc<dyn Backend>); 2] {
    let library = Some(common::onnxruntime());
    let options = OnnxOptions { library, threads: 2, ..OnnxOptions::default() };
    let plain = OnnxOptions { plain_operators: true, ..options.clone() };
    [
        ("a written graph", onnx::load(spec, "cpu", &options).unwrap()),
        ("a written graph of plain operators", onnx::load(spec, "cpu", &plain).unwrap()),
    ]
}

fn unit(row: &[f32]) -> Vec<f64> {
    let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    row.iter().map(|x| f64::from(*x) / norm).collect()
}

fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |worst, d| if d > worst || d.is_nan() { d } else { worst })
}

#[test]
fn all_implementations_agree_with_the_twin() {
    for case in cases() {
        // Lengths around the sizes of tiles, one token, and one that needs several tiles of keys.
        let sequences: Vec<_> = [1, 2, 7, 31, 32, 33, 100, 600].iter().map(|len| ids(*len as u64, *len)).collect();
        let batch = pack(&sequences);
        let implementations = implementations(&case.spec, Dtype::Float32).into_iter().chain(graphs(&case.spec));
        for (implementation, backend) in implementations {
            let rows = backend.run(&batch, &Cancel::never()).unwrap();
            for (index, ids) in sequences.iter().enumerate() {
                let expected = twin::embed(&case.spec, &case.tensors, ids);
                let norm = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
                let expected: Vec<f64> = expected.iter().map(|x| x / norm).collect();
                let found = unit(&rows[index * expected.len()..][..expected.len()]);
                let error = difference(&found, &expected);
                assert!(error < F32_TOLERANCE, "{} on {implementation}, {} tokens: {error:e}", case.name, ids.len());
            }
        }
    }
}

#[test]
fn half_precision_weights_point_the_same_way() {
    for case in cases().into_iter().chain([with_outliers()]) {
        for (implementation, backend) in implementations(&case.spec, Dtype::Bfloat16) {
            assert_eq!(backend.info().dtype, "bfloat16");
            let cosine = least_cosine(&case, backend.as_ref());
            assert!(cosine > 0.9995, "{} on {implementation}: {cosine}", case.name);
        }
    }
}

/// Held in 11 bits, multiplied in f32, layer by layer.
#[test]
fn f16_weights_point_the_same_way() {
    for case in cases().into_iter().filter(|case| matches!(case.spec.architecture, Architecture::Bert(_))) {
        let backend = candle::load(&case.spec, "cpu", Dtype::Float16, &Cancel::never()).unwrap();
        assert_eq!(backend.info().dtype, "float16");
        let cosine = least_cosine(&case, backend.as_ref());
        assert!(cosine > 0.99999, "{}: {cosine}", case.name);
    }
}

#[test]
fn int8_weights_point_nearly_the_same_way() {
    for case in cases().into_iter().chain([with_outliers()]) {
        let backend = candle::load(&case.spec, "cpu", Dtype::Int8, &Cancel::never()).unwrap();
        assert_eq!(backend.info().dtype, "int8");
        let cosine = least_cosine(&case, backend.as_ref());
        println!("{}: {cosine:.5}", case.name);
        assert!(cosine > 0.995, "{}: {cosine}", case.name);
    }
    let case = &cases()[0];
    let refused = candle::load_generic(&case.spec, Device::Cpu, "cpu", Dtype::Int8, &Cancel::never());
    assert_eq!(refused.err().map(|error| error.code), Some(embedding_engine::Code::InvalidOption));
}

#[test]
fn a_text_does_not_depend_on_its_neighbours() {
    for case in cases() {
        let sequences: Vec<_> = (0..12).map(|i| ids(i, 1 + (i as usize * 37) % 150)).collect();
        let implementations = implementations(&case.spec, Dtype::Float32).into_iter().chain(graphs(&case.spec));
        for (implementation, backend) in implementations {
            let width = backend.info().width;
            let together = backend.run(&pack(&sequences), &Cancel::never()).unwrap();
            for (index, ids) in sequences.iter().enumerate() {
                let alone = backend.run(&pack(std::slice::from_ref(ids)), &Cancel::never()).unwrap();
                let error = difference(&unit(&alone), &unit(&together[index * width..][..width]));
                assert!(error < ALONE_TOLERANCE, "{} on {implementation}, {} tokens: {error:e}", case.name, ids.len());
            }
        }
    }
}

#[test]
fn spans_pool_their_own_tokens() {
    let case = bert("bert", Pooling::Mean, |_| {});
    let ids = ids(3, 90);
    let mut batch = PackedBatch::new();
    batch.push(&self::ids(4, 17), std::slice::from_ref(&(0..17)), None);
    batch.push(&ids, &[1..30, 30..89], None);
    for (_, backend) in implementations(&case.spec, Dtype::Float32).into_iter().chain(graphs(&case.spec)) {
        let rows = backend.run(&batch, &Cancel::never()).unwrap();
        assert_eq!(rows.len(), 3 * 24);
        for (row, span) in [(1, 1..30), (2, 30..89)] {
            let hidden = twin::hidden(&case.spec, &case.tensors, &ids);
            let mean: Vec<f64> =
                (0..24).map(|c| span.clone().map(|t| hidden[t][c]).sum::<f64>() / span.len() as f64).collect();
            let norm = mean.iter().map(|x| x * x).sum::<f64>().sqrt();
            let mean: Vec<f64> = mean.iter().map(|x| x / norm).collect();
            assert!(difference(&unit(&rows[row * 24..][..24]), &mean) < F32_TOLERANCE);
        }
    }
}

/// Where pooling reads one row of a span, the last layer computes no others: that must change nothing.
#[test]
fn rows_that_nobody_reads_change_nothing() {
    let causal = Attention::Causal;
    for (case, last) in [
        (qwen("qwen2", causal, Pooling::LastToken, |_| {}), true),
        (qwen("qwen2, one layer", causal, Pooling::LastToken, |config| config.num_layers = 1), true),
        (bert("bert", Pooling::Cls, |_| {}), false),
    ] {
        // Spans side by side, overlapping, with one last token, of one token, of none.
        let one = |range: std::ops::Range<u32>| std::iter::once(range).collect::<Vec<_>>();
        let spans = [one(0..17), vec![1..30, 30..300, 7..300, 9..9, 4..5], one(0..1)];
        let (mut batch, mut all) = (PackedBatch::new(), PackedBatch::new());
        for (seed, (len, spans)) in [17, 300, 1].into_iter().zip(spans).enumerate() {
            let ids = ids(seed as u64, len);
            let of_one = |span: &std::ops::Range<u32>| match span.is_empty() {
                true => span.clone(),
                false if last => span.end - 1..span.end,
                false => span.start..span.start + 1,
            };
            batch.push(&ids, &spans, None);
            all.push(&ids, &spans.iter().map(of_one).collect::<Vec<_>>(), None);
        }
        let every_row = ModelSpec { pooling: Pooling::Mean, ..case.spec.clone() };
        for dtype in [Dtype::Float32, Dtype::Bfloat16] {
            let (some, every) = (implementations(&case.spec, dtype), implementations(&every_row, dtype));
            for ((implementation, some), (_, every)) in some.iter().zip(&every) {
                let some = some.run(&batch, &Cancel::never()).unwrap();
                let every = every.run(&all, &Cancel::never()).unwrap();
                assert_eq!(some.len(), 7 * 24);
                assert!(some[4 * 24..5 * 24].iter().all(|value| value.is_nan()), "an empty span has no vector");
                for (a, b) in some.iter().zip(&every).filter(|(a, b)| !(a.is_nan() && b.is_nan())) {
                    // Ours is equal bit by bit; Candle's products have other tiles for other numbers of rows.
                    let tolerance = match (*implementation, dtype) {
                        ("cpu", _) => 0.0,
                        (_, Dtype::Float32) => 1e-5,
                        _ => 0.1,
                    };
                    assert!((a - b).abs() <= tolerance, "{} on {implementation}, {dtype:?}: {a} {b}", case.name);
                }
            }
        }
    }
}

#[test]
fn a_cancelled_run_ends_with_its_code() {
    let case = qwen("qwen2", Attention::Causal, Pooling::LastToken, |_| {});
    let cancel = Cancel::new();
    cancel.cancel();
    for (_, backend) in implementations(&case.spec, Dtype::Float32) {
        let error = backend.run(&pack(&[ids(1, 10)]), &cancel).unwrap_err();
        assert_eq!(error.code, embedding_engine::Code::Aborted);
    }
    let Err(error) = candle::load(&case.spec, "cpu", Dtype::Float32, &cancel) else { panic!("a cancelled load") };
    assert_eq!(error.code, embedding_engine::Code::Aborted);
}

#[test]
fn the_number_of_threads_does_not_change_a_vector() {
    let case = qwen("qwen2", Attention::Causal, Pooling::LastToken, |_| {});
    let batch = pack(&[ids(1, 300), ids(2, 20), ids(3, 1)]);
    let (_, backend) = &implementations(&case.spec, Dtype::Float32)[0];
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| backend.run(&batch, &Cancel::never())).unwrap()
    };
    let one = on(1);
    for threads in [2, 3, 8] {
        for (a, b) in one.chunks(24).zip(on(threads).chunks(24)) {
            assert!(difference(&unit(a), &unit(b)) < ALONE_TOLERANCE);
        }
    }
}

#[test]
fn f16_is_refused_for_qwen() {
    let case = qwen("qwen2", Attention::Causal, Pooling::LastToken, |_| {});
    let Err(error) = candle::load(&case.spec, "cpu", Dtype::Float16, &Cancel::never()) else { panic!("f16 was taken") };
    assert_eq!(error.code, embedding_engine::Code::InvalidOption);
}

/// The largest resident memory of this process since the last call, in MB.
#[cfg(target_os = "linux")]
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    kilobytes / 1e3
}

/// Four layers of Qwen2 0.5B, and of BERT with its width.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "measures the process: `cargo test --release --test encoders memory -- --ignored --nocapture`"]
fn memory_of_long_texts_in_written_graphs() {
    let wide = |config: &mut QwenConfig| {
        config.hidden_size = 896;
        config.intermediate_size = 4864;
        (config.num_heads, config.num_kv_heads, config.head_dim) = (14, 2, 64);
        config.num_layers = 4;
        config.windows = vec![None; 4];
    };
    let cases = [
        qwen("causal", Attention::Causal, Pooling::LastToken, wide),
        qwen("bidirectional", Attention::Bidirectional, Pooling::Mean, wide),
        bert("bert", Pooling::Mean, |config| {
            (config.hidden_size, config.intermediate_size, config.num_heads) = (768, 3072, 12);
            (config.num_layers, config.max_positions) = (4, 8200);
        }),
    ];
    for mut case in cases {
        case.spec.max_tokens = 8192;
        let [(_, fused), (_, plain)] = graphs(&case.spec);
        let own = candle::load(&case.spec, "cpu", Dtype::Float32, &Cancel::never()).unwrap();
        for (name, backend, lengths) in [
            ("own encoder", &own, &[2048][..]),
            ("written graph", &fused, &[2048, 8192]),
            ("of plain operators", &plain, &[2048]),
        ] {
            for &length in lengths {
                peak();
                let before = peak();
                let started = std::time::Instant::now();
                backend.run(&pack(&[ids(1, length)]), &Cancel::never()).unwrap();
                let after = peak();
                println!(
                    "{}, {name}, {length} tokens: {:.0} MB more, {:.2} s",
                    case.name,
                    after - before,
                    started.elapsed().as_secs_f64()
                );
            }
        }
    }
}
