//! An engine without models: texts become made-up ids, and the "model" computes a row from them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::backend::{Backend, BackendInfo, head::Head};
use crate::batch::PackedBatch;
use crate::cancel::Cancel;
use crate::engine::OnEvent;
use crate::engine::{Description, Encoder, Engine, EngineOptions, Loader, Weights};
use crate::error::{Code, Error, Result};
use crate::hub::Located;
use crate::model::*;
use crate::sync::lock;
use crate::tokenize::Encoded;

pub(in crate::engine) const WIDTH: usize = 4;
pub(in crate::engine) const MAX_TOKENS: usize = 600;

/// A token a byte, control characters dropped; `0` in front, `1` at the end.
#[derive(Default)]
pub(in crate::engine) struct DummyEncoder {
    pub(in crate::engine) encoded: AtomicUsize,
    /// Leaves the prompt out of pooling.
    pub(in crate::engine) exclude_prompt: bool,
}

impl Encoder for DummyEncoder {
    fn encode(&self, text: &str, prompt: Option<&str>) -> Result<Encoded> {
        self.encoded.fetch_add(1, Ordering::Relaxed);
        match text {
            "fail" => return Err(Error::internal("told to fail")),
            "panic" => panic!("told to panic"),
            _ => {}
        }
        let prompt = prompt.unwrap_or_default();
        let content = prompt.chars().chain(text.chars()).filter(|c| !c.is_control());
        let mut ids: Vec<u32> = std::iter::once(0).chain(content.map(u32::from)).chain([1]).collect();
        let untruncated = ids.len();
        if ids.len() > MAX_TOKENS {
            ids.truncate(MAX_TOKENS - 1);
            ids.push(1);
        }
        let start = if self.exclude_prompt { (1 + prompt.chars().count()).min(ids.len()) } else { 0 };
        let pooled = start as u32..ids.len() as u32;
        Ok(Encoded { ids, untruncated, pooled })
    }

    fn encode_chunks(
        &self,
        text: &str,
        prompt: Option<&str>,
        chunks: &[Range<usize>],
    ) -> Result<(Encoded, Vec<Range<u32>>)> {
        let encoded = self.encode(text, prompt)?;
        let offset = 1 + prompt.map_or(0, |prompt| prompt.chars().count());
        let token = |byte: usize| {
            let chars = text[..byte].chars().filter(|c| !c.is_control()).count();
            (offset + chars).min(encoded.ids.len() - 1) as u32
        };
        let spans = chunks.iter().map(|chunk| token(chunk.start)..token(chunk.end)).collect();
        Ok((encoded, spans))
    }
}

/// What the tests tell the dummy, and what they see of it.
#[derive(Default)]
pub(in crate::engine) struct Stage {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    batches: Vec<PackedBatch>,
    /// Batches wait until so many may run; `None`: all may.
    allowed: Option<usize>,
    loads: usize,
    describes: usize,
    loads_held: bool,
    loads_cancelled: usize,
    alive: BTreeSet<String>,
    dropped: Vec<String>,
    fail_next_load: Option<Error>,
    /// More tokens than this in a batch are `OUT_OF_MEMORY`.
    memory: Option<usize>,
    notices: Vec<String>,
}

impl Stage {
    /// Lets `count` more batches run, and holds the others.
    pub(in crate::engine) fn allow(&self, count: usize) {
        let mut state = lock(&self.state);
        state.allowed = Some(state.allowed.unwrap_or(0) + count);
        self.changed.notify_all();
    }

    pub(in crate::engine) fn allow_all(&self) {
        lock(&self.state).allowed = None;
        self.changed.notify_all();
    }

    pub(in crate::engine) fn hold_loads(&self, hold: bool) {
        lock(&self.state).loads_held = hold;
        self.changed.notify_all();
    }

    pub(in crate::engine) fn fail_next_load(&self, error: Error) {
        lock(&self.state).fail_next_load = Some(error);
    }

    pub(in crate::engine) fn limit_memory(&self, tokens: usize) {
        lock(&self.state).memory = Some(tokens);
    }

    /// What the backend has to say after its next batch.
    pub(in crate::engine) fn notice(&self, message: &str) {
        lock(&self.state).notices.push(message.to_owned());
    }

    pub(in crate::engine) fn batches(&self) -> Vec<PackedBatch> {
        lock(&self.state).batches.clone()
    }

    pub(in crate::engine) fn loads(&self) -> usize {
        lock(&self.state).loads
    }

    pub(in crate::engine) fn describes(&self) -> usize {
        lock(&self.state).describes
    }

    pub(in crate::engine) fn loads_cancelled(&self) -> usize {
        lock(&self.state).loads_cancelled
    }

    pub(in crate::engine) fn alive(&self) -> Vec<String> {
        lock(&self.state).alive.iter().cloned().collect()
    }

    /// Models whose weights were freed, in order.
    pub(in crate::engine) fn dropped(&self) -> Vec<String> {
        lock(&self.state).dropped.clone()
    }

    /// Waits until the condition holds.
    pub(in crate::engine) fn wait_for(&self, what: &str, condition: impl Fn(&Stage) -> bool) {
        for _ in 0..2000 {
            if condition(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("waited in vain for {what}");
    }
}

/// Rows that tell whose they are: length, first and last content token, and their sum.
pub(in crate::engine) fn row(ids: &[u32], span: Range<u32>) -> [f32; WIDTH] {
    let ids = &ids[span.start as usize..span.end as usize];
    let sum: u32 = ids.iter().sum();
    [ids.len() as f32, ids[0] as f32 + 1.0, ids[ids.len() - 1] as f32, sum as f32]
}

struct DummyBackend {
    name: String,
    info: BackendInfo,
    stage: Arc<Stage>,
}

impl Backend for DummyBackend {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn lanes(&self) -> usize {
        if self.name == "lanes" { 3 } else { 1 }
    }

    fn notices(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.stage.state).notices)
    }

    fn run(&self, batch: &PackedBatch, cancel: &Cancel) -> Result<Vec<f32>> {
        {
            let mut state = lock(&self.stage.state);
            state.batches.push(batch.clone());
            let number = state.batches.len();
            while state.allowed.is_some_and(|allowed| number > allowed) {
                cancel.check()?;
                let wait = Duration::from_millis(2);
                state = self.stage.changed.wait_timeout(state, wait).expect("no panic under the lock").0;
            }
            if state.memory.is_some_and(|memory| batch.tokens() > memory) {
                return Err(Error::new(Code::OutOfMemory, format!("{} tokens are too many", batch.tokens())));
            }
        }
        cancel.check()?;
        // Words in the texts tell what to do.
        let contains = |word: &str| {
            let word: Vec<u32> = word.chars().map(u32::from).collect();
            batch.ids.windows(word.len()).any(|ids| ids == word)
        };
        assert!(!contains("backend panics"), "told to panic");
        if contains("backend fails") {
            return Err(Error::internal("told to fail"));
        }
        let mut rows = Vec::new();
        for span in &batch.spans {
            let ids = &batch.ids[batch.range(span.sequence as usize)];
            let mut values = row(ids, span.start..span.end);
            if contains("gives nan") && ids.windows(2).any(|pair| pair == [u32::from('g'), u32::from('i')]) {
                values[2] = f32::NAN;
            }
            rows.extend(values);
        }
        if contains("too few rows") {
            rows.truncate(rows.len() - WIDTH);
        }
        Ok(rows)
    }
}

impl Drop for DummyBackend {
    fn drop(&mut self) {
        let mut state = lock(&self.stage.state);
        state.alive.remove(&self.name);
        state.dropped.push(self.name.clone());
    }
}

/// Models by the name of their "folder". `big` takes 100 bytes, others 10; `missing` is not there; `last`
/// pools the last token; `instructed` leaves the prompt out of pooling; `lanes` takes three batches at once.
pub(in crate::engine) struct DummyLoader {
    pub(in crate::engine) stage: Arc<Stage>,
}

impl Loader for DummyLoader {
    fn locate(&self, model: &str, _overrides: &ModelOverrides, _cancel: &Cancel, _events: &OnEvent) -> Result<Located> {
        if model == "missing" {
            return Err(Error::new(Code::ModelNotFound, "missing: there is no such model"));
        }
        // `a` and `same-as-a` lie in one folder.
        let root = model.strip_prefix("same-as-").unwrap_or(model);
        Ok(Located { id: model.to_owned(), revision: None, root: PathBuf::from(root) })
    }

    fn describe(&self, located: &Located, overrides: &ModelOverrides) -> Result<Description> {
        lock(&self.stage.state).describes += 1;
        let name = located.root.display().to_string();
        assert!(name != "describe-panics", "told to panic");
        let encoder = DummyEncoder { exclude_prompt: name == "instructed", ..DummyEncoder::default() };
        Ok(Description { spec: spec(located, overrides), encoder: Arc::new(encoder) })
    }

    fn weight_bytes(&self, spec: &ModelSpec) -> Result<u64> {
        Ok(if spec.files.root.ends_with("big") { 100 } else { 10 })
    }

    fn load(&self, spec: &ModelSpec, cancel: &Cancel) -> Result<Weights> {
        let name = spec.files.root.display().to_string();
        let mut state = lock(&self.stage.state);
        state.loads += 1;
        while state.loads_held {
            if cancel.is_cancelled() {
                state.loads_cancelled += 1;
                return Err(Error::aborted());
            }
            let wait = Duration::from_millis(2);
            state = self.stage.changed.wait_timeout(state, wait).expect("no panic under the lock").0;
        }
        if let Some(error) = state.fail_next_load.take() {
            return Err(error);
        }
        assert!(name != "load-panics", "told to panic");
        state.alive.insert(name.clone());
        drop(state);
        let weight_bytes = self.weight_bytes(spec)?;
        let info = BackendInfo { device: "cpu".to_owned(), dtype: "float32".to_owned(), width: WIDTH, weight_bytes };
        let backend = Arc::new(DummyBackend { name, info, stage: Arc::clone(&self.stage) });
        Ok(Weights { backend, head: Head::load(&[])?, content: format!("content of {}", spec.files.root.display()) })
    }

    fn tokens_per_batch(&self, _device: &str) -> usize {
        200
    }
}

pub(in crate::engine) fn spec(located: &Located, overrides: &ModelOverrides) -> ModelSpec {
    let name = located.root.display().to_string();
    let tasks = [Task::Document, Task::Query, Task::Similarity, Task::Classification, Task::Clustering];
    let task = |task: Task| {
        let prompt = if task == Task::Query { Some("query: ".to_owned()) } else { None };
        (task, TaskSpec { prompt, task_id: None })
    };
    ModelSpec {
        id: located.id.clone(),
        revision: None,
        files: ModelFiles {
            root: located.root.clone(),
            transformer: located.root.clone(),
            tokenizer: located.root.join("tokenizer.json"),
            weights: vec![],
        },
        backend: BackendKind::Candle,
        architecture: Architecture::Onnx,
        attention: Attention::Bidirectional,
        pooling: if name == "last" { Pooling::LastToken } else { Pooling::Mean },
        include_prompt: name != "instructed",
        head: vec![],
        tasks: tasks.into_iter().map(task).collect::<BTreeMap<_, _>>(),
        end_token: EndToken::Tokenizer,
        lower_case: false,
        max_tokens: overrides.max_tokens.unwrap_or(MAX_TOKENS),
        dimensions: WIDTH,
        matryoshka: vec![2, 4],
        license: None,
        content: String::new(),
    }
}

/// An engine over a dummy, with options in JSON.
pub(in crate::engine) fn engine(options: &str) -> (Engine, Arc<Stage>) {
    let stage = Arc::new(Stage::default());
    let options = EngineOptions::from_json(options).expect("the options are right");
    let loader = DummyLoader { stage: Arc::clone(&stage) };
    (Engine::with_loader(options, Arc::new(loader)).expect("the options are right"), stage)
}
