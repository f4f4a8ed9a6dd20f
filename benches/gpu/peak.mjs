// What a card could do at most, and what a model asks of it.

/**
 * Dense bf16 with f32 sums, in TFLOP/s, as NVIDIA's data sheets state it (those of tensor cores, without sparsity), by
 * the name that the driver gives the card. The first that fits counts.
 */
const PEAKS = [
  [/H200|H100.*(HBM3|SXM)/, 989],
  [/H100.*NVL/, 835],
  [/H100/, 756],
  [/A100/, 312],
  [/L40S/, 362],
  [/\bL4\b/, 121],
  [/\bA10\b/, 125],
]

/** The peak of a card in TFLOP/s; `undefined` for one that is not listed. */
export const peak = (name) => PEAKS.find(([pattern]) => pattern.test(name))?.[1]

/** Multiplications and additions that a text of so many tokens takes in a Qwen2 model: linear layers, and causal attention. */
export function flops(config, tokens) {
  const { hidden_size: hidden, intermediate_size: inner, num_hidden_layers: layers } = config
  const dim = config.head_dim ?? hidden / config.num_attention_heads
  const [q, kv] = [config.num_attention_heads * dim, config.num_key_value_heads * dim]
  const linear = hidden * (q + 2 * kv) + q * hidden + 3 * hidden * inner
  // q·kᵀ and the sum of values: 2 products, half of the square seen.
  const attention = (2 * q * (tokens + 1)) / 2
  return 2 * layers * tokens * (linear + attention)
}
