//! Whatever stands in a file, a folder gives a description or a coded error.

use proptest::prelude::*;

use super::*;

const FILES: [&str; 8] = [
    "config.json",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "model.safetensors.index.json",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0u64..100).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "bert",
            "qwen2",
            "qwen3",
            "mean",
            "cls",
            "../x",
            "sentence_transformers.models.Pooling"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,12}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A key that the files of a model use.
fn any_key() -> impl Strategy<Value = String> {
    let keys = [
        "model_type",
        "architectures",
        "hidden_size",
        "num_attention_heads",
        "num_key_value_heads",
        "num_hidden_layers",
        "vocab_size",
        "max_position_embeddings",
        "rope_scaling",
        "rope_parameters",
        "layer_types",
        "sliding_window",
        "use_sliding_window",
        "is_causal",
        "auto_map",
        "matryoshka_dimensions",
        "lora_adaptations",
        "task_instructions",
        "pooling_mode",
        "embedding_dimension",
        "include_prompt",
        "max_seq_length",
        "do_lower_case",
        "modality_config",
        "config_kwargs",
        "prompts",
        "default_prompt_name",
        "truncate_dim",
        "add_eos_token",
        "eos_token",
        "model_max_length",
        "tokenizer_class",
        "truncation_side",
        "post_processor",
        "added_tokens",
        "weight_map",
        "quantization_config",
    ];
    prop::sample::select(keys.to_vec()).prop_map(str::to_owned)
}

fn holds(model: &Model) -> Result<(), TestCaseError> {
    match model.describe() {
        Ok(spec) => {
            prop_assert!(spec.max_tokens > 0 && spec.dimensions > 0 && !spec.files.weights.is_empty());
            prop_assert_eq!(spec.tasks.len(), 5);
            // What was described can be tried to load: a tokenizer, or an error.
            if let Err(error) = crate::tokenize::Tokenizer::load(&spec) {
                let coded = [Code::BadCheckpoint, Code::ModelUnsupported, Code::InvalidOption];
                prop_assert!(coded.contains(&error.code), "{}", error);
            }
        }
        Err(error) => {
            let coded = [Code::BadCheckpoint, Code::ModelUnsupported, Code::ModelNotFound];
            prop_assert!(coded.contains(&error.code), "{}", error);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(file in 0usize..8, bytes in prop::collection::vec(any::<u8>(), 0..64), qwen in any::<bool>()) {
        let model = if qwen { Model::qwen2() } else { Model::bert() };
        holds(&model.without("model.safetensors").file("model.onnx", [0x3a, 0]).file(FILES[file], bytes))?;
    }

    #[test]
    fn any_value(file in 0usize..8, value in any_json(), qwen in any::<bool>()) {
        let model = if qwen { Model::qwen2() } else { Model::bert() };
        holds(&model.json(FILES[file], value))?;
    }

    #[test]
    fn any_value_of_a_key(file in 0usize..7, key in any_key(), value in any_json(), qwen in any::<bool>()) {
        prop_assume!(FILES[file] != "modules.json");
        let model = if qwen { Model::qwen2() } else { Model::bert() };
        holds(&model.set(FILES[file], &key, value))?;
    }

    #[test]
    fn any_index(value in any_json()) {
        holds(&Model::bert().without("model.safetensors").json(FILES[7], json!({"weight_map": value})))?;
    }

    #[test]
    fn any_part_of_a_tokenizer(
        part in prop::sample::select(vec!["normalizer", "pre_tokenizer", "post_processor", "model", "added_tokens", "truncation"]),
        value in any_json(),
    ) {
        holds(&Model::bert().set("tokenizer.json", part, value))?;
    }
}
