"""sentence-transformers, on the CPU if nothing else is asked for, as its users run it: SentenceTransformer(folder).encode(texts, batch_size)."""
from serve import require, serve

INSTALL = "pip install -r benches/compare/requirements.txt"


class Engine:
    def __init__(self, request):
        torch, library, transformers = require(INSTALL, "torch", "sentence_transformers", "transformers")
        torch.set_num_threads(request["threads"])
        dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[request["precision"]]
        kernels = {"attn_implementation": request["attention"]} if "attention" in request else {}
        self.model = library.SentenceTransformer(
            request["model"],
            device=request.get("device", "cpu"),
            local_files_only=True,
            model_kwargs={"dtype": dtype, **kernels},
        )
        self.info = {
            "versions": {
                "sentence-transformers": library.__version__,
                "transformers": transformers.__version__,
                "torch": torch.__version__,
            },
            "notes": f"attention {getattr(self.model[0].auto_model.config, '_attn_implementation', 'unknown')}",
        }

    def encode(self, texts, batch_size):
        return self.model.encode(
            texts, batch_size=batch_size, prompt="", normalize_embeddings=True, show_progress_bar=False
        )

    def count(self, texts):
        tokenizer = self.model.tokenizer
        return [len(ids) for ids in tokenizer(texts, truncation=True, max_length=self.model.max_seq_length)["input_ids"]]


serve(Engine)
