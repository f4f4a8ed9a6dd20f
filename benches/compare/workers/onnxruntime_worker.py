"""ONNX Runtime on the CPU over a graph that convert/onnx_graph.py writes from the folder, with the Rust tokenizer of
Hugging Face. Batches are sorted by length and padded to their longest text, as sentence-transformers does."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "convert"))
from serve import Unavailable, require, serve  # noqa: E402

INSTALL = "pip install -r benches/compare/requirements.txt"


class Engine:
    def __init__(self, request):
        runtime, tokenizers, self.numpy, _ = require(INSTALL, "onnxruntime", "tokenizers", "numpy", "onnx")
        from folder import Unsupported
        from onnx_graph import write_graph

        try:
            path = write_graph(request["model"], os.path.join(request["work"], "onnx"), request["limit"])
        except Unsupported as error:
            raise Unavailable("not supported", str(error)) from error
        self.tokenizer = tokenizers.Tokenizer.from_file(os.path.join(request["model"], "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(request["limit"])
        options = runtime.SessionOptions()
        options.intra_op_num_threads = request["threads"]
        options.inter_op_num_threads = 1
        self.session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.info = {
            "versions": {"onnxruntime": runtime.__version__, "tokenizers": tokenizers.__version__},
            "notes": "graph of fused operators (MultiHeadAttention, GroupQueryAttention, Skip*Normalization)",
        }

    def encode(self, texts, batch_size):
        np = self.numpy
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        rows = [None] * len(ids)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            lengths = np.array([len(ids[i]) for i in batch], np.int32)
            padded = np.zeros((len(batch), lengths.max()), np.int64)
            for row, i in enumerate(batch):
                padded[row, : lengths[row]] = ids[i]
            (pooled,) = self.session.run(None, {"input_ids": padded, "lengths": lengths})
            for row, i in enumerate(batch):
                rows[i] = pooled[row]
        vectors = np.stack(rows)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def count(self, texts):
        return [len(encoding.ids) for encoding in self.tokenizer.encode_batch(texts)]


serve(Engine)
