"""A plain forward pass of encoders in double precision, for goldens: one text at a time, no masks,
no batches. Reads a folder in Hugging Face layout by its own names, so that it shares nothing with
the engine's reader. Written from the models' papers (Devlin et al. 2018, Sanh et al. 2019, Nussbaum
et al. 2024) and configurations. Needs numpy, safetensors, tokenizers.
"""
import json
import math
import pathlib

import numpy as np

ERF = np.vectorize(math.erf)


def gelu(x):
    return 0.5 * x * (1 + ERF(x / math.sqrt(2)))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def silu(x):
    return x / (1 + np.exp(-x))


ACTIVATIONS = {"gelu": gelu, "gelu_new": gelu_tanh, "gelu_pytorch_tanh": gelu_tanh, "silu": silu}

# Where each kind keeps what: of a layer, then of the embeddings; and the names of its numbers.
NAMES = {
    "bert": {
        "layer": "encoder.layer.%d.", "q": "attention.self.query", "k": "attention.self.key",
        "v": "attention.self.value", "o": "attention.output.dense", "norm1": "attention.output.LayerNorm",
        "up": "intermediate.dense", "down": "output.dense", "norm2": "output.LayerNorm",
        "words": "embeddings.word_embeddings.weight", "places": "embeddings.position_embeddings.weight",
        "types": "embeddings.token_type_embeddings.weight", "norm": "embeddings.LayerNorm",
        "n_layer": "num_hidden_layers", "n_head": "num_attention_heads", "eps": "layer_norm_eps", "act": "hidden_act"},
    "distilbert": {
        "layer": "transformer.layer.%d.", "q": "attention.q_lin", "k": "attention.k_lin", "v": "attention.v_lin",
        "o": "attention.out_lin", "norm1": "sa_layer_norm", "up": "ffn.lin1", "down": "ffn.lin2",
        "norm2": "output_layer_norm", "words": "embeddings.word_embeddings.weight",
        "places": "embeddings.position_embeddings.weight", "types": None, "norm": "embeddings.LayerNorm",
        "n_layer": "n_layers", "n_head": "n_heads", "eps": None, "act": "activation"},
    "nomic_bert": {
        "layer": "encoder.layers.%d.", "qkv": "attn.Wqkv", "o": "attn.out_proj", "norm1": "norm1", "up": "mlp.fc11",
        "gate": "mlp.fc12", "down": "mlp.fc2", "norm2": "norm2", "words": "embeddings.word_embeddings.weight",
        "places": None, "types": "embeddings.token_type_embeddings.weight", "norm": "emb_ln",
        "n_layer": "n_layer", "n_head": "n_head", "eps": "layer_norm_epsilon", "act": None},
}


NAMES["xlm-roberta"] = NAMES["bert"]


class Encoder:
    def __init__(self, folder, tensors=None):
        """tensors: name -> array, where the folder's file is not to be read."""
        self.folder = pathlib.Path(folder)
        self.config = json.loads((self.folder / "config.json").read_text())
        self.names = NAMES[self.config["model_type"]]
        if tensors is None:
            from safetensors.numpy import load_file
            tensors = load_file(self.folder / "model.safetensors")
        prefix = {"distilbert": "distilbert.", "xlm-roberta": "roberta."}.get(self.config["model_type"], "bert.")
        self.t = {name.removeprefix(prefix): np.asarray(t, np.float64) for name, t in tensors.items()}

    def linear(self, name, x):
        y = x @ self.t[name + ".weight"].T
        return y + self.t[name + ".bias"] if name + ".bias" in self.t else y

    def norm(self, name, x):
        eps = self.config.get(self.names["eps"], 1e-12)
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * self.t[name + ".weight"] + self.t[name + ".bias"]

    def rotate(self, x):
        """x [n, heads, head]: pairs (i, i + half) are turned by their place."""
        half = x.shape[-1] // 2
        angle = np.arange(len(x))[:, None, None] * self.config.get("rotary_emb_base", 10000) ** (-np.arange(half) / half)
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)], -1)

    def attend(self, layer, x):
        n, width = x.shape
        heads = self.config[self.names["n_head"]]
        if "qkv" in self.names:
            q, k, v = np.split(self.linear(layer + self.names["qkv"], x), 3, -1)
        else:
            q, k, v = (self.linear(layer + self.names[part], x) for part in "qkv")
        q, k, v = (part.reshape(n, heads, -1) for part in (q, k, v))
        if not self.names["places"]:
            q, k = self.rotate(q), self.rotate(k)
        s = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(q.shape[-1])
        p = np.exp(s - s.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        return self.linear(layer + self.names["o"], np.einsum("hqk,khd->qhd", p, v).reshape(n, width))

    def states(self, ids, types=None):
        """[n, width]: what the last layer gives for each token."""
        x = self.t[self.names["words"]][ids]
        if self.names["types"] and self.names["types"] in self.t:
            x = x + self.t[self.names["types"]][types if types is not None else [0] * len(ids)]
        if self.names["places"]:
            first = 2 if self.config["model_type"] == "xlm-roberta" else 0  # behind the padding token's
            x = x + self.t[self.names["places"]][first:first + len(ids)]
        x = self.norm(self.names["norm"], x)
        for i in range(self.config[self.names["n_layer"]]):
            layer = self.names["layer"] % i
            x = self.norm(layer + self.names["norm1"], x + self.attend(layer, x))
            y = self.linear(layer + self.names["up"], x)
            if "gate" in self.names:
                y = y * silu(self.linear(layer + self.names["gate"], x))
            else:
                y = ACTIVATIONS[self.config.get(self.names["act"], "gelu")](y)
            x = self.norm(layer + self.names["norm2"], x + self.linear(layer + self.names["down"], y))
        return x

    def embed(self, ids, pooling="mean", types=None, normalize=True):
        x = self.states(ids, types)
        if pooling == "rank":
            if "classifier.dense.weight" in self.t:
                return self.linear("classifier.out_proj", np.tanh(self.linear("classifier.dense", x[0])))
            return self.linear("classifier", np.tanh(self.linear("pooler.dense", x[0])))
        x = {"mean": x.mean(0), "cls": x[0], "last": x[-1]}[pooling]
        return x / np.linalg.norm(x) if normalize else x
