//! Large and deep input: no stack overflows, and time does not grow with the square of the length.
#![allow(clippy::unwrap_used)]

mod common;

use common::covers;
use embedding_engine_chunk::{Language, Options, chunk};

#[test]
fn a_megabyte_of_open_brackets() {
    // On a stack as small as that of a thread of musl.
    let work = || {
        for language in Language::all() {
            let often = matches!(language, Language::JavaScript | Language::Python | Language::Rust | Language::C);
            let text = "(".repeat(if often { 1 << 20 } else { 1 << 16 });
            covers(&text, &chunk(&text, Some(language), &Options::default()));
        }
    };
    std::thread::Builder::new().stack_size(128 << 10).spawn(work).unwrap().join().unwrap();
}

#[test]
fn declarations_deep_in_each_other() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(2000), close.repeat(2000));
    for (language, text) in [
        (Language::TypeScript, deep("namespace n { ", "}")),
        (Language::JavaScript, deep("({ a() { return ", "} })")),
        (Language::JavaScript, deep("f(() => { ", "})")),
        (Language::JavaScript, deep("a = { m() {}, b: ", "}")),
        (Language::Rust, deep("mod m { ", "}")),
        (Language::Java, deep("class A { ", "}")),
        (Language::Cpp, deep("namespace n { ", "}")),
        (Language::Php, format!("<?php {}", deep("if (x) { ", "}"))),
        (Language::Ruby, deep("module M\n", "end\n")),
        (Language::Elixir, deep("defmodule M do\n", "end\n")),
        (Language::Python, (0..100).map(|i| format!("{}class A:\n", " ".repeat(i))).collect()),
        (Language::Markdown, deep("> ", "\n")),
    ] {
        covers(&text, &chunk(&text, Some(language), &Options::default()));
    }
}

#[test]
fn one_line_of_200_kb() {
    let line = |part: &str| part.repeat(200_000 / part.len());
    for (language, text) in [
        (Language::JavaScript, format!("!function(){{{}}}()", line("function f(a){return a+1};"))),
        (Language::JavaScript, line("var a=b?c(d,e):[1,2,{x:3}];")),
        (Language::TypeScript, format!("const x = {{{}}}", line("a: { b: [1, 2], c: 'd' }, "))),
        (Language::Python, format!("x = [{}]", line("1, 'two', (3, 4), "))),
        (Language::Rust, format!("const X: &[u8] = &[{}];", line("0x00, "))),
        (Language::C, format!("int x[] = {{{}}};", line("1, 2, "))),
    ] {
        let chunks = chunk(&text, Some(language), &Options::default());
        covers(&text, &chunks);
        assert!(chunks.iter().all(|chunk| chunk.range.len() <= 2000), "{language:?}");
        assert!(chunks.len() < 10_000, "{language:?}: {}", chunks.len());
    }
}
