"""Writes a model folder as a GGUF file for llama.cpp, as llama.cpp's own convert_hf_to_gguf.py lays it out.

    python gguf_file.py <model folder> <file.gguf> f32|bf16|q8_0

Vectors, norms and the position table stay f32; all other matrices get the precision.
"""
import os
import sys

import gguf
import numpy as np

from folder import Folder, Unsupported

TYPES = {
    "f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "bf16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
POOLING = {"mean": gguf.PoolingType.MEAN, "cls": gguf.PoolingType.CLS, "lasttoken": gguf.PoolingType.LAST}


def add_shape(writer, folder):
    config = folder.config
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_pooling_type(POOLING[folder.pooling])
    if folder.family == "bert":
        writer.add_layer_norm_eps(config.get("layer_norm_eps", 1e-12))
        writer.add_causal_attention(False)
    else:
        writer.add_head_count_kv(config["num_key_value_heads"])
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
        writer.add_rope_freq_base((config.get("rope_parameters") or {}).get("rope_theta") or config.get("rope_theta", 1e4))


def add_tokenizer(writer, folder):
    tokenizer = folder.json("tokenizer.json")
    model = tokenizer["model"]
    added = {token["id"]: token for token in tokenizer["added_tokens"]}
    by_id = {id: token for token, id in model["vocab"].items()} | {id: token["content"] for id, token in added.items()}
    tokens, types = [], []
    for id in range(folder.config["vocab_size"]):
        if id not in by_id:
            tokens.append(f"[PAD{id}]")
            types.append(gguf.TokenType.UNUSED)
        elif id in added:
            tokens.append(by_id[id])
            types.append(gguf.TokenType.CONTROL if added[id]["special"] else gguf.TokenType.USER_DEFINED)
        else:
            tokens.append(by_id[id])
            types.append(gguf.TokenType.NORMAL)
    if folder.family == "bert":
        if model["type"] != "WordPiece":
            raise Unsupported(f"the converter knows BERT with WordPiece, not {model['type']}")
        # llama.cpp marks the beginnings of words, WordPiece their continuations.
        mark = lambda token: token[2:] if token.startswith("##") else "\u2581" + token
        tokens = [token if type == gguf.TokenType.CONTROL else mark(token) for token, type in zip(tokens, types)]
        id_of = {content: id for id, content in by_id.items()}
        writer.add_tokenizer_model("bert")
        writer.add_token_type_count(folder.config["type_vocab_size"])
        writer.add_bos_token_id(id_of["[CLS]"])
        writer.add_eos_token_id(id_of["[SEP]"])
        writer.add_sep_token_id(id_of["[SEP]"])
        writer.add_unk_token_id(id_of["[UNK]"])
        writer.add_pad_token_id(id_of["[PAD]"])
        writer.add_mask_token_id(id_of["[MASK]"])
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("qwen2")
        writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]])
        end = appended_token(tokenizer)
        writer.add_eos_token_id(folder.config["eos_token_id"] if end is None else end)
        writer.add_pad_token_id(folder.config.get("pad_token_id") or folder.config["eos_token_id"])
        writer.add_add_bos_token(False)
        writer.add_add_eos_token(end is not None)
    writer.add_token_list(tokens)
    writer.add_token_types(types)


def appended_token(tokenizer):
    """The id that the tokenizer puts after each text, if it does."""
    from tokenizers import Tokenizer
    import json

    ids = Tokenizer.from_str(json.dumps(tokenizer)).encode("x").ids
    plain = Tokenizer.from_str(json.dumps(tokenizer)).encode("x", add_special_tokens=False).ids
    return ids[-1] if len(ids) > len(plain) else None


def write_file(model, path, precision):
    folder = Folder(model)
    kind, file_type = TYPES[precision]
    arch = {"bert": gguf.MODEL_ARCH.BERT, "qwen2": gguf.MODEL_ARCH.QWEN2}[folder.family]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # Tensors wait in a temporary file, not in memory.
    writer = gguf.GGUFWriter(path + ".part", gguf.MODEL_ARCH_NAMES[arch], use_temp_file=True)
    writer.add_name(os.path.basename(os.path.abspath(model)))
    writer.add_file_type(file_type)
    add_shape(writer, folder)
    add_tokenizer(writer, folder)
    names = gguf.get_tensor_name_map(arch, folder.config["num_hidden_layers"])
    for name in folder.names():
        if name.endswith("position_ids") or name.startswith("pooler.") or name == "lm_head.weight":
            continue
        # The map knows the names of whole models, which in Qwen have `model.` before them.
        target = names.get_name(name, (".weight", ".bias")) or names.get_name("model." + name, (".weight", ".bias"))
        if target is None:
            raise Unsupported(f"GGUF has no name for the tensor {name}")
        tensor = folder.tensor(name)
        of_words = tensor.ndim == 2 and not any(part in name for part in ("position_embeddings", "token_type_embeddings"))
        if not of_words or kind == gguf.GGMLQuantizationType.F32:
            writer.add_tensor(target, tensor.astype(np.float32))
        else:
            writer.add_tensor(target, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(path + ".part", path)


if __name__ == "__main__":
    try:
        write_file(*sys.argv[1:4])
    except Unsupported as error:
        sys.exit(f"not supported: {error}")
