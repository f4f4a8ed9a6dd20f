"""Reads a sentence-transformers folder for the converters: configs, pooling, tensors."""
import json
import os

from safetensors import safe_open


class Unsupported(Exception):
    """The converters do not know this kind of model."""


class Folder:
    """A model folder of one of the families `bert` and `qwen2`, with one pooling and nothing after it but Normalize."""

    def __init__(self, root):
        self.root = root
        self.config = self.json("config.json")
        self.family = self.config.get("model_type")
        if self.family not in ("bert", "qwen2"):
            raise Unsupported(f"the converter knows bert and qwen2, not {self.family}")
        if self.config.get("use_sliding_window") or self.config.get("rope_scaling") or self.config.get("is_causal") is False:
            raise Unsupported("the converter knows plain qwen2 only: no sliding window, RoPE scaling or is_causal: false")
        self.pooling = self._pooling()
        self._files = {}
        index = self.json("model.safetensors.index.json", optional=True)
        names = sorted(set(index["weight_map"].values())) if index else ["model.safetensors"]
        for name in names:
            if not os.path.exists(os.path.join(root, name)):
                raise Unsupported(f"there is no {name} in the folder")
            file = safe_open(os.path.join(root, name), framework="pt")
            for tensor in file.keys():
                self._files[tensor.removeprefix("bert.").removeprefix("model.")] = (file, tensor)

    def json(self, name, optional=False):
        path = os.path.join(self.root, name)
        if not os.path.exists(path):
            if optional:
                return None
            raise Unsupported(f"there is no {name} in the folder")
        with open(path, encoding="utf-8") as file:
            return json.load(file)

    def _pooling(self):
        kinds = []
        config = None
        for module in self.json("modules.json"):
            kind = module["type"].rsplit(".", 1)[-1]
            kinds.append(kind)
            if kind == "Pooling":
                config = self.json(os.path.join(module["path"], "config.json"))
        if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
            raise Unsupported(f"the converter knows Transformer, Pooling, Normalize, not {', '.join(kinds)}")
        old = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "lasttoken"}
        mode = config.get("pooling_mode") or [old.get(k[13:], k) for k, on in config.items() if k.startswith("pooling_mode_") and on]
        modes = mode if isinstance(mode, list) else [mode]
        if len(modes) != 1 or modes[0] not in ("cls", "mean", "lasttoken"):
            raise Unsupported(f"the converter knows cls, mean and lasttoken pooling, not {modes}")
        return modes[0]

    def tensor(self, name):
        """A tensor as f32 of numpy; the names have no `bert.` or `model.` before them."""
        file, key = self._files[name]
        return file.get_tensor(key).float().numpy()

    def names(self):
        return list(self._files)
