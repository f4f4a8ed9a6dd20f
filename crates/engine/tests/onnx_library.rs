//! Loading the ONNX Runtime library. A process loads one library, so this is a process of its own,
//! and one test, because the order matters.
#![allow(clippy::unwrap_used)]

#[path = "onnx/encoder.rs"]
#[allow(dead_code)]
mod encoder;
#[path = "onnx/proto.rs"]
#[allow(dead_code)]
mod proto;
#[path = "onnx/support.rs"]
#[allow(dead_code)]
mod support;

use std::path::{Path, PathBuf};

use embedding_engine::backend::onnx::{OnnxOptions, load, providers, runtime};
use embedding_engine::model::Pooling;
use embedding_engine::{Code, Error};

const VARIABLE: &str = "EMBEDDING_ENGINE_ONNXRUNTIME";

fn with(library: &Path) -> OnnxOptions {
    OnnxOptions { library: Some(library.to_owned()), ..OnnxOptions::default() }
}

fn refused(options: &OnnxOptions) -> Error {
    let spec = support::spec(Path::new("/nowhere/model.onnx"), Pooling::Mean, 8);
    let error = load(&spec, "cpu", options).map(|_| ()).expect_err("no library");
    assert_eq!(error.code, Code::NativeLoadFailed);
    assert_eq!(runtime(options).expect_err("no library"), error.message);
    error
}

/// A library that gives `version` where ONNX Runtime would, if there is a C compiler.
fn imitation(folder: &Path, version: &str) -> Option<PathBuf> {
    let (source, library) = (folder.join("imitation.c"), folder.join(format!("imitation-{version}.so")));
    let code = format!(
        "static const void *api(unsigned v) {{ return 0; }}\n\
         static const char *version(void) {{ return \"{version}\"; }}\n\
         static const void *base[2] = {{ api, version }};\n\
         const void *OrtGetApiBase(void) {{ return sizeof(\"{version}\") == 1 ? 0 : base; }}\n"
    );
    std::fs::write(&source, code).expect("written");
    let compiled = std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    compiled.is_ok_and(|status| status.success()).then_some(library)
}

#[test]
fn every_way_to_fail_and_then_the_right_library() {
    let right = support::library();
    // SAFETY: this test is the only one of its process, and no other thread reads the environment.
    unsafe { std::env::remove_var(VARIABLE) };
    let folder = tempfile::tempdir().expect("a folder");

    let none = refused(&OnnxOptions::default());
    assert!(none.message.contains("npm install onnxruntime-node") && none.message.contains(VARIABLE));

    let absent = folder.path().join("libonnxruntime.so.1");
    let error = refused(&with(&absent));
    assert!(error.message.contains(&absent.display().to_string()) && error.message.contains("npm install"));
    let attempts = error.details["attempts"].as_array().expect("a list");
    assert_eq!((attempts.len(), attempts[0]["path"].as_str()), (1, absent.to_str()));

    // SAFETY: as above.
    unsafe { std::env::set_var(VARIABLE, &absent) };
    assert!(refused(&OnnxOptions::default()).message.contains("libonnxruntime.so.1"));

    assert!(refused(&with(folder.path())).message.contains("folder"));
    for broken in ["libonnxruntime.so", "libonnxruntime.so.1"] {
        std::fs::write(folder.path().join(broken), "not a library").expect("written");
    }
    if cfg!(target_os = "linux") {
        let both = refused(&with(folder.path()));
        assert_eq!(both.details["attempts"].as_array().map(Vec::len), Some(2), "{}", both.message);
    }

    for other in ["/lib/x86_64-linux-gnu/libz.so.1", "/lib/aarch64-linux-gnu/libz.so.1", "/usr/lib/libSystem.B.dylib"] {
        if Path::new(other).is_file() {
            assert!(refused(&with(Path::new(other))).message.contains("OrtGetApiBase"));
        }
    }
    for (version, says) in
        [("1.20.1", "1.20.1, but 1.30"), ("2.0.0", "1.30 or newer"), ("1.30.9", "API 30"), ("", "gives nothing")]
    {
        if let Some(library) = imitation(folder.path(), version) {
            let error = refused(&with(&library));
            assert!(error.message.contains(says), "{}", error.message);
        }
    }
    let unusable = providers(&with(&absent));
    assert!(unusable.iter().all(|provider| !provider.available && provider.reason.is_some()));

    // Nothing of this stands in the way of the right one, also by a relative path.
    let relative = pathdiff(&right);
    let (library, _) = runtime(&with(&relative)).expect("loaded");
    assert!(library.is_absolute());
    assert_eq!(runtime(&with(&right)).expect("the same").0, library);
    // SAFETY: as above.
    unsafe { std::env::remove_var(VARIABLE) };
    assert_eq!(runtime(&OnnxOptions::default()).expect("the loaded one").0, library);
    let second = runtime(&with(&absent)).expect_err("another one");
    assert!(second.contains("only one"), "{second}");
}

/// `path` relative to the working directory, by way of the root.
fn pathdiff(path: &Path) -> PathBuf {
    let here = std::env::current_dir().expect("a working directory");
    let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
    let absolute = std::path::absolute(path).expect("a path");
    if cfg!(windows) { absolute } else { up.join(absolute.strip_prefix("/").expect("absolute")) }
}
