//! How each provider is set up for a model.

use std::path::PathBuf;

use ort::ep::{
    self, ArbitrarilyConfigurableExecutionProvider, ArenaExtendStrategy, ExecutionProvider, ExecutionProviderDispatch,
};

/// One row of the table of providers.
pub(super) struct Provider {
    pub(super) kind: &'static str,
    pub(super) name: &'static str,
    pub(super) is_compiled_in: fn() -> ort::Result<bool>,
    /// The provider as it is to be set up, and those that must stand behind it.
    pub(super) build: fn(&Setup) -> Vec<ExecutionProviderDispatch>,
}

/// How a provider is to run one model.
#[derive(Debug, Clone, Default)]
pub(super) struct Setup {
    /// Which of several devices of the kind.
    pub(super) index: i32,
    /// Whether products may be computed in bf16, and in f16: the precision that was asked for.
    pub(super) bf16: bool,
    pub(super) f16: bool,
    /// A folder of this model's own for what the provider compiles; `None` to keep nothing.
    pub(super) cache: Option<PathBuf>,
    /// The rectangles that runs will have, where they are known before.
    pub(super) profile: Option<Profile>,
    /// Bytes of the weights, where they lie outside of the graph; 0 for a graph that holds them.
    pub(super) outside_bytes: u64,
    /// Threads of a provider that computes on the CPU.
    pub(super) threads: usize,
}

/// The largest rectangle that runs may have, for providers that compile for a range of shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) rows: usize,
    pub(super) tokens: usize,
}

impl Profile {
    /// The profile for texts of up to `longest` tokens within a budget of `cells`.
    ///
    /// Memory is reserved for the largest rectangle, so that its rows times its tokens is the budget, or
    /// one text that is longer than it.
    pub(super) fn new(cells: usize, longest: usize) -> Self {
        Profile { rows: (cells / longest.max(1)).max(1), tokens: longest.max(1) }
    }

    /// `input_ids:4x512,attention_mask:4x512`
    fn shapes(rows: usize, tokens: usize) -> String {
        ["input_ids", "attention_mask"].map(|input| format!("{input}:{rows}x{tokens}")).join(",")
    }
}

/// Tokens for which TensorRT chooses its kernels, if texts can be so long: that of most passages.
const USUAL_TOKENS: usize = 256;

/// The most that protobuf can hold, less what the nodes take. TensorRT is handed the graph in it.
const PROTOBUF_LIMIT: u64 = (1 << 31) - (1 << 26);

pub(super) const PROVIDERS: [Provider; 7] = [
    Provider { kind: "cpu", name: ep::CPU::NAME, is_compiled_in: ep::CPU::is_available, build: |_| Vec::new() },
    Provider {
        kind: "cuda",
        name: ep::CUDA::NAME,
        is_compiled_in: ep::CUDA::is_available,
        build: |setup| vec![cuda(setup.index).build()],
    },
    Provider {
        kind: "tensorrt",
        name: ep::TensorRT::NAME,
        is_compiled_in: ep::TensorRT::is_available,
        // What TensorRT cannot run belongs on the same GPU, not on the CPU.
        build: |setup| vec![tensorrt(setup).build(), cuda(setup.index).build()],
    },
    Provider {
        kind: "migraphx",
        name: ep::MIGraphX::NAME,
        is_compiled_in: ep::MIGraphX::is_available,
        build: |setup| {
            let provider = ep::MIGraphX::default().with_device_id(setup.index);
            vec![provider.with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested).build()]
        },
    },
    Provider {
        kind: "directml",
        name: ep::DirectML::NAME,
        is_compiled_in: ep::DirectML::is_available,
        build: |setup| vec![ep::DirectML::default().with_device_id(setup.index).build()],
    },
    Provider {
        kind: "coreml",
        name: ep::CoreML::NAME,
        is_compiled_in: ep::CoreML::is_available,
        build: |setup| vec![coreml(setup).build()],
    },
    Provider {
        kind: "openvino",
        name: ep::OpenVINO::NAME,
        is_compiled_in: ep::OpenVINO::is_available,
        build: |setup| vec![openvino(setup).build()],
    },
];

/// TF32 keeps 10 bits of mantissa where f32 has 23: vectors would differ from every other device's.
/// The arena grows by what is needed, not by powers of two.
fn cuda(index: i32) -> ep::CUDA {
    let provider = ep::CUDA::default().with_device_id(index).with_tf32(false);
    provider.with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
}

/// Compiling takes minutes, so that engines and timings are kept. Without a profile TensorRT compiles
/// again for every shape that is larger than those before.
fn tensorrt(setup: &Setup) -> ep::TensorRT {
    let mut provider = ep::TensorRT::default().with_device_id(setup.index);
    provider = provider.with_fp16(setup.f16).with_bf16(setup.bf16).with_layer_norm_fp32_fallback(true);
    if let Some(folder) = &setup.cache {
        provider = provider.with_engine_cache(true).with_engine_cache_path(folder.display());
        provider = provider.with_timing_cache(true).with_timing_cache_path(folder.display());
    }
    if let Some(Profile { rows, tokens }) = setup.profile {
        provider = provider
            .with_profile_min_shapes(Profile::shapes(1, 1))
            .with_profile_opt_shapes(Profile::shapes(rows, tokens.min(USUAL_TOKENS)))
            .with_profile_max_shapes(Profile::shapes(rows, tokens));
    }
    if setup.outside_bytes > PROTOBUF_LIMIT {
        provider = provider.with_arbitrary_config("trt_load_user_initializer", "1");
    }
    provider
}

/// ML programs know more operators than the older format, and f32 on the CPU and the GPU.
fn coreml(setup: &Setup) -> ep::CoreML {
    let mut provider = ep::CoreML::default().with_model_format(ep::coreml::ModelFormat::MLProgram);
    if let Some(folder) = &setup.cache {
        provider = provider.with_model_cache_dir(folder.display());
    }
    provider
}

/// `ACCURACY` keeps the precision of the graph; the default on a GPU is f16.
fn openvino(setup: &Setup) -> ep::OpenVINO {
    let mut provider = ep::OpenVINO::default().with_precision("ACCURACY");
    if setup.threads > 0 {
        provider = provider.with_num_threads(setup.threads);
    }
    if let Some(folder) = &setup.cache {
        provider = provider.with_cache_dir(folder.display());
    }
    provider
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_rectangle_stays_within_the_budget() {
        assert_eq!(Profile::new(16_384, 512), Profile { rows: 32, tokens: 512 });
        assert_eq!(Profile::new(16_384, 32_768), Profile { rows: 1, tokens: 32_768 });
        assert_eq!(Profile::new(100, 0), Profile { rows: 100, tokens: 1 });
        assert_eq!(Profile::shapes(4, 512), "input_ids:4x512,attention_mask:4x512");
    }
}
