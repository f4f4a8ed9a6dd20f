//! Rankings whose figures are known by hand.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use embedding_engine::engine::Event;

use super::super::collection::{Group, Query, Unit, Units};
use super::super::metrics::Judged;
use super::super::report::System;
use super::*;

/// Two packages whose functions are asked for by a word of their body that only a "model" understands.
fn collection() -> Collection {
    let unit = |name: &str, code: &str| Unit {
        name: Some(name.to_owned()),
        inside: Vec::new(),
        signature: Some(format!("fn {name}()")),
        code: code.to_owned(),
    };
    let units = vec![
        unit("alpha", "fn alpha() { one }"),
        unit("beta", "fn beta() { two }"),
        unit("gamma", "fn gamma() { one }"),
        unit("delta", "fn delta() { three }"),
    ];
    let query = |text: &str, group, document| Query {
        text: text.to_owned(),
        group,
        relevant: vec![Judged { document: Some(document), gain: 1.0 }],
        without: None,
    };
    let group = |name: &str, documents| Group { name: name.to_owned(), documents };
    Collection {
        name: "test".to_owned(),
        documents: Box::new(Units(units)),
        queries: vec![query("one thing", 0, 0), query("the beta", 0, 1), query("3", 1, 3)],
        groups: vec![group("a", 0..2), group("b", 2..4)],
    }
}

/// Knows that 3 is three, and nothing else.
fn knows_three(texts: Vec<String>, _: Task) -> Result<Rows> {
    let knows = |text: &String| if text.contains("three") || text == "3" { [1.0, 0.0] } else { [0.0, 2.0] };
    Ok(Rows { dimensions: 2, data: texts.iter().flat_map(knows).collect() })
}

fn ndcg(report: &Report, scope: Scope, system: System, names: Names) -> f64 {
    report.row(scope, system, names).unwrap().metrics.ndcg10.value
}

#[test]
fn figures_by_hand() {
    let options = Options { sweep: vec![0.0, 5.0], weight: 0.5, plain_model: true, ..Options::default() };
    let report = evaluate(&collection(), Some(&mut knows_three), &options, &Cancel::never(), None).unwrap();
    let discount = |rank: f64| 1.0 / (rank + 1.0).log2();
    let mean_of = |ranks: &[f64]| ranks.iter().map(|rank| discount(*rank)).sum::<f64>() / ranks.len() as f64;
    let tied = |from: u32, to: u32| mean_of(&(from..=to).map(f64::from).collect::<Vec<_>>());
    let close = |scope, system, names, expected: f64| {
        let actual = ndcg(&report, scope, system, names);
        assert!((actual - expected).abs() < 1e-6, "{scope:?} {system:?} {names:?}: {actual}, not {expected}");
    };
    let (kept, blanked) = (Names::Kept, Names::Blanked);
    close(Scope::Pooled, System::Random, kept, tied(1, 4));
    close(Scope::Within, System::Random, kept, tied(1, 2));
    // "one" is in two documents of equal length, "beta" in one, "3" in none.
    close(Scope::Pooled, System::Bm25, kept, (tied(1, 2) + 1.0 + tied(1, 4)) / 3.0);
    close(Scope::Within, System::Bm25, kept, (1.0 + 1.0 + tied(1, 2)) / 3.0);
    close(Scope::Pooled, System::Bm25, blanked, (tied(1, 2) + 2.0 * tied(1, 4)) / 3.0);
    for system in [System::Model, System::ModelPlain] {
        close(Scope::Pooled, system, kept, (2.0 * tied(1, 3) + 1.0) / 3.0);
        close(Scope::Within, system, kept, (2.0 * tied(1, 2) + 1.0) / 3.0);
    }
    // Together they know all but which of the two documents with "one" it is.
    close(Scope::Pooled, System::Hybrid, kept, (tied(1, 2) + 1.0 + 1.0) / 3.0);
    close(Scope::Within, System::Hybrid, kept, 1.0);
    assert_eq!(report.sweep.len(), 2);
    assert!((report.sweep[0].pooled - ndcg(&report, Scope::Pooled, System::Model, kept)).abs() < 1e-12);
    assert_eq!(report.sweep[1].within, Some(1.0));
    let gain = report.row(Scope::Within, System::Hybrid, kept).unwrap().gain.ndcg10.value;
    assert!((gain - (1.0 - tied(1, 2)) / 3.0).abs() < 1e-6, "{gain}");
    assert_eq!((report.groups.len(), report.groups[1].queries, report.groups[0].documents), (2, 1, 2));
    assert!(report.too_few && report.to_string().contains("Too few to tell: 3 queries"));
    serde_json::to_value(&report).unwrap();
}

#[test]
fn without_a_model_there_are_its_baselines() {
    let report = evaluate(&collection(), None, &Options::default(), &Cancel::never(), None).unwrap();
    let systems: Vec<(System, Names)> = report.sections[0].rows.iter().map(|row| (row.system, row.names)).collect();
    let each = [System::Random, System::Bm25, System::Bm25Template];
    let expected = [Names::Kept, Names::Blanked].into_iter().flat_map(|names| each.map(|system| (system, names)));
    assert_eq!(systems, expected.collect::<Vec<_>>());
}

#[test]
fn progress_counts_every_text_and_cancel_ends_it() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    let progress: OnEvent = Arc::new(move |event| {
        if let Event::Embedding { done, total, .. } = event {
            listener.lock().unwrap().push((done, total));
        }
    });
    evaluate(&collection(), Some(&mut knows_three), &Options::default(), &Cancel::never(), Some(progress)).unwrap();
    // Three queries, four documents with and four without names.
    assert_eq!(told.lock().unwrap().last(), Some(&(11, 11)));

    let cancel = Cancel::new();
    let mut stops = |texts: Vec<String>, task| {
        cancel.cancel();
        knows_three(texts, task)
    };
    let error = evaluate(&collection(), Some(&mut stops), &Options::default(), &cancel, None).unwrap_err();
    assert_eq!(error.code, Code::Aborted);
}

#[test]
fn what_cannot_be_ranked_is_an_error() {
    let run = |model: &mut dyn VectorModel| {
        evaluate(&collection(), Some(model), &Options::default(), &Cancel::never(), None).unwrap_err().code
    };
    let rows = |count: usize, value: f32| Rows { dimensions: 2, data: vec![value; 2 * count] };
    assert_eq!(run(&mut |texts: Vec<String>, _| Ok(rows(texts.len(), 0.0))), Code::NonFinite);
    assert_eq!(run(&mut |texts: Vec<String>, _| Ok(rows(texts.len(), f32::NAN))), Code::NonFinite);
    assert_eq!(run(&mut |texts: Vec<String>, _| Ok(rows(texts.len() + 1, 1.0))), Code::Internal);
    let none = Collection { queries: Vec::new(), ..collection() };
    let error = evaluate(&none, None, &Options::default(), &Cancel::never(), None).unwrap_err();
    assert_eq!(error.code, Code::InvalidInput);
}
