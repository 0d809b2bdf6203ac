"""A plain forward pass of the families in double precision, for goldens: no cache, no batches, one
function. Written from the models' papers and published code, not from the engine; compared with
llama.cpp by make_families.py. Needs numpy and gguf.
"""
import math

import gguf
import numpy as np

NORMAL_ROPE = {"llama", "mistral3", "smollm3", "granite"}  # pairs (2i, 2i+1); others: halves
LAYER_NORM = {"phi2", "stablelm", "starcoder2", "gpt2"}
GELU = {"gemma", "gemma2", "gemma3", "phi2", "starcoder2", "gpt2"}
GEMMA = {"gemma", "gemma2", "gemma3"}


class Model:
    def __init__(self, path, halves):
        self.halves = halves
        reader = gguf.GGUFReader(path)
        self.meta = {k: f.contents() for k, f in reader.fields.items()}
        self.arch = self.meta["general.architecture"]
        self.t = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64)
                  for t in reader.tensors}

    def get(self, key, missing=None):
        v = self.meta.get(f"{self.arch}.{key}", missing)
        return missing if v is None else v


def rms(x, w, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w


def layer_norm(x, w, b, eps):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w
    return x if b is None else x + b


def gelu(x, halves=False):
    """With halves: as ggml's CPU code, which looks the value up in a table of 16-bit floats."""
    if halves:
        y = gelu(x.astype(np.float16).astype(np.float64)).astype(np.float16).astype(np.float64)
        return np.where(x <= -10, 0, np.where(x >= 10, x, y))
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def silu(x):
    return x / (1 + np.exp(-x))


def inverse_frequencies(m, n_rot, n_ctx, scaled, base):
    """Angles a position, and the factor of cos and sin."""
    f = base ** (-np.arange(0, n_rot, 2) / n_rot)
    train = m.get("rope.scaling.original_context_length", m.get("context_length"))
    if "rope_freqs.weight" in m.t:
        f = f / m.t["rope_freqs.weight"]
    elif "rope_factors_long.weight" in m.t:
        f = f / m.t[f"rope_factors_{'long' if n_ctx > train else 'short'}.weight"]
    if not scaled:
        return f, 1.0
    kind = m.get("rope.scaling.type", "linear")
    factor = m.get("rope.scaling.factor", m.get("rope.scale_linear", 1.0))
    attn = m.get("rope.scaling.attn_factor", 1.0)
    if kind == "none":
        return f, attn
    if kind != "yarn":
        return f / factor, attn

    def pair(turns):  # of which the wavelength makes so many turns in the first context
        return n_rot * math.log(train / (turns * 2 * math.pi)) / (2 * math.log(base))

    low = max(math.floor(pair(m.get("rope.scaling.yarn_beta_fast", 32.0))), 0)
    high = min(math.ceil(pair(m.get("rope.scaling.yarn_beta_slow", 1.0))), n_rot - 1)
    ramp = np.clip((np.arange(n_rot // 2) - low) / max(high - low, 0.001), 0, 1)

    def size(by):
        return 0.1 * by * math.log(factor) + 1 if factor > 1 else 1.0

    by = m.get("rope.scaling.yarn_log_multiplier", 0.0)
    attn *= size(1.0) / (size(by) if by else 1.0)
    return f / factor * ramp + f * (1 - ramp), attn


def rotate(m, x, freq, factor):
    """x [n, heads, head]: the first 2 * len(freq) numbers of each head are turned."""
    n_rot = 2 * len(freq)
    angle = np.arange(len(x))[:, None, None] * freq
    c, s = np.cos(angle) * factor, np.sin(angle) * factor
    y = x.copy()
    if m.arch in NORMAL_ROPE:
        first, second = slice(0, n_rot, 2), slice(1, n_rot, 2)
    else:
        first, second = slice(0, n_rot // 2), slice(n_rot // 2, n_rot)
    a, b = x[..., first], x[..., second]
    y[..., first], y[..., second] = a * c - b * s, a * s + b * c
    return y


def windowed_layers(m, n_layer):
    every = {"gemma2": 2, "gemma3": 6, "olmo2": 4, "llama": 0, "mistral3": 0}.get(m.arch)
    if every is None or not m.get("attention.sliding_window", 4096 if m.arch == "gemma2" else 0):
        return [False] * n_layer
    pattern = m.get("attention.sliding_window_pattern", every)
    if isinstance(pattern, list):
        return [bool(p) for p in pattern]
    return [pattern == 0 or (i + 1) % pattern != 0 for i in range(n_layer)]


def linear(m, name, x):
    y = x @ m.t[f"{name}.weight"].T * m.t.get(f"{name}.scale", 1.0)
    return y + m.t[f"{name}.bias"] if f"{name}.bias" in m.t else y


def norm(m, name, x, eps):
    if f"{name}.weight" not in m.t:
        return x
    if m.arch in LAYER_NORM:
        return layer_norm(x, m.t[f"{name}.weight"], m.t.get(f"{name}.bias"), eps)
    return rms(x, m.t[f"{name}.weight"], eps)


def qkv(m, p, x, sizes):
    if f"{p}attn_qkv.weight" in m.t:
        return np.split(linear(m, f"{p}attn_qkv", x), np.cumsum(sizes)[:-1], axis=-1)
    return [linear(m, f"{p}attn_{name}", x) for name in "qkv"]


def attention(m, p, x, s, i):
    n, heads, kv, head = len(x), s["heads"], s["kv"], s["head"]
    q, k, v = qkv(m, p, x, [heads * head, kv * head, kv * head])
    qn, kn = m.t.get(f"{p}attn_q_norm.weight"), m.t.get(f"{p}attn_k_norm.weight")
    if m.arch == "olmo2":
        q, k = rms(q, qn, s["eps"]), rms(k, kn, s["eps"])
        qn = kn = None
    q, k, v = q.reshape(n, heads, head), k.reshape(n, kv, head), v.reshape(n, kv, head)
    if qn is not None:
        if m.arch == "stablelm":
            q, k = layer_norm(q, qn, None, s["eps"]), layer_norm(k, kn, None, s["eps"])
        else:
            q, k = rms(q, qn, s["eps"]), rms(k, kn, s["eps"])
    if s["turns"][i]:
        q, k = (rotate(m, z, *s["rope"][s["windowed"][i]]) for z in (q, k))
    beyond = np.arange(n) // m.get("rope.scaling.original_context_length", m.get("context_length"))
    q = q * (m.get("attention.temperature_scale", 0.0) * np.log(1 + beyond) + 1)[:, None, None]
    k, v = np.repeat(k, heads // kv, axis=1), np.repeat(v, heads // kv, axis=1)
    score = np.einsum("ihd,jhd->hij", q, k) * s["scale"]
    if m.arch == "gemma2":
        cap = m.get("attn_logit_softcapping", 50.0)
        score = cap * np.tanh(score / cap)
    ago = np.arange(n)[:, None] - np.arange(n)
    hidden = ago < 0
    if s["windowed"][i]:
        hidden |= ago >= s["window"]
    score = np.where(hidden, -np.inf, score)
    e = np.exp(score - score.max(-1, keepdims=True))
    out = np.einsum("hij,jhd->ihd", e / e.sum(-1, keepdims=True), v)
    return linear(m, f"{p}attn_output", out.reshape(n, heads * head))


def feed_forward(m, p, x):
    act = (lambda z: gelu(z, m.halves)) if m.arch in GELU else silu
    up = linear(m, f"{p}ffn_up", x)
    if m.arch == "phi3":
        gate, up = np.split(up, 2, axis=-1)
        up = act(gate) * up
    elif f"{p}ffn_gate.weight" in m.t:
        up = act(linear(m, f"{p}ffn_gate", x)) * up
    else:
        up = act(up)
    return linear(m, f"{p}ffn_down", up)


def settings(m, n_ctx):
    embd, heads = m.get("embedding_length"), m.get("attention.head_count")
    layers, head = m.get("block_count"), m.get("attention.key_length", embd // heads)
    base = m.get("rope.freq_base", 10000.0)
    n_rot = m.get("rope.dimension_count", head)
    swa_base = m.get("rope.freq_base_swa", 10000.0 if m.arch == "gemma3" else base)
    plain_swa = m.arch in ("gemma3", "olmo2")
    turns = [m.arch != "gpt2" and m.get("rope.scaling.finetuned", True)
             and not (m.arch == "smollm3" and (i + 1) % 4 == 0) for i in range(layers)]
    big = {"gemma2": 46, "gemma3": 62}.get(m.arch) == layers
    eps = "attention.layer_norm_epsilon" if m.arch in LAYER_NORM else \
        "attention.layer_norm_rms_epsilon"
    return {"heads": heads, "kv": m.get("attention.head_count_kv", heads), "head": head,
            "layers": layers, "eps": m.get(eps), "turns": turns,
            "window": m.get("attention.sliding_window", 4096),
            "windowed": windowed_layers(m, layers),
            "scale": m.get("attention.scale", 1 / math.sqrt(embd / heads if big else head)),
            "rope": {False: inverse_frequencies(m, n_rot, n_ctx, True, base),
                     True: inverse_frequencies(m, n_rot, n_ctx, not plain_swa, swa_base)}}


def logits(path, ids, n_ctx, halves=False):
    """[len(ids), n_vocab]"""
    m = Model(path, halves)
    s = settings(m, n_ctx)
    x = m.t["token_embd.weight"][ids] * m.get("embedding_scale", 1.0)
    if m.arch in GEMMA:
        x = x * math.sqrt(m.get("embedding_length"))
    if m.arch == "gpt2":
        x = x + m.t["position_embd.weight"][:len(ids)]
    r = m.get("residual_scale", 1.0)
    for i in range(s["layers"]):
        p = f"blk.{i}."
        n = norm(m, f"{p}attn_norm", x, s["eps"])
        a = norm(m, f"{p}post_attention_norm", attention(m, p, n, s, i), s["eps"])
        if f"{p}ffn_norm.weight" not in m.t and m.arch in ("phi2", "stablelm"):
            x = x + r * a + r * feed_forward(m, p, n)
            continue
        x = x + r * a
        f = feed_forward(m, p, norm(m, f"{p}ffn_norm", x, s["eps"]))
        x = x + r * norm(m, f"{p}post_ffw_norm", f, s["eps"])
    x = norm(m, "output_norm", x, s["eps"])
    name = "output" if "output.weight" in m.t else "token_embd"
    out = linear(m, name, x) / m.get("logit_scale", 1.0)
    cap = m.get("final_logit_softcapping", 30.0 if m.arch == "gemma2" else 0.0)
    return cap * np.tanh(out / cap) if cap else out
