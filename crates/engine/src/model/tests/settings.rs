//! Limits, prompts, tasks, end tokens, widths, backends.

use std::collections::BTreeMap;

use super::*;

const ST: &str = "config_sentence_transformers.json";
const SBERT: &str = "sentence_bert_config.json";
const TOKENIZER: &str = "tokenizer_config.json";

#[test]
fn longest_texts() {
    let limit = |model: &Model| model.spec().max_tokens;
    assert_eq!(limit(&Model::bert()), 256);
    let open = || Model::bert().set(SBERT, "max_seq_length", Value::Null);
    assert_eq!(limit(&open()), 512);
    assert_eq!(limit(&open().set(TOKENIZER, "model_max_length", 128)), 128);
    assert_eq!(limit(&open().set(TOKENIZER, "model_max_length", 1e30)), 512);
    assert_eq!(limit(&open().set(TOKENIZER, "model_max_length", DROP)), 512);
    assert_eq!(limit(&Model::bert().without(SBERT).without(TOKENIZER)), 512);
    assert_eq!(limit(&Model::bert().set(SBERT, "processor_kwargs", json!({"model_max_length": 99}))), 99);
    assert_eq!(limit(&Model::bert().set(SBERT, "tokenizer_args", json!({"model_max_length": 98}))), 98);
    // Never above the position table, where sentence-transformers would crash.
    assert_eq!(limit(&Model::bert().set(SBERT, "max_seq_length", 4000)), 512);
    let roberta =
        open().config("model_type", "xlm-roberta").config("pad_token_id", 1).config("max_position_embeddings", 514);
    assert_eq!(limit(&roberta.set(TOKENIZER, "model_max_length", DROP)), 512);
    // Qwen has no table: what the folder says is taken.
    assert_eq!(limit(&Model::qwen2()), 1024);
    assert_eq!(limit(&Model::qwen2().set(SBERT, "max_seq_length", 8192)), 8192);
    assert_eq!(limit(&Model::qwen2().set(TOKENIZER, "model_max_length", DROP)), 2048);
    // The old names of the file.
    let old = Model::bert().without(SBERT).json("sentence_roberta_config.json", json!({"max_seq_length": 77}));
    assert_eq!(limit(&old), 77);

    Model::bert().set(SBERT, "max_seq_length", 0).bad(&[SBERT, "max_seq_length"]);
    Model::bert().set(SBERT, "max_seq_length", "x").bad(&["max_seq_length"]);
    open().set(TOKENIZER, "model_max_length", -1).bad(&[TOKENIZER, "model_max_length"]);
    open().set(TOKENIZER, "model_max_length", "x").bad(&["model_max_length"]);

    let with = |model: &Model, max_tokens| {
        let overrides = ModelOverrides { max_tokens: Some(max_tokens), ..ModelOverrides::default() };
        model.describe_with(&overrides).map(|spec| spec.max_tokens)
    };
    assert_eq!(with(&Model::bert(), 10).unwrap(), 10);
    assert_eq!(with(&Model::bert(), 512).unwrap(), 512);
    assert_eq!(with(&Model::qwen2(), 2048).unwrap(), 2048);
    for (model, value) in [(Model::bert(), 513), (Model::bert(), 0), (Model::qwen2(), 2049)] {
        let error = with(&model, value).unwrap_err();
        assert_error(&error, Code::InvalidOption, &["maxTokens", &value.to_string()]);
    }
}

#[test]
fn other_uses_of_the_transformer() {
    for (key, value) in [
        ("transformer_task", json!("fill-mask")),
        ("modality_config", json!({"message": {"method": "forward"}, "text": {"method": "forward"}})),
        ("modality_config", json!({"image": {"method": "forward"}})),
        ("modality_config", json!({"text": {"method": "get_text_features"}})),
        ("modality_config", json!({"text": {"method": "forward", "method_output_name": "pooler_output"}})),
        ("module_output_name", json!("sentence_embedding")),
        ("query_length", json!(32)),
        ("query_expansion", json!({})),
        ("processing_kwargs", json!({"text": {"max_length": 3}})),
    ] {
        Model::bert().set(SBERT, key, value).unsupported(&[SBERT, key]);
    }
    let new = json!({"transformer_task": "feature-extraction", "module_output_name": "token_embeddings",
                     "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}});
    assert_eq!(Model::bert().json(SBERT, new).spec().max_tokens, 512);
    assert!(Model::bert().set(SBERT, "do_lower_case", true).spec().lower_case);
    Model::bert().set(SBERT, "do_lower_case", 1).bad(&["do_lower_case"]);
}

fn prompts(model: &Model) -> BTreeMap<Task, String> {
    let tasks = model.spec().tasks;
    assert_eq!(tasks.len(), 5);
    tasks.into_iter().filter_map(|(task, spec)| spec.prompt.map(|prompt| (task, prompt))).collect()
}

#[test]
fn prompts_of_tasks() {
    use Task::{Classification, Clustering, Document, Query, Similarity};
    let with = |prompts: Value| Model::bert().set(ST, "prompts", prompts);
    let all = |pairs: &[(Task, &str)]| pairs.iter().map(|(task, prompt)| (*task, (*prompt).to_owned())).collect();
    let check = |found: Value, expected: &[(Task, &str)]| {
        let expected: BTreeMap<Task, String> = all(expected);
        assert_eq!(prompts(&with(found.clone())), expected, "{found}");
    };
    check(json!({}), &[]);
    check(json!({"query": "q", "document": ""}), &[(Query, "q")]);
    check(json!({"query": "query: ", "passage": "passage: "}), &[(Query, "query: "), (Document, "passage: ")]);
    check(json!({"query": "q", "document": "d", "passage": "p"}), &[(Query, "q"), (Document, "d")]);
    check(json!({"search_query": "q", "search_document": "d"}), &[(Query, "q"), (Document, "d")]);
    check(json!({"nl2code_query": "q", "nl2code_document": "d"}), &[(Query, "q"), (Document, "d")]);
    check(
        json!({"retrieval.query": "q", "retrieval.passage": "d", "separation": "c", "classification": "k",
               "text-matching": "s"}),
        &[(Query, "q"), (Document, "d"), (Clustering, "c"), (Classification, "k"), (Similarity, "s")],
    );
    check(
        json!({"STS": "s", "Clustering": "c", "Retrieval-query": "q"}),
        &[(Similarity, "s"), (Clustering, "c"), (Query, "q")],
    );
    check(json!({"query": null, "other": "x"}), &[]);

    // default_prompt_name is for tasks without a prompt of their own.
    let model = with(json!({"query": "q", "STS": "s", "document": ""})).set(ST, "default_prompt_name", "STS");
    let expected: BTreeMap<Task, String> =
        all(&[(Query, "q"), (Similarity, "s"), (Classification, "s"), (Clustering, "s")]);
    assert_eq!(prompts(&model), expected);
    assert_eq!(prompts(&Model::bert().set(ST, "default_prompt_name", "query")), BTreeMap::new());
    with(json!({"a": "b"})).set(ST, "default_prompt_name", "none").bad(&[ST, "default_prompt_name", "none"]);
    with(json!({"query": 3})).bad(&[ST, "query"]);
    with(json!("x")).bad(&["prompts"]);

    let overrides = ModelOverrides {
        prompts: Some([(Query, String::new()), (Document, "mine: ".into())].into()),
        ..ModelOverrides::default()
    };
    let spec = with(json!({"query": "q"})).describe_with(&overrides).unwrap();
    assert_eq!(spec.tasks[&Query].prompt, None);
    assert_eq!(spec.tasks[&Document].prompt.as_deref(), Some("mine: "));
}

/// A folder like that of Jina v3: code of its own, adapters by task, an ONNX export.
fn jina() -> Model {
    let graph = [0x3a, 0x00];
    Model::bert()
        .json("modules.json", modules(&["custom_st.Transformer", "Pooling", "Normalize"]))
        .config("model_type", "xlm-roberta")
        .config("auto_map", json!({"AutoModel": "jinaai/x--modeling_lora.XLMRobertaLoRA"}))
        .config(
            "lora_adaptations",
            json!(["retrieval.query", "retrieval.passage", "separation", "classification", "text-matching"]),
        )
        .config("task_instructions", json!({"retrieval.query": "Q: ", "retrieval.passage": "P: ", "separation": ""}))
        .config("matryoshka_dimensions", json!([8, 16, 32]))
        .config("position_embedding_type", "rotary")
        .file("onnx/model.onnx", graph)
}

#[test]
fn jina_tasks() {
    let spec = jina().spec();
    assert_eq!((spec.backend, &spec.architecture), (BackendKind::Onnx, &Architecture::Onnx));
    assert_eq!((spec.pooling, spec.attention, spec.dimensions), (Pooling::Mean, Attention::Bidirectional, 32));
    let ids: Vec<_> =
        spec.tasks.iter().map(|(task, spec)| (*task, spec.task_id.unwrap(), spec.prompt.as_deref())).collect();
    let expected = [
        (Task::Document, 1, Some("P: ")),
        (Task::Query, 0, Some("Q: ")),
        (Task::Similarity, 4, None),
        (Task::Classification, 3, None),
        (Task::Clustering, 2, None),
    ];
    assert_eq!(ids, expected);
    assert_eq!(spec.matryoshka, [8, 16, 32]);

    // The catalogue knows the same of the published one.
    let located =
        Located { id: "jinaai/jina-embeddings-v3".into(), revision: Some("r".into()), root: jina().root().to_owned() };
    assert!(describe(&located, &ModelOverrides::default()).is_err(), "that folder is gone");
    let model = jina();
    let located = Located { root: model.root().to_owned(), ..located };
    let spec = describe(&located, &ModelOverrides::default()).unwrap();
    assert_eq!(
        spec.tasks[&Task::Query].prompt.as_deref(),
        Some("Represent the query for retrieving evidence documents: ")
    );
    assert_eq!(spec.tasks[&Task::Clustering], TaskSpec { prompt: None, task_id: Some(2) });
    assert_eq!(spec.license.unwrap().name, "CC-BY-NC-4.0");

    jina().without("onnx/model.onnx").unsupported(&["custom_st.Transformer", "ONNX"]);
    jina().config("lora_adaptations", DROP).unsupported(&["custom_st.Transformer"]);
    jina().config("lora_adaptations", 5).bad(&["lora_adaptations"]);
}

#[test]
fn end_tokens() {
    let end = |model: &Model| model.spec().end_token;
    assert_eq!(end(&Model::qwen2()), EndToken::Append(0));
    assert_eq!(end(&Model::qwen2().set(TOKENIZER, "eos_token", "<|im_end|>")), EndToken::Append(1));
    assert_eq!(end(&Model::qwen2().set(TOKENIZER, "eos_token", json!({"content": "<|im_end|>"}))), EndToken::Append(1));
    // A token of the vocabulary that is no added token.
    assert_eq!(end(&Model::qwen2().set(TOKENIZER, "eos_token", "world")), EndToken::Append(4));
    assert_eq!(end(&Model::qwen2().set(TOKENIZER, "add_eos_token", false)), EndToken::Tokenizer);
    assert_eq!(end(&Model::qwen2().set(TOKENIZER, "add_eos_token", DROP)), EndToken::Tokenizer);
    let code = json!({"AutoTokenizer": ["a--tokenization_qwen.Qwen2Tokenizer", null]});
    let own_code = || Model::qwen2().set(TOKENIZER, "auto_map", code.clone());
    assert_eq!(end(&own_code().set(TOKENIZER, "add_eos_token", DROP)), EndToken::Append(0));
    assert_eq!(end(&own_code().set(TOKENIZER, "add_eos_token", false)), EndToken::Tokenizer);
    // The tokenizer's own end token is enough.
    let template = tokenizer(&["<|endoftext|>", "<|im_end|>"], Some("<|endoftext|>"));
    assert_eq!(end(&Model::qwen2().json("tokenizer.json", template.clone())), EndToken::Tokenizer);
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false});
    let mut nested = template.clone();
    nested["post_processor"] = json!({"type": "Sequence", "processors": [byte_level, template["post_processor"]]});
    assert_eq!(end(&Model::qwen2().json("tokenizer.json", nested)), EndToken::Tokenizer);
    let mut only_bytes = template;
    only_bytes["post_processor"] = byte_level;
    assert_eq!(end(&Model::qwen2().json("tokenizer.json", only_bytes)), EndToken::Append(0));
    // For last-token pooling of Qwen only, as sentence-transformers drops the setting elsewhere.
    let mean = Model::qwen2().json("1_Pooling/config.json", json!({"pooling_mode": "mean"}));
    assert_eq!(end(&mean), EndToken::Tokenizer);
    assert_eq!(end(&Model::bert().set(TOKENIZER, "add_eos_token", true)), EndToken::Tokenizer);

    Model::qwen2().set(TOKENIZER, "eos_token", DROP).bad(&[TOKENIZER, "eos_token"]);
    Model::qwen2().set(TOKENIZER, "eos_token", "<none>").bad(&["tokenizer.json", "<none>"]);
    Model::qwen2().set(TOKENIZER, "add_eos_token", "x").bad(&["add_eos_token"]);
    Model::qwen2().file("tokenizer.json", "{}x").bad(&["tokenizer.json"]);
    Model::qwen2().set(TOKENIZER, "truncation_side", "middle").bad(&["truncation_side"]);
}

#[test]
fn widths() {
    let dims = |model: &Model| (model.spec().dimensions, model.spec().matryoshka);
    assert_eq!(dims(&Model::bert()), (32, vec![]));
    assert_eq!(dims(&Model::bert().config("matryoshka_dimensions", json!([16, 8, 32, 8]))), (32, vec![8, 16, 32]));
    assert_eq!(dims(&Model::bert().config("matryoshka_dims", json!([8, 16]))), (32, vec![8, 16]));
    // sentence-transformers cuts to truncate_dim by itself.
    assert_eq!(dims(&Model::bert().set(ST, "truncate_dim", 12)), (12, vec![12, 32]));
    assert_eq!(dims(&Model::bert().set(ST, "truncate_dim", 32)), (32, vec![]));
    assert_eq!(dims(&Model::bert().set(ST, "truncate_dim", Value::Null)), (32, vec![]));
    for value in [json!([64]), json!([0]), json!([1.5]), json!("8"), json!(8)] {
        Model::bert().config("matryoshka_dimensions", value).bad(&["matryoshka_dimensions"]);
    }
    Model::bert().set(ST, "truncate_dim", 0).bad(&["truncate_dim"]);

    let with = |dims: &[usize]| {
        let overrides = ModelOverrides { dimensions: Some(dims.to_vec()), ..ModelOverrides::default() };
        Model::bert().config("matryoshka_dims", json!([8])).describe_with(&overrides).map(|spec| spec.matryoshka)
    };
    assert_eq!(with(&[16, 4]).unwrap(), [4, 16]);
    assert_error(&with(&[33]).unwrap_err(), Code::InvalidOption, &["33", "32"]);
    assert_error(&with(&[0]).unwrap_err(), Code::InvalidOption, &["dimensions"]);
}

#[test]
fn options_are_read_from_json() {
    let text = r#"{"causal": false, "pooling": "lasttoken", "maxTokens": 2048, "dimensions": [8],
                   "prompts": {"query": "q"}, "backend": "onnx"}"#;
    let overrides: ModelOverrides = serde_json::from_str(text).unwrap();
    assert_eq!(overrides.pooling, Some(Pooling::LastToken));
    assert_eq!(overrides.backend, Some(BackendKind::Onnx));
    assert!(serde_json::from_str::<ModelOverrides>(r#"{"maxtokens": 1}"#).is_err());
}

#[test]
fn pooling_of_the_caller() {
    let with = |model: &Model, pooling| {
        let overrides = ModelOverrides { pooling: Some(pooling), ..ModelOverrides::default() };
        model.describe_with(&overrides).map(|spec| spec.pooling)
    };
    assert_eq!(with(&Model::bert(), Pooling::Cls).unwrap(), Pooling::Cls);
    assert_error(&with(&Model::bert(), Pooling::None).unwrap_err(), Code::InvalidOption, &["pooling"]);
    assert_eq!(with(&jina(), Pooling::None).unwrap(), Pooling::None);
}
