//! How the bundled model is made, step by step: `cargo run --release -p embedding-engine-bundled -- STEP …`.

mod gather;
mod train;

use std::process::ExitCode;

const USAGE: &str = "usage: embedding-engine-bundled STEP [OPTIONS]

  gather --sources FILE --out FOLDER    makes pairs of the packages that scripts/gather-pairs.mjs fetched
  train-bundled --pairs FOLDER --teacher FOLDER [--out FOLDER]   trains on these pairs; see train/mod.rs";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((step, options)) => match step.as_str() {
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
