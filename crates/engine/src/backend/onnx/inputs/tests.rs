use ort::value::TensorElementType::{Float32, Int32, Int64};

use super::*;
use crate::error::Code;

fn port(name: &str, element: TensorElementType, dimensions: &[i64]) -> Port {
    Port { name: name.to_owned(), element, dimensions: dimensions.to_vec() }
}

/// `input_ids` and `attention_mask` of any size, and more.
fn with(more: &[Port]) -> Vec<Port> {
    let mut ports = vec![port("input_ids", Int64, &[-1, -1]), port("attention_mask", Int64, &[-1, -1])];
    ports.extend_from_slice(more);
    ports
}

#[test]
fn the_usual_inputs() {
    let read = Inputs::read(&with(&[port("token_type_ids", Int64, &[-1, -1]), port("position_ids", Int32, &[-1, -1])]));
    let read = read.expect("known inputs");
    assert_eq!((read.fixed_rows, read.fixed_tokens, read.has_task), (None, None, false));
    assert_eq!(read.inputs.len(), 4);
    assert_eq!(read.inputs[3], ("position_ids".to_owned(), Role::Positions, Integer::I32));
}

#[test]
fn shapes_of_the_task_id() {
    for (dimensions, shape) in [(&[][..], TaskShape::Scalar), (&[1], TaskShape::One), (&[-1], TaskShape::PerRow)] {
        let read = Inputs::read(&with(&[port("task_id", Int64, dimensions)])).expect("known inputs");
        assert!(read.has_task);
        assert_eq!(read.inputs[2].1, Role::Task(shape));
        assert_eq!((read.fixed_rows, read.fixed_tokens), (None, None));
    }
}

#[test]
fn fixed_sizes() {
    let ports = [port("input_ids", Int64, &[1, 128]), port("attention_mask", Int64, &[-1, 128])];
    let read = Inputs::read(&ports).expect("known inputs");
    assert_eq!((read.fixed_rows, read.fixed_tokens), (Some(1), Some(128)));
    let per_row = Inputs::read(&with(&[port("task_id", Int64, &[4])])).expect("known inputs");
    assert_eq!(per_row.fixed_rows, Some(4));
}

#[test]
fn a_shape_that_is_not_told_is_taken() {
    let ports = [port("input_ids", Int64, &[]), port("attention_mask", Int64, &[])];
    assert!(Inputs::read(&ports).is_ok());
}

#[test]
fn what_is_refused_is_named() {
    let cases = [
        (with(&[port("past_key_values.0.key", Float32, &[-1, 2, -1, 64])]), "past_key_values.0.key"),
        (vec![port("input_ids", Int64, &[-1, -1])], "attention_mask"),
        (vec![port("attention_mask", Int64, &[-1, -1])], "input_ids"),
        (vec![], "input_ids"),
        (vec![port("input_ids", Float32, &[-1, -1]), port("attention_mask", Int64, &[-1, -1])], "input_ids"),
        (vec![port("input_ids", Int64, &[-1]), port("attention_mask", Int64, &[-1, -1])], "[batch, sequence]"),
        (with(&[port("token_type_ids", Int64, &[-1, 8]), port("position_ids", Int64, &[-1, 9])]), "sequence size"),
        (with(&[port("token_type_ids", Int64, &[0, -1])]), "batch size"),
        (with(&[port("task_id", Int64, &[-1, -1])]), "task_id"),
        (with(&[port("task_id", Float32, &[])]), "task_id"),
    ];
    for (ports, says) in cases {
        let error = Inputs::read(&ports).expect_err(says);
        assert_eq!(error.code, Code::ModelUnsupported);
        assert!(error.message.contains(says), "{}", error.message);
    }
}
