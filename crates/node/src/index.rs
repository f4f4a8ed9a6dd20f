//! An index of a folder, as JavaScript sees it.

use std::path::{Path, PathBuf};

use embedding_engine::engine::EmbedRequest;
use embedding_engine::{Code, Error, Result};
use embedding_engine_search::embedder::EngineEmbedder;
use embedding_engine_search::{
    Filter, Hit, Index, QueryOptions, Stats, UpdateOptions, UpdateReport, canonical_folder, default_store,
};
use napi::bindgen_prelude::{Env, Object};
use napi_derive::napi;
use serde::Deserialize;
use serde_json::json;

use crate::engine::{CancelToken, NativeEngine};
use crate::errors::{guarded, guarded_napi};
use crate::events::{EventCallback, Events};
use crate::promise::{in_background, promise};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpenOptions {
    store: Option<PathBuf>,
    home: Option<PathBuf>,
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
}

#[derive(Deserialize)]
struct AskedFilter {
    #[serde(default)]
    language: Vec<String>,
    #[serde(default)]
    path: Vec<String>,
}

#[derive(Deserialize)]
struct AskedOptions {
    top: Option<usize>,
    hybrid: Option<bool>,
    filter: Option<AskedFilter>,
}

/// An index of a folder.
#[napi]
pub struct NativeIndex {
    index: Index,
}

/// Opens the index of a folder, or makes an empty one.
///
/// @param requestJson JSON of the options of a call to the model: `{ model, dimensions?, truncate?, adapter?, space? }`
/// @param optionsJson JSON: `{ store?, home?, include?, exclude? }`
#[napi(ts_return_type = "Promise<NativeIndex>")]
pub fn open_index<'env>(
    env: &'env Env,
    engine: &NativeEngine,
    folder: String,
    request_json: String,
    options_json: String,
) -> napi::Result<Object<'env>> {
    guarded_napi(|| {
        let engine = engine.engine.clone();
        promise(
            env,
            None,
            |index| NativeIndex { index },
            |done| {
                in_background("embedding-index", done, move || {
                    let embedder = EngineEmbedder::new(engine, EmbedRequest::from_json(&request_json)?)?;
                    let OpenOptions { store, home, include, exclude } = parse(&options_json)?;
                    let folder = canonical_folder(Path::new(&folder))?;
                    let store = store.map_or_else(|| default_store(&folder, home), Ok)?;
                    Index::open(&folder, &store, Box::new(embedder), UpdateOptions { include, exclude })
                });
            },
        )
    })
}

#[napi]
impl NativeIndex {
    /// Brings the index up to date. JSON of what was done.
    #[napi(ts_return_type = "Promise<string>")]
    pub fn update<'env>(
        &self,
        env: &'env Env,
        cancel: &CancelToken,
        #[napi(ts_arg_type = "(json: string) => void")] on_event: Option<EventCallback<'_>>,
    ) -> napi::Result<Object<'env>> {
        guarded_napi(|| {
            let events = on_event.map(|callback| Events::new(env, &callback)).transpose()?;
            let sink = events.as_ref().map(Events::index_sink);
            let (index, cancel) = (self.index.clone(), cancel.cancel.clone());
            let convert = |report: UpdateReport| json!(report).to_string();
            promise(env, events, convert, |done| {
                in_background("embedding-update", done, move || index.update(&cancel, sink));
            })
        })
    }

    /// JSON of the best hits for a text.
    ///
    /// @param optionsJson JSON: `{ top?, hybrid?, filter?: { language?: string[], path?: string[] } }`
    #[napi(ts_return_type = "Promise<string>")]
    pub fn query<'env>(
        &self,
        env: &'env Env,
        text: String,
        options_json: String,
        cancel: &CancelToken,
        #[napi(ts_arg_type = "(json: string) => void")] on_event: Option<EventCallback<'_>>,
    ) -> napi::Result<Object<'env>> {
        guarded_napi(|| {
            let events = on_event.map(|callback| Events::new(env, &callback)).transpose()?;
            let sink = events.as_ref().map(Events::sink);
            let (index, cancel) = (self.index.clone(), cancel.cancel.clone());
            let convert = |hits: Vec<Hit>| json!(hits).to_string();
            promise(env, events, convert, |done| {
                in_background("embedding-query", done, move || {
                    index.query(&text, &query_options(&options_json)?, &cancel, sink)
                });
            })
        })
    }

    /// JSON of how much there is.
    #[napi(ts_return_type = "Promise<string>")]
    pub fn stats<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        guarded_napi(|| {
            let index = self.index.clone();
            let convert = |stats: Stats| json!(stats).to_string();
            promise(env, None, convert, |done| in_background("embedding-stats", done, move || index.stats()))
        })
    }

    /// The space of the vectors, as far as it is known.
    #[napi]
    pub fn space(&self) -> napi::Result<Option<String>> {
        guarded(|| Ok(self.index.space()))
    }

    /// Ends what runs, and closes the file.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn close<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        guarded_napi(|| {
            let index = self.index.clone();
            promise(
                env,
                None,
                |()| (),
                |done| {
                    in_background("embedding-close", done, move || {
                        index.close();
                        Ok(())
                    });
                },
            )
        })
    }
}

fn query_options(json: &str) -> Result<QueryOptions> {
    let AskedOptions { top, hybrid, filter } = parse(json)?;
    let default = QueryOptions::default();
    let filter = filter.map(|AskedFilter { language, path }| Filter { languages: language, paths: path });
    Ok(QueryOptions {
        top: top.unwrap_or(default.top),
        hybrid: hybrid.unwrap_or(default.hybrid),
        filter: filter.unwrap_or(default.filter),
    })
}

fn parse<'de, T: Deserialize<'de>>(json: &'de str) -> Result<T> {
    serde_json::from_str(json)
        .map_err(|error| Error::new(Code::InvalidOption, format!("The options of an index cannot be read: {error}.")))
}
