"""Writes a model folder as an ONNX graph for ONNX Runtime on the CPU.

The graph uses the fused operators of com.microsoft that ONNX Runtime's own optimizer puts into exported graphs, so that
the comparison is with ONNX Runtime at its best. Inputs: `input_ids` int64 [B,S], padded on the right; `lengths` int32
[B]. Output: `pooled` f32 [B,H], not normalised. The weights lie beside it in one file of external data, f32.

    python onnx_graph.py <model folder> <output folder> <limit of tokens>
"""
import os
import sys

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h

from folder import Folder, Unsupported

MS = "com.microsoft"


class Graph:
    """Nodes by name; weights go to the file at once, so that no more than one is in memory."""

    def __init__(self, data):
        self.nodes, self.initializers, self.data, self.count = [], [], data, 0
        self.location = os.path.basename(data.name)

    def op(self, kind, *inputs, outputs=1, domain="", **attributes):
        """Adds a node; gives its first output, or all in a list where `outputs` is a list of names ('' = unused)."""
        self.count += 1
        names = outputs if isinstance(outputs, list) else [f"{kind}_{self.count}"]
        self.nodes.append(h.make_node(kind, list(inputs), names, name=f"{kind}_{self.count}_node", domain=domain, **attributes))
        return names if isinstance(outputs, list) else names[0]

    def name(self):
        self.count += 1
        return f"value_{self.count}"

    def const(self, value, dtype=np.int64):
        name = self.name()
        array = np.asarray(value, dtype)
        self.initializers.append(h.make_tensor(name, h.np_dtype_to_tensor_dtype(array.dtype), array.shape, array.tobytes(), raw=True))
        return name

    def weight(self, array):
        name = self.name()
        array = np.ascontiguousarray(array, np.float32)
        self.data.write(b"\0" * (-self.data.tell() % 4096))
        tensor = T(name=name, data_type=T.FLOAT, dims=array.shape, data_location=T.EXTERNAL)
        for key, value in (("location", self.location), ("offset", self.data.tell()), ("length", array.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        self.data.write(array.data)
        self.initializers.append(tensor)
        return name

    def linear(self, x, weight, bias=None):
        """x [N,in] by a weight [out,in], as PyTorch stores it."""
        inputs = [x, self.weight(weight)] + ([] if bias is None else [self.weight(bias)])
        return self.op("Gemm", *inputs, transB=1)


def bert(graph, folder, ids, positions, tokens, batch, mask):
    """`tokens`: shape [-1,H]; `batch`: shape [B,S,H]; both to Reshape with."""
    config, get = folder.config, folder.tensor
    eps, heads = config.get("layer_norm_eps", 1e-12), config["num_attention_heads"]
    if config.get("hidden_act", "gelu") != "gelu":
        raise Unsupported(f"the converter knows gelu, not {config['hidden_act']}")
    norm = lambda name: (graph.weight(get(name + ".weight")), graph.weight(get(name + ".bias")))
    words = graph.op("Gather", graph.weight(get("embeddings.word_embeddings.weight")), ids)
    # Type 0 everywhere: its row may be added to every position.
    rest = get("embeddings.position_embeddings.weight") + get("embeddings.token_type_embeddings.weight")[0]
    x = graph.op("Add", words, graph.op("Gather", graph.weight(rest), positions))
    x = graph.op("LayerNormalization", graph.op("Reshape", x, tokens), *norm("embeddings.LayerNorm"), epsilon=eps, axis=-1)
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}."
        linear = lambda x, name: graph.linear(x, get(f"{layer}{name}.weight"), get(f"{layer}{name}.bias"))
        q, k, v = (graph.op("Reshape", linear(x, f"attention.self.{part}"), batch) for part in ("query", "key", "value"))
        y = graph.op("MultiHeadAttention", q, k, v, "", mask, domain=MS, num_heads=heads)
        y = linear(graph.op("Reshape", y, tokens), "attention.output.dense")
        x = graph.op("SkipLayerNormalization", y, x, *norm(layer + "attention.output.LayerNorm"), domain=MS, epsilon=eps)
        y = graph.op("Gelu", linear(x, "intermediate.dense"), domain=MS)
        y = linear(y, "output.dense")
        x = graph.op("SkipLayerNormalization", y, x, *norm(layer + "output.LayerNorm"), domain=MS, epsilon=eps)
    return graph.op("Reshape", x, batch)


def qwen2(graph, folder, ids, lengths, longest, tokens, batch, limit):
    config, get = folder.config, folder.tensor
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    d = config.get("head_dim") or config["hidden_size"] // heads
    theta = (config.get("rope_parameters") or {}).get("rope_theta") or config.get("rope_theta", 1e4)
    angles = np.outer(np.arange(limit, dtype=np.float32), 1 / np.float32(theta) ** (np.arange(0, d, 2, dtype=np.float32) / d))
    cos, sin = graph.weight(np.cos(angles)), graph.weight(np.sin(angles))
    norm = lambda name: graph.weight(get(name + ".weight"))
    last = graph.op("Sub", lengths, graph.const(1, np.int32))
    # No past: [B, kv_heads, 0, d].
    past = graph.op("Expand", graph.const(np.zeros((1, kv_heads, 0, d)), np.float32),
                    graph.op("Concat", graph.op("Shape", ids, start=0, end=1), graph.const([kv_heads, 0, d]), axis=0))
    reshape = lambda x, width: graph.op("Reshape", x, graph.op("Concat", graph.op("Shape", ids), graph.const([width]), axis=0))
    eps = config["rms_norm_eps"]
    residual = graph.op("Reshape", graph.op("Gather", graph.weight(get("embed_tokens.weight")), ids), tokens)
    x = graph.op("SimplifiedLayerNormalization", residual, norm("layers.0.input_layernorm"), epsilon=eps, axis=-1)
    for i in range(config["num_hidden_layers"]):
        layer = f"layers.{i}."
        q, k, v = (graph.linear(x, get(f"{layer}self_attn.{part}_proj.weight"), get(f"{layer}self_attn.{part}_proj.bias")) for part in "qkv")
        y, _, _ = graph.op("GroupQueryAttention", reshape(q, heads * d), reshape(k, kv_heads * d), reshape(v, kv_heads * d), past, past,
                           last, longest, cos, sin, outputs=[graph.name(), graph.name(), graph.name()], domain=MS,
                           num_heads=heads, kv_num_heads=kv_heads, do_rotary=1)
        y = graph.linear(graph.op("Reshape", y, graph.const([-1, heads * d])), get(layer + "self_attn.o_proj.weight"))
        x, _, _, residual = graph.op("SkipSimplifiedLayerNormalization", y, residual, norm(layer + "post_attention_layernorm"),
                                     outputs=[graph.name(), "", "", graph.name()], domain=MS, epsilon=eps)
        gate = graph.op("QuickGelu", graph.linear(x, get(layer + "mlp.gate_proj.weight")), domain=MS, alpha=1.0)
        y = graph.linear(graph.op("Mul", gate, graph.linear(x, get(layer + "mlp.up_proj.weight"))), get(layer + "mlp.down_proj.weight"))
        following = f"layers.{i + 1}.input_layernorm" if i + 1 < config["num_hidden_layers"] else "norm"
        x, _, _, residual = graph.op("SkipSimplifiedLayerNormalization", y, residual, norm(following),
                                     outputs=[graph.name(), "", "", graph.name()], domain=MS, epsilon=eps)
    return graph.op("Reshape", x, batch)


def pool(graph, kind, x, mask, lengths):
    """[B,S,H] -> [B,H]; `mask` is int32 [B,S]."""
    if kind == "cls":
        return graph.op("Gather", x, graph.const(0), axis=1)
    if kind == "lasttoken":
        last = graph.op("Unsqueeze", graph.op("Sub", lengths, graph.const(1, np.int32)), graph.const([1]))
        return graph.op("GatherND", x, graph.op("Cast", last, to=T.INT64), batch_dims=1)
    weights = graph.op("Cast", graph.op("Unsqueeze", mask, graph.const([1])), to=T.FLOAT)
    total = graph.op("Squeeze", graph.op("MatMul", weights, x), graph.const([1]))
    return graph.op("Div", total, graph.op("Unsqueeze", graph.op("Cast", lengths, to=T.FLOAT), graph.const([1])))


def write_graph(model, out, limit):
    """Writes model-<limit>.onnx and its weights below `out` unless they are there already; gives the path of the graph."""
    folder = Folder(model)
    path = os.path.join(out, f"model-{limit}.onnx")
    if os.path.exists(path):
        return path
    os.makedirs(out, exist_ok=True)
    hidden = folder.config["hidden_size"]
    with open(path + ".data", "wb") as data:
        graph = Graph(data)
        longest = graph.op("Squeeze", graph.op("Shape", "input_ids", start=1, end=2))
        positions = graph.op("Range", graph.const(0), longest, graph.const(1))
        mask = graph.op("Less", graph.op("Unsqueeze", graph.op("Cast", positions, to=T.INT32), graph.const([0])),
                        graph.op("Unsqueeze", "lengths", graph.const([1])))
        mask = graph.op("Cast", mask, to=T.INT32)
        tokens = graph.const([-1, hidden])
        batch = graph.op("Concat", graph.op("Shape", "input_ids"), graph.const([hidden]), axis=0)
        if folder.family == "bert":
            x = bert(graph, folder, "input_ids", positions, tokens, batch, mask)
        else:
            x = qwen2(graph, folder, "input_ids", "lengths", graph.op("Cast", longest, to=T.INT32), tokens, batch, limit)
        graph.op("Identity", pool(graph, folder.pooling, x, mask, "lengths"), outputs=["pooled"])
    info = h.make_tensor_value_info
    made = h.make_graph(
        graph.nodes, folder.family,
        [info("input_ids", T.INT64, ["batch", "sequence"]), info("lengths", T.INT32, ["batch"])],
        [info("pooled", T.FLOAT, ["batch", hidden])],
        graph.initializers,
    )
    opsets = [h.make_opsetid("", 17), h.make_opsetid(MS, 1)]
    # Renamed into its place when all of it is written: a half-written one is never used.
    with open(path + ".part", "wb") as file:
        file.write(h.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString())
    os.replace(path + ".part", path)
    return path


if __name__ == "__main__":
    print(write_graph(sys.argv[1], sys.argv[2], int(sys.argv[3])))
