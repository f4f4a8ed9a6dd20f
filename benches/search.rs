//! Queries over large indexes, their size on disk, and updates.
//!
//! `RAYON_NUM_THREADS=1 cargo bench -p embedding-engine-search --bench search -- 10000 100000 1000000`, the numbers of
//! chunks (10,000 and 100,000 if none are given). The vectors are synthetic: mixtures of a few directions, so that they
//! have neighbours as those of texts have. The index is made by an update of generated source files.

#![allow(clippy::unwrap_used, missing_docs)]

// Of what is shared, this needs a part.
#[allow(dead_code)]
#[path = "support/measure.rs"]
mod measure;

use std::fs;
use std::path::Path;
use std::time::Instant;

use embedding_engine::Cancel;
use embedding_engine::engine::OnEvent;
use embedding_engine_search::embedder::{Done, Embedded, Embedder, Purpose};
use embedding_engine_search::{Index, QueryOptions, UpdateOptions};

const DIMENSIONS: usize = 384;
const FUNCTIONS: usize = 50;

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|size| size.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![10_000, 100_000] } else { sizes };
    measure::header("Search, vectors of 384 components");
    for size in sizes {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), size);
    }
}

fn run(root: &Path, chunks: usize) {
    let folder = root.join("repository");
    for file in 0..chunks / FUNCTIONS {
        let path = folder.join(format!("part{}", file / 200)).join(format!("module{file}.py"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, source(file)).unwrap();
    }
    let store = root.join("index.db");
    let open = || Index::open(&folder, &store, Box::new(Synthetic), UpdateOptions::default()).unwrap();
    let update = |index: &Index| {
        let (begin, cpu) = (Instant::now(), measure::cpu_time());
        let report = index.update(&Cancel::never(), None).unwrap();
        (report, begin.elapsed().as_secs_f64(), (measure::cpu_time() - cpu).as_secs_f64())
    };
    println!("\n{chunks} chunks");
    let index = open();
    let (report, seconds, cpu) = update(&index);
    assert_eq!(report.chunks as usize, chunks);
    println!(
        "  first update                {seconds:>9.2} s   {cpu:.2} s of CPU, {:.0} chunks/CPU s, without a model",
        chunks as f64 / seconds
    );
    let bytes = index.stats().unwrap().bytes;
    println!(
        "  on disk                     {:>9.1} MB  {:.0} bytes/chunk",
        bytes as f64 / 1e6,
        bytes as f64 / chunks as f64
    );
    let (report, seconds, cpu) = update(&index);
    assert_eq!(report.embedded, 0);
    println!("  update, nothing changed     {seconds:>9.3} s   {cpu:.3} s of CPU");
    fs::write(folder.join("part0/module0.py"), source(0).replace("return ", "return 1 + ")).unwrap();
    let (report, seconds, cpu) = update(&index);
    assert_eq!(report.changed, 1);
    println!("  update, one file changed    {seconds:>9.3} s   {cpu:.3} s of CPU, {} chunks embedded", report.embedded);
    index.close();

    let index = open();
    let (begin, cpu) = (Instant::now(), measure::cpu_time());
    query(&index, "retry the request", true);
    let (seconds, cpu) = (begin.elapsed().as_secs_f64(), (measure::cpu_time() - cpu).as_secs_f64());
    println!("  first query after opening   {seconds:>9.3} s   {cpu:.3} s of CPU");
    for (label, hybrid) in [("dense", false), ("hybrid", true)] {
        let mut turn = 0;
        let line = measure::measure(2.0, || {
            turn += 1;
            query(&index, QUERIES[turn % QUERIES.len()], hybrid)
        });
        let (wall, cpu) = (line.wall.as_secs_f64() * 1e3, line.cpu.as_secs_f64() * 1e3);
        println!("  query, {label:<20} {wall:>9.2} ms  {cpu:.2} ms of CPU");
    }
    index.close();
}

const QUERIES: [&str; 6] = [
    "where are retries handled",
    "parse the header of a response",
    "cache with expiry",
    "open a socket and read the stream",
    "merge two branches",
    "queue of jobs",
];

fn query(index: &Index, text: &str, hybrid: bool) -> usize {
    let options = QueryOptions { hybrid, ..QueryOptions::default() };
    index.query(text, &options, &Cancel::never(), None).unwrap().len()
}

/// Words fall off in frequency as those of real sources do (Zipf).
fn word(random: &mut Random) -> String {
    const COMMON: [&str; 24] = [
        "value", "get", "set", "data", "item", "request", "response", "cache", "queue", "header", "parse", "open",
        "read", "stream", "branch", "merge", "retry", "job", "socket", "expiry", "index", "token", "node", "path",
    ];
    let rank = (1.0 / (random.next() + 1e-4)) as usize;
    COMMON.get(rank - 1).map_or_else(|| format!("w{}", letters(rank)), |word| (*word).to_owned())
}

fn letters(mut number: usize) -> String {
    let mut text = String::new();
    while number > 0 {
        text.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
    }
    text
}

/// A file of functions of some 200 bytes.
fn source(file: usize) -> String {
    let mut random = Random(file as u64 * 7919 + 1);
    let mut words = |n: usize, between: &str| (0..n).map(|_| word(&mut random)).collect::<Vec<_>>().join(between);
    (0..FUNCTIONS)
        .map(|i| {
            format!(
                "def {}_{file}_{i}({}):\n    \"\"\"{}.\"\"\"\n    {} = {}({})\n    return {}\n\n\n",
                words(2, "_"),
                words(2, ", "),
                words(7, " "),
                words(2, "_"),
                words(3, "."),
                words(2, ", "),
                words(4, " + ")
            )
        })
        .collect()
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A direction of one of 64 themes, and as much again of its own.
struct Synthetic;

impl Embedder for Synthetic {
    fn embed(&self, _: Purpose, texts: Vec<String>, _: Option<&str>, _: &Cancel, _: Option<OnEvent>, done: Done) {
        let mut vectors = Vec::with_capacity(texts.len() * DIMENSIONS);
        for text in &texts {
            let hash = text
                .bytes()
                .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            let (mut theme, mut own) = (Random(hash % 64 + 1), Random(hash));
            let vector: Vec<f64> = (0..DIMENSIONS).map(|_| theme.next() - 0.5 + own.next() - 0.5).collect();
            let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
            vectors.extend(vector.iter().map(|value| (value / length) as f32));
        }
        done(Ok(Embedded { vectors, dimensions: DIMENSIONS, space: "synthetic".to_owned(), tokens: 0 }));
    }
}
