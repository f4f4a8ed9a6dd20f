//! The engine through its public face, over a dummy model.

#![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]

pub(super) mod dummy;

mod calls;
mod lanes;
mod lifetime;
mod listeners;
mod scheduling;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::*;
use crate::error::Code;
use crate::finish::Vectors;
use crate::sync::lock;
use dummy::WIDTH;

/// A call that is under way.
struct Running {
    results: Receiver<Result<EmbedOutput>>,
    cancel: Cancel,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Running {
    fn result(&self) -> Result<EmbedOutput> {
        let result = self.results.recv_timeout(Duration::from_secs(20)).expect("the call ends");
        assert!(self.results.try_recv().is_err(), "there is one result");
        result
    }

    fn code(&self) -> Code {
        self.result().expect_err("the call fails").code
    }

    fn is_over(&self) -> bool {
        match self.results.try_recv() {
            Ok(_) => true,
            Err(std::sync::mpsc::TryRecvError::Empty) => false,
            Err(std::sync::mpsc::TryRecvError::Disconnected) => panic!("the result was taken already"),
        }
    }

    fn events(&self) -> Vec<Event> {
        lock(&self.events).clone()
    }
}

/// A request for the model `m`, unnormalised so that rows can be recognised.
fn request() -> EmbedRequest {
    EmbedRequest { model: Some("m".to_owned()), normalize: false, ..EmbedRequest::default() }
}

/// The same for another model.
fn of(model: &str) -> EmbedRequest {
    EmbedRequest { model: Some(model.to_owned()), ..request() }
}

fn start_request(engine: &Engine, request: EmbedRequest, texts: impl Into<Texts>) -> Running {
    start_heard(engine, request, texts, |_| {})
}

/// Starts a call whose events are heard by `listener` as well.
fn start_heard(
    engine: &Engine,
    request: EmbedRequest,
    texts: impl Into<Texts>,
    listener: impl Fn(&Event) + Send + Sync + 'static,
) -> Running {
    let (sender, results) = channel();
    let cancel = Cancel::new();
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&events);
    let progress: OnEvent = Arc::new(move |event| {
        listener(&event);
        lock(&told).push(event);
    });
    engine.embed(request, texts, &cancel, Some(progress), move |result| {
        let _ = sender.send(result);
    });
    Running { results, cancel, events }
}

fn start(engine: &Engine, texts: impl Into<Texts>) -> Running {
    start_request(engine, request(), texts)
}

/// Starts a call, and waits until `batches` more are in the backend, which holds them.
fn start_held(
    engine: &Engine,
    stage: &dummy::Stage,
    request: EmbedRequest,
    texts: impl Into<Texts>,
    batches: usize,
) -> Running {
    stage.allow(0);
    let before = stage.batches().len();
    let running = start_request(engine, request, texts);
    stage.wait_for("the call's first batches", |stage| stage.batches().len() >= before + batches);
    running
}

/// Makes a hundred calls of 1 to 7 texts at once.
fn assert_a_hundred_calls(engine: &Engine, request: &EmbedRequest) {
    let calls: Vec<(Vec<String>, Running)> = (0..100)
        .map(|number| {
            let texts = job(&format!("call {number}"), 1 + number % 7, 20 + number);
            let running = start_request(engine, request.clone(), texts.clone());
            (texts, running)
        })
        .collect();
    for (texts, running) in &calls {
        assert_rows(&running.result().unwrap(), texts);
    }
}

fn embed(engine: &Engine, request: EmbedRequest, texts: impl Into<Texts>) -> Result<EmbedOutput> {
    engine.embed_blocking(request, texts, &Cancel::never())
}

/// What the dummy computes for a text.
fn expected(text: &str) -> [f32; WIDTH] {
    let encoded = dummy::DummyEncoder::default().encode(text, None).unwrap();
    dummy::row(&encoded.ids, encoded.pooled)
}

fn assert_rows(output: &EmbedOutput, texts: &[String]) {
    let Vectors::F32(values) = &output.vectors else { panic!("{:?}", output.vectors) };
    assert_eq!(values.len(), texts.len() * WIDTH);
    for (row, text) in values.chunks(WIDTH).zip(texts) {
        assert_eq!(row, expected(text), "{text}");
    }
}

fn strings<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

/// `count` different texts of about `length` tokens.
fn job(name: &str, count: usize, length: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{name} {number:05} {}", "x".repeat(length.saturating_sub(name.len() + 9))))
        .collect()
}
