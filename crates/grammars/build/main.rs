//! Compiles each grammar without its parse tables, and packs the tables into a file for `include_bytes!`.
//!
//! The grammars are the crates that our manifest names: their `parser.c` is read where cargo put it. Two of its tables
//! are nine tenths of what it compiles to, and deflate to a tenth. They are cut out of the text, evaluated here, and
//! given back at run time (`src/lib.rs`). The scanners, which are code, come from those crates as they are.

mod parser;
mod sources;
mod table;

use std::path::{Path, PathBuf};
use std::{env, fs, thread};

/// What goes wrong here ends the build with its words.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Name here, crate, folder of `parser.c` in it.
const GRAMMARS: [(&str, &str, &str); 14] = [
    ("bash", "tree-sitter-bash", "src"),
    ("c", "tree-sitter-c", "src"),
    ("c_sharp", "tree-sitter-c-sharp", "src"),
    ("cpp", "tree-sitter-cpp", "src"),
    ("elixir", "tree-sitter-elixir", "src"),
    ("go", "tree-sitter-go", "src"),
    ("java", "tree-sitter-java", "src"),
    ("javascript", "tree-sitter-javascript", "src"),
    ("php", "tree-sitter-php", "php/src"),
    ("python", "tree-sitter-python", "src"),
    ("ruby", "tree-sitter-ruby", "src"),
    ("rust", "tree-sitter-rust", "src"),
    ("tsx", "tree-sitter-typescript", "tsx/src"),
    ("typescript", "tree-sitter-typescript", "typescript/src"),
];

/// Of miniz_oxide's 10.
const DEFLATE_LEVEL: u8 = 9;

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=build");
    // Another version of a grammar lies in another folder.
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let folders = sources::folders()?;
    let mut jobs = Vec::new();
    for (name, package, folder) in GRAMMARS {
        let source =
            folders.get(package).ok_or_else(|| format!("cargo metadata has no package {package}"))?.join(folder);
        let out = out.clone();
        jobs.push(thread::spawn(move || prepare(name, &source, &out).map_err(|error| format!("{name}: {error}"))));
    }
    let mut build = cc::Build::new();
    build.std("c11").warnings(false).flag_if_supported("-utf-8");
    for job in jobs {
        build.file(job.join().map_err(|_| "a thread of the build script panicked")??);
    }
    build.compile("embedding-engine-grammars");
    Ok(())
}

/// Writes `NAME.tables`, and `NAME/parser.c` without them; returns the path of the latter.
fn prepare(name: &str, source: &Path, out: &Path) -> Result<PathBuf> {
    println!("cargo::rerun-if-changed={}", source.display());
    let text = fs::read_to_string(source.join("parser.c"))?;
    let parser = parser::split(name, &text)?;

    let mut bytes = Vec::new();
    bytes.extend(u32::try_from(parser.dense.len())?.to_le_bytes());
    for value in parser.dense.iter().chain(&parser.sparse) {
        bytes.extend(value.to_le_bytes());
    }
    fs::write(out.join(format!("{name}.tables")), miniz_oxide::deflate::compress_to_vec(&bytes, DEFLATE_LEVEL))?;

    let folder = out.join(name);
    fs::create_dir_all(folder.join("tree_sitter"))?;
    fs::copy(source.join("tree_sitter/parser.h"), folder.join("tree_sitter/parser.h"))?;
    let file = folder.join("parser.c");
    fs::write(&file, parser.code)?;
    Ok(file)
}
