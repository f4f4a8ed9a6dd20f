//! What tests of the core share: the test models, the named texts, the reference results. They lie in
//! `__test__/fixtures`, whose README says how they were made.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};

/// `__test__/fixtures`.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../__test__/fixtures")
}

/// The folder of a made model; makes it the first time, which takes node.
pub fn model_dir(name: &str) -> PathBuf {
    static MADE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    // A poisoned lock only means that another test could not make its model.
    let mut made = MADE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let folder = made_models(if made.contains(name) { None } else { Some(name) });
    made.insert(name.to_owned());
    folder.join(name)
}

/// The folder that holds the made models; makes `name` first.
fn made_models(name: Option<&str>) -> PathBuf {
    static FOLDER: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut folder = FOLDER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let (Some(folder), None) = (&*folder, name) {
        return folder.clone();
    }
    // node compares the script's name with its real place to tell whether it is the one that was started.
    let script = fixtures().join("make-models.mjs").canonicalize().expect("the fixtures are there");
    let output = Command::new("node").arg(&script).args(name).output().expect("node makes the test models: install it");
    assert!(
        output.status.success(),
        "{} {}: {}",
        script.display(),
        name.unwrap_or_default(),
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    let found = PathBuf::from(printed.lines().last().expect("the folder is printed").trim());
    folder.insert(found).clone()
}

/// The named texts, expanded.
pub fn texts() -> BTreeMap<String, String> {
    static TEXTS: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
        let folder = model_dir("bert-mean");
        let text = std::fs::read_to_string(folder.with_file_name("texts.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    });
    TEXTS.clone()
}

/// Reference results of a model: `references/<name>.json`.
pub fn references(name: &str) -> serde_json::Value {
    let file = fixtures().join("references").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).unwrap()
}

/// The vector of a reference: little-endian f32 in base64.
pub fn decode_f32(base64: &str) -> Vec<f32> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("{base64} is no base64"),
    };
    let mut bytes = Vec::with_capacity(base64.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for byte in base64.trim_end_matches('=').bytes() {
        bits = bits << 6 | u32::from(digit(byte));
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// The ONNX Runtime library: `EMBEDDING_ENGINE_ONNXRUNTIME`, else the one in the dev dependency.
pub fn onnxruntime() -> PathBuf {
    if let Some(path) = std::env::var_os("EMBEDDING_ENGINE_ONNXRUNTIME") {
        return path.into();
    }
    let (platform, architecture) = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("macos", "aarch64") => ("darwin", "arm64"),
        ("windows", "aarch64") => ("win32", "arm64"),
        ("windows", _) => ("win32", "x64"),
        (_, "aarch64") => ("linux", "arm64"),
        _ => ("linux", "x64"),
    };
    let name = match platform {
        "darwin" => "libonnxruntime.dylib",
        "win32" => "onnxruntime.dll",
        _ => "libonnxruntime.so.1",
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../node_modules/onnxruntime-node/bin/napi-v6");
    root.join(platform).join(architecture).join(name)
}
