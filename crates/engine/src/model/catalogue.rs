//! The models that we know by name: aliases, pinned revisions, licences, and what their folders do not
//! say. A folder describes itself; what stands here only overrides.

use serde::Serialize;

use super::{Attention, License, Pooling, Task};
use crate::hub::near;

/// A model that we know.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    /// Hub id.
    pub id: &'static str,
    /// Short names for it.
    pub aliases: &'static [&'static str],
    /// The commit that the aliases stand for; without one, the branch `main`.
    pub revision: Option<&'static str>,
    /// What it is good for, in a few words.
    pub summary: &'static str,
    /// Millions of parameters.
    pub parameters: u32,
    /// Width of its vectors.
    pub dimensions: usize,
    /// The longest text, in tokens, where the folder is not to be asked.
    pub max_tokens: Option<usize>,
    /// Widths that its vectors can be cut to.
    pub matryoshka: &'static [usize],
    /// SPDX id or name of its licence.
    pub license: &'static str,
    /// Where the licence stands.
    pub license_link: Option<&'static str>,
    /// What a user must know of it, in one sentence.
    pub license_note: Option<&'static str>,
    /// Overrides config.json.
    #[serde(skip)]
    pub attention: Option<Attention>,
    /// Overrides the folder.
    #[serde(skip)]
    pub pooling: Option<Pooling>,
    /// Put at the end of each text unless it is already last.
    #[serde(skip)]
    pub end_token: Option<&'static str>,
    /// Prompt and task id of tasks, over those of the folder.
    #[serde(skip)]
    pub tasks: &'static [(Task, &'static str, Option<i64>)],
}

/// What most entries have in common.
const MODEL: Known = Known {
    id: "",
    aliases: &[],
    revision: None,
    summary: "",
    parameters: 0,
    dimensions: 0,
    max_tokens: None,
    matryoshka: &[],
    license: "Apache-2.0",
    license_link: Some("https://www.apache.org/licenses/LICENSE-2.0"),
    license_note: None,
    attention: None,
    pooling: None,
    end_token: None,
    tasks: &[],
};

/// The part of an entry that is common to models under CC-BY-NC-4.0.
const NON_COMMERCIAL: Known = Known {
    license: "CC-BY-NC-4.0",
    license_link: Some("https://creativecommons.org/licenses/by-nc/4.0/"),
    license_note: Some("Not for commercial use without a licence from Jina AI."),
    ..MODEL
};

const NL2CODE: &[(Task, &str, Option<i64>)] = &[
    (Task::Query, "Find the most relevant code snippet given the following query:\n", None),
    (Task::Document, "Candidate code snippet:\n", None),
];

/// The catalogue.
pub static KNOWN: &[Known] = &[
    Known {
        id: "Qodo/Qodo-Embed-1-1.5B",
        aliases: &["code", "qodo_embed"],
        revision: Some("84bbef079b32e8823ec226d4e9e92902706b0eb6"),
        summary: "Code, and questions about code",
        parameters: 1543,
        dimensions: 1536,
        max_tokens: Some(32_768),
        license: "QodoAI-Open-RAIL-M",
        license_link: Some("https://huggingface.co/Qodo/Qodo-Embed-1-1.5B"),
        license_note: Some("Its use restrictions pass on to derivatives, fine-tunes included."),
        attention: Some(Attention::Causal),
        pooling: Some(Pooling::LastToken),
        end_token: Some("<|endoftext|>"),
        ..MODEL
    },
    Known {
        id: "jinaai/jina-embeddings-v3",
        aliases: &["text", "jina_v3"],
        // What `main` has stood for since early 2025, by the snapshots that public programs name; could not be
        // asked of the hub where this was written.
        revision: Some("f1944de8402dcd5f2b03f822a4bc22a7f2de2eb9"),
        summary: "Text in many languages, five tasks",
        parameters: 572,
        dimensions: 1024,
        max_tokens: Some(8192),
        matryoshka: &[32, 64, 128, 256, 512, 768, 1024],
        pooling: Some(Pooling::Mean),
        tasks: &[
            (Task::Query, "Represent the query for retrieving evidence documents: ", Some(0)),
            (Task::Document, "Represent the document for retrieval: ", Some(1)),
            (Task::Clustering, "", Some(2)),
            (Task::Classification, "", Some(3)),
            (Task::Similarity, "", Some(4)),
        ],
        ..NON_COMMERCIAL
    },
    Known {
        id: "codefuse-ai/F2LLM-v2-80M",
        summary: "Text and code, very small",
        parameters: 80,
        dimensions: 320,
        ..MODEL
    },
    Known {
        id: "codefuse-ai/F2LLM-v2-160M",
        summary: "Text and code, small",
        parameters: 160,
        dimensions: 640,
        ..MODEL
    },
    Known { id: "codefuse-ai/F2LLM-v2-330M", summary: "Text and code", parameters: 330, dimensions: 896, ..MODEL },
    Known { id: "codefuse-ai/F2LLM-v2-0.6B", summary: "Text and code", parameters: 596, dimensions: 1024, ..MODEL },
    Known {
        id: "codefuse-ai/F2LLM-v2-1.7B",
        summary: "Text and code, large",
        parameters: 1700,
        dimensions: 2048,
        ..MODEL
    },
    Known {
        id: "Qwen/Qwen3-Embedding-0.6B",
        summary: "Text and code in many languages",
        parameters: 596,
        dimensions: 1024,
        max_tokens: Some(32_768),
        matryoshka: &[32, 64, 128, 256, 512, 768, 1024],
        ..MODEL
    },
    Known {
        id: "jinaai/jina-code-embeddings-0.5b",
        summary: "Code, and questions about code",
        parameters: 494,
        dimensions: 896,
        max_tokens: Some(32_768),
        matryoshka: &[64, 128, 256, 512, 896],
        pooling: Some(Pooling::LastToken),
        tasks: NL2CODE,
        ..NON_COMMERCIAL
    },
    Known {
        id: "jinaai/jina-code-embeddings-1.5b",
        summary: "Code, and questions about code, large",
        parameters: 1544,
        dimensions: 1536,
        max_tokens: Some(32_768),
        matryoshka: &[128, 256, 512, 1024, 1536],
        pooling: Some(Pooling::LastToken),
        tasks: NL2CODE,
        ..NON_COMMERCIAL
    },
    Known {
        id: "Alibaba-NLP/gte-Qwen2-1.5B-instruct",
        summary: "Text in many languages",
        parameters: 1543,
        dimensions: 1536,
        max_tokens: Some(32_768),
        end_token: Some("<|endoftext|>"),
        ..MODEL
    },
    Known {
        id: "Alibaba-NLP/gte-modernbert-base",
        summary: "English text and code, by its ONNX export",
        parameters: 149,
        dimensions: 768,
        max_tokens: Some(8192),
        ..MODEL
    },
    Known {
        id: "sentence-transformers/all-MiniLM-L6-v2",
        summary: "English text, very small",
        parameters: 22,
        dimensions: 384,
        max_tokens: Some(256),
        ..MODEL
    },
];

impl Known {
    /// The licence as the spec of a model has it.
    pub fn license(&self) -> License {
        License {
            name: self.license.to_owned(),
            link: self.license_link.map(str::to_owned),
            note: self.license_note.map(str::to_owned),
        }
    }
}

/// The entry of a hub id (case does not count, as on the hub).
pub fn find(id: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.id.eq_ignore_ascii_case(id))
}

/// What an alias stands for: the hub id, with `@revision` where one is pinned. `None` for what is no
/// alias; `bundled` and `auto` are the engine's.
pub fn resolve_alias(name: &str) -> Option<String> {
    let known = KNOWN.iter().find(|known| known.aliases.contains(&name))?;
    Some(match known.revision {
        Some(revision) => format!("{}@{revision}", known.id),
        None => known.id.to_owned(),
    })
}

/// Every name that a model can be asked for by: aliases and ids.
pub fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().flat_map(|known| known.aliases.iter().copied().chain([known.id]))
}

/// Known names that look like `name`, best first, at most three.
pub fn suggest(name: &str) -> Vec<&'static str> {
    near::suggest(name, names())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_and_names() {
        let qodo = "Qodo/Qodo-Embed-1-1.5B@84bbef079b32e8823ec226d4e9e92902706b0eb6";
        assert_eq!(resolve_alias("code").as_deref(), Some(qodo));
        assert_eq!(resolve_alias("qodo_embed").as_deref(), Some(qodo));
        let jina = "jinaai/jina-embeddings-v3@f1944de8402dcd5f2b03f822a4bc22a7f2de2eb9";
        assert_eq!(resolve_alias("text").as_deref(), Some(jina));
        assert_eq!(resolve_alias("jina_v3").as_deref(), Some(jina));
        for name in ["Code", "bundled", "auto", "Qodo/Qodo-Embed-1-1.5B", ""] {
            assert_eq!(resolve_alias(name), None, "{name}");
        }
        assert_eq!(find("qodo/qodo-embed-1-1.5b").map(|known| known.dimensions), Some(1536));
        assert_eq!(suggest("jinav3"), ["jina_v3"]);
        assert_eq!(suggest("MiniLM"), ["sentence-transformers/all-MiniLM-L6-v2"]);
    }

    #[test]
    fn entries_are_whole() {
        let mut all: Vec<&str> = names().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "a name stands twice");
        for known in KNOWN {
            assert!(matches!(crate::hub::Reference::parse(known.id), Ok(crate::hub::Reference::Hub { .. })));
            assert!(known.parameters > 0 && known.dimensions > 0 && !known.summary.is_empty());
            assert!(known.matryoshka.is_sorted() && known.matryoshka.iter().all(|&width| width <= known.dimensions));
            if let Some(revision) = known.revision {
                assert!(revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit()));
            }
        }
    }
}
