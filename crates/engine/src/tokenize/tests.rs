#![allow(clippy::unwrap_used)]

use std::path::Path;

use proptest::prelude::*;

use super::*;

/// One of the small tokenizers among the fixtures, as [`load`] leaves it.
fn small(name: &str) -> Tokenizer {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../__test__/fixtures/tokenizers")
        .join(name)
        .join("tokenizer.json");
    let mut inner = tokenizers::Tokenizer::from_file(file).unwrap();
    inner.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
    Tokenizer {
        file: "tokenizer.json".into(),
        local: windows::is_local(&inner),
        inner,
        template: Template::End(0),
        max_tokens: usize::MAX,
        truncate_left: false,
        include_prompt: true,
        trim_offsets: false,
        table: None,
        special: vec![],
    }
}

fn same_in_windows(tokenizer: &Tokenizer, text: &str, window: usize, margin: usize) {
    let never = Cancel::never();
    let whole = tokenizer.inner.encode(text, false).unwrap();
    let (ids, offsets) = tokenizer.content_in_windows(text, true, &never, window, margin).unwrap();
    assert_eq!(ids, whole.get_ids(), "{text:?} in windows of {window}");
    assert_eq!(offsets, whole.get_offsets(), "{text:?} in windows of {window}");
    let (fast, _) = tokenizer.content_in_windows(text, false, &never, window, margin).unwrap();
    assert_eq!(fast, ids);
}

#[test]
fn windows_change_nothing() {
    let texts = [
        "fn main() {\n    let x = a.b(c)  +  d;\n\n\n\n\t\tif x == 10_000 { return }\n}\n",
        "The silver bridge, isn't it?  We'LL see.   Œuvre straße naïve e\u{301}e\u{301} x\u{0323}\u{307}y 中文字 かな が 한국어 \u{1112}\u{1161}\u{11ab}",
        "a<|endoftext|>b <mask> c[MASK]d</s>e <|im_start|>\n<|im_end|>  <pad>",
        "𝔘𝔫𝔦 😀👩‍👩‍👧 ﬁ ﬀ Ｆｕｌｌ ½ ™ \u{a0}\u{3000}\u{200b}\u{feff}\r\n\r \u{85}\u{2028}x",
        "שלום עולם مرحبا بالعالم नमस्ते हि\u{94d}न्दी தமிழ் \u{bc6}\u{bbe} ไทย",
        "12345678901234567890 3.14159 0xdeadbeef 1'000'000 ''''s 't 're",
    ];
    for name in ["bpe", "roberta", "wordpiece", "unigram"] {
        let tokenizer = small(name);
        assert!(tokenizer.local, "{name}");
        for text in texts {
            let text = text.repeat(3);
            for window in [24, 33, 64, 100] {
                same_in_windows(&tokenizer, &text, window, 16);
            }
        }
        // One word that is longer than any window.
        same_in_windows(&tokenizer, &"a".repeat(1000), 24, 16);
        same_in_windows(&tokenizer, &" ".repeat(1000), 24, 16);
    }
}

#[test]
fn windows_can_be_cancelled() {
    let cancel = Cancel::new();
    cancel.cancel();
    let tokenizer = small("bpe");
    assert_eq!(tokenizer.encode_cancellable("x", None, &cancel).unwrap_err().code, Code::Aborted);
    assert_eq!(tokenizer.encode_chunks_cancellable("x", None, &[], &cancel).unwrap_err().code, Code::Aborted);
}

#[test]
fn tokenizers_that_are_not_cut() {
    use tokenizers::normalizers::{NormalizerWrapper, Prepend, Strip};
    use tokenizers::pre_tokenizers::PreTokenizerWrapper;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};

    let mut tokenizer = small("unigram").inner;
    tokenizer.with_normalizer(Some(NormalizerWrapper::StripNormalizer(Strip::new(true, true)))).unwrap();
    assert!(!windows::is_local(&tokenizer));
    tokenizer.with_normalizer(Some(NormalizerWrapper::Prepend(Prepend::new("▁".into())))).unwrap();
    assert!(!windows::is_local(&tokenizer));
    tokenizer.with_normalizer(None::<NormalizerWrapper>).unwrap();
    assert!(windows::is_local(&tokenizer));
    let metaspace = Metaspace::new('▁', PrependScheme::Always, true);
    tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::Metaspace(metaspace)));
    assert!(!windows::is_local(&tokenizer));
    tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::ByteLevel(ByteLevel::new(true, true, true))));
    assert!(!windows::is_local(&tokenizer));
    tokenizer.with_pre_tokenizer(None::<PreTokenizerWrapper>);
    assert!(!windows::is_local(&tokenizer));
    tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true))));
    assert!(windows::is_local(&tokenizer));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn windows_change_no_text(
        parts in prop::collection::vec(
            prop_oneof![
                4 => "[a-zA-Z]{1,9}",
                3 => "[ \n\r\t]{1,4}",
                2 => "[0-9.,;:()'\"{}_=+<>/|-]{1,4}",
                1 => "\\PC{1,4}",
                1 => "[\u{300}-\u{36f}\u{3099}\u{309a}\u{1100}-\u{11ff}\u{200d}]{1,3}",
                1 => "[\u{4e00}-\u{4e20}かがハバ한국]{1,6}",
                1 => prop::sample::select(vec!["<|endoftext|>", "[MASK]", "<mask>", "</s>", "<s>", "[SEP]"]).prop_map(str::to_owned),
            ],
            1..60,
        ),
        window in 24usize..120,
    ) {
        thread_local! {
            static TOKENIZERS: Vec<Tokenizer> = ["bpe", "roberta", "wordpiece", "unigram"].map(small).into();
        }
        let text = parts.concat();
        TOKENIZERS.with(|all| all.iter().for_each(|tokenizer| same_in_windows(tokenizer, &text, window, 16)));
    }
}
