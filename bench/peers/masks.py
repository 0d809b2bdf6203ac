#!/usr/bin/env python3
"""Masks beside llguidance and xgrammar: masks.py SELVAGE MODEL.gguf SCHEMAS.jsonl [--count N] [--peers A,B]

Each line of SCHEMAS is {"schema":.., "tests":[{"data":.., "valid":..}]}. For each engine: schemas that it
refuses, those with all instances right, valid ones refused, invalid ones accepted; microseconds of
compiling, of masks along the accepted instances, and of the first mask. The vocabulary is MODEL's
(byte-level BPE). One process an engine, one thread, in turn for each tenth of the schemas.

Needs gguf, tokenizers and the peers (pip install gguf tokenizers llguidance xgrammar); a peer that is not
there is left out. Values are written as compact JSON; a peer that wants members in the schema's order
gets them so: an instance counts as accepted if any of both texts is."""
import argparse
import json
import subprocess
import time

import gguf
import tokenizers

US = 1e6


def vocabulary(path):
    """(tokenizer, ids of end tokens) of a GGUF file."""
    f = gguf.GGUFReader(path).fields

    def strings(key):
        return [bytes(f[key].parts[i]).decode() for i in f[key].data]

    tokens, merges = strings("tokenizer.ggml.tokens"), strings("tokenizer.ggml.merges")
    model = tokenizers.models.BPE({t: i for i, t in enumerate(tokens)},
                                  [tuple(m.split(" ")) for m in merges])
    t = tokenizers.Tokenizer(model)
    t.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Digits(individual_digits=True),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = tokenizers.decoders.ByteLevel()
    kinds = [int(f["tokenizer.ggml.token_type"].parts[i][0])
             for i in f["tokenizer.ggml.token_type"].data]
    t.add_special_tokens([tokenizers.AddedToken(x, special=True)
                          for x, k in zip(tokens, kinds) if k == 3])
    return t, int(f["tokenizer.ggml.eos_token_id"].parts[-1][0])


def arranged(schema, value):
    """The value, objects' members in the order of the schema's properties where they are plain to see."""
    if isinstance(value, list):
        items = schema.get("items") if isinstance(schema, dict) else None
        return [arranged(items, v) for v in value]
    if not isinstance(value, dict):
        return value
    props = schema.get("properties", {}) if isinstance(schema, dict) else {}
    order = {k: i for i, k in enumerate(props)} if isinstance(props, dict) else {}
    keys = sorted(value, key=lambda k: order.get(k, len(order)))
    return {k: arranged(props.get(k) if isinstance(props, dict) else None, value[k]) for k in keys}


def texts(schema, value):
    both = [json.dumps(v, separators=(",", ":"), ensure_ascii=False)
            for v in (arranged(schema, value), value)]
    return both[:1] if both[0] == both[1] else both


class Llguidance:
    name = "llguidance"

    def __init__(self, tok, eos):
        import llguidance
        self.m = llguidance
        self.name += " " + llguidance.get_version()
        self.tok = llguidance.LLTokenizer(tok.to_str(), eos_token=eos)
        self.options = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}

    def compile(self, schema):
        s = dict(schema, **{"x-guidance": self.options}) if isinstance(schema, dict) else schema
        self.grammar = self.m.LLMatcher.grammar_from_json_schema(json.dumps(s))
        m = self.m.LLMatcher(self.tok, self.grammar)
        if m.is_error():
            raise ValueError(m.get_error())
        return m

    def walk(self, m, ids, times):
        m.reset()
        for i in ids:
            t0 = time.perf_counter()
            mask = m.compute_bitmask()
            times.append((time.perf_counter() - t0) * US)
            if not mask[i // 8] >> (i % 8) & 1 or not m.consume_token(i):
                return False
        return m.is_accepting()


class Xgrammar:
    name = "xgrammar"

    def __init__(self, tok, eos):
        import xgrammar
        self.m = xgrammar
        n = tok.get_vocab_size()
        vocab = [tok.id_to_token(i) for i in range(n)]
        info = xgrammar.TokenizerInfo(vocab, xgrammar.VocabType.BYTE_LEVEL, vocab_size=n,
                                      stop_token_ids=[eos])
        self.compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self.bits = xgrammar.allocate_token_bitmask(1, n)

    def compile(self, schema):
        g = self.compiler.compile_json_schema(json.dumps(schema), any_whitespace=False,
                                              separators=(",", ":"))
        return self.m.GrammarMatcher(g)

    def walk(self, m, ids, times):
        m.reset()
        for i in ids:
            t0 = time.perf_counter()
            m.fill_next_token_bitmask(self.bits)
            times.append((time.perf_counter() - t0) * US)
            if not m.accept_token(i):
                return False
        return m.is_completed() or m.is_terminated()


class Selvage:
    name = "selvage"

    def __init__(self, program, model):
        self.run = [program, "schema", "check", "--json", "--times", "--model", model, "-"]

    def cases(self, lines):
        out = subprocess.run(self.run, input="\n".join(lines) + "\n", capture_output=True, text=True,
                             check=True).stdout
        for line in out.splitlines():
            o = json.loads(line)
            yield {"refused": not o["supported"], "results": o["results"],
                   "compile": o.get("compile_us", 0), "times": o.get("mask_times_us", []),
                   "first": o.get("mask_first_us"), "why": o.get("why")}


class Peer:
    def __init__(self, engine, tok):
        self.engine, self.tok, self.name = engine, tok, engine.name

    def case(self, schema, tests):
        t0 = time.perf_counter()
        try:
            m = self.engine.compile(schema)
        except Exception as e:  # pylint: disable=broad-except
            return {"refused": True, "results": [], "compile": (time.perf_counter() - t0) * US,
                    "times": [], "first": None, "why": str(e)[:200]}
        spent = (time.perf_counter() - t0) * US
        results, times, first = [], [], None
        for t in tests:
            best = False
            for text in texts(schema, t["data"]):
                mine = []
                ok = self.engine.walk(m, self.tok.encode(text, add_special_tokens=False).ids, mine)
                first = mine[0] if first is None and mine else first
                if ok and not best:
                    times += mine
                best = best or ok
            results.append(best)
        return {"refused": False, "results": results, "compile": spent, "times": times,
                "first": first, "why": None}

    def cases(self, lines):
        for line in lines:
            o = json.loads(line)
            yield self.case(o["schema"], o["tests"])


def quantile(v, q):
    v = sorted(v)
    return v[min(len(v) - 1, int(len(v) * q))] if v else float("nan")


def report(name, cases, out):
    judged = [(c, o) for c, o in zip(cases, out) if c["tests"]]
    right = valid_refused = invalid_accepted = 0
    for c, o in judged:
        if o["refused"]:
            continue
        pairs = [(t["valid"], r) for t, r in zip(c["tests"], o["results"])]
        right += all(a == b for a, b in pairs)
        valid_refused += sum(a and not b for a, b in pairs)
        invalid_accepted += sum(b and not a for a, b in pairs)
    times = [t for o in out for t in o["times"]]
    compiled = [o["compile"] for o in out if not o["refused"]]
    first = [o["first"] for o in out if o["first"] is not None]
    print(f"| {name} | {sum(o['refused'] for o in out)} | {right} of {len(judged)} | {valid_refused} "
          f"| {invalid_accepted} | {quantile(compiled, .5):.0f} / {quantile(compiled, .99):.0f} "
          f"| {len(times)} | {sum(times) / max(1, len(times)):.2f} | {quantile(times, .5):.2f} "
          f"| {quantile(times, .99):.1f} | {quantile(first, .5):.1f} |", flush=True)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("selvage")
    a.add_argument("model")
    a.add_argument("schemas")
    a.add_argument("--count", type=int, default=0)
    a.add_argument("--peers", default="llguidance,xgrammar")
    args = a.parse_args()
    with open(args.schemas, encoding="utf-8") as f:
        lines = f.read().splitlines()
    lines = lines[:args.count] if args.count else lines
    tok, eos = vocabulary(args.model)
    engines = [Selvage(args.selvage, args.model)]
    for kind in (Llguidance, Xgrammar):
        if kind.name not in args.peers.split(","):
            continue
        try:
            engines.append(Peer(kind(tok, eos), tok))
        except ImportError:
            print(f"{kind.name} is not there")
    out = {e.name: [] for e in engines}
    step = max(1, len(lines) // 10)
    for i in range(0, len(lines), step):
        for e in engines:
            out[e.name] += list(e.cases(lines[i:i + step]))
    print("| engine | refused | all right | valid refused | invalid accepted | compile p50 / p99, us "
          "| masks | mean, us | p50 | p99 | first p50 |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    cases = [json.loads(line) for line in lines]
    for e in engines:
        report(e.name, cases, out[e.name])


if __name__ == "__main__":
    main()
