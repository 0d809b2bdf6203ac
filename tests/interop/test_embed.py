#!/usr/bin/env python3
"""The command embed: on a tiny encoder what it prints and refuses, and on a real one, all-MiniLM-L6-v2,
that vectors are the right ones.

    test_embed.py SELVAGE TINY_FOLDERS                               prints TAP
    SLV_TEST_ENCODER=FOLDER test_embed.py SELVAGE --real TOK_DUMP DATA/minilm
"""
import json
import math
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile

import tap

SELVAGE = os.path.abspath(sys.argv[1])
REAL = sys.argv[2] == "--real"
TINY = None if REAL else pathlib.Path(sys.argv[2])
HOME = tempfile.TemporaryDirectory(prefix="selvage-embed-")
os.environ["SELVAGE_HOME"] = HOME.name
TESTS = []
LIMIT, USAGE, FORMAT = 4, 2, 3


def test(fn):
    TESTS.append(fn)
    return fn


def run(*args, stdin=b"", env=None):
    p = subprocess.run([SELVAGE, *map(str, args)], input=stdin, capture_output=True, env={**os.environ, **(env or {})},
                       timeout=300)
    assert b"Sanitizer" not in p.stderr, p.stderr.decode()
    return p


def embed(model, *args, **kw):
    p = run("embed", model, *args, **kw)
    assert p.returncode == 0, p.stderr.decode()
    return p.stdout


def vectors(model, *args, **kw):
    return [[float(x) for x in line.split()] for line in embed(model, *args, **kw).decode().splitlines()]


def fails(p, status, *words):
    err = p.stderr.decode()
    assert p.returncode == status, (p.returncode, err)
    assert err.startswith("selvage: ") and err.count("\n") == 1, err
    for word in words:
        assert word in err, (word, err)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


# --- a tiny model ---------------------------------------------------------------------------------

def tiny(name="bert"):
    return TINY / name


@test
def arguments_and_lines_give_the_same():
    texts = ["the cat", "", "the dog ran!", "Na\u00efve \u65e5\u672c"]
    by_args = embed(tiny(), *texts)
    assert by_args.count(b"\n") == 4 and len(by_args.split(b"\n")[0].split()) == 51
    lines = "\n".join(texts).encode()
    assert embed(tiny(), stdin=lines + b"\n") == by_args == embed(tiny(), stdin=lines) == embed(tiny(), "-", stdin=lines)
    assert embed(tiny(), stdin=lines.replace(b"\n", b"\r\n")) == by_args
    assert embed(tiny(), stdin=b"") == b""


@test
def one_result():
    texts = ["the cat sat", "dog " * 30, "", "mat and mat"]
    want = embed(tiny("bert.gguf"), *texts)
    assert embed(tiny(), *texts) == want
    for args in (["-t", "1"], ["-t", "3", "-b", "64"], ["--batch", "8192"]):
        assert embed(tiny(), *texts, *args) == want, args
    for level in ("scalar", "sse4", "avx2", "avx512", "neon"):
        assert embed(tiny(), *texts, env={"SLV_CPU": level}) == want, level
    assert b"".join(embed(tiny(), t) for t in texts) == want
    many = [texts[i % 4] for i in range(1000)]
    assert embed(tiny(), stdin="\n".join(many).encode()) == want * 250


@test
def json_says_what_is_what():
    out = json.loads(embed(tiny(), "--json", "the cat", "ran", "--dimensions", "7"))
    assert out["dimensions"] == 7 and out["pooling"] == "mean", out
    assert [(e["index"], e["tokens"]) for e in out["embeddings"]] == [(0, 4), (1, 3)], out
    plain = vectors(tiny(), "the cat", "ran", "--dimensions", "7")
    for e, v in zip(out["embeddings"], plain, strict=True):  # both tell the same floats
        assert [struct.pack("f", x) for x in e["embedding"]] == [struct.pack("f", x) for x in v]
    assert json.loads(embed(tiny(), "--json", stdin=b"")) == {"dimensions": 51, "pooling": "mean", "embeddings": []}


@test
def pooling_and_length_are_as_asked():
    seen = set()
    for how in ("mean", "cls", "last"):
        v, = vectors(tiny(), "the cat sat", "--pooling", how)
        raw, = vectors(tiny(), "the cat sat", "--pooling", how, "--no-normalize")
        size = math.sqrt(dot(raw, raw))
        assert abs(dot(v, v) - 1) < 1e-6 and abs(size - 1) > 0.1
        assert max(abs(x - y / size) for x, y in zip(v, raw)) < 1e-6
        seen.add(tuple(v))
    assert len(seen) == 3
    assert vectors(tiny(), "the cat sat", "--pooling", "model") == vectors(tiny(), "the cat sat", "--pooling", "mean")
    whole, = vectors(tiny(), "the cat sat")
    short, = vectors(tiny(), "the cat sat", "--dimensions", "20")
    size = math.sqrt(dot(whole[:20], whole[:20]))
    assert len(short) == 20 and max(abs(x - y / size) for x, y in zip(short, whole)) < 1e-6


@test
def pairs_get_scores():
    out = json.loads(embed(tiny("bert-rank"), "--json", "--query", "the cat?", "the cat sat on the mat.", "dog"))
    assert out["pooling"] == "rank" and out["dimensions"] == 3
    golden = json.loads((pathlib.Path(__file__).parent / "../data/encoders/goldens.json").read_text())["bert-rank"]
    want = [r["vector"] for r in golden if r["text"] == "the cat?"]
    for row, right in zip(out["embeddings"], want, strict=True):
        assert max(abs(x - y) for x, y in zip(row["scores"], right)) < 1e-5, (row, right)
    fails(run("embed", tiny(), "--pooling", "rank", "a"), USAGE, "no scores")


@test
def long_texts_are_errors_unless_cut():
    long = "cat " * 63
    fails(run("embed", tiny(), "a", long), LIMIT, "text 2", "65 tokens do not fit in a context of 64")
    fails(run("embed", tiny(), "a", "-c", "2"), LIMIT, "3 tokens do not fit in a context of 2")
    assert embed(tiny(), long, "--truncate") == embed(tiny(), "cat " * 62)
    p = run("embed", tiny(), stdin=b"cat\n" * 300 + long.encode())
    fails(p, LIMIT, "after the first 256", "text 45")
    assert p.stdout.count(b"\n") == 256  # those before are there


@test
def control_tokens_in_a_text_are_text_unless_asked():
    one = json.loads(embed(tiny(), "--json", "[MASK]"))["embeddings"][0]["tokens"]
    other = json.loads(embed(tiny(), "--json", "[MASK]", "--special"))["embeddings"][0]["tokens"]
    assert other == 3 and one > 3, (one, other)


@test
def decoders_embed_when_asked():
    fails(run("embed", tiny("hf-qwen2"), "the"), USAGE, "choose mean, cls or last")
    a, b = vectors(tiny("hf-qwen2"), "the", "then in", "--pooling", "last")
    assert len(a) == 64 and abs(dot(a, a) - 1) < 1e-6 and a != b
    assert embed(tiny("hf-qwen2"), "the", "--pooling", "mean") == embed(tiny("hf-qwen2.gguf"), "the", "--pooling", "mean")


@test
def encoders_make_no_text():
    for command in (["run", tiny(), "the", "-n", "2"], ["bench", tiny(), "-p", "8", "-n", "8"], ["batch", tiny()]):
        fails(run(*command), USAGE, "is an encoder")


@test
def show_and_tokenize_read_folders():
    out = json.loads(run("show", tiny(), "--json").stdout)
    assert out["arch"] == "bert" and out["vocab"] == 104 and out["context"] == 64, out
    assert run("tokenize", tiny(), "--special", "the cat").stdout == run("tokenize", tiny("bert.gguf"), "--special", "the cat").stdout
    assert run("detokenize", tiny(), "89", "90").stdout == b"the cat\n"


@test
def memory_is_kept_or_refused():
    fails(run("embed", tiny(), "a", "--memory", "1M"), LIMIT, "MiB", "1.0 are allowed")
    embed(tiny(), "a", "--memory", "64M")


def changed(name, file, change):
    """A copy of a folder with one JSON file changed."""
    to = pathlib.Path(tempfile.mkdtemp(dir=HOME.name)) / name
    shutil.copytree(tiny(name), to)
    content = json.loads((to / file).read_text())
    change(content)
    (to / file).write_text(json.dumps(content))
    return to


@test
def what_is_not_understood_is_refused():
    def put(*path, to):
        def change(j):
            for key in path[:-1]:
                j = j[key]
            if to is None:
                del j[path[-1]]
            else:
                j[path[-1]] = to
        return change

    for name, file, change, status, *words in [
            ("bert", "config.json", put("model_type", to="t5"), FORMAT, "config.json", "model type 't5'"),
            ("bert", "config.json", put("model_type", to=None), FORMAT, "'model_type' is missing"),
            ("bert", "config.json", put("hidden_act", to="relu6"), FORMAT, "activation 'relu6'"),
            ("bert", "config.json", put("position_embedding_type", to="relative_key"), FORMAT, "is not absolute"),
            ("bert", "config.json", put("is_decoder", to=True), FORMAT, "'is_decoder' is not false"),
            ("bert", "config.json", put("hidden_size", to=48), FORMAT, "token_embd.weight"),
            ("bert", "config.json", put("hidden_size", to="51"), FORMAT, "'hidden_size' is not a whole number"),
            ("bert", "config.json", put("hidden_size", to=-1), FORMAT, "'hidden_size'"),
            ("bert", "config.json", put("num_attention_heads", to=5), FORMAT, "does not divide"),
            ("bert", "config.json", put("num_hidden_layers", to=3), FORMAT, "blk.2.", "is missing"),
            ("bert", "config.json", put("num_hidden_layers", to=1), FORMAT, "blk.1.", "not known to the family"),
            ("bert", "config.json", put("vocab_size", to=50), FORMAT, "outside a vocabulary of 50"),
            ("bert", "config.json", put("vocab_size", to=2 ** 40), FORMAT, "vocab_size"),
            ("bert", "config.json", put("quantization_config", to={"bits": 4}), FORMAT, "quantization_config"),
            ("bert", "modules.json", lambda j: j.append({"type": "sentence_transformers.models.Dense"}), FORMAT, "Dense"),
            ("bert", "config_sentence_transformers.json", put("default_prompt_name", to="query"), FORMAT, "default_prompt_name"),
            ("bert", "sentence_bert_config.json", put("do_lower_case", to=True), FORMAT, "'do_lower_case' is true"),
            ("bert", "1_Pooling/config.json", put("pooling_mode_max_tokens", to=True), FORMAT, "pooling_mode_max_tokens"),
            ("bert", "tokenizer.json", put("normalizer", to={"type": "NFKC"}), FORMAT, "tokenizer.json", "normalizer"),
            ("bert", "tokenizer.json", put("normalizer", "clean_text", to=False), FORMAT, "normalizer"),
            ("bert", "tokenizer.json", put("pre_tokenizer", to={"type": "Whitespace"}), FORMAT, "pre-tokenizer"),
            ("bert", "tokenizer.json", put("model", "type", to="WordLevel"), FORMAT, "none of BPE, WordPiece and Unigram"),
            ("bert", "tokenizer.json", put("model", "type", to="Unigram"), FORMAT, "'unk_id' is no token"),
            ("xlm-roberta", "tokenizer.json", put("pre_tokenizer", to=None), FORMAT, "unknown pre-tokenizer"),
            ("xlm-roberta", "tokenizer.json", put("normalizer", to={"type": "Precompiled", "precompiled_charsmap": "AA"}),
             FORMAT, "not base64"),
            ("xlm-roberta", "tokenizer.json", put("model", "vocab", 5, to=["x"]), FORMAT, "a string and a score"),
            ("xlm-roberta", "config.json", put("pad_token_id", to=90), FORMAT, "max_position_embeddings"),
            ("bert", "tokenizer.json", put("model", "vocab", "cat", to=1), FORMAT, "two pieces have the id 1"),
            ("bert", "tokenizer.json", put("model", "vocab", "cat", to=9999), FORMAT, "outside a vocabulary"),
            ("bert", "tokenizer.json", put("model", "unk_token", to="[NO]"), FORMAT, "unknown token"),
            ("bert", "tokenizer.json", put("post_processor", to=None), FORMAT, "token before"),
            ("bert-cls", "model.safetensors.index.json", put("weight_map", "bert.pooler.dense.bias", to="no.safetensors"),
             1, "no.safetensors"),
            ("hf-llama", "config.json", put("rope_scaling", to={"rope_type": "dynamic", "factor": 2}), FORMAT, "'dynamic'"),
            ("hf-llama", "config.json", put("hidden_act", to="gelu"), FORMAT, "'hidden_act' is not silu"),
            ("hf-llama", "tokenizer.json", put("model", "byte_fallback", to=True), FORMAT, "not marked as usual"),
            ("hf-llama", "tokenizer.json", put("normalizer", to={"type": "Lowercase"}), FORMAT, "normalizer"),
            ("hf-llama", "tokenizer.json", put("pre_tokenizer", "add_prefix_space", to=True), FORMAT, "pre-tokenizer"),
            ("hf-llama", "tokenizer.json", put("model", "merges", to=["a b c"]), FORMAT, "not in the vocabulary"),
    ]:
        fails(run("embed", changed(name, file, change), "a", "--pooling", "mean"), status, *words)


@test
def folders_that_are_not_whole_are_refused():
    empty = pathlib.Path(HOME.name) / "empty"
    empty.mkdir()
    fails(run("embed", empty, "a"), 1, "without config.json")
    to = changed("bert", "config.json", lambda j: None)
    (to / "tokenizer.json").write_text("{")
    fails(run("embed", to, "a"), FORMAT, "tokenizer.json", "JSON at byte 1")
    (to / "tokenizer.json").unlink()
    fails(run("embed", to, "a"), 1, "without tokenizer.json")
    to = changed("bert", "config.json", lambda j: None)
    size = (to / "model.safetensors").stat().st_size
    os.truncate(to / "model.safetensors", size - 1)
    fails(run("embed", to, "a"), FORMAT, "model.safetensors")
    (to / "model.safetensors").unlink()
    fails(run("embed", to, "a"), 1, "without model.safetensors")


@test
def llama_3_scaling_changes_the_answer():
    scaled = changed("hf-llama", "config.json", lambda j: j.update(rope_scaling={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}))
    a, b = (vectors(m, "the then in " * 9, "--pooling", "last")[0] for m in (tiny("hf-llama"), scaled))
    assert abs(dot(a, b)) < 0.99999 and abs(dot(b, b) - 1) < 1e-6


@test
def an_interrupt_ends_it():
    p = subprocess.Popen([SELVAGE, "embed", str(tiny())], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    p.stdin.write(b"the cat\n")
    p.stdin.flush()
    assert p.stdout.readline()  # printed though the input goes on
    p.send_signal(signal.SIGTERM)  # SIGINT may be ignored where this runs
    assert p.wait(timeout=60) == 130
    p.communicate()


# --- the real model -----------------------------------------------------------------------------

def golden():
    data = pathlib.Path(sys.argv[4])
    rows = json.loads((data / "texts.json").read_text())
    raw = (data / "vectors.f16").read_bytes()
    width = len(raw) // 2 // len(rows["texts"])
    return rows["texts"], rows["ids"], [list(struct.unpack_from(f"<{width}e", raw, 2 * width * i))
                                        for i in range(len(rows["texts"]))]


def tokens_are_those_of_hugging_face():
    texts, ids, _ = golden()
    data = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)
    p = subprocess.run([sys.argv[3], "ids", MODEL, "3"], input=data, capture_output=True, check=True)
    have = [[int(x) for x in line.split()] for line in p.stdout.decode().splitlines()]
    wrong = [(t, w, h) for t, w, h in zip(texts, ids, have, strict=True) if w != h]
    assert not wrong, (len(wrong), wrong[0])


def vectors_are_the_right_ones():
    texts, _, want = golden()
    have = json.loads(embed(MODEL, "--json", "--special", *texts))["embeddings"]
    cosines = [dot(w, h["embedding"]) / math.sqrt(dot(w, w)) for w, h in zip(want, have, strict=True)]
    print(f"# {len(texts)} texts, least cosine {min(cosines):.7f}")
    assert min(cosines) >= 0.9999, texts[cosines.index(min(cosines))]


def texts_that_mean_the_like_are_near():
    a, b, c = vectors(MODEL, "A man is eating food.", "A man is eating a piece of bread.", "Two dogs are playing in the snow.")
    assert dot(a, b) > 0.7 > 0.2 > dot(a, c), (dot(a, b), dot(a, c))


def one_result_of_the_real_model():
    texts, *_ = golden()
    want = embed(MODEL, *texts)
    for args, env in ((["-t", "1"], {}), (["-t", "2", "-b", "512"], {"SLV_CPU": "avx2"}), (["-t", "3", "-b", "4096"], {})):
        assert embed(MODEL, *texts[::-1], *args, env=env).splitlines()[::-1] == want.splitlines(), (args, env)
    assert embed(MODEL, *texts[13:17], env={"SLV_CPU": "scalar"}).splitlines() == want.splitlines()[13:17]


if REAL:
    MODEL = os.environ.get("SLV_TEST_ENCODER")
    if not MODEL:
        print("1..0 # SKIP SLV_TEST_ENCODER is not set")
        sys.exit(0)
    TESTS = [tokens_are_those_of_hugging_face, vectors_are_the_right_ones, texts_that_mean_the_like_are_near,
             one_result_of_the_real_model]
sys.exit(tap.run(TESTS))
