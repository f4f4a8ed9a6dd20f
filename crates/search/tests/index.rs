//! The promises of an index, with a model that counts.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::sync::Arc;
use std::thread;

use embedding_engine::{Cancel, Code};
use embedding_engine_search::{Filter, Index, QueryOptions, UpdateOptions};
use support::{Place, Words, module, open, query, update};

fn three_files() -> Place {
    Place::new(&[
        ("src/queue.py", "def push_item(queue, item):\n    queue.append(item)\n"),
        ("src/retry.ts", "export function retryLater(delay: number) {\n  return setTimeout(run, delay)\n}\n"),
        ("notes.md", "# Deployment\n\nShip it on fridays.\n"),
        ("logo.png", "\u{0}\u{1}"),
    ])
}

#[test]
fn only_what_changed_is_embedded() {
    let place = three_files();
    let model = Words::new("m");
    let index = place.open(&model);
    let report = update(&index);
    assert_eq!((report.files, report.added, report.chunks, report.embedded), (3, 3, 3, 3));
    assert_eq!(report.skipped, [("binary".to_owned(), 1)].into());
    assert!(report.tokens > 0);
    assert_eq!(model.take().len(), 3);

    let report = update(&index);
    assert_eq!((report.unchanged, report.embedded, report.tokens, report.chunks), (3, 0, 0, 3));
    assert_eq!(report.skipped, [("binary".to_owned(), 1)].into());

    // The time alone says nothing.
    place.write("notes.md", "# Deployment\n\nShip it on fridays.\n");
    let report = update(&index);
    assert_eq!((report.unchanged, report.changed, report.embedded), (3, 0, 0));

    place.write(
        "src/queue.py",
        "def push_item(queue, item):\n    queue.append(item)\n\n\ndef pop_item(queue):\n    pass\n",
    );
    let report = update(&index);
    assert_eq!((report.unchanged, report.changed, report.embedded, report.chunks), (2, 1, 1, 4));
    let texts = model.take();
    assert!(texts.len() == 1 && texts[0].contains("pop_item"), "{texts:?}");

    // Moved: nothing to embed, and found under the new path alone.
    fs::rename(place.path("src/queue.py"), place.path("src/line.py")).unwrap();
    let report = update(&index);
    assert_eq!((report.added, report.removed, report.embedded, report.files), (1, 1, 0, 3));
    let hits = query(&index, "push item queue", &QueryOptions::default());
    assert_eq!(hits[0].path, "src/line.py");
    assert!(hits.iter().all(|hit| hit.path != "src/queue.py"));

    fs::remove_file(place.path("src/line.py")).unwrap();
    let report = update(&index);
    assert_eq!((report.removed, report.files, report.chunks), (1, 2, 2));
    assert!(query(&index, "push item queue", &QueryOptions::default()).iter().all(|hit| hit.path != "src/line.py"));
    assert!(model.take().is_empty());
}

#[test]
fn hits_say_what_and_where() {
    let place = three_files();
    let index = place.open(&Words::new("m"));
    update(&index);
    let hits = query(&index, "retry after a delay", &QueryOptions { top: 1, ..QueryOptions::default() });
    assert_eq!(hits.len(), 1);
    let hit = &hits[0];
    assert_eq!((hit.path.as_str(), hit.start_line, hit.end_line), ("src/retry.ts", 1, 3));
    assert_eq!(
        (hit.name.as_deref(), hit.kind.as_str(), hit.language.as_deref()),
        (Some("retryLater"), "function", Some("typescript"))
    );
    assert!(hit.text.starts_with("export function retryLater") && hit.text.ends_with('}'));
}

#[test]
fn equal_chunks_are_embedded_once_and_all_found() {
    let same = "def one_and_only(x):\n    return x\n";
    let place = Place::new(&[("a.py", same), ("b/b.py", same)]);
    let model = Words::new("m");
    let index = place.open(&model);
    let report = update(&index);
    assert_eq!((report.chunks, report.embedded), (2, 1));
    let hits = query(&index, "one and only", &QueryOptions { hybrid: false, ..QueryOptions::default() });
    assert_eq!(hits.iter().map(|hit| hit.path.as_str()).collect::<Vec<_>>(), ["a.py", "b/b.py"]);
    assert_eq!(hits[0].score, hits[1].score);
    // One goes; the vector stays for the other.
    fs::remove_file(place.path("a.py")).unwrap();
    update(&index);
    assert_eq!(query(&index, "one and only", &QueryOptions::default()).len(), 1);
}

#[test]
fn filters_choose_before_ranking() {
    let place = Place::new(&[
        ("src/a.py", "def retry():\n    pass\n"),
        ("src/deep/b.py", "def retry():\n    return 1\n"),
        ("src/c.ts", "function retry() { return 2 }\n"),
        ("docs/d.md", "# Retry\n\nOften.\n"),
        ("data.txt", "retry retry retry\n"),
    ]);
    let index = place.open(&Words::new("m"));
    update(&index);
    let paths = |languages: &[&str], globs: &[&str]| {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let filter = Filter { languages: list(languages), paths: list(globs) };
        let mut paths: Vec<String> = query(&index, "retry", &QueryOptions { top: 2, hybrid: true, filter })
            .into_iter()
            .map(|hit| hit.path)
            .collect();
        paths.sort();
        paths
    };
    assert_eq!(paths(&["py"], &[]), ["src/a.py", "src/deep/b.py"]);
    assert_eq!(paths(&["TypeScript", "markdown"], &[]), ["docs/d.md", "src/c.ts"]);
    assert_eq!(paths(&[], &["src/*.py"]), ["src/a.py"]);
    assert_eq!(paths(&[], &["docs/**", "*.txt"]), ["data.txt", "docs/d.md"]);
    assert_eq!(paths(&["python"], &["docs/**"]), [""; 0]);
    for filter in [
        Filter { languages: vec!["cobol".into()], ..Filter::default() },
        Filter { paths: vec!["[".into()], ..Filter::default() },
    ] {
        let options = QueryOptions { filter, ..QueryOptions::default() };
        assert_eq!(index.query("x", &options, &Cancel::never(), None).unwrap_err().code, Code::InvalidOption);
    }
}

#[test]
fn any_text_is_a_query() {
    let place = three_files();
    let index = place.open(&Words::new("m"));
    update(&index);
    let long = "word ".repeat(5000) + &(0..2000).map(|i| format!("w{i}x ")).collect::<String>();
    for text in [
        "?!",
        "\"",
        "a AND (b OR",
        "words:retry NEAR(",
        "'; DROP TABLE chunks; --",
        "retry*",
        "\u{0}retry",
        "-retry",
        "中文",
        &long,
    ] {
        assert_eq!(query(&index, text, &QueryOptions::default()).len(), 3, "{text}");
    }
    assert_eq!(query(&index, "retry", &QueryOptions { top: 0, ..QueryOptions::default() }).len(), 0);
}

#[test]
fn another_model_has_a_space_of_its_own() {
    let place = three_files();
    let (first, second) = (Words::new("first"), Words::new("second"));
    let index = place.open(&first);
    update(&index);
    let before = query(&index, "retry later", &QueryOptions::default());
    let other = place.open(&second);
    let error = other.query("retry", &QueryOptions::default(), &Cancel::never(), None).unwrap_err();
    assert_eq!(
        (error.code, error.details["expected"].as_str(), error.details["found"].as_str()),
        (Code::SpaceMismatch, Some("first"), Some("second"))
    );
    let report = update(&other);
    assert_eq!((report.unchanged, report.embedded, report.space.as_str()), (3, 3, "second"));
    assert_eq!(query(&other, "retry later", &QueryOptions::default())[0].path, "src/retry.ts");
    // The vectors of the first are still there: it finds the same, and going back embeds nothing.
    assert_eq!(query(&index, "retry later", &QueryOptions::default()), before);
    first.take();
    assert_eq!(update(&index).embedded, 0);
    // A third takes the place of the one that was used least lately.
    update(&place.open(&Words::new("third")));
    let error = other.query("retry", &QueryOptions::default(), &Cancel::never(), None).unwrap_err();
    assert_eq!(error.code, Code::SpaceMismatch);
    assert_eq!(query(&index, "retry later", &QueryOptions::default()), before);
}

#[test]
fn an_index_of_nothing_finds_nothing() {
    let place = Place::new(&[]);
    let index = place.open(&Words::new("m"));
    assert_eq!(query(&index, "x", &QueryOptions::default()), []);
    assert_eq!(update(&index).files, 0);
    assert_eq!(query(&index, "x", &QueryOptions::default()), []);
    assert_eq!(index.stats().unwrap().space.as_deref(), Some("m"));
}

#[test]
fn what_the_model_cannot_read_is_left_out() {
    let place = Place::new(&[("a.txt", "nothing-to-read\n"), ("b.txt", "something to read\n")]);
    let index = place.open(&Words::new("m"));
    let report = update(&index);
    assert_eq!((report.files, report.chunks, report.embedded), (2, 1, 1));
    assert_eq!(update(&index).unchanged, 2);
}

#[test]
fn a_cancelled_update_goes_on_where_it_was() {
    let files: Vec<(String, String)> = (0..60).map(|i| (format!("m{i:02}.py"), module(i, 40))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let place = Place::new(&files);
    let cancel = Cancel::new();
    let told = cancel.clone();
    let mut model = Words::new("m");
    model.before = Some(Arc::new(move |call| {
        if call == 6 {
            told.cancel();
        }
    }));
    let index = place.open(&model);
    assert_eq!(index.update(&cancel, None).unwrap_err().code, Code::Aborted);
    let first = model.take().len();
    let stored = index.stats().unwrap().chunks as usize;
    // All but the batches in flight.
    assert!(stored > 0 && first - stored <= 3 * 300, "{stored} of {first}");
    let report = update(&index);
    let second = model.take().len();
    assert_eq!(report.chunks, 2400);
    assert_eq!(report.embedded as usize, second);
    assert_eq!(stored + second, 2400);
    assert_eq!(report.unchanged + report.added, 60);
}

#[test]
fn closing_ends_what_runs() {
    let files: Vec<(String, String)> = (0..40).map(|i| (format!("m{i:02}.py"), module(i, 40))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let place = Place::new(&files);
    let (sender, begun) = std::sync::mpsc::channel();
    let mut model = Words::new("m");
    model.before = Some(Arc::new(move |_| {
        let _ = sender.send(());
        thread::sleep(std::time::Duration::from_millis(20));
    }));
    let index = place.open(&model);
    let running = index.clone();
    let update = thread::spawn(move || running.update(&Cancel::never(), None).unwrap_err().code);
    begun.recv().unwrap();
    index.close();
    assert_eq!(update.join().unwrap(), Code::Disposed);
    assert_eq!(index.query("x", &QueryOptions::default(), &Cancel::never(), None).unwrap_err().code, Code::Disposed);
    // The log was folded into the file.
    assert!(!place.home.path().join("indexes/test.db-wal").exists());
    index.close();
}

#[test]
fn several_at_once() {
    let files: Vec<(String, String)> = (0..30).map(|i| (format!("m{i:02}.py"), module(i, 20))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let place = Place::new(&files);
    let model = Words::new("m");
    // Handles of their own, as those of other processes are.
    let indexes: Vec<Index> = (0..3).map(|_| place.open(&model)).collect();
    thread::scope(|scope| {
        for index in &indexes {
            scope.spawn(|| update(index));
            scope.spawn(|| {
                for _ in 0..30 {
                    let hits = query(index, "retry queue", &QueryOptions::default());
                    assert!(hits.iter().all(|hit| hit.text.contains("def ")));
                }
            });
        }
    });
    assert_eq!(model.take().len(), 600);
    let all: Vec<_> = indexes.iter().map(|index| query(index, "merge a branch", &QueryOptions::default())).collect();
    assert!(all[0].len() == 10 && all.iter().all(|hits| *hits == all[0]));
}

#[test]
fn a_waiting_update_can_be_cancelled() {
    let place = three_files();
    let cancel = Cancel::new();
    let (told, waiting) = (cancel.clone(), place.open(&Words::new("m")));
    let mut model = Words::new("m");
    let outcome = Arc::new(std::sync::Mutex::new(None));
    let kept = Arc::clone(&outcome);
    model.before = Some(Arc::new(move |_| {
        // While this one runs.
        let waiting = waiting.clone();
        let (own, cancel) = (told.clone(), told.clone());
        let waiter = thread::spawn(move || waiting.update(&own, None).unwrap_err().code);
        thread::sleep(std::time::Duration::from_millis(60));
        cancel.cancel();
        *kept.lock().unwrap() = Some(waiter.join().unwrap());
    }));
    update(&place.open(&model));
    assert_eq!(*outcome.lock().unwrap(), Some(Code::Aborted));
}

#[test]
fn what_is_no_index_is_refused() {
    let place = three_files();
    let open = |name: &str| {
        let store = place.home.path().join(name);
        let index = Index::open(place.folder.path(), &store, Box::new(Words::new("m")), UpdateOptions::default());
        index.map(|_| ()).unwrap_err()
    };
    fs::write(place.home.path().join("text.db"), "no database at all, but longer than a header would be".repeat(50))
        .unwrap();
    let error = open("text.db");
    assert_eq!(error.code, Code::InvalidInput);
    assert!(error.message.contains("text.db") && error.message.contains("store"), "{}", error.message);

    let sqlite = rusqlite::Connection::open(place.home.path().join("other.db")).unwrap();
    sqlite.execute_batch("CREATE TABLE precious (x)").unwrap();
    assert!(open("other.db").message.contains("no index of embedding-engine"));

    support::open(place.folder.path(), &place.home.path().join("new.db"), &Words::new("m"));
    let sqlite = rusqlite::Connection::open(place.home.path().join("new.db")).unwrap();
    sqlite.pragma_update(None, "user_version", 99).unwrap();
    drop(sqlite);
    assert!(open("new.db").message.contains("newer"));

    fs::create_dir(place.home.path().join("folder.db")).unwrap();
    assert_eq!(open("folder.db").code, Code::InvalidInput);
    let missing =
        Index::open(&place.path("nowhere"), &place.store(), Box::new(Words::new("m")), UpdateOptions::default());
    assert_eq!(missing.map(|_| ()).unwrap_err().code, Code::InvalidInput);
}

#[test]
fn a_damaged_index_is_told() {
    let files: Vec<(String, String)> = (0..20).map(|i| (format!("m{i:02}.py"), module(i, 40))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let place = Place::new(&files);
    let index = place.open(&Words::new("m"));
    update(&index);
    index.close();
    let mut bytes = fs::read(place.store()).unwrap();
    let middle = bytes.len() / 8;
    bytes[middle..].fill(0x5a);
    fs::write(place.store(), bytes).unwrap();
    let index = place.open(&Words::new("m"));
    let error = index.query("retry", &QueryOptions::default(), &Cancel::never(), None).unwrap_err();
    assert_eq!(error.code, Code::IntegrityFailed);
    assert!(error.message.contains("Remove it"), "{}", error.message);
}

#[test]
fn globs_of_the_options_choose_files() {
    let place = three_files();
    let options = UpdateOptions { include: vec!["src/**".into()], exclude: vec!["**/*.ts".into()] };
    let index = Index::open(place.folder.path(), &place.store(), Box::new(Words::new("m")), options).unwrap();
    assert_eq!(update(&index).files, 1);
    // Opened without them, the rest comes; with them again, it goes.
    assert_eq!(update(&open(place.folder.path(), &place.store(), &Words::new("m"))).files, 3);
    assert_eq!(update(&index).removed, 2);
    let bad = UpdateOptions { include: vec!["[".into()], ..UpdateOptions::default() };
    let index = Index::open(place.folder.path(), &place.store(), Box::new(Words::new("m")), bad).unwrap();
    assert_eq!(index.update(&Cancel::never(), None).unwrap_err().code, Code::InvalidOption);
}

#[test]
fn vectors_are_stored_as_the_model_gave_them() {
    let place = three_files();
    let model = Words::new("m");
    let index = place.open(&model);
    update(&index);
    let texts = model.take();
    let sqlite = rusqlite::Connection::open(place.store()).unwrap();
    let mut statement = sqlite.prepare("SELECT vector FROM vectors ORDER BY id").unwrap();
    let stored: Vec<Vec<u8>> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let given: Vec<Vec<u8>> =
        texts.iter().map(|text| model.vector(text).iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    assert_eq!(stored, given);
}

#[test]
fn nothing_is_left_of_what_is_gone() {
    let files: Vec<(String, String)> = (0..20).map(|i| (format!("m{i:02}.py"), module(i, 40))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let place = Place::new(&files);
    let index = place.open(&Words::new("m"));
    update(&index);
    for (path, _) in &files[1..] {
        fs::remove_file(place.path(path)).unwrap();
    }
    assert_eq!(update(&index).removed, 19);
    let sqlite = rusqlite::Connection::open(place.store()).unwrap();
    for table in ["texts", "chunks", "bodies", "codes", "vectors"] {
        let count: i64 = sqlite.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(count, 40, "{table}");
    }
    let gone: i64 = sqlite.query_row("SELECT count(*) FROM gone", [], |row| row.get(0)).unwrap();
    assert_eq!(gone, 0);
    let check: String = sqlite.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn a_fused_ranking_is_that_of_a_naive_one() {
    let files: Vec<(String, String)> = (0..20).map(|i| (format!("m{i:02}.py"), module(i, 40))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let place = Place::new(&files);
    let index = place.open(&Words::new("m"));
    update(&index);
    for text in ["retry a queue", "parse header token 3", "merge branch 7"] {
        // All of them, so that every exact score is computed.
        let all = query(&index, text, &QueryOptions { top: 1000, ..QueryOptions::default() });
        assert_eq!(all.len(), 800);
        let sorted = all.windows(2).all(|pair| {
            let key = |hit: &embedding_engine_search::Hit| (hit.path.clone(), hit.start_line);
            pair[0].score > pair[1].score || (pair[0].score == pair[1].score && key(&pair[0]) <= key(&pair[1]))
        });
        assert!(sorted, "{text}");
        assert_eq!(query(&index, text, &QueryOptions::default()), all[..10], "{text}");
        // A filter takes away, and changes nothing else.
        let filter = Filter { paths: vec!["m0*.py".into()], ..Filter::default() };
        let some = query(&index, text, &QueryOptions { filter, ..QueryOptions::default() });
        let expected: Vec<_> = all.iter().filter(|hit| hit.path.starts_with("m0")).take(10).cloned().collect();
        assert_eq!(some, expected, "{text}");
        // z-scores of cosines have mean 0 and deviation 1 over all; full text is on top of that with its weight.
        let dense = query(&index, text, &QueryOptions { top: 1000, hybrid: false, ..QueryOptions::default() });
        let n = dense.len() as f64;
        let mean = dense.iter().map(|hit| f64::from(hit.score)).sum::<f64>() / n;
        let deviation = (dense.iter().map(|hit| (f64::from(hit.score) - mean).powi(2)).sum::<f64>() / n).sqrt();
        let place_of = |hit: &embedding_engine_search::Hit| (hit.path.clone(), hit.start_line);
        let cosines: std::collections::HashMap<_, _> =
            dense.iter().map(|hit| (place_of(hit), f64::from(hit.score))).collect();
        let rest: Vec<f64> =
            all.iter().map(|hit| (f64::from(hit.score) - (cosines[&place_of(hit)] - mean) / deviation) / 0.3).collect();
        let rest_mean = rest.iter().sum::<f64>() / n;
        let rest_deviation = (rest.iter().map(|value| (value - rest_mean).powi(2)).sum::<f64>() / n).sqrt();
        assert!(rest_mean.abs() < 0.02 && (rest_deviation - 1.0).abs() < 0.02, "{rest_mean} {rest_deviation}");
    }
}
