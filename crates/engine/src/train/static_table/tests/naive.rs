//! The losses a second time: in f64, from their definitions, sharing no code with the trainer.

use super::super::Bag;

/// A table in f64.
#[derive(Clone)]
pub(super) struct Naive {
    pub(super) width: usize,
    pub(super) rows: Vec<f64>,
    pub(super) weights: Vec<f64>,
}

impl Naive {
    pub(super) fn of(table: &super::super::Table) -> Self {
        let wide = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect();
        Naive { width: table.width, rows: wide(&table.rows), weights: wide(&table.weights) }
    }

    /// The first `cut` dimensions of a text's sum, at unit length.
    pub(super) fn embed(&self, bag: &Bag, cut: usize) -> Vec<f64> {
        let mut out = vec![0.0; cut];
        for (id, count) in bag.ids.iter().zip(&bag.counts) {
            for (i, out) in out.iter_mut().enumerate() {
                let id = *id as usize;
                *out += f64::from(*count) * self.weights[id] * self.rows[id * self.width + i];
            }
        }
        let norm = out.iter().map(|x| x * x).sum::<f64>().sqrt();
        out.into_iter().map(|x| x / norm).collect()
    }

    /// Symmetric InfoNCE over the widths.
    pub(super) fn contrast(
        &self,
        queries: &[Bag],
        documents: &[Bag],
        widths: &[(usize, f32)],
        temperature: f64,
    ) -> f64 {
        let n = queries.len();
        let mut loss = 0.0;
        for (cut, weight) in widths {
            let q: Vec<_> = queries.iter().map(|bag| self.embed(bag, *cut)).collect();
            let d: Vec<_> = documents.iter().map(|bag| self.embed(bag, *cut)).collect();
            let e: Vec<Vec<f64>> =
                q.iter().map(|q| d.iter().map(|d| (dot(q, d) / temperature).exp()).collect()).collect();
            let mut total = 0.0;
            for i in 0..n {
                let of_documents = e[i][i] / e[i].iter().sum::<f64>();
                let of_queries = e[i][i] / e.iter().map(|row| row[i]).sum::<f64>();
                total -= of_documents.ln() / 2.0 + of_queries.ln() / 2.0;
            }
            loss += f64::from(*weight) * total / n as f64;
        }
        loss
    }

    /// Mean of 1 − cosine to the teacher.
    pub(super) fn distance(&self, bags: &[Bag], teacher: &[f32]) -> f64 {
        let each = bags.iter().zip(teacher.chunks_exact(self.width)).map(|(bag, target)| {
            let target: Vec<f64> = target.iter().map(|value| f64::from(*value)).collect();
            1.0 - dot(&self.embed(bag, self.width), &target)
        });
        each.sum::<f64>() / bags.len() as f64
    }

    /// Gradients of `loss` by rows and by weights, by central differences.
    pub(super) fn differences(&self, loss: impl Fn(&Naive) -> f64) -> (Vec<f64>, Vec<f64>) {
        const H: f64 = 1e-5;
        fn each(at: &Naive, len: usize, of: fn(&mut Naive) -> &mut Vec<f64>, loss: impl Fn(&Naive) -> f64) -> Vec<f64> {
            let moved = |index: usize, by: f64| {
                let mut table = at.clone();
                of(&mut table)[index] += by;
                loss(&table)
            };
            (0..len).map(|index| (moved(index, H) - moved(index, -H)) / (2.0 * H)).collect()
        }
        (
            each(self, self.rows.len(), |table| &mut table.rows, &loss),
            each(self, self.weights.len(), |table| &mut table.weights, &loss),
        )
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
