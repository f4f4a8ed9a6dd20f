//! How the bundled model is made, step by step: `cargo run --release -p embedding-engine-bundled -- STEP …`.

mod evaluate_pairs;
mod gather;
mod train;

use std::process::ExitCode;

const USAGE: &str = "usage: embedding-engine-bundled STEP [OPTIONS]

  gather --sources FILE --out FOLDER    makes pairs of the packages that scripts/gather-pairs.mjs fetched
  train-bundled --pairs FOLDER --teacher FOLDER [--out FOLDER]   trains on these pairs; see train/mod.rs
  evaluate-pairs FILE…                  ranks the codes of pairs for their queries, by BM25 and by a model
      [--model MODEL] [--threads N]     a folder or a hub id; without one only the baselines are ranked
      [--name-repeats N]                how often names stand before code (8)
      [--weight W] [--sweep-weights]    of BM25 beside the model (0.3); NDCG@10 at weights from 0 to 1
      [--blank-names] [--plain]         all again without the names of units; the model on plain code too
      [--most N]                        pairs of a package, evenly chosen (all)
      [--json FILE]                     writes the report as JSON as well";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((step, options)) => match step.as_str() {
            "evaluate-pairs" => evaluate_pairs::run(options),
            "gather" => gather::run(options),
            "train-bundled" => train::run(options),
            other => Err(format!("there is no step '{other}'\n\n{USAGE}")),
        },
        None => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// What follows an option such as `--out`.
fn value<'o>(options: &'o [String], name: &str) -> Result<&'o str, String> {
    let at = options.iter().position(|option| option == name);
    let value = at.and_then(|at| options.get(at + 1));
    value.map(String::as_str).ok_or_else(|| format!("{name} is missing\n\n{USAGE}"))
}
