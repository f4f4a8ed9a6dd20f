//! A report as people read it.

use std::fmt::{self, Display, Formatter};

use super::bootstrap::Estimate;
use super::metrics::Metrics;
use super::report::{Names, Report, Row, Scope, Section, System};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} queries, {} documents", self.name, self.queries, self.documents)?;
        if let Some(model) = &self.model {
            writeln!(f, "model {} ({})", model.id, model.device)?;
        }
        if self.missing > 0 {
            writeln!(f, "{} answers are not among the documents: they count as not found", self.missing)?;
        }
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        for section in &self.sections {
            write!(f, "\n{}", Table { section, one: self.sections.len() == 1 })?;
        }
        if !self.sweep.is_empty() {
            writeln!(f, "\nweight of BM25   NDCG@10 pooled   within")?;
            for point in &self.sweep {
                let within = point.within.map_or("-".to_owned(), |within| format!("{within:.4}"));
                writeln!(f, "{:>14.2} {:>16.4} {within:>8}", point.weight, point.pooled)?;
            }
        }
        self.write_groups(f)
    }
}

impl Report {
    fn write_groups(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(first) = self.groups.first() else { return Ok(()) };
        let width = self.groups.iter().map(|group| group.name.chars().count()).max().unwrap_or_default().max(10);
        write!(f, "\n{:<width$} {:>8} {:>9}", "NDCG@10", "queries", "documents")?;
        first.ndcg10.iter().try_for_each(|(system, _)| write!(f, " {:>13}", system.name()))?;
        writeln!(f)?;
        for group in &self.groups {
            write!(f, "{:<width$} {:>8} {:>9}", group.name, group.queries, group.documents)?;
            group.ndcg10.iter().try_for_each(|(_, value)| write!(f, " {value:>13.3}"))?;
            writeln!(f)?;
        }
        Ok(())
    }
}

struct Table<'t> {
    section: &'t Section,
    /// Whether it is the only one.
    one: bool,
}

impl Display for Table<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.one {
            let title = match self.section.scope {
                Scope::Pooled => "among all documents",
                Scope::Within => "within the query's own group",
            };
            writeln!(f, "{title}")?;
        }
        let heads =
            ["NDCG@10 [95 %]", "MRR@10", "Recall@1", "Recall@10", "Recall@100", "gain over BM25 [95 %]", "ratio"];
        write!(f, "{:<28} {:>22}", "", heads[0])?;
        writeln!(
            f,
            " {:>7} {:>9} {:>10} {:>11} {:>25} {:>6}",
            heads[1], heads[2], heads[3], heads[4], heads[5], heads[6]
        )?;
        let base = |names: Names| self.section.rows.iter().find(|row| row.system == System::Bm25 && row.names == names);
        self.section.rows.iter().try_for_each(|row| write_row(f, row, base(row.names)))
    }
}

fn write_row(f: &mut Formatter<'_>, row: &Row, base: Option<&Row>) -> fmt::Result {
    let Metrics { ndcg10, mrr10, recall1, recall10, recall100 } = row.metrics;
    let blanked = if row.names == Names::Blanked { ", names blanked" } else { "" };
    let label = format!("{}{blanked}", row.system.name());
    let interval = |estimate: Estimate| format!("{:.3} [{:.3}, {:.3}]", estimate.value, estimate.low, estimate.high);
    write!(f, "{label:<28} {:>22}", interval(ndcg10))?;
    write!(f, " {:>7.3} {:>9.3} {:>10.3} {:>11.3}", mrr10.value, recall1.value, recall10.value, recall100.value)?;
    if row.system == System::Bm25 {
        return writeln!(f);
    }
    let Estimate { value, low, high } = row.gain.ndcg10;
    let ratio = base.map_or(f64::NAN, |base| ndcg10.value / base.metrics.ndcg10.value);
    let ratio = if ratio.is_finite() { format!("{ratio:.2}") } else { "-".to_owned() };
    writeln!(f, " {:>25} {ratio:>6}", format!("{value:+.3} [{low:+.3}, {high:+.3}]"))
}

impl System {
    /// As tables say it.
    pub fn name(self) -> &'static str {
        match self {
            System::Random => "random",
            System::Bm25 => "BM25",
            System::Bm25Template => "BM25 template",
            System::ModelPlain => "model plain",
            System::Model => "model",
            System::Hybrid => "model + BM25",
        }
    }
}
