//! Content digests and space ids.

use super::*;
use crate::cancel::Cancel;

fn content(model: &Model) -> String {
    content_digest(&model.spec(), None, &Cancel::never()).unwrap()
}

#[test]
fn what_changes_vectors_changes_the_content() {
    let base = content(&Model::bert());
    assert_eq!(base.len(), 64);
    assert_eq!(base, content(&Model::bert()), "another place, the same content");
    let changes = [
        Model::bert().file("model.safetensors", "other"),
        Model::bert().json("tokenizer.json", tokenizer(&["[PAD]", "[CLS]", "[SEP]", "x"], Some("[SEP]"))),
        Model::bert().config("layer_norm_eps", 1e-5),
        Model::bert().config("hidden_act", "relu"),
        Model::bert().config("num_attention_heads", 8),
        Model::bert().json("modules.json", modules(&["Transformer", "Pooling"])),
        Model::bert().json("1_Pooling/config.json", json!({"pooling_mode": "cls"})),
        Model::bert().set("1_Pooling/config.json", "include_prompt", false),
        Model::bert().set("config_sentence_transformers.json", "prompts", json!({"query": "q"})),
        Model::bert().set("sentence_bert_config.json", "do_lower_case", true),
        Model::bert().set("tokenizer_config.json", "do_lower_case", false),
        Model::bert().set("tokenizer_config.json", "truncation_side", "left"),
        Model::qwen2(),
        Model::qwen2().set("tokenizer_config.json", "add_eos_token", false),
        Model::qwen2().config("rope_theta", 1e5),
        Model::qwen2().config("is_causal", false),
    ];
    let mut all: Vec<String> = changes.iter().map(content).chain([base.clone()]).collect();
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);

    for same in [
        Model::bert().set("sentence_bert_config.json", "max_seq_length", 64),
        Model::bert().config("matryoshka_dims", json!([8])),
        Model::bert().config("transformers_version", "9"),
        Model::bert().file("README.md", "---\nlicense: mit\n---"),
        Model::bert().set("config_sentence_transformers.json", "prompts", json!({"query": ""})),
    ] {
        assert_eq!(content(&same), base);
    }
}

#[test]
fn weights_of_dense_modules_and_graphs_count() {
    let dense = |weights: &str| {
        let model = Model::bert()
            .json("modules.json", modules(&["Transformer", "Pooling", "Dense"]))
            .json("2_Dense/config.json", json!({"in_features": 32, "out_features": 8}))
            .file("2_Dense/model.safetensors", weights);
        content(&model)
    };
    assert_eq!(dense("a"), dense("a"));
    assert_ne!(dense("a"), dense("b"));

    // A tensor whose weights lie in w.bin; field numbers as in onnx_files.rs.
    let field = |number: u8, payload: &[u8]| [&[number << 3 | 2, payload.len() as u8][..], payload].concat();
    let entry = [field(1, b"location"), field(2, b"w.bin")].concat();
    let graph = field(7, &field(5, &field(13, &entry)));
    let onnx = |weights: &str| {
        let model = Model::bert().without("model.safetensors").file("model.onnx", &graph).file("w.bin", weights);
        content(&model)
    };
    assert_eq!(onnx("a"), onnx("a"));
    assert_ne!(onnx("a"), onnx("b"));
}

/// The same files as a folder and as a snapshot of the hub cache, whose links name their digests.
#[cfg(unix)]
#[test]
fn a_snapshot_has_the_content_of_a_folder() {
    use sha2::Digest;

    let model = Model::bert();
    let cache = tempfile::tempdir().unwrap();
    let blobs = cache.path().join("models--o--n/blobs");
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let snapshot = cache.path().join("models--o--n/snapshots").join(commit);
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(snapshot.join("1_Pooling")).unwrap();
    for (index, name) in [
        "config.json",
        "modules.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
    ]
    .into_iter()
    .enumerate()
    {
        let bytes = fs::read(model.root().join(name)).unwrap();
        let blob = match name {
            // What the hub stores as large files is named by its digest, the rest by git's.
            "model.safetensors" | "tokenizer.json" => {
                sha2::Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
            }
            _ => format!("{index:040x}"),
        };
        fs::write(blobs.join(&blob), bytes).unwrap();
        let up = if name.contains('/') { "../../../blobs" } else { "../../blobs" };
        std::os::unix::fs::symlink(format!("{up}/{blob}"), snapshot.join(name)).unwrap();
    }
    let config = crate::hub::HubConfig { cache_dir: Some(cache.path().to_owned()), ..Default::default() };
    let located = crate::hub::locate(&format!("o/n@{commit}"), &config).unwrap();
    let spec = describe(&located, &ModelOverrides::default()).unwrap();
    assert_eq!(spec.revision.as_deref(), Some(commit));
    assert_eq!(content_digest(&spec, None, &Cancel::never()).unwrap(), content(&model));
}

#[test]
fn space_ids() {
    let base = SpaceParts {
        content: "c",
        adapter: None,
        family: "retrieval",
        prompt: None,
        pooling: Pooling::Mean,
        attention: Attention::Bidirectional,
        dimensions: 32,
        normalize: true,
        int8_weights: false,
    };
    let id = space_id(&base);
    assert_eq!(id.len(), 36);
    assert!(id.starts_with("ee1-"));
    // Stable: a change of this value breaks every stored index.
    assert_eq!(id, "ee1-28794c4bd5f751bcba79adf7b8d62c1a");
    let variants = [
        SpaceParts { content: "d", ..base.clone() },
        SpaceParts { adapter: Some("a"), ..base.clone() },
        SpaceParts { adapter: Some(""), ..base.clone() },
        SpaceParts { family: "similarity", ..base.clone() },
        SpaceParts { prompt: Some("p"), ..base.clone() },
        SpaceParts { prompt: Some(""), ..base.clone() },
        SpaceParts { pooling: Pooling::Cls, ..base.clone() },
        SpaceParts { attention: Attention::Causal, ..base.clone() },
        SpaceParts { dimensions: 16, ..base.clone() },
        SpaceParts { normalize: false, ..base.clone() },
        SpaceParts { int8_weights: true, ..base.clone() },
    ];
    let mut ids: Vec<String> = variants.iter().map(space_id).chain([id]).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), variants.len() + 1);
}
