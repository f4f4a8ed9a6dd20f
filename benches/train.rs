//! The trainer of static token tables at the sizes of the bundled model, on synthetic texts.
//!
//! `cargo bench --bench train`; `RAYON_NUM_THREADS=1 cargo bench --bench train` for one thread. Tokens are drawn by
//! Zipf's law over 16,384; a query has about 12 distinct ones, a document about 80. Steps are timed through epochs,
//! so that the figures hold what a real training pays.

#![allow(clippy::unwrap_used, missing_docs)]

use embedding_engine::Cancel;
use embedding_engine::train::static_table::{Bag, DistillOptions, Example, FitOptions, Table, distill, fit};

const VOCABULARY: usize = 16_384;
const WIDTH: usize = 384;
const EXAMPLES: usize = 16 * 1024;

fn main() {
    let mut random = Xorshift(0x1234_5678_9abc_def1);
    let zipf = Zipf::new();
    let examples: Vec<Example> = (0..EXAMPLES)
        .map(|group| {
            let [query, document] = [13, 84].map(|tokens| zipf.bag(tokens, &mut random));
            Example { query, document, group: group as u64, cluster: 0 }
        })
        .collect();
    let mean = |of: fn(&Example) -> &Bag| {
        examples.iter().map(|example| of(example).ids.len()).sum::<usize>() as f64 / EXAMPLES as f64
    };
    println!(
        "{EXAMPLES} pairs, distinct tokens: {:.1} a query, {:.1} a document; {VOCABULARY} × {WIDTH}; {} threads",
        mean(|example| &example.query),
        mean(|example| &example.document),
        rayon::current_num_threads()
    );

    let mut table = Table::random(VOCABULARY, WIDTH, 1);
    table.set_idf_weights(examples.iter().map(|example| &example.document));
    for (name, dropout) in [("fit", 0.3), ("fit without dropout", 0.0)] {
        let options = FitOptions { epochs: 3, dropout, ..FitOptions::default() };
        fit(&mut table.clone(), &examples, &options, &Cancel::never(), &mut |epoch| {
            report(name, epoch.steps * options.batch, epoch.steps, epoch.seconds);
            true
        })
        .unwrap();
    }

    let texts: Vec<Bag> = examples.into_iter().map(|example| example.document).collect();
    let teacher: Vec<f32> = texts
        .iter()
        .flat_map(|text| {
            let mut vector = vec![0.0; WIDTH];
            table.embed(text, &mut vector);
            vector
        })
        .collect();
    let options = DistillOptions { epochs: 3, ..DistillOptions::default() };
    distill(&mut Table::random(VOCABULARY, WIDTH, 2), &texts, &teacher, &options, &Cancel::never(), &mut |epoch| {
        report("distill", epoch.steps * options.batch, epoch.steps, epoch.seconds);
        true
    })
    .unwrap();
}

fn report(name: &str, texts: usize, steps: usize, seconds: f64) {
    println!("{name:24} {:>8.0} examples/s {:>8.1} ms a step", texts as f64 / seconds, 1e3 * seconds / steps as f64);
}

/// Tokens with probability 1 / (rank + 20): the most frequent makes about one in 150.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new() -> Self {
        let mut sum = 0.0;
        Zipf(
            (0..VOCABULARY)
                .map(|rank| {
                    sum += 1.0 / (rank as f64 + 20.0);
                    sum
                })
                .collect(),
        )
    }

    fn bag(&self, tokens: usize, random: &mut Xorshift) -> Bag {
        let draw = |_| {
            let at = random.unit() * self.0[VOCABULARY - 1];
            self.0.partition_point(|sum| *sum < at) as u32
        };
        Bag::of(&(0..tokens).map(draw).collect::<Vec<_>>())
    }
}

/// Marsaglia's xorshift64.
struct Xorshift(u64);

impl Xorshift {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}
