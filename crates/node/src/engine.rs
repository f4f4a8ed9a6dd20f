//! The engine as JavaScript sees it.

use embedding_engine::engine::{
    CountRequest, Download, DownloadRequest, EmbedOutput, EmbedRequest, Engine, EngineOptions, ModelReport, OnEvent,
    PreloadRequest, Texts, Verification, verify_request,
};
use embedding_engine::finish::Vectors;
use embedding_engine::{Cancel, Result};
use napi::bindgen_prelude::{Either3, Env, Float32Array, Int8Array, Object, ToNapiValue, Uint8Array, Uint32Array};
use napi_derive::napi;
use serde_json::json;

use crate::errors::{guarded, guarded_napi};
use crate::events::{EventCallback, Events};
use crate::farewell;
use crate::promise::{Done, in_background, promise};

/// Asks calls to stop. One token may go with several calls.
#[napi]
#[derive(Default)]
pub struct CancelToken {
    pub(crate) cancel: Cancel,
}

#[napi]
impl CancelToken {
    /// A token that was not cancelled.
    #[napi(constructor)]
    pub fn new() -> Self {
        CancelToken { cancel: Cancel::new() }
    }

    /// The calls reject at once with `ABORTED`; what computes for them stops soon.
    #[napi]
    pub fn cancel(&self) -> napi::Result<()> {
        guarded(|| {
            self.cancel.cancel();
            Ok(())
        })
    }
}

/// The vectors of a call.
#[napi(object)]
pub struct NativeVectors {
    /// All rows one after another: `Float32Array` for float32, `Int8Array` for int8 and binary,
    /// `Uint8Array` for uint8 and ubinary.
    #[napi(ts_type = "Float32Array | Int8Array | Uint8Array")]
    pub data: Either3<Float32Array, Int8Array, Uint8Array>,
    /// What the model read of each text.
    pub tokens_per_text: Uint32Array,
    /// One byte a text: 1 where it was cut.
    pub truncated: Uint8Array,
    /// JSON: `{ dimensions, model, space, tokens }`.
    pub report: String,
}

/// One engine of the core.
#[napi]
pub struct NativeEngine {
    pub(crate) engine: Engine,
}

#[napi]
impl NativeEngine {
    /// @param optionsJson JSON of the options of an engine, without `logger`, with `onnxRuntime` (path of the library)
    #[napi(constructor)]
    pub fn new(env: Env, options_json: String) -> napi::Result<Self> {
        let engine = guarded(|| Engine::new(EngineOptions::from_json(&options_json)?))?;
        farewell::watch(&env, &engine)?;
        Ok(NativeEngine { engine })
    }

    /// Embeds texts. `text` is the UTF-8 of all of them one after another, `lengths` the bytes of each; both
    /// are copied before this returns.
    ///
    /// @param requestJson JSON of the options of a call, without `signal` and `onProgress`; with `chunks`
    /// (`{ start, end }[]` in bytes of the one text), or `wait: true` to wait where the queue is full
    /// @param onEvent told progress events as JSON, in order, none after the promise has settled
    #[napi(ts_return_type = "Promise<NativeVectors>")]
    #[allow(clippy::too_many_arguments)]
    pub fn embed<'env>(
        &self,
        env: &'env Env,
        request_json: String,
        text: &[u8],
        lengths: &[u32],
        cancel: &CancelToken,
        #[napi(ts_arg_type = "(json: string) => void")] on_event: Option<EventCallback<'_>>,
    ) -> napi::Result<Object<'env>> {
        let request = || Ok((EmbedRequest::from_json(&request_json)?, texts(text, lengths)?));
        call(env, on_event, request, vectors, |(request, texts), sink, done| {
            self.engine.embed(request, texts, &cancel.cancel, sink, done);
        })
    }

    /// Counts the tokens of each text with all that is put around it, before truncation. Loads no weights.
    #[napi(ts_return_type = "Promise<Uint32Array>")]
    #[allow(clippy::too_many_arguments)]
    pub fn count_tokens<'env>(
        &self,
        env: &'env Env,
        request_json: String,
        text: &[u8],
        lengths: &[u32],
        cancel: &CancelToken,
        #[napi(ts_arg_type = "(json: string) => void")] on_event: Option<EventCallback<'_>>,
    ) -> napi::Result<Object<'env>> {
        let request = || Ok((CountRequest::from_json(&request_json)?, texts(text, lengths)?));
        call(env, on_event, request, Uint32Array::new, |(request, texts), sink, done| {
            self.engine.count_tokens(request, texts, &cancel.cancel, sink, done);
        })
    }

    /// Loads a model.
    ///
    /// @param requestJson JSON: `{ model, adapter? }`
    /// @returns JSON of what was loaded, as `model` in the result of a call
    #[napi(ts_return_type = "Promise<string>")]
    pub fn preload<'env>(
        &self,
        env: &'env Env,
        request_json: String,
        cancel: &CancelToken,
        #[napi(ts_arg_type = "(json: string) => void")] on_event: Option<EventCallback<'_>>,
    ) -> napi::Result<Object<'env>> {
        let convert = |report: ModelReport| json!(report).to_string();
        let request = || PreloadRequest::from_json(&request_json);
        call(env, on_event, request, convert, |request, sink, done| {
            self.engine.preload(request, &cancel.cancel, sink, done)
        })
    }

    /// Fetches a model without loading it.
    ///
    /// @param requestJson JSON: `{ model, include? }`
    /// @returns JSON: `{ id, revision, path, bytes, downloadedBytes, files: { file, bytes }[] }`
    #[napi(ts_return_type = "Promise<string>")]
    pub fn download<'env>(
        &self,
        env: &'env Env,
        request_json: String,
        cancel: &CancelToken,
        #[napi(ts_arg_type = "(json: string) => void")] on_event: Option<EventCallback<'_>>,
    ) -> napi::Result<Object<'env>> {
        let convert = |download: Download| json!(download).to_string();
        let request = || DownloadRequest::from_json(&request_json);
        call(env, on_event, request, convert, |request, sink, done| {
            self.engine.download(request, &cancel.cancel, sink, done)
        })
    }

    /// Hashes what lies in the hub cache again.
    ///
    /// @param requestJson JSON: `{ model? }`
    /// @returns JSON: `{ ok, bytes, models: { id, path, ok, files: { file, revision, bytes, ok, reason? }[] }[] }`
    #[napi(ts_return_type = "Promise<string>")]
    pub fn verify<'env>(
        &self,
        env: &'env Env,
        request_json: String,
        cancel: &CancelToken,
        #[napi(ts_arg_type = "(json: string) => void")] on_event: Option<EventCallback<'_>>,
    ) -> napi::Result<Object<'env>> {
        let convert = |found: Verification| json!(found).to_string();
        let request = || verify_request(&request_json);
        call(env, on_event, request, convert, |model, sink, done| self.engine.verify(model, &cancel.cancel, sink, done))
    }

    /// Ends all calls with `DISPOSED`; settles when the models are freed.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn dispose<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        guarded_napi(|| {
            let engine = self.engine.clone();
            engine.dispose();
            promise(
                env,
                None,
                |()| (),
                |done| {
                    in_background("embedding-dispose", done, move || {
                        engine.dispose_blocking(None);
                        Ok(())
                    });
                },
            )
        })
    }
}

/// Makes a call of an engine: `start` begins it for the `request` that JavaScript made, `convert` gives its result
/// back. A request that cannot be read rejects the promise.
fn call<'env, R, T, V>(
    env: &'env Env,
    on_event: Option<EventCallback<'_>>,
    request: impl FnOnce() -> Result<R>,
    convert: impl FnOnce(T) -> V + Send + 'static,
    start: impl FnOnce(R, Option<OnEvent>, Done<T>),
) -> napi::Result<Object<'env>>
where
    T: Send + 'static,
    V: ToNapiValue + 'static,
{
    guarded_napi(|| {
        let events = on_event.map(|callback| Events::new(env, &callback)).transpose()?;
        let sink = events.as_ref().map(Events::sink);
        let request = request();
        promise(env, events, convert, |done| match request {
            Ok(request) => start(request, sink, done),
            Err(error) => done(Err(error)),
        })
    })
}

fn texts(text: &[u8], lengths: &[u32]) -> Result<Texts> {
    Texts::from_bytes(text.to_vec(), lengths)
}

/// Without copying: the typed arrays take over the memory.
fn vectors(output: EmbedOutput) -> NativeVectors {
    let EmbedOutput { vectors, dimensions, tokens_per_text, truncated, model, space } = output;
    let tokens: u64 = tokens_per_text.iter().copied().map(u64::from).sum();
    NativeVectors {
        data: match vectors {
            Vectors::F32(values) => Either3::A(Float32Array::new(values)),
            Vectors::I8(values) => Either3::B(Int8Array::new(values)),
            Vectors::U8(values) => Either3::C(Uint8Array::new(values)),
        },
        tokens_per_text: Uint32Array::new(tokens_per_text),
        truncated: Uint8Array::new(truncated.into_iter().map(u8::from).collect()),
        report: json!({ "dimensions": dimensions, "model": model, "space": space, "tokens": tokens }).to_string(),
    }
}
