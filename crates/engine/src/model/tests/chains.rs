//! modules.json, Pooling, Dense, Normalize, and folders without any.

use super::*;

fn dense(model: Model, path: &str, config: Value) -> Model {
    model.json(&format!("{path}/config.json"), config).file(&format!("{path}/model.safetensors"), "weights")
}

#[test]
fn spellings_of_module_types() {
    for (pooling, normalize) in [
        ("sentence_transformers.models.Pooling", "sentence_transformers.models.Normalize"),
        (
            "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
            "sentence_transformers.base.modules.normalize.Normalize",
        ),
        (
            "sentence_transformers.sentence_transformer.modules.Pooling",
            "sentence_transformers.sentence_transformer.modules.normalize.Normalize",
        ),
    ] {
        let transformer = "sentence_transformers.base.modules.transformer.Transformer";
        let mut list = modules(&[transformer, pooling, normalize]);
        list[1]["path"] = "1_Pooling".into();
        list[2]["path"] = "2_Normalize".into();
        let spec = Model::bert().json("modules.json", list).spec();
        assert_eq!((spec.pooling, spec.head), (Pooling::Mean, vec![HeadModule::Normalize]));
    }
}

#[test]
fn pooling_modes() {
    let cases = [
        (json!({"pooling_mode_cls_token": true}), Pooling::Cls),
        (json!({"pooling_mode_max_tokens": true}), Pooling::Max),
        (json!({"pooling_mode_mean_tokens": true}), Pooling::Mean),
        (json!({"pooling_mode_mean_sqrt_len_tokens": true}), Pooling::MeanSqrtLen),
        (json!({"pooling_mode_weightedmean_tokens": true}), Pooling::WeightedMean),
        (json!({"pooling_mode_lasttoken": true}), Pooling::LastToken),
        (json!({"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": false}), Pooling::Mean),
        (json!({}), Pooling::Mean),
        (json!({"pooling_mode": "cls"}), Pooling::Cls),
        (json!({"pooling_mode": ["weightedmean"]}), Pooling::WeightedMean),
        // The new spelling wins over the old one.
        (json!({"pooling_mode": "max", "pooling_mode_cls_token": true}), Pooling::Max),
    ];
    for (config, expected) in cases {
        let spec = Model::bert().json("1_Pooling/config.json", config.clone()).spec();
        assert_eq!(spec.pooling, expected, "{config}");
        assert!(spec.include_prompt);
    }
    let spec = Model::bert().set("1_Pooling/config.json", "include_prompt", false).spec();
    assert!(!spec.include_prompt);

    let with = |config| Model::bert().json("1_Pooling/config.json", config);
    with(json!({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true})).unsupported(&["cls, mean", "one"]);
    with(json!({"pooling_mode": ["mean", "max"]})).unsupported(&["mean, max"]);
    with(json!({"pooling_mode": []})).unsupported(&["0 pooling modes"]);
    with(json!({"pooling_mode": "median"})).unsupported(&["median", "weightedmean"]);
    with(json!({"pooling_mode": 1})).bad(&["1_Pooling", "pooling_mode"]);
    with(json!({"pooling_mode_cls_token": "yes"})).bad(&["pooling_mode_cls_token", "\"yes\""]);
    with(json!({"include_prompt": 1})).bad(&["include_prompt"]);
    Model::bert().without("1_Pooling/config.json").bad(&["1_Pooling"]);
}

#[test]
fn dense_modules() {
    let config = json!({"in_features": 32, "out_features": 8, "bias": true,
                        "activation_function": "torch.nn.modules.activation.Tanh"});
    let chain = || Model::bert().json("modules.json", modules(&["Transformer", "Pooling", "Dense", "Normalize"]));
    let model = dense(chain(), "2_Dense", config.clone());
    let spec = model.spec();
    assert_eq!(spec.dimensions, 8);
    let file = model.root().join("2_Dense/model.safetensors");
    let tanh = HeadModule::Dense { file, in_features: 32, out_features: 8, bias: true, activation: Activation::Tanh };
    assert_eq!(spec.head, [tanh, HeadModule::Normalize]);

    let with = |key: &str, value: Value| {
        let mut config = config.clone();
        config[key] = value;
        dense(chain(), "2_Dense", config)
    };
    for (name, expected) in [
        ("torch.nn.modules.linear.Identity", Activation::Identity),
        ("torch.nn.modules.activation.GELU", Activation::Gelu),
        ("torch.nn.ReLU", Activation::Relu),
        ("torch.nn.modules.activation.SiLU", Activation::Silu),
        ("torch.nn.modules.activation.Sigmoid", Activation::Sigmoid),
    ] {
        let spec = with("activation_function", name.into()).spec();
        assert!(matches!(spec.head[0], HeadModule::Dense { activation, .. } if activation == expected), "{name}");
    }
    let spec = dense(chain(), "2_Dense", json!({"in_features": 32, "out_features": 4})).spec();
    assert!(matches!(spec.head[0], HeadModule::Dense { bias: true, activation: Activation::Tanh, .. }));

    with("activation_function", "my.module.Act".into()).unsupported(&["my.module.Act", "Tanh"]);
    with("activation_function", "torch.nn.modules.activation.Mish".into()).unsupported(&["Mish"]);
    with("use_residual", true.into()).unsupported(&["use_residual"]);
    with("module_input_name", "token_embeddings".into()).unsupported(&["token_embeddings"]);
    with("in_features", 31.into()).bad(&["2_Dense", "in_features", "31", "32"]);
    with("in_features", 0.into()).bad(&["in_features"]);
    with("out_features", (1u64 << 40).into()).bad(&["out_features"]);
    with("out_features", "8".into()).bad(&["out_features"]);
    let file = "2_Dense/model.safetensors";
    dense(chain(), "2_Dense", config.clone()).without(file).bad(&[file, "missing"]);
    dense(chain(), "2_Dense", config.clone())
        .without(file)
        .file("2_Dense/pytorch_model.bin", "")
        .unsupported(&["pickle"]);
    chain().bad(&["2_Dense"]);
}

#[test]
fn chains_that_are_not_supported() {
    let with = |classes: &[&str]| Model::bert().json("modules.json", modules(classes));
    for class in ["CNN", "LSTM", "WeightedLayerPooling", "LayerNorm", "WordWeights", "Router"] {
        with(&["Transformer", class, "Pooling"]).unsupported(&["modules.json", class, "Supported are"]);
    }
    // A table is no transformer: nothing is pooled after it.
    with(&["StaticEmbedding", "Pooling"]).unsupported(&["Pooling"]);
    with(&["Transformer", "StaticEmbedding"]).unsupported(&["StaticEmbedding"]);
    with(&["Pooling"]).unsupported(&["Pooling"]);
    with(&["Transformer", "Normalize", "Pooling"]).unsupported(&["Normalize"]);
    with(&["Transformer", "Pooling", "Pooling"]).unsupported(&["Pooling"]);
    with(&["Transformer", "Transformer"]).unsupported(&["Transformer"]);
    with(&["Transformer"]).unsupported(&["no Pooling module"]);
    with(&["custom_st.Transformer", "Pooling"]).unsupported(&["custom_st.Transformer", "of the model's own"]);
    with(&["Transformer", "my_code.Pooling"]).unsupported(&["my_code.Pooling"]);
    let spec = with(&["Transformer", "Pooling", "Dropout"]).spec();
    assert_eq!(spec.head, []);

    let bad = |content: Value| Model::bert().json("modules.json", content).bad(&["modules.json"]);
    bad(json!({}));
    bad(json!([]));
    bad(json!([1]));
    bad(json!([{"type": 3}]));
    bad(json!([{"path": ""}]));
    for path in ["../x", "/etc", "a/../../b", r"..\x", "C:/x"] {
        let mut list = modules(&["Transformer", "Pooling"]);
        list[1]["path"] = path.into();
        Model::bert().json("modules.json", list).bad(&["modules.json", "path"]);
    }
    Model::bert().file("modules.json", "[").bad(&["modules.json", "JSON"]);
    for kind in ["SparseEncoder", "CrossEncoder"] {
        Model::bert().set("config_sentence_transformers.json", "model_type", kind).unsupported(&[kind]);
    }
    Model::bert().set("config_sentence_transformers.json", "model_type", "SentenceTransformer").spec();
    Model::bert().json("adapter_config.json", json!({})).unsupported(&["adapter"]);
}

#[test]
fn a_transformer_in_its_own_folder() {
    let mut list = modules(&["Transformer", "Pooling"]);
    list[0]["path"] = "0_Transformer".into();
    let model = Model::bert().json("modules.json", list);
    for name in
        ["config.json", "sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
    {
        fs::create_dir_all(model.root().join("0_Transformer")).unwrap();
        fs::rename(model.root().join(name), model.root().join("0_Transformer").join(name)).unwrap();
    }
    let spec = model.spec();
    assert_eq!(spec.files.transformer, model.root().join("0_Transformer"));
    assert_eq!(spec.files.weights, [model.root().join("0_Transformer/model.safetensors")]);
    assert_eq!(spec.max_tokens, 256);
}

#[test]
fn folders_without_modules() {
    let plain = |model: Model| model.without("modules.json");
    assert_eq!(plain(Model::bert()).spec().pooling, Pooling::Mean);
    assert_eq!(plain(Model::bert()).spec().head, []);
    // As sentence-transformers: a causal language model is pooled by its last token.
    assert_eq!(plain(Model::qwen2()).spec().pooling, Pooling::LastToken);
    assert_eq!(plain(Model::qwen2()).config("architectures", json!(["Qwen2Model"])).spec().pooling, Pooling::Mean);
    assert_eq!(plain(Model::qwen2()).config("is_causal", false).spec().pooling, Pooling::Mean);

    // It would put texts through a chat template; we only do what the caller says.
    let chat = || plain(Model::qwen2()).set("tokenizer_config.json", "chat_template", "{{ x }}");
    chat().unsupported(&["chat template", "pooling"]);
    plain(Model::qwen2()).file("chat_template.jinja", "").unsupported(&["chat template"]);
    let overrides = ModelOverrides { pooling: Some(Pooling::Mean), ..ModelOverrides::default() };
    assert_eq!(chat().describe_with(&overrides).unwrap().pooling, Pooling::Mean);
    // With modules.json the template is not used.
    Model::qwen2().set("tokenizer_config.json", "chat_template", "{{ x }}").spec();
}

#[test]
fn files_that_are_missing() {
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let model = Model::bert().without(name);
        model.fails(Code::ModelNotFound, &[name]);
        // A snapshot is not complete; it says how to complete it.
        let located = Located { id: "o/n".into(), revision: Some("abc".into()), root: model.root().to_owned() };
        let error = describe(&located, &ModelOverrides::default()).unwrap_err();
        assert_error(&error, Code::ModelNotFound, &[name, "hf download o/n --revision abc"]);
    }
    // What modules.json names is missing: broken in a folder, not complete in a snapshot.
    let model = Model::bert().without("1_Pooling/config.json");
    let located = Located { id: "o/n".into(), revision: Some("abc".into()), root: model.root().to_owned() };
    model.bad(&["1_Pooling", "modules.json"]);
    let error = describe(&located, &ModelOverrides::default()).unwrap_err();
    assert_error(&error, Code::ModelNotFound, &["1_Pooling/config.json", "hf download"]);
    for (name, parts) in [("vocab.txt", "vocab.txt"), ("sentencepiece.bpe.model", "sentencepiece")] {
        Model::bert().without("tokenizer.json").file(name, "").unsupported(&[
            parts,
            "tokenizer.json",
            "save_pretrained",
        ]);
    }
    Model::empty().fails(Code::ModelNotFound, &["config.json"]);
}
