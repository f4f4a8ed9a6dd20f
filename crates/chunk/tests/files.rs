//! The files of a folder, where folders are large or odd.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::covers;
use embedding_engine_chunk::{FileOptions, Files, Found, Language, Options, Skip, chunk};

fn put(folder: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Paths in the order in which they come, with the reason of those that are skipped.
fn found(folder: &Path) -> Vec<(String, Option<Skip>)> {
    let files = Files::new(folder, &FileOptions::default()).unwrap();
    files
        .map(|found| match found {
            Found::Text { path, .. } => (path, None),
            Found::Skipped { path, reason } => (path, Some(reason)),
        })
        .collect()
}

fn texts(folder: &Path) -> Vec<String> {
    found(folder).into_iter().filter(|(_, skip)| skip.is_none()).map(|(path, _)| path).collect()
}

/// Bytes that this process holds in memory, where the system tells.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// 20,000 files, 8 MB in all, are read and cut with less than 4 MB more than the first of them took.
#[cfg(target_os = "linux")]
#[test]
fn twenty_thousand_files_in_bounded_memory() {
    const FILES: usize = 20_000;
    const MORE: usize = 4 << 20;
    let folder = tempfile::tempdir().unwrap();
    let function = "/** Adds. */\nexport function add(a: number, b: number): number {\n  return a + b\n}\n\n";
    let text = function.repeat(5);
    for index in 0..FILES {
        let parent = folder.path().join(format!("{}", index / 1000));
        if index % 1000 == 0 {
            fs::create_dir(&parent).unwrap();
        }
        fs::write(parent.join(format!("{index}.ts")), &text).unwrap();
    }
    let (mut files, mut chunks, mut before, mut most) = (0, 0, 0, 0);
    for found in Files::new(folder.path(), &FileOptions::default()).unwrap() {
        let Found::Text { text, language, .. } = found else { panic!("{found:?}") };
        chunks += chunk(&text, language, &Options::default()).len();
        files += 1;
        // The first ones fill what stays: buffers, tables of the grammar.
        if files == 200 {
            before = resident();
        } else if files % 500 == 0 {
            most = most.max(resident());
        }
    }
    assert_eq!((files, chunks), (FILES, FILES * 5));
    assert!(most < before + MORE, "{} kB more", (most - before) / 1024);
}

#[test]
fn gitignore_of_parent_folders_counts() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), ".gitignore", "*.log.ts\nout/\n!keep.log.ts\n");
    for path in ["sub/a.ts", "sub/b.log.ts", "sub/keep.log.ts", "sub/out/c.ts", "sub/deep/d.log.ts"] {
        put(folder.path(), path, "x");
    }
    assert_eq!(texts(&folder.path().join("sub")), ["a.ts", "keep.log.ts"]);
    put(folder.path(), "sub/deep/.gitignore", "!d.log.ts\n");
    assert_eq!(texts(folder.path()), ["sub/a.ts", "sub/deep/d.log.ts", "sub/keep.log.ts"]);
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "src/a.ts", "x");
    std::os::unix::fs::symlink("..", folder.path().join("src/up")).unwrap();
    std::os::unix::fs::symlink("src", folder.path().join("again")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("broken.ts")).unwrap();
    std::os::unix::fs::symlink("src/a.ts", folder.path().join("b.ts")).unwrap();
    assert_eq!(found(folder.path()), [("src/a.ts".to_owned(), None)]);
    // The folder itself may be one.
    assert_eq!(texts(&folder.path().join("again")), ["a.ts"]);
}

#[cfg(unix)]
#[test]
fn what_cannot_be_read_is_counted_or_passed_by() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    for path in ["a.ts", "closed.ts", "closed/b.ts", "z.ts"] {
        put(folder.path(), path, "x");
    }
    let forbid =
        |path: &str, mode| fs::set_permissions(folder.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
    forbid("closed.ts", 0o000);
    forbid("closed", 0o000);
    let closed = fs::File::open(folder.path().join("closed.ts")).is_err();
    let found = found(folder.path());
    forbid("closed", 0o755);
    // Root may read everything.
    if closed {
        let expected = [("a.ts", None), ("closed.ts", Some(Skip::Unreadable)), ("z.ts", None)];
        assert_eq!(found, expected.map(|(path, skip)| (path.to_owned(), skip)));
    } else {
        assert_eq!(found.len(), 4);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_text() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a.ts", "x");
    put(folder.path(), "é 🦀.ts", "x");
    fs::write(folder.path().join(std::ffi::OsStr::from_bytes(b"b\xff.ts")), "x").unwrap();
    let found = found(folder.path());
    assert_eq!(found.len(), 3);
    assert!(found.contains(&("b\u{fffd}.ts".to_owned(), Some(Skip::Unreadable))), "{found:?}");
    assert!(found.contains(&("é 🦀.ts".to_owned(), None)), "{found:?}");
}

#[test]
fn line_ends_of_windows_and_byte_order_marks() {
    let text = "# Reads.\ndef read(path):\n    \"\"\"Read it.\n\n    All.\n    \"\"\"\n    return path\n\n\nclass A:\n    x = 1\n";
    let of = |text: &str| -> Vec<_> {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "a.py", text);
        let file = Files::new(folder.path(), &FileOptions::default()).unwrap().next().unwrap();
        let Found::Text { text, language, .. } = file else { panic!("{file:?}") };
        assert_eq!(language, Some(Language::Python));
        let chunks = chunk(&text, language, &Options::default());
        covers(&text, &chunks);
        let without = |text: &str| text.replace('\r', "");
        chunks
            .iter()
            .map(|chunk| {
                let bare = without(&chunk.without_docs(&text));
                (chunk.name.clone(), chunk.start_line, chunk.end_line, chunk.signature.clone(), chunk.doc.clone(), bare)
            })
            .collect()
    };
    let plain = of(text);
    assert_eq!(plain.len(), 2);
    assert_eq!(plain[0].5, "def read(path):\n    return path");
    assert_eq!(of(&text.replace('\n', "\r\n")), plain);
    assert_eq!(of(&format!("\u{feff}{text}")), plain);
    assert_eq!(of(&format!("\u{feff}{}", text.replace('\n', "\r\n"))), plain);
}
