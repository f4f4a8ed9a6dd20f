//! Evaluation, as JavaScript sees it.

use std::path::{Path, PathBuf};

use embedding_engine::engine::{EmbedRequest, Engine, ModelReport, PreloadRequest};
use embedding_engine::{Cancel, Code, Error, Result};
use embedding_engine_chunk::{FileOptions, Template};
use embedding_engine_search::embedder::EngineEmbedder;
use embedding_engine_search::evaluate::{
    EngineModel, Options, Report, evaluate as evaluate_collection, evaluate_index, read_dataset, read_folder,
};
use napi::bindgen_prelude::{Env, Object};
use napi_derive::napi;
use serde::Deserialize;
use serde_json::json;

use crate::engine::{CancelToken, NativeEngine};
use crate::errors::guarded_napi;
use crate::events::{EventCallback, Events};
use crate::promise::{in_background, promise};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    folder: Option<PathBuf>,
    dataset: Option<PathBuf>,
    split: Option<String>,
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    name_repeats: Option<usize>,
    hybrid_weight: Option<f32>,
    blank_names: Option<bool>,
    #[serde(default)]
    through_index: bool,
}

/// Ranks the documents of a folder for queries with known answers.
///
/// @param requestJson JSON of the options of a call to the model: `{ model, dimensions?, truncate?, adapter?, space? }`
/// @param optionsJson JSON: `{ folder | dataset, split?, include?, exclude?, nameRepeats?, hybridWeight?, blankNames?,
/// throughIndex? }`
/// @returns JSON of the report, with a table of it as `text`
#[napi(ts_return_type = "Promise<string>")]
#[allow(clippy::too_many_arguments)]
pub fn evaluate<'env>(
    env: &'env Env,
    engine: &NativeEngine,
    request_json: String,
    options_json: String,
    cancel: &CancelToken,
    #[napi(ts_arg_type = "(json: string) => void")] on_event: Option<EventCallback<'_>>,
) -> napi::Result<Object<'env>> {
    guarded_napi(|| {
        let events = on_event.map(|callback| Events::new(env, &callback)).transpose()?;
        let sinks = Sinks { engine: events.as_ref().map(Events::sink), index: events.as_ref().map(Events::index_sink) };
        let (engine, cancel) = (engine.engine.clone(), cancel.cancel.clone());
        promise(
            env,
            events,
            |report: String| report,
            |done| {
                in_background("embedding-evaluate", done, move || {
                    run(engine, EmbedRequest::from_json(&request_json)?, parse(&options_json)?, &cancel, sinks)
                });
            },
        )
    })
}

struct Sinks {
    engine: Option<embedding_engine::engine::OnEvent>,
    index: Option<embedding_engine_search::event::OnIndexEvent>,
}

fn run(engine: Engine, request: EmbedRequest, asked: Asked, cancel: &Cancel, sinks: Sinks) -> Result<String> {
    let Asked { folder, dataset, split, include, exclude, name_repeats, hybrid_weight, blank_names, through_index } =
        asked;
    let files = FileOptions { include, exclude, ..FileOptions::default() };
    if through_index && let Some(folder) = &folder {
        return run_index(engine, request, folder, &files, cancel, sinks);
    }
    let default = Options::default();
    let options = Options {
        template: name_repeats.map_or(default.template, |name_repeats| Template { name_repeats }),
        weight: hybrid_weight.unwrap_or(default.weight),
        blank_names: blank_names.unwrap_or(default.blank_names),
        ..default
    };
    let collection = match (folder, dataset) {
        (Some(folder), None) => read_folder(&folder, &files, cancel)?.collection,
        (None, Some(dataset)) => read_dataset(&dataset, split.as_deref().unwrap_or("test"))?,
        _ => return Err(Error::new(Code::InvalidInput, "One of folder and dataset is needed.")),
    };
    let mut model = EngineModel::new(engine, request, cancel.clone(), sinks.engine.clone());
    let report = evaluate_collection(&collection, Some(&mut model), &options, cancel, sinks.engine)?;
    Ok(to_json(&report, None))
}

fn run_index(
    engine: Engine,
    request: EmbedRequest,
    folder: &Path,
    files: &FileOptions,
    cancel: &Cancel,
    sinks: Sinks,
) -> Result<String> {
    let asked = PreloadRequest { model: request.model.clone() };
    let embedder = Box::new(EngineEmbedder::new(engine.clone(), request)?);
    let run = evaluate_index(folder, files, embedder, cancel, sinks.index)?;
    // Loaded just now: this only asks for its description.
    let model: ModelReport = engine.preload_blocking(asked, cancel)?;
    let report = Report { model: Some(model), ..run.report };
    Ok(to_json(&report, Some((run.update_seconds, run.query_seconds))))
}

fn to_json(report: &Report, seconds: Option<(f64, f64)>) -> String {
    let mut json = json!(report);
    json["text"] = report.to_string().into();
    if let Some((update, query)) = seconds {
        json["updateSeconds"] = update.into();
        json["querySeconds"] = query.into();
    }
    json.to_string()
}

fn parse(json: &str) -> Result<Asked> {
    serde_json::from_str(json)
        .map_err(|error| Error::new(Code::InvalidOption, format!("The options of evaluate cannot be read: {error}.")))
}
