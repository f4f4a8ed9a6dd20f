//! The step `evaluate-pairs`: how well a model finds the code of held-out pairs, beside its baselines.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use embedding_engine::Cancel;
use embedding_engine::engine::{EmbedRequest, Engine, EngineOptions};
use embedding_engine_chunk::Template;
use embedding_engine_search::evaluate::{
    EngineModel, Options, Pair, Report, VectorModel, evaluate, pairs_of, read_pairs,
};

/// Prints the report on the files of pairs that are named.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let Arguments { files, model, threads, most, json, options } = Arguments::read(arguments)?;
    let pairs = read_pairs(&files).map_err(|error| error.message)?;
    let pairs = if let Some(most) = most { thinned(pairs, most) } else { pairs };
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let report = report(&names.join(", "), pairs, model, threads, &options)?;
    println!("{report}");
    let Some(path) = json else { return Ok(()) };
    let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
    std::fs::write(&path, text).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

/// The report on pairs, with a model by the engine.
fn report(
    name: &str,
    pairs: Vec<Pair>,
    model: Option<String>,
    threads: Option<usize>,
    options: &Options,
) -> Result<Report, String> {
    let collection = pairs_of(name, pairs).map_err(|error| error.message)?;
    let mut embedder = match model {
        Some(model) => {
            let engine = Engine::new(EngineOptions { threads, ..EngineOptions::default() });
            let request = EmbedRequest { model: Some(model), ..EmbedRequest::default() };
            Some(EngineModel::new(engine.map_err(|error| error.message)?, request, Cancel::never(), None))
        }
        None => None,
    };
    let embedder = embedder.as_mut().map(|embedder| embedder as &mut dyn VectorModel);
    evaluate(&collection, embedder, options, &Cancel::never(), None).map_err(|error| error.message)
}

/// At most so many pairs of each package, evenly spread over it.
fn thinned(pairs: Vec<Pair>, most: usize) -> Vec<Pair> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for pair in &pairs {
        *counts.entry(pair.package.clone()).or_default() += 1;
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut keeps = |pair: &Pair| {
        let (count, at) = (counts[&pair.package].max(most), seen.entry(pair.package.clone()).or_default());
        *at += 1;
        *at * most / count > (*at - 1) * most / count
    };
    pairs.into_iter().filter(|pair| keeps(pair)).collect()
}

#[derive(Default)]
struct Arguments {
    files: Vec<PathBuf>,
    model: Option<String>,
    threads: Option<usize>,
    most: Option<usize>,
    json: Option<PathBuf>,
    options: Options,
}

impl Arguments {
    fn read(arguments: &[String]) -> Result<Self, String> {
        let mut read =
            Arguments { options: Options { blank_names: false, ..Options::default() }, ..Arguments::default() };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n\n{}", crate::USAGE));
            match argument.as_str() {
                "--model" => read.model = Some(value()?.clone()),
                "--threads" => read.threads = Some(number(argument, value()?)?),
                "--most" => read.most = Some(number(argument, value()?)?),
                "--json" => read.json = Some(value()?.into()),
                "--name-repeats" => read.options.template = Template { name_repeats: number(argument, value()?)? },
                "--weight" => read.options.weight = number(argument, value()?)?,
                "--sweep-weights" => read.options.sweep = (0..=20).map(|at| at as f32 / 20.0).collect(),
                "--blank-names" => read.options.blank_names = true,
                "--plain" => read.options.plain_model = true,
                option if option.starts_with("--") => {
                    return Err(format!("there is no option '{option}'\n\n{}", crate::USAGE));
                }
                file => read.files.push(Path::new(file).to_owned()),
            }
        }
        if read.files.is_empty() { Err(format!("no file of pairs is named\n\n{}", crate::USAGE)) } else { Ok(read) }
    }
}

fn number<T: std::str::FromStr>(option: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{option} takes a number, not '{value}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_thinned_evenly() {
        let pair = |package: &str, at: usize| Pair {
            package: package.to_owned(),
            name: None,
            inside: Vec::new(),
            signature: None,
            query: at.to_string(),
            code: String::new(),
        };
        let pairs = (0..10).map(|at| pair("a", at)).chain((0..3).map(|at| pair("b", at))).collect();
        let kept: Vec<String> = thinned(pairs, 4).into_iter().map(|pair| pair.package + &pair.query).collect();
        assert_eq!(kept, ["a2", "a4", "a7", "a9", "b0", "b1", "b2"]);
    }
}
