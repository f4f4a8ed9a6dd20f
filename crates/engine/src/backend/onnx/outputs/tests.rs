use ort::value::TensorElementType::{Bfloat16, Float16, Float32, Int64};

use super::Level::{Texts, Tokens};
use super::*;
use crate::error::Code;

/// `name:rank`, all of width 8 and float32 unless the name says otherwise.
fn ports(names: &[&str]) -> Vec<Port> {
    let port = |text: &&str| {
        let (name, rank) = text.split_once(':').expect("name:rank");
        let dimensions = match rank {
            "2" => vec![-1, 8],
            "3" => vec![-1, -1, 8],
            "4" => vec![-1, 2, -1, -1],
            _ => vec![],
        };
        let element = match name {
            "ids" => Int64,
            "half" => Float16,
            "brain" => Bfloat16,
            _ => Float32,
        };
        Port { name: name.to_owned(), element, dimensions }
    };
    names.iter().map(port).collect()
}

#[test]
fn choices() {
    for (outputs, pooling, name, level) in [
        // Token-level first where we pool.
        (&["last_hidden_state:3", "pooler_output:2"][..], Pooling::Mean, "last_hidden_state", Tokens),
        (&["sentence_embedding:2", "token_embeddings:3"], Pooling::Mean, "token_embeddings", Tokens),
        (&["text_embeds:3"], Pooling::Mean, "text_embeds", Tokens),
        (&["attentions:4", "y:3"], Pooling::Cls, "y", Tokens),
        (&["extra:3", "last_hidden_state:3"], Pooling::LastToken, "last_hidden_state", Tokens),
        (&["ids:3", "half:3"], Pooling::Mean, "half", Tokens),
        (&["brain:3"], Pooling::Mean, "brain", Tokens),
        (&["last_hidden_state:?"], Pooling::Mean, "last_hidden_state", Tokens),
        // A pooled graph serves whole texts.
        (&["sentence_embedding:2"], Pooling::Mean, "sentence_embedding", Texts),
        (&["embedding:2", "pooler_output:2"], Pooling::Mean, "embedding", Texts),
        (&["y:2"], Pooling::Mean, "y", Texts),
        // The graph pools by itself.
        (&["token_embeddings:3", "sentence_embedding:2"], Pooling::None, "sentence_embedding", Texts),
        (&["last_hidden_state:3", "y:2"], Pooling::None, "y", Texts),
        (&["pooler_output:2", "y:2"], Pooling::None, "y", Texts),
        (&["text_embeds:2"], Pooling::None, "text_embeds", Texts),
        (&["pooler_output:2"], Pooling::None, "pooler_output", Texts),
    ] {
        let chosen = choose(&ports(outputs), pooling).unwrap_or_else(|error| panic!("{outputs:?}: {error}"));
        assert_eq!((chosen.name.as_str(), chosen.level), (name, level), "{outputs:?} {pooling:?}");
    }
}

#[test]
fn no_choice() {
    for (outputs, pooling) in [
        (&[][..], Pooling::Mean),
        (&["pooler_output:2"], Pooling::Mean),
        (&["a:2", "b:2"], Pooling::Mean),
        (&["a:3", "b:3"], Pooling::Mean),
        (&["ids:3"], Pooling::Mean),
        (&["unknown:?"], Pooling::Mean),
        (&["last_hidden_state:4"], Pooling::Mean),
        (&["last_hidden_state:3", "pooler_output:2"], Pooling::None),
        (&["text_embeds:3"], Pooling::None),
        (&["a:2", "b:2"], Pooling::None),
    ] {
        let error = choose(&ports(outputs), pooling).expect_err("no choice");
        assert_eq!(error.code, Code::ModelUnsupported);
        for output in outputs {
            let name = output.split(':').next().unwrap_or_default();
            assert!(error.message.contains(name), "{}", error.message);
        }
    }
}

#[test]
fn widths() {
    assert_eq!(choose(&ports(&["y:3"]), Pooling::Mean).expect("chosen").width, Some(8));
    assert_eq!(choose(&ports(&["last_hidden_state:?"]), Pooling::Mean).expect("chosen").width, None);
    let mut free = ports(&["y:3"]);
    free[0].dimensions[2] = -1;
    assert_eq!(choose(&free, Pooling::Mean).expect("chosen").width, None);
}

#[test]
fn values_become_f32() {
    let mut scratch = Vec::new();
    let half = [f16::from_f32(1.0), f16::from_f32(-2.5)];
    assert_eq!(Values::F16(&half).range(1..2, &mut scratch), [-2.5]);
    let brain = [bf16::from_f32(3.0)];
    assert_eq!(Values::Bf16(&brain).range(0..1, &mut scratch), [3.0]);
    assert_eq!(Values::F64(&[0.25, 4.0]).range(0..2, &mut scratch), [0.25, 4.0]);
    assert_eq!(Values::F32(&[1.0, 2.0]).range(0..1, &mut scratch), [1.0]);
}
