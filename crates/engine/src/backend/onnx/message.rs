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

/// Whether it tells of a failed allocation: there is no code for it.
pub(super) fn is_out_of_memory(told: &str) -> bool {
    ["bad allocation", "bad_alloc", "Failed to allocate memory", "out of memory"]
        .iter()
        .any(|words| told.contains(words))
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
}
