#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn how(dimensions: usize, normalize: bool, precision: Precision) -> Finish {
    Finish { dimensions, normalize, precision }
}

#[test]
fn cuts_and_then_normalises_again() {
    let rows = [3.0, 4.0, 100.0, 0.0, -2.0, 7.0];
    assert_eq!(finish(&rows, 3, how(2, true, Precision::Float32)).unwrap(), Vectors::F32(vec![0.6, 0.8, 0.0, -1.0]));
    assert_eq!(finish(&rows, 3, how(2, false, Precision::Float32)).unwrap(), Vectors::F32(vec![3.0, 4.0, 0.0, -2.0]));
}

#[test]
fn norms_do_not_over_or_underflow() {
    let Vectors::F32(row) = finish(&[1e30, 1e30], 2, how(2, true, Precision::Float32)).unwrap() else { panic!() };
    assert!(row.iter().all(|x| (x - 0.5_f32.sqrt()).abs() < 1e-7), "{row:?}");
    let Vectors::F32(row) = finish(&[0.0, 1e-40], 2, how(2, true, Precision::Float32)).unwrap() else { panic!() };
    assert_eq!(row, [0.0, 1.0]);
}

#[test]
fn int8_has_one_fixed_scale() {
    let rows = [1.0, -1.0, 0.5, 0.0, 2.0, -9.0];
    let int8 = finish(&rows, 6, how(6, false, Precision::Int8)).unwrap();
    assert_eq!(int8, Vectors::I8(vec![127, -127, 64, 0, 127, -127]));
    let uint8 = finish(&rows, 6, how(6, false, Precision::Uint8)).unwrap();
    assert_eq!(uint8, Vectors::U8(vec![255, 1, 192, 128, 255, 1]));
}

/// Rows and results out of `sentence_transformers.util.quantize_embeddings` 6.0 (binary, ubinary).
#[test]
fn bits_are_packed_as_sentence_transformers_packs_them() {
    let rows: [f32; 60] = [
        0.0, 0.3, -0.27, 0.0, -0.45, -0.99, 0.06, 1.34, -0.49, -0.62, 0.49, 0.36, 0.11, -0.93, -0.03, 0.7, -1.34,
        -0.46, -1.9, -1.29, -0.0, -0.24, -1.27, 0.27, 0.16, -0.19, -2.52, -0.54, -0.05, 0.11, -1.53, -0.48, -0.98,
        -0.81, 1.06, -0.81, -0.03, 0.88, -0.58, -0.11, 0.11, 0.06, -1.23, 0.08, 1.36, -1.55, 0.86, 0.12, -0.64, 2.0,
        0.76, -1.2, 0.07, 0.58, -0.19, 0.68, -0.07, 0.67, 1.44, -0.68,
    ];
    for normalize in [false, true] {
        let binary = finish(&rows, 20, how(20, normalize, Precision::Binary)).unwrap();
        assert_eq!(binary, Vectors::I8(vec![-61, -71, -128, -104, -62, -64, 91, -19, -32]));
        let ubinary = finish(&rows, 20, how(20, normalize, Precision::Ubinary)).unwrap();
        assert_eq!(ubinary, Vectors::U8(vec![67, 57, 0, 24, 66, 64, 219, 109, 96]));
    }
}

#[test]
fn refuses_what_it_cannot_vouch_for() {
    let cases = [([1.0, f32::NAN], "NaN"), ([f32::INFINITY, 1.0], "infinity"), ([0.0, -0.0], "nothing but zeros")];
    for (bad, found) in cases {
        for precision in [Precision::Float32, Precision::Int8, Precision::Binary] {
            for normalize in [true, false] {
                let rows = [[1.0, 2.0], bad].concat();
                let error = finish(&rows, 2, how(2, normalize, precision)).unwrap_err();
                assert_eq!(error.code, Code::NonFinite);
                assert_eq!(error.details["index"], 1);
                assert_eq!(error.details["found"], found);
            }
        }
    }
    // What is cut off does not matter, what remains does.
    assert!(finish(&[1.0, f32::NAN], 2, how(1, true, Precision::Float32)).is_ok());
    assert_eq!(finish(&[0.0, 1.0], 2, how(1, true, Precision::Float32)).unwrap_err().code, Code::NonFinite);
}

#[test]
fn refuses_rows_that_are_none() {
    for (rows, width, dimensions) in [(5, 2, 2), (4, 2, 3), (4, 0, 0), (4, 2, 0)] {
        let error = finish(&vec![1.0; rows], width, how(dimensions, true, Precision::Float32)).unwrap_err();
        assert_eq!(error.code, Code::Internal);
    }
}

#[test]
fn rows_are_copied_to_their_place() {
    let mut target = Vectors::zeroed(Precision::Ubinary, 3, 9).unwrap();
    assert_eq!(target.len(), 6);
    target.copy_row(2, &Vectors::U8(vec![1, 2, 3, 4]), 1, 2).unwrap();
    assert_eq!(target, Vectors::U8(vec![0, 0, 0, 0, 3, 4]));
    assert_eq!(target.copy_row(3, &Vectors::U8(vec![1, 2]), 0, 2).unwrap_err().code, Code::Internal);
    assert_eq!(target.copy_row(0, &Vectors::I8(vec![1, 2]), 0, 2).unwrap_err().code, Code::Internal);
    assert_eq!(Vectors::zeroed(Precision::Float32, usize::MAX / 8, 4).unwrap_err().code, Code::OutOfMemory);
}

proptest! {
    #[test]
    fn any_row_gives_a_unit_vector_or_an_error(row in prop::collection::vec(any::<f32>(), 1..40)) {
        match finish(&row, row.len(), how(row.len(), true, Precision::Float32)) {
            Ok(Vectors::F32(unit)) => {
                let norm = unit.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
                prop_assert!((norm - 1.0).abs() < 1e-6, "{norm}");
            }
            Ok(other) => prop_assert!(false, "{other:?}"),
            Err(error) => prop_assert_eq!(error.code, Code::NonFinite),
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_neighbours(a in prop::collection::vec(-1.0..1.0_f32, 8), b in prop::collection::vec(-1.0..1.0_f32, 8)) {
        prop_assume!(a.iter().any(|&x| x != 0.0) && b.iter().any(|&x| x != 0.0));
        for precision in [Precision::Float32, Precision::Int8, Precision::Uint8, Precision::Binary, Precision::Ubinary] {
            let how = how(8, true, precision);
            let both = finish(&[a.clone(), b.clone()].concat(), 8, how).unwrap();
            let alone = finish(&b, 8, how).unwrap();
            let elements = precision.elements(8);
            let mut second = Vectors::zeroed(precision, 1, 8).unwrap();
            second.copy_row(0, &both, 1, elements).unwrap();
            prop_assert_eq!(second, alone);
        }
    }
}
