//! How to train.

/// The constants of Adam (Kingma and Ba, 2015, algorithm 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Decay of the mean of the gradients a step; 0.9.
    pub beta1: f32,
    /// Decay of the mean of the squared gradients a step; 0.999.
    pub beta2: f32,
    /// Added to the root of the mean square; 1e-8.
    pub epsilon: f32,
    /// "Lazy" Adam: a token that a step does not have keeps its row and its means as they are; off.
    ///
    /// Off is Adam as published: such a token has the gradient 0, its means decay, and its row moves on by what is
    /// left of them. Lazy gives rare tokens shorter ways in all: try it on dev before believing in it.
    pub lazy: bool,
}

impl Default for Adam {
    fn default() -> Self {
        Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, lazy: false }
    }
}

/// How [`fit`](super::fit) trains.
#[derive(Debug, Clone, PartialEq)]
pub struct FitOptions {
    /// Passes over the examples; 8.
    pub epochs: usize,
    /// Examples a step, each a negative of all others: 2 to 16,384; 1,024.
    pub batch: usize,
    /// Highest learning rate of the rows; 2e-3, which suits rows that come from a teacher. Random rows
    /// want 5e-3.
    pub learning_rate: f32,
    /// Highest learning rate of the tokens' weights; half of that of the rows.
    pub weight_learning_rate: f32,
    /// Share of all steps over which the learning rates rise from 0; then they fall in a line. 0.1.
    pub warm_up: f32,
    /// Share of the highest learning rates below which they do not fall; 0.
    pub min_learning_rate: f32,
    /// Logits are cosines divided by this; 0.05.
    pub temperature: f32,
    /// Probability that a distinct token of a text is left out of a step; 0.3. At least one stays.
    pub dropout: f32,
    /// Drops each occurrence of a token by itself, rather than all occurrences of a token; off.
    pub dropout_occurrences: bool,
    /// Matryoshka losses: how many of the first dimensions are kept, and the weight of the loss on
    /// them; 384 at 1, 192 at 0.5, 96 at 0.25.
    pub widths: Vec<(usize, f32)>,
    /// How many examples of one cluster come into a batch together, as hard negatives of each other; 1: as they fall.
    pub block: usize,
    /// Seed of the order of examples and of dropout; 0.
    pub seed: u64,
    /// The optimiser's constants.
    pub adam: Adam,
}

impl Default for FitOptions {
    fn default() -> Self {
        FitOptions {
            epochs: 8,
            batch: 1024,
            learning_rate: 2e-3,
            weight_learning_rate: 1e-3,
            warm_up: 0.1,
            min_learning_rate: 0.0,
            temperature: 0.05,
            dropout: 0.3,
            dropout_occurrences: false,
            // The full width is what most use; the cuts train the same rows once more, so they need less.
            widths: vec![(384, 1.0), (192, 0.5), (96, 0.25)],
            block: 1,
            seed: 0,
            adam: Adam::default(),
        }
    }
}

/// How [`distill`](super::distill) trains.
#[derive(Debug, Clone, PartialEq)]
pub struct DistillOptions {
    /// Passes over the texts; 12.
    pub epochs: usize,
    /// Texts a step, 1 to 16,384; 256, so that 24,000 texts give about a thousand steps.
    pub batch: usize,
    /// Highest learning rate of the rows; 2e-3.
    pub learning_rate: f32,
    /// Highest learning rate of the tokens' weights; half of that of the rows.
    pub weight_learning_rate: f32,
    /// Share of all steps over which the learning rates rise from 0; then they fall in a line. 0.1.
    pub warm_up: f32,
    /// Share of the highest learning rates below which they do not fall; 0.
    pub min_learning_rate: f32,
    /// Probability that a distinct token of a text is left out of a step; 0. At least one stays.
    pub dropout: f32,
    /// Drops each occurrence of a token by itself, rather than all occurrences of a token; off.
    pub dropout_occurrences: bool,
    /// Seed of the order of texts and of dropout; 0.
    pub seed: u64,
    /// The optimiser's constants.
    pub adam: Adam,
}

impl Default for DistillOptions {
    fn default() -> Self {
        DistillOptions {
            epochs: 12,
            batch: 256,
            learning_rate: 2e-3,
            weight_learning_rate: 1e-3,
            warm_up: 0.1,
            min_learning_rate: 0.0,
            dropout: 0.0,
            dropout_occurrences: false,
            seed: 0,
            adam: Adam::default(),
        }
    }
}
