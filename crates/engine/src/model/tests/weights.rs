//! Which files hold the weights, and which backend reads them.

use super::*;

const INDEX: &str = "model.safetensors.index.json";
/// A graph with nothing in it.
const GRAPH: [u8; 2] = [0x3a, 0x00];

fn sharded(map: Value) -> Model {
    Model::bert().without("model.safetensors").json(INDEX, json!({"metadata": {}, "weight_map": map}))
}

#[test]
fn shards() {
    let model = sharded(json!({"a": "model-00002-of-00002.safetensors", "b": "model-00001-of-00002.safetensors",
                               "c": "model-00001-of-00002.safetensors"}))
    .file("model-00001-of-00002.safetensors", "")
    .file("model-00002-of-00002.safetensors", "");
    let names: Vec<_> = model.spec().files.weights.iter().map(|file| file.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]);
    // One whole file wins over an index.
    let spec = model.file("model.safetensors", "").spec();
    assert_eq!(spec.files.weights.len(), 1);
}

#[test]
fn broken_indexes() {
    sharded(json!({"a": "gone.safetensors"})).bad(&["gone.safetensors", "missing"]);
    for outside in ["../x.safetensors", "/etc/x.safetensors", r"..\x", r"C:\x", "a/../../x", ""] {
        let parts = [INDEX, &serde_json::to_string(outside).unwrap()];
        sharded(json!({"tensor": outside})).bad(&parts);
    }
    sharded(json!({})).bad(&[INDEX, "0 shards"]);
    sharded(json!({"a": 5})).bad(&[INDEX]);
    sharded(json!([])).bad(&["weight_map"]);
    Model::bert().without("model.safetensors").json(INDEX, json!({})).bad(&["weight_map"]);
    Model::bert().without("model.safetensors").file(INDEX, "{").bad(&[INDEX]);
    let many: serde_json::Map<_, _> = (0..20_000).map(|i| (i.to_string(), json!(format!("{i}.safetensors")))).collect();
    sharded(many.into()).bad(&["20000 shards"]);
}

#[test]
fn other_weights() {
    let without = || Model::bert().without("model.safetensors");
    for name in ["pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5"] {
        without().file(name, "").unsupported(&[name, "safetensors", "save_pretrained"]);
    }
    without().fails(Code::ModelNotFound, &["model.safetensors", "ONNX"]);
}

#[test]
fn pointers_of_git_lfs() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    Model::bert().file("model.safetensors", pointer).bad(&["model.safetensors", "git lfs pull"]);
    Model::bert().file("tokenizer.json", pointer).bad(&["tokenizer.json", "git lfs pull"]);
    Model::bert().without("model.safetensors").file("model.onnx", pointer).bad(&["model.onnx", "git lfs pull"]);
}

#[test]
fn backends() {
    let with = |model: &Model, backend| {
        let overrides = ModelOverrides { backend, ..ModelOverrides::default() };
        model.describe_with(&overrides)
    };
    use BackendKind::{Candle, Onnx};
    let both = Model::bert().file("onnx/model.onnx", GRAPH);
    assert_eq!(with(&both, None).unwrap().backend, Candle);
    let onnx = with(&both, Some(Onnx)).unwrap();
    assert_eq!((onnx.backend, onnx.architecture, onnx.dimensions), (Onnx, Architecture::Onnx, 32));
    assert_eq!(onnx.files.weights, [both.root().join("onnx/model.onnx")]);
    // Without an export the graph is to be written.
    let written = with(&Model::bert(), Some(Onnx)).unwrap();
    assert_eq!((written.backend, matches!(written.architecture, Architecture::Bert(_))), (Onnx, true));
    assert_eq!(
        written.files.weights,
        Model::bert().describe_with(&ModelOverrides::default()).map(|_| written.files.weights.clone()).unwrap()
    );
    let none = Model::bert().without("model.safetensors");
    assert_error(&with(&none, Some(Onnx)).unwrap_err(), Code::InvalidOption, &["backend", "onnx"]);

    let only = Model::bert().without("model.safetensors").file("model.onnx", GRAPH);
    assert_eq!(with(&only, None).unwrap().backend, Onnx);
    assert_error(&with(&only, Some(Candle)).unwrap_err(), Code::InvalidOption, &["safetensors"]);

    // An architecture that our encoders do not know runs from its export, and only then.
    let modern = || Model::bert().config("model_type", "modernbert").file("onnx/model.onnx", GRAPH);
    assert_eq!(with(&modern(), None).unwrap().backend, Onnx);
    assert_error(&with(&modern(), Some(Candle)).unwrap_err(), Code::ModelUnsupported, &["modernbert"]);
    // A broken configuration is not covered up by an export.
    let broken = Model::bert().config("hidden_size", 0).file("onnx/model.onnx", GRAPH);
    assert_error(&with(&broken, None).unwrap_err(), Code::BadCheckpoint, &["hidden_size"]);
    let overrides = ModelOverrides { causal: Some(true), ..ModelOverrides::default() };
    assert_error(&modern().describe_with(&overrides).unwrap_err(), Code::InvalidOption, &["causal"]);
}

#[test]
fn graphs() {
    let only = || Model::bert().without("model.safetensors");
    let name = |model: &Model| model.spec().files.weights[0].strip_prefix(model.root()).unwrap().to_owned();
    assert_eq!(name(&only().file("onnx/model.onnx", GRAPH).file("model.onnx", GRAPH)), Path::new("onnx/model.onnx"));
    let variants = only().file("onnx/model.onnx", GRAPH).file("onnx/model_fp16.onnx", GRAPH);
    assert_eq!(name(&variants), Path::new("onnx/model.onnx"));
    assert_eq!(name(&only().file("onnx/model_O2.onnx", GRAPH)), Path::new("onnx/model_O2.onnx"));
    only()
        .file("onnx/model_fp16.onnx", GRAPH)
        .file("onnx/model_int8.onnx", GRAPH)
        .unsupported(&["model_fp16.onnx, model_int8.onnx", "model.onnx"]);
    only().file("onnx/model.onnx", "").bad(&["model.onnx", "empty"]);
    only().file("onnx/model.onnx", "no graph").bad(&["model.onnx"]);

    // Weights beside the graph: a tensor whose external_data says {location: w.bin}.
    let external = |location: &str| {
        let field = |number: u8, payload: &[u8]| [&[number << 3 | 2, payload.len() as u8][..], payload].concat();
        let entry = field(13, &[field(1, b"location"), field(2, location.as_bytes())].concat());
        field(7, &field(5, &entry))
    };
    let model = only().file("onnx/model.onnx", external("w.bin"));
    model.bad(&["w.bin", "missing"]);
    assert_eq!(model.file("onnx/w.bin", "x").spec().backend, BackendKind::Onnx);
    only().file("onnx/model.onnx", external("../w.bin")).bad(&["../w.bin", "outside"]);
}

#[test]
fn widths_of_graphs() {
    let only = || Model::bert().without("model.safetensors").file("model.onnx", GRAPH).config("model_type", "x");
    assert_eq!(only().spec().dimensions, 32);
    assert_eq!(only().config("hidden_size", DROP).config("dim", 24).spec().dimensions, 24);
    let pooled = only().config("hidden_size", DROP).json("1_Pooling/config.json", json!({"embedding_dimension": 20}));
    assert_eq!(pooled.spec().dimensions, 20);
    only().config("hidden_size", DROP).json("1_Pooling/config.json", json!({})).bad(&["hidden_size"]);
    // Without a Pooling module the graph pools by itself.
    assert_eq!(only().json("modules.json", modules(&["Transformer"])).spec().pooling, Pooling::None);
    // No limit is stated anywhere.
    let open = only()
        .without("sentence_bert_config.json")
        .without("tokenizer_config.json")
        .config("max_position_embeddings", -1);
    assert_eq!(open.spec().max_tokens, 512);
}
