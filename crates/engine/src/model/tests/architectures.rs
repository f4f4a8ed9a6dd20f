//! config.json: shapes, defaults, limits, attention.

use super::*;

fn qwen(model: &Model) -> QwenConfig {
    match model.spec().architecture {
        Architecture::Qwen(qwen) => qwen,
        other => panic!("{other:?}"),
    }
}

fn bert(model: &Model) -> BertConfig {
    match model.spec().architecture {
        Architecture::Bert(bert) => bert,
        other => panic!("{other:?}"),
    }
}

fn qwen3() -> Model {
    Model::qwen2().json("config.json", qwen_config("qwen3"))
}

#[test]
fn qwen_shapes() {
    let found = qwen(&Model::qwen2());
    let expected = QwenConfig {
        vocab_size: 100,
        hidden_size: 16,
        intermediate_size: 32,
        num_layers: 3,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 4,
        rope_theta: 1e6,
        rms_norm_eps: 1e-6,
        qkv_bias: true,
        output_bias: false,
        qk_norm: false,
        windows: vec![None; 3],
    };
    assert_eq!(found, expected);
    // Qwen3: explicit head_dim (128 if absent), norms on q and k, biases only on demand.
    let found = qwen(&qwen3());
    assert_eq!(found, QwenConfig { head_dim: 128, qkv_bias: false, qk_norm: true, ..expected.clone() });
    assert_eq!(qwen(&qwen3().config("head_dim", 8)).head_dim, 8);
    assert_eq!(qwen(&Model::qwen2().config("head_dim", 8)).head_dim, 8);
    assert_eq!(qwen(&Model::qwen2().config("head_dim", Value::Null)).head_dim, 4);
    let biased = qwen(&qwen3().config("attention_bias", true));
    assert!(biased.qkv_bias && biased.output_bias);
    assert_eq!(qwen(&Model::qwen2().config("num_key_value_heads", Value::Null)).num_kv_heads, 4);
    assert_eq!(qwen(&Model::qwen2().config("hidden_size", 16.0)).hidden_size, 16);
    // The model type decides; without it the architecture.
    assert!(qwen(&Model::qwen2().config("model_type", DROP).config("architectures", json!(["Qwen3Model"]))).qk_norm);
}

#[test]
fn rope() {
    let theta = |model: Model| qwen(&model).rope_theta;
    let base = || Model::qwen2();
    assert_eq!(theta(base().config("rope_theta", DROP)), 10_000.0);
    assert_eq!(theta(base().config("rope_theta", 5)), 5.0);
    assert_eq!(theta(base().config("rope_parameters", json!({"rope_theta": 7.0, "rope_type": "default"}))), 7.0);
    assert_eq!(theta(base().config("rope_parameters", json!({"rope_type": "default"}))), 1e6);
    assert_eq!(theta(base().config("rope_scaling", Value::Null)), 1e6);
    assert_eq!(theta(base().config("rope_scaling", json!({}))), 1e6);
    assert_eq!(theta(base().config("rope_scaling", json!({"type": "default", "rope_theta": 3.0}))), 3.0);
    assert_eq!(theta(base().config("partial_rotary_factor", 1.0)), 1e6);

    for kind in ["yarn", "linear", "dynamic", "longrope", "llama3"] {
        for key in ["type", "rope_type"] {
            base().config("rope_scaling", json!({key: kind, "factor": 4.0})).unsupported(&["config.json", kind]);
        }
        base().config("rope_parameters", json!({"rope_type": kind})).unsupported(&[kind]);
    }
    base().config("partial_rotary_factor", 0.5).unsupported(&["0.5"]);
    base().config("rope_parameters", json!({"full_attention": {"rope_theta": 1.0}})).unsupported(&["layers"]);
    base().config("rope_theta", 0).bad(&["rope_theta"]);
    base().config("rope_theta", "1e6").bad(&["rope_theta", "1e6"]);
    base().config("rope_scaling", 4).bad(&["rope_scaling"]);
}

#[test]
fn windows() {
    let windows = |model: Model| qwen(&model).windows;
    let base = || Model::qwen2();
    let on = || base().config("use_sliding_window", true).config("sliding_window", 64);
    assert_eq!(windows(base().config("sliding_window", 64)), [None; 3]);
    assert_eq!(windows(base().config("sliding_window", 64).config("use_sliding_window", false)), [None; 3]);
    // From layer 28 on, so none here.
    assert_eq!(windows(on()), [None; 3]);
    assert_eq!(windows(on().config("max_window_layers", 1)), [None, Some(64), Some(64)]);
    assert_eq!(windows(on().config("max_window_layers", 0).config("sliding_window", Value::Null)), [None; 3]);
    assert_eq!(windows(on().config("max_window_layers", 0).config("sliding_window", DROP)), [Some(4096); 3]);
    let types = json!(["sliding_attention", "full_attention", "sliding_attention"]);
    assert_eq!(windows(on().config("layer_types", types.clone())), [Some(64), None, Some(64)]);
    assert_eq!(
        windows(base().config("layer_types", json!(["full_attention", "full_attention", "full_attention"]))),
        [None; 3]
    );

    base().config("layer_types", types).bad(&["layer_types"]);
    on().config("layer_types", json!(["full_attention"])).bad(&["layer_types", "3 layers"]);
    on().config("layer_types", json!(["chunked_attention", "full_attention", "full_attention"]))
        .unsupported(&["chunked"]);
    on().config("sliding_window", 0).bad(&["sliding_window"]);
    on().config("sliding_window", -1).bad(&["sliding_window"]);
    on().config("use_sliding_window", "yes").bad(&["use_sliding_window"]);
}

#[test]
fn bert_shapes() {
    let expected = BertConfig {
        vocab_size: 100,
        hidden_size: 32,
        intermediate_size: 64,
        num_layers: 2,
        num_heads: 4,
        max_positions: 512,
        type_vocab_size: 2,
        position_offset: 0,
        layer_norm_eps: 1e-12,
        activation: Activation::Gelu,
    };
    assert_eq!(bert(&Model::bert()), expected);
    for (kind, offset) in [("roberta", 2), ("xlm-roberta", 2), ("camembert", 2)] {
        let model = Model::bert().config("model_type", kind).config("pad_token_id", 1);
        assert_eq!(bert(&model), BertConfig { position_offset: offset, ..expected.clone() });
    }
    let roberta = Model::bert().config("model_type", "roberta").config("pad_token_id", DROP);
    assert_eq!(bert(&roberta).position_offset, 2);
    for (name, activation) in [
        ("gelu_new", Activation::GeluTanh),
        ("gelu_pytorch_tanh", Activation::GeluTanh),
        ("relu", Activation::Relu),
        ("swish", Activation::Silu),
        ("gelu_python", Activation::Gelu),
    ] {
        assert_eq!(bert(&Model::bert().config("hidden_act", name)).activation, activation, "{name}");
    }
    Model::bert().config("hidden_act", "quick_gelu").unsupported(&["quick_gelu"]);
    Model::bert().config("position_embedding_type", "relative_key").unsupported(&["relative_key"]);
    Model::bert().config("is_decoder", true).unsupported(&["is_decoder"]);
    Model::bert().config("auto_map", json!({"AutoModel": "x--y.Z"})).unsupported(&["x--y.Z"]);
}

#[test]
fn what_cannot_be() {
    let absurd = json!(1_000_000_000_000u64);
    for key in ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"] {
        for value in [absurd.clone(), json!(0), json!(-1), json!(1.5), json!("12"), json!([]), json!(true), DROP.into()]
        {
            Model::bert().config(key, value.clone()).bad(&["config.json", key]);
            Model::qwen2().config(key, value).bad(&["config.json", key]);
        }
    }
    Model::bert().config("num_attention_heads", 5).bad(&["hidden_size", "32", "multiple", "5"]);
    Model::qwen2().config("num_attention_heads", 6).bad(&["hidden_size"]);
    Model::qwen2().config("num_key_value_heads", 3).bad(&["num_key_value_heads", "divisor"]);
    Model::qwen2().config("num_key_value_heads", 0).bad(&["num_key_value_heads"]);
    Model::qwen2().config("head_dim", 7).bad(&["head_dim", "even"]);
    Model::qwen2().config("rms_norm_eps", -1).bad(&["rms_norm_eps"]);
    Model::bert().config("layer_norm_eps", 2).bad(&["layer_norm_eps"]);
    Model::bert().config("type_vocab_size", 0).bad(&["type_vocab_size"]);
    Model::bert()
        .config("model_type", "roberta")
        .config("max_position_embeddings", 2)
        .config("pad_token_id", 1)
        .bad(&["max_position"]);
    Model::bert().config("max_position_embeddings", "x").bad(&["max_position_embeddings"]);
    Model::bert().file("config.json", "{").bad(&["config.json", "JSON"]);
    Model::bert().file("config.json", [0xff, 0xfe]).bad(&["config.json"]);
    Model::bert().json("config.json", json!([])).bad(&["config.json", "a list"]);
    Model::bert().config("model_type", 7).bad(&["model_type"]);
    // A byte order mark is none of its faults.
    Model::bert().file("config.json", format!("\u{feff}{}", bert_config())).spec();
}

#[test]
fn architectures_that_are_not_supported() {
    for kind in ["modernbert", "t5", "llama", "nomic_bert", "qwen2_moe"] {
        Model::bert().config("model_type", kind).unsupported(&["config.json", kind, "qwen3", "ONNX"]);
    }
    let unknown = Model::bert().config("model_type", DROP).config("architectures", DROP);
    unknown.unsupported(&["no model_type"]);
    Model::qwen2().config("hidden_act", "gelu").unsupported(&["gelu"]);
    Model::qwen2().config("quantization_config", json!({"quant_method": "gptq"})).unsupported(&["gptq"]);
    // config_kwargs of the Transformer module lie over config.json.
    let over = Model::bert().set("sentence_bert_config.json", "config_args", json!({"model_type": "t5"}));
    over.unsupported(&["t5"]);
}

#[test]
fn attention() {
    let found = |model: &Model, causal| {
        let overrides = ModelOverrides { causal, ..ModelOverrides::default() };
        model.describe_with(&overrides).map(|spec| spec.attention)
    };
    use Attention::{Bidirectional, Causal};
    assert_eq!(found(&Model::qwen2(), None).unwrap(), Causal);
    assert_eq!(found(&Model::qwen2(), Some(false)).unwrap(), Bidirectional);
    assert_eq!(found(&Model::qwen2().config("is_causal", false), None).unwrap(), Bidirectional);
    assert_eq!(found(&Model::qwen2().config("is_causal", true), None).unwrap(), Causal);
    // transformers takes null for false.
    assert_eq!(found(&Model::qwen2().config("is_causal", Value::Null), None).unwrap(), Bidirectional);
    assert_eq!(found(&Model::qwen2().config("is_causal", false), Some(true)).unwrap(), Causal);
    assert_eq!(found(&Model::bert(), None).unwrap(), Bidirectional);
    assert_eq!(found(&Model::bert(), Some(false)).unwrap(), Bidirectional);
    assert_error(&found(&Model::bert(), Some(true)).unwrap_err(), Code::InvalidOption, &["causal"]);
    Model::qwen2().config("is_causal", "no").bad(&["is_causal"]);
}

#[test]
fn the_catalogue_overrides_the_folder() {
    let known = |id: &str, model: &Model, overrides: &ModelOverrides| {
        let located = Located { id: id.into(), revision: Some("r".into()), root: model.root().to_owned() };
        describe(&located, overrides).unwrap()
    };
    let none = ModelOverrides::default();
    let model = Model::qwen2().config("is_causal", false).set("tokenizer_config.json", "add_eos_token", false);
    let spec = known("Qodo/Qodo-Embed-1-1.5B", &model, &none);
    assert_eq!(spec.attention, Attention::Causal);
    assert_eq!(spec.end_token, EndToken::Append(0));
    let license = spec.license.unwrap();
    assert_eq!(license.name, "QodoAI-Open-RAIL-M");
    assert!(license.note.is_some() && license.link.is_some());
    let overrides = ModelOverrides { causal: Some(false), ..none.clone() };
    assert_eq!(known("Qodo/Qodo-Embed-1-1.5B", &model, &overrides).attention, Attention::Bidirectional);
    assert_eq!(model.spec().attention, Attention::Bidirectional);
    assert_eq!(model.spec().license, None);
}
