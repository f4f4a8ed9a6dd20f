//! The means of many queries: the sections of a report.

use super::bootstrap::{Bootstrap, Estimate};
use super::collection::Collection;
use super::metrics::{COUNT, Metrics};
use super::ranker::{Column, Figures};
use super::report::{GroupReport, Names, Row, Scope, Section, SweepPoint, System, TOO_FEW_QUERIES};

/// The figures of all queries, pooled and within groups, of rankings that saw names or not.
pub(super) type Part = (Names, Vec<Column>, (Figures, Figures));

/// Each group on its own.
pub(super) fn groups(collection: &Collection, parts: &[Part]) -> Vec<GroupReport> {
    let Some((_, columns, (_, within))) = parts.first() else { return Vec::new() };
    let groups = collection.groups.iter().enumerate();
    groups
        .map(|(at, group)| {
            let of = collection.queries.iter().zip(within).filter(|(query, _)| query.group == at);
            let rows: Vec<&Vec<f64>> = of.map(|(_, row)| row).collect();
            let mean =
                |column: usize| rows.iter().map(|row| row[column * COUNT]).sum::<f64>() / rows.len().max(1) as f64;
            GroupReport {
                name: group.name.clone(),
                queries: rows.len(),
                documents: group.documents.len(),
                ndcg10: systems(columns).map(|(column, system)| (system, mean(column))).collect(),
            }
        })
        .collect()
}

/// The columns that have a row of their own; further weights of the hybrid have none.
fn systems(columns: &[Column]) -> impl Iterator<Item = (usize, System)> {
    let mut hybrids = 0;
    columns.iter().enumerate().filter_map(move |(at, column)| {
        let system = match column {
            Column::Random => System::Random,
            Column::Bm25 => System::Bm25,
            Column::Bm25Template => System::Bm25Template,
            Column::ModelPlain => System::ModelPlain,
            Column::Model => System::Model,
            Column::Hybrid(_) => {
                hybrids += 1;
                return (hybrids == 1).then_some((at, System::Hybrid));
            }
        };
        Some((at, system))
    })
}

pub(super) fn section(scope: Scope, parts: &[Part], figures: impl Fn(&(Figures, Figures)) -> &Figures) -> Section {
    let mut rows = Vec::new();
    for (names, columns, all) in parts {
        let bootstrap = Bootstrap::new(figures(all));
        let base = columns.iter().position(|column| *column == Column::Bm25).unwrap_or_default();
        for (column, system) in systems(columns) {
            let each = |of: &dyn Fn(usize) -> Estimate| Metrics::from_values(std::array::from_fn::<_, COUNT, _>(of));
            rows.push(Row {
                system,
                names: *names,
                metrics: each(&|at| bootstrap.mean(column * COUNT + at)),
                gain: each(&|at| bootstrap.difference(column * COUNT + at, base * COUNT + at)),
            });
        }
    }
    Section { scope, rows }
}

pub(super) fn sweep(parts: &[Part], several: bool) -> Vec<SweepPoint> {
    let Some((_, columns, (pooled, within))) = parts.first() else { return Vec::new() };
    let mean = |figures: &Figures, column: usize| {
        figures.iter().map(|row| row[column * COUNT]).sum::<f64>() / figures.len().max(1) as f64
    };
    let hybrids = columns.iter().enumerate().filter_map(|(at, column)| match column {
        Column::Hybrid(weight) => Some((at, *weight)),
        _ => None,
    });
    let point = |(column, weight)| SweepPoint {
        weight,
        pooled: mean(pooled, column),
        within: several.then(|| mean(within, column)),
    };
    // The first one is that of the hybrid's row.
    hybrids.skip(1).map(point).collect()
}

pub(super) fn notes(queries: usize, code: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if queries < TOO_FEW_QUERIES {
        notes.push(format!("Too few to tell: {queries} queries, and differences need {TOO_FEW_QUERIES} or more."));
    }
    if code {
        notes.push("The queries are the code's own documentation, not questions that developers asked.".to_owned());
    }
    notes
}
