//! A tiny encoder as an ONNX graph, and the same in plain f64.
//!
//! `x = token + type + position + task`, `y = tanh((x + mean of x over the text) · W)`, layer by layer.
//! The mean makes each token depend on the mask, so that padding that leaks is seen at once.

use std::path::{Path, PathBuf};

use embedding_engine::model::Pooling;

use crate::proto::{Dimension, Graph, Type};

/// The last id is `VOCABULARY - 1`.
pub(crate) const VOCABULARY: usize = 50;
const POSITIONS: usize = 64;
const TASKS: usize = 5;

/// How the graph is exported.
#[derive(Debug, Clone)]
pub(crate) struct Encoder {
    pub(crate) width: usize,
    pub(crate) layers: usize,
    /// Type of the integer inputs.
    pub(crate) integers: Type,
    pub(crate) token_types: bool,
    pub(crate) positions: bool,
    /// Dimensions of `task_id`, if there is one.
    pub(crate) task: Option<Vec<Dimension>>,
    pub(crate) rows: Dimension,
    pub(crate) tokens: Dimension,
    /// Type of the outputs.
    pub(crate) element: Type,
    /// Outputs, in order: `last_hidden_state`, `sentence_embedding` or `pooler_output` by what they
    /// hold, under any name.
    pub(crate) outputs: Vec<(&'static str, Holds)>,
    /// Whether the outputs tell their width.
    pub(crate) tells_width: bool,
    /// The file that the weights go to.
    pub(crate) external: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    Tokens,
    Mean,
    /// Something that is no embedding.
    Noise,
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder {
            width: 8,
            layers: 2,
            integers: Type::Int64,
            token_types: false,
            positions: false,
            task: None,
            rows: Dimension::Free("batch"),
            tokens: Dimension::Free("sequence"),
            element: Type::Float,
            outputs: vec![("last_hidden_state", Holds::Tokens)],
            tells_width: true,
            external: None,
        }
    }
}

/// Values in [-1, 1) that depend on the place and a seed only.
fn noise(len: usize, seed: u32) -> Vec<f32> {
    let value = |i: u32| (i.wrapping_add(seed * 7919).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0;
    (0..len as u32).map(value).collect()
}

impl Encoder {
    fn table(&self, rows: usize, seed: u32) -> Vec<f32> {
        noise(rows * self.width, seed)
    }

    fn matrix(&self) -> Vec<f32> {
        let scale = (self.width as f32).sqrt();
        noise(self.width * self.width, 9).into_iter().map(|value| value / scale).collect()
    }

    /// The graph.
    pub(crate) fn graph(&self) -> Graph {
        let mut graph = Graph { external: self.external, ..Graph::default() };
        let matrix = [self.rows, self.tokens];
        graph.input("input_ids", self.integers, &matrix);
        graph.input("attention_mask", self.integers, &matrix);
        graph.weights("tokens", &[VOCABULARY, self.width], &self.table(VOCABULARY, 1));
        graph.node("Gather", &["tokens", "input_ids"], "x0");
        let mut current = "x0".to_owned();
        let mut add = |graph: &mut Graph, input: &str, rows: usize, seed: u32, dimensions: &[Dimension]| {
            graph.input(input, self.integers, dimensions);
            let (table, found, sum) = (format!("{input}_table"), format!("{input}_rows"), format!("{input}_sum"));
            graph.weights(&table, &[rows, self.width], &self.table(rows, seed));
            let mut index = input.to_owned();
            if dimensions.len() == 1 {
                // One per text: [batch] -> [batch, 1], so that its row is added to each token.
                graph.node("Unsqueeze", &[input, "axis1"], "task_column");
                index = "task_column".to_owned();
            }
            graph.node("Gather", &[&table, &index], &found);
            graph.node("Add", &[&current, &found], &sum);
            current = sum;
        };
        if self.token_types {
            add(&mut graph, "token_type_ids", 2, 2, &matrix);
        }
        if self.positions {
            add(&mut graph, "position_ids", POSITIONS, 3, &matrix);
        }
        if let Some(task) = &self.task {
            add(&mut graph, "task_id", TASKS, 4, task);
        }
        graph.weights("w", &[self.width, self.width], &self.matrix());
        graph.integers("axis1", &[1]);
        graph.integers("axis2", &[2]);
        graph.node_with("Cast", &["attention_mask"], "mask_f", &[("to", Type::Float as i64)]);
        graph.node("Unsqueeze", &["mask_f", "axis2"], "mask");
        graph.node("ReduceSum", &["mask", "axis1"], "count");
        for layer in 0..self.layers {
            let name = |part: &str| format!("{part}_{layer}");
            mean(&mut graph, &current, &name("mean"));
            graph.node("Add", &[&current, &name("mean")], &name("mixed"));
            graph.node("MatMul", &[&name("mixed"), "w"], &name("product"));
            graph.node("Tanh", &[&name("product")], &name("y"));
            current = name("y");
        }
        for (name, holds) in &self.outputs {
            let width = if self.tells_width { Dimension::Fixed(self.width) } else { Dimension::Free("width") };
            let value = format!("{name}_value");
            let dimensions = match holds {
                Holds::Tokens => {
                    graph.node("Identity", &[&current], &value);
                    vec![self.rows, self.tokens, width]
                }
                Holds::Mean | Holds::Noise => {
                    mean(&mut graph, &current, &format!("{name}_mean"));
                    graph.node("Squeeze", &[&format!("{name}_mean"), "axis1"], &format!("{name}_flat"));
                    let operator = if *holds == Holds::Mean { "Identity" } else { "Exp" };
                    graph.node(operator, &[&format!("{name}_flat")], &value);
                    vec![self.rows, width]
                }
            };
            graph.node_with("Cast", &[&value], name, &[("to", self.element as i64)]);
            graph.output(name, self.element, Some(&dimensions));
        }
        graph
    }

    /// Writes the graph (and the file beside it) into a folder.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let graph = self.graph();
        let file = folder.join("model.onnx");
        std::fs::write(&file, graph.model()).expect("written");
        if let Some(external) = self.external {
            std::fs::write(folder.join(external), &graph.data).expect("written");
        }
        file
    }

    /// Token rows of one text, in f64.
    pub(crate) fn reference(&self, ids: &[u32], task: Option<i64>) -> Vec<Vec<f64>> {
        let width = self.width;
        let row = |table: &[f32], index: usize| -> Vec<f64> {
            table[index * width..(index + 1) * width].iter().map(|&value| f64::from(value)).collect()
        };
        let (tokens, types) = (self.table(VOCABULARY, 1), self.table(2, 2));
        let (positions, tasks) = (self.table(POSITIONS, 3), self.table(TASKS, 4));
        let matrix = self.matrix();
        let mut x: Vec<Vec<f64>> = ids.iter().map(|&id| row(&tokens, id as usize)).collect();
        for (at, x) in x.iter_mut().enumerate() {
            let mut add = |other: Vec<f64>| x.iter_mut().zip(other).for_each(|(x, other)| *x += other);
            if self.token_types {
                add(row(&types, 0));
            }
            if self.positions {
                add(row(&positions, at));
            }
            if self.task.is_some() {
                add(row(&tasks, task.expect("a task") as usize));
            }
        }
        for _ in 0..self.layers {
            let mean: Vec<f64> =
                (0..width).map(|column| x.iter().map(|x| x[column]).sum::<f64>() / x.len() as f64).collect();
            for x in &mut x {
                let mixed: Vec<f64> = x.iter().zip(&mean).map(|(x, mean)| x + mean).collect();
                for (column, x) in x.iter_mut().enumerate() {
                    let products =
                        mixed.iter().enumerate().map(|(k, mixed)| mixed * f64::from(matrix[k * width + column]));
                    *x = products.sum::<f64>().tanh();
                }
            }
        }
        x
    }

    /// One pooled row, in f64.
    pub(crate) fn pooled(
        &self,
        ids: &[u32],
        span: std::ops::Range<usize>,
        pooling: Pooling,
        task: Option<i64>,
    ) -> Vec<f64> {
        let rows = &self.reference(ids, task)[span];
        let n = rows.len() as f64;
        (0..self.width)
            .map(|column| {
                let values = rows.iter().map(|row| row[column]);
                match pooling {
                    Pooling::LastToken => rows[rows.len() - 1][column],
                    Pooling::Cls => rows[0][column],
                    Pooling::Max => values.fold(f64::NEG_INFINITY, f64::max),
                    Pooling::MeanSqrtLen => values.sum::<f64>() / n.sqrt(),
                    Pooling::WeightedMean => {
                        let weighted = values.enumerate().map(|(at, value)| (at + 1) as f64 * value);
                        weighted.sum::<f64>() / (n * (n + 1.0) / 2.0)
                    }
                    Pooling::Mean | Pooling::None => values.sum::<f64>() / n,
                }
            })
            .collect()
    }
}

/// Mean over the tokens of each text: `[batch, 1, width]`.
fn mean(graph: &mut Graph, input: &str, output: &str) {
    graph.node("Mul", &[input, "mask"], &format!("{output}_masked"));
    graph.node("ReduceSum", &[&format!("{output}_masked"), "axis1"], &format!("{output}_sum"));
    graph.node("Div", &[&format!("{output}_sum"), "count"], output);
}
