//! ONNX Runtime's messages: the words that matter, and what they mean.

/// The message without what its makers put in front: the source file, the function, the numbers.
///
/// `…/provider_bridge_ort.cc:1988 onnxruntime::Provider& … [ONNXRuntimeError] : 1 : FAIL : Failed to …`
/// becomes `Failed to …`.
pub(super) fn tidy(told: &str) -> &str {
    let told = told.trim();
    let Some((_, numbered)) = told.rsplit_once("[ONNXRuntimeError] : ") else { return told };
    numbered.splitn(3, " : ").nth(2).unwrap_or(numbered)
}

/// Whether it tells of a failed allocation, on the host or on a device: there is no code for it.
pub(super) fn is_out_of_memory(told: &str) -> bool {
    const WORDS: [&str; 7] = [
        "bad allocation",
        "bad_alloc",
        "Failed to allocate memory",
        "out of memory",
        // cuBLAS and cuDNN; Windows, and so DirectML (E_OUTOFMEMORY).
        "_STATUS_ALLOC_FAILED",
        "Not enough memory",
        "8007000E",
    ];
    WORDS.iter().any(|words| told.contains(words))
}

/// Whether it tells of a device, its driver or its libraries, and not of the graph. Providers give no code of their
/// own for that, but the words of what they called: `CUDA failure 100: no CUDA-capable device is detected ; GPU=0`.
pub(super) fn is_of_device(told: &str) -> bool {
    const CALLED: [&str; 8] = ["CUDA", "CUBLAS", "CUDNN", "CUFFT", "HIP", "ROCBLAS", "HIPBLAS", "MIOPEN"];
    // DirectX: the card was removed, hangs, or was reset (DXGI_ERROR_DEVICE_REMOVED, _HUNG, _RESET, _INTERNAL_ERROR).
    const LOST: [&str; 4] = ["887A0005", "887A0006", "887A0007", "887A0020"];
    CALLED.iter().any(|library| told.contains(&format!("{library} failure ")))
        || LOST.iter().any(|code| told.contains(code))
}

/// Whether it tells that the library does not know an operator, an opset or a format of file.
pub(super) fn is_too_new(told: &str) -> bool {
    ["No Op registered", "is not a registered function", "Unsupported model IR version", "opset"]
        .iter()
        .any(|words| told.contains(words))
}

/// Whether it tells of an index that a table has no row for.
pub(super) fn is_out_of_bounds(told: &str) -> bool {
    told.contains("out of data bounds") || told.contains("out of bounds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_that_matter() {
        let told = "/src/provider_bridge_ort.cc:1988 onnxruntime::Provider& Get() [ONNXRuntimeError] : 1 : FAIL : \
                    Failed to load library x.so with error: x.so: cannot open shared object file: No such file\n";
        let tidied = "Failed to load library x.so with error: x.so: cannot open shared object file: No such file";
        assert_eq!(tidy(told), tidied);
        assert_eq!(tidy(" plain : words "), "plain : words");
        assert_eq!(tidy("[ONNXRuntimeError] : odd"), "odd");
    }

    #[test]
    fn what_devices_say() {
        let none =
            "CUDA failure 101: invalid device ordinal ; GPU=0 ; hostname=h ; file=/s/cuda.cc ; line=280 ; expr=x";
        assert!(is_of_device(none) && !is_out_of_memory(none));
        assert!(is_of_device("HIP failure 100: no ROCm-capable device is detected ; GPU=0"));
        assert!(is_of_device("hr 887A0006 The GPU will not respond to more commands"));
        for full in [
            "CUDA failure 2: out of memory ; GPU=0",
            "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
            "hr 8007000E Not enough memory resources are available to complete this operation.",
        ] {
            assert!(is_out_of_memory(full), "{full}");
        }
        for other in ["Load model from m.onnx failed: Protobuf parsing failed.", "CUDA is not a failure"] {
            assert!(!is_of_device(other) && !is_out_of_memory(other), "{other}");
        }
    }
}
