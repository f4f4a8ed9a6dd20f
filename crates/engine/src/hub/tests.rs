#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::near::{edit_distance, suggest};
use super::paths::{cache_dir_in, home_dir_in};
use super::*;

const COMMIT: &str = "84bbef079b32e8823ec226d4e9e92902706b0eb6";
const OTHER: &str = "0123456789abcdef0123456789abcdef01234567";

fn hub(id: &str, revision: Option<&str>) -> Reference {
    Reference::Hub { id: id.into(), revision: revision.map(Into::into) }
}

fn folder(path: &str) -> Reference {
    Reference::Folder(path.into())
}

#[test]
fn references() {
    let cases = [
        ("Qwen/Qwen3-Embedding-0.6B", hub("Qwen/Qwen3-Embedding-0.6B", None)),
        ("Qwen/Qwen3@main", hub("Qwen/Qwen3", Some("main"))),
        ("a/b@refs/pr/1", hub("a/b", Some("refs/pr/1"))),
        ("a/b@v1.0-rc.1", hub("a/b", Some("v1.0-rc.1"))),
        ("gpt2", hub("gpt2", None)),
        ("./m", folder("./m")),
        ("../m", folder("../m")),
        (".", folder(".")),
        ("..", folder("..")),
        ("/m/x@y", folder("/m/x@y")),
        (r"C:\models\m", folder(r"C:\models\m")),
        ("c:/models/m", folder("c:/models/m")),
        (r".\m", folder(r".\m")),
        (r"\\host\share\m", folder(r"\\host\share\m")),
        ("file:///models/my%20model", folder("/models/my model")),
        ("FILE:/models/m", folder("/models/m")),
        ("file://localhost/m", folder("/m")),
        ("file:///C:/models/m", folder("C:/models/m")),
    ];
    for (model, expected) in cases {
        assert_eq!(Reference::parse(model).unwrap(), expected, "{model}");
    }
}

#[test]
fn no_references() {
    let long = format!("a/{}", "x".repeat(97));
    let cases = [
        "",
        "  ",
        "a\0b",
        "~/m",
        "a/b/c",
        "a//b",
        "/../\0",
        "...",
        "a b",
        "a/b@",
        "a/b@../x",
        "a/b@x y",
        "-a/b",
        "a/b.",
        "a--b/c",
        "file:m",
        "file://host/m",
        "file:///%zz",
        "file:///%",
        "file:///%ff",
        "file:///%00",
        &long,
    ];
    for model in cases {
        let error = Reference::parse(model).expect_err(model);
        assert_eq!(error.code, Code::InvalidInput, "{model}: {error}");
    }
}

fn cache_with(id: &str, snapshots: &[&str], refs: &[(&str, &str)]) -> (tempfile::TempDir, HubConfig) {
    let cache = tempfile::tempdir().unwrap();
    let repository = cache.path().join(format!("models--{}", id.replace('/', "--")));
    for commit in snapshots {
        fs::create_dir_all(repository.join("snapshots").join(commit)).unwrap();
    }
    for (name, commit) in refs {
        let file = repository.join("refs").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, commit).unwrap();
    }
    let config = HubConfig { cache_dir: Some(cache.path().to_owned()), ..HubConfig::default() };
    (cache, config)
}

#[test]
fn finds_snapshots_by_branch_tag_and_commit() {
    let (cache, config) =
        cache_with("Qodo/Q", &[COMMIT, OTHER], &[("main", COMMIT), ("refs/pr/1", OTHER), ("v1", "rubbish")]);
    for (model, commit) in
        [("Qodo/Q", COMMIT), ("Qodo/Q@main", COMMIT), ("Qodo/Q@refs/pr/1", OTHER), (&format!("Qodo/Q@{OTHER}"), OTHER)]
    {
        let located = locate(model, &config).unwrap();
        assert_eq!(located.id, "Qodo/Q");
        assert_eq!(located.revision.as_deref(), Some(commit));
        assert_eq!(located.root, cache.path().join("models--Qodo--Q/snapshots").join(commit));
    }
    for model in ["Qodo/Q@v1", "Qodo/Q@v2", "Qodo/Q@ffffffffffffffffffffffffffffffffffffffff"] {
        let error = locate(model, &config).unwrap_err();
        assert_eq!(error.code, Code::ModelNotFound);
        assert!(error.message.contains(model) && error.message.contains(COMMIT), "{error}");
        assert!(error.message.contains(&format!("models download {model}")), "{error}");
    }
}

#[test]
fn what_is_missing_says_how_to_get_it() {
    let (_cache, config) = cache_with("sentence-transformers/all-MiniLM-L6-v2", &[COMMIT], &[("main", COMMIT)]);
    let error = locate_known("qwen/qwen3-embeding-0.6b", &config, &["Qwen/Qwen3-Embedding-0.6B", "code"]).unwrap_err();
    assert_eq!(error.code, Code::ModelNotFound);
    assert!(error.message.contains("Did you mean Qwen/Qwen3-Embedding-0.6B?"), "{error}");
    assert!(error.message.contains("models download qwen/qwen3-embeding-0.6b"), "{error}");
    assert_eq!(error.details["model"], "qwen/qwen3-embeding-0.6b");

    // What is in the cache is known, and owners may be left out.
    let error = locate("all-MiniLM-L6-v2", &config).unwrap_err();
    assert_eq!(error.details["suggestions"][0], "sentence-transformers/all-MiniLM-L6-v2");

    let nowhere = HubConfig { cache_dir: Some("/no/such/cache".into()), ..HubConfig::default() };
    let error = locate("a/b", &nowhere).unwrap_err();
    assert!(error.message.contains("/no/such/cache (it does not exist)"), "{error}");
}

#[test]
fn folders() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().display().to_string();
    let located = locate(&path, &HubConfig::default()).unwrap();
    assert_eq!(located, Located { id: path.clone(), revision: None, root: temp.path().to_owned() });
    let located = locate(&format!("file://{path}"), &HubConfig::default()).unwrap();
    assert_eq!(located.root, temp.path());
    assert!(locate(".", &HubConfig::default()).unwrap().root.is_absolute());

    fs::write(temp.path().join("file"), "").unwrap();
    for missing in ["nothing", "file"] {
        let error = locate(&format!("{path}/{missing}"), &HubConfig::default()).unwrap_err();
        assert_eq!(error.code, Code::ModelNotFound);
        assert!(error.message.contains(missing), "{error}");
    }
}

#[test]
fn cached_models_are_listed() {
    let (cache, _) = cache_with("Qodo/Q", &[COMMIT, OTHER], &[("main", COMMIT), ("v1", COMMIT)]);
    let blobs = cache.path().join("models--Qodo--Q/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join("x"), [0; 100]).unwrap();
    fs::create_dir_all(cache.path().join("datasets--a--b")).unwrap();
    let models = cached_models(cache.path()).unwrap();
    assert_eq!(models.len(), 1);
    assert_eq!(models[0].id, "Qodo/Q");
    assert_eq!(models[0].bytes, 180); // the blob and two refs of 40 bytes
    let revisions: Vec<_> = models[0].revisions.iter().map(|r| (r.commit.as_str(), r.refs.clone())).collect();
    assert_eq!(revisions, [(OTHER, vec![]), (COMMIT, vec!["main".to_owned(), "v1".to_owned()])]);
    assert_eq!(cached_models(Path::new("/no/such/cache")).unwrap(), []);
    assert_eq!(cached_models(&blobs.join("x")).unwrap_err().code, Code::InvalidOption);
}

#[test]
fn cache_and_home_folders() {
    let env = |vars: &'static [(&'static str, &'static str)]| {
        move |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    };
    let none = HubConfig::default();
    let cache = |vars: &'static [(&'static str, &'static str)]| cache_dir_in(&none, &env(vars)).ok();
    let home = |vars: &'static [(&'static str, &'static str)]| home_dir_in(&none, &env(vars));
    let path = |text: &str| Some(PathBuf::from(text));

    assert_eq!(cache(&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")]), path("/c"));
    assert_eq!(cache(&[("HUGGINGFACE_HUB_CACHE", "/c"), ("HF_HOME", "/h")]), path("/c"));
    assert_eq!(cache(&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), path("/h/hub"));
    assert_eq!(cache(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/u")]), path("/x/huggingface/hub"));
    assert_eq!(cache(&[]), None);
    let own = HubConfig { cache_dir: path("/mine"), home: path("/own"), ..HubConfig::default() };
    assert_eq!(cache_dir_in(&own, &env(&[("HF_HUB_CACHE", "/c")])).ok(), path("/mine"));
    assert_eq!(home_dir_in(&own, &env(&[("EMBEDDING_ENGINE_HOME", "/e")])), path("/own"));
    assert_eq!(home(&[("EMBEDDING_ENGINE_HOME", "/e"), ("HOME", "/u")]), path("/e"));
    assert_eq!(home(&[]), None);
    if cfg!(target_os = "linux") {
        assert_eq!(cache(&[("HOME", "/u")]), path("/u/.cache/huggingface/hub"));
        assert_eq!(cache(&[("HF_HOME", "~/h"), ("HOME", "/u")]), path("/u/h/hub"));
        assert_eq!(home(&[("HOME", "/u")]), path("/u/.local/share/embedding-engine"));
        assert_eq!(home(&[("XDG_DATA_HOME", "/d")]), path("/d/embedding-engine"));
        assert_eq!(home(&[("XDG_DATA_HOME", "d"), ("HOME", "/u")]), path("/u/.local/share/embedding-engine"));
    }
}

#[test]
fn free_space_of_what_does_not_exist_yet() {
    if cfg!(unix) {
        assert!(free_space(&std::env::temp_dir().join("no/such/folder")).unwrap() > 0);
    }
}

#[test]
fn near_names() {
    let known = ["code", "text", "qodo_embed", "jina_v3", "Qwen/Qwen3-Embedding-0.6B", "Qodo/Qodo-Embed-1-1.5B"];
    let cases: &[(&str, &[&str])] = &[
        ("cod", &["code"]),
        ("Code", &["code"]),
        ("jina-v3", &["jina_v3"]),
        ("qodo-embed", &["qodo_embed", "Qodo/Qodo-Embed-1-1.5B"]),
        ("Qwen3-Embedding-0.6B", &["Qwen/Qwen3-Embedding-0.6B"]),
        ("Qwen/Qwen3-Embeding-0.6B@main", &["Qwen/Qwen3-Embedding-0.6B"]),
        ("something/else", &[]),
        ("", &[]),
        ("---", &[]),
    ];
    for (name, expected) in cases {
        assert_eq!(suggest(name, known), *expected, "{name}");
    }
    assert_eq!(edit_distance("kitten", "sitting"), 3);
    assert_eq!(edit_distance("", "abc"), 3);
}

proptest! {
    #[test]
    fn any_string_is_a_reference_or_an_error(model in "\\PC{0,40}|[./@:a-z%-]{0,20}") {
        let (_cache, config) = cache_with("a/b", &[], &[]);
        if let Err(error) = locate(&model, &config) {
            prop_assert!(matches!(error.code, Code::InvalidInput | Code::ModelNotFound));
        }
        suggest(&model, ["code", "text", "a/b"]);
    }
}
