#!/usr/bin/env python3
"""Grammars judged by what is not ours: Python's JSON reader, its expressions, and the definition of what a
grammar derives; answers of a model that are held to one.

usage: test_grammar.py SELVAGE WALK MODEL...      prints TAP

WALK writes and reads texts of a grammar (constraint/grammar_walk.c), MODELs are small, with vocabularies of
each kind.
"""
import ast
import itertools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import warnings

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
import tap  # noqa: E402

PROGRAM, WALK = sys.argv[1:3]
MODELS = sys.argv[3:]
HOME = tempfile.TemporaryDirectory(prefix="selvage-grammar-")
ENV = {"PATH": os.environ["PATH"], "SELVAGE_HOME": HOME.name + "/store"}
ENV.update({k: v for k, v in os.environ.items() if k.startswith(("ASAN_", "UBSAN_", "LSAN_"))})

JSON_GBNF = r'''
root    ::= ws value ws
value   ::= object | array | string | number | "true" | "false" | "null"
object  ::= "{" ws ( string ws ":" ws value ws ("," ws string ws ":" ws value ws)* )? "}"
array   ::= "[" ws ( value ws ("," ws value ws)* )? "]"
string  ::= "\"" ( [^"\\\x00-\x1F] | "\\" ( ["\\/bfnrt] | "u" [0-9a-fA-F]{4} ) )* "\""
number  ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ([eE] [-+]? [0-9]+)?
ws      ::= [ \t\n\r]*
'''
SUMS = r'''
start: sum
sum: product (("+" | "-") product)*
product: unary (("*" | "//") unary)*
unary: "-" unary | power
power: atom ("**" unary)?
atom: NUMBER | NAME | "(" sum ")" | NAME "(" (sum ("," sum)*)? ")"
NUMBER: "0" | /[1-9][0-9]{0,8}/
NAME: /[xyz]/ DIGIT?
DIGIT: "0".."9"
'''


def file(name, text):
    path = os.path.join(HOME.name, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def walk(grammar, *args, **kw):
    p = subprocess.run([WALK, file("grammar", grammar), *args], env=ENV, text=True, capture_output=True,
                       timeout=120, **kw)
    assert "Sanitizer" not in p.stderr and p.returncode in (0, 3), (grammar, p)
    return p


def written(grammar, seed, n):
    p = walk(grammar, "write", str(seed), str(n))
    assert p.returncode == 0, (grammar, p.stderr)
    return [bytes.fromhex(line).decode() for line in p.stdout.split("\n")[:-1]]


def judged(grammar, texts):
    p = walk(grammar, "read", input="".join(t.encode().hex() + "\n" for t in texts))
    assert p.returncode == 0, (grammar, p.stderr)
    out = [line == "1" for line in p.stdout.split("\n")[:-1]]
    assert len(out) == len(texts)
    return out


def is_json(text):
    try:
        json.loads(text, parse_constant=lambda c: int("no"))
    except ValueError:
        return False
    return text == text.encode("utf-8", "ignore").decode()


def spoiled(text, rng):
    """The text with one letter taken away, doubled or changed."""
    at = rng.randrange(len(text))
    return rng.choice([text[:at] + text[at + 1:], text[:at] + text[at] + text[at:],
                       text[:at] + rng.choice('{}[],:"\\0e-. x\n') + text[at + 1:]])


def random_value(rng, depth=0):
    kind = rng.randrange(8 if depth < 4 else 5)
    if kind < 2:
        return rng.choice([None, True, False, 0, -1, 2.5, 1e30, -3e-7, rng.randrange(10 ** 9)])
    if kind < 5:
        return "".join(rng.choice('ab"\\\n\t /\u00e9\u4e2d\U0001f600\x01') for _ in range(rng.randrange(8)))
    if kind < 7:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {f"k{i}\u00fc\"": random_value(rng, depth + 1) for i in range(rng.randrange(4))}


def json_is_what_python_reads():
    rng = random.Random(5)
    texts = written(JSON_GBNF, 1, 400)
    assert len(texts) > 300 and max(map(len, texts)) > 60, len(texts)
    for t in texts:
        assert is_json(t), t
    texts = [json.dumps(random_value(rng), indent=rng.choice([None, 1, "\t"]), ensure_ascii=rng.random() < 0.5)
             for _ in range(400)]
    assert all(judged(JSON_GBNF, texts))
    bad = [spoiled(t, rng) for t in texts * 4]
    yes = 0
    for t, is_text in zip(bad, judged(JSON_GBNF, bad)):
        assert is_text == is_json(t), (t, is_text)
        yes += is_text
    assert 100 < yes < len(bad) - 100, yes


def ours(e):
    """Whether Python's tree has only what SUMS has."""
    if isinstance(e, ast.BinOp):
        return isinstance(e.op, (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Pow)) and ours(e.left) and ours(e.right)
    if isinstance(e, ast.UnaryOp):
        return isinstance(e.op, ast.USub) and ours(e.operand)
    if isinstance(e, ast.Call):
        return isinstance(e.func, ast.Name) and ours(e.func) and not e.keywords and all(map(ours, e.args))
    if isinstance(e, ast.Name):
        return re.fullmatch("[xyz][0-9]?", e.id) is not None
    return isinstance(e, ast.Constant) and isinstance(e.value, int)


def is_sum(text):
    if ",)" in text or ")(" in text or re.search("(?<![xyz0-9])(0[0-9]|[0-9]{10})", text):
        return False  # written as nothing in SUMS is, though it means the same
    try:
        return ours(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError):
        return False


def sums_are_what_python_parses():
    rng = random.Random(6)
    texts = written(SUMS, 2, 400)
    assert len(texts) > 200 and any("(" in t for t in texts), len(texts)
    for t in texts:
        assert is_sum(t), t
    bad = [spoiled(t, rng) for t in texts * 4]
    bad = [t for t in bad if set(t) <= set("0123456789+-*/(),xyz") and t]
    yes = 0
    for t, is_text in zip(bad, judged(SUMS, bad)):
        assert is_text == is_sum(t), (t, is_text)
        yes += is_text
    assert 100 < yes < len(bad) - 100, (yes, len(bad))


# --- what a grammar derives ---------------------------------------------------------------------

LONGEST = 5


def random_expr(rng, rules, depth):
    kind = rng.randrange(8)
    if depth == 0 or kind < 3:
        return ("text", rng.choice(["a", "b", "ab", "", "ba", "c"]))
    if kind < 5:
        return ("rule", rng.choice(rules))
    parts = [random_expr(rng, rules, depth - 1) for _ in range(rng.randrange(1, 4))]
    if kind == 5:
        return ("repeat", parts[0], *rng.choice([(0, None), (1, None), (0, 1), (2, 2), (0, 2), (1, 3)]))
    return ("seq" if kind == 6 else "alt", parts)


def shown(e):
    if e[0] == "text":
        return '"' + e[1] + '"'
    if e[0] == "rule":
        return e[1]
    if e[0] == "repeat":
        return f"({shown(e[1])}){{{e[2]},{'' if e[3] is None else e[3]}}}"
    return "(" + (" " if e[0] == "seq" else " | ").join(map(shown, e[1])) + ")"


def joined(a, b):
    return {x + y for x in a for y in b if len(x) + len(y) <= LONGEST}


def derived(e, of):
    if e[0] == "text":
        return {e[1]} if len(e[1]) <= LONGEST else set()
    if e[0] == "rule":
        return of[e[1]]
    if e[0] == "alt":
        return set().union(*(derived(x, of) for x in e[1]))
    if e[0] == "seq":
        out = {""}
        for x in e[1]:
            out = joined(out, derived(x, of))
        return out
    one, out, now = derived(e[1], of), set(), {""}
    for n in range(LONGEST + 3 if e[3] is None else e[3] + 1):
        if n >= e[2]:
            out |= now
        now = joined(now, one)
    return out


def all_derived(rules):
    of = {name: set() for name in rules}
    while True:
        new = {name: derived(e, of) for name, e in rules.items()}
        if new == of:
            return of
        of = new


def random_grammars_derive_what_they_should():
    words = ["".join(w) for n in range(LONGEST + 1) for w in itertools.product("abc", repeat=n)]
    held = refused = 0
    for seed in range(400):
        rng = random.Random(seed)
        names = ["root", "r", "s", "t"][:rng.randrange(1, 5)]
        rules = {n: random_expr(rng, names, 3) for n in names}
        text = "".join(f"{n} ::= {shown(e)}\n" for n, e in rules.items())
        p = walk(text, "write", str(seed), "5")
        if p.returncode == 3:
            assert "left recursive" in p.stderr or "has no string" in p.stderr, (text, p.stderr)
            if "has no string" in p.stderr:
                assert not all(all_derived(rules).values()), text
            refused += 1
            continue
        of = all_derived(rules)["root"]
        for word, is_text in zip(words, judged(text, words)):
            assert is_text == (word in of), (text, word, is_text)
        for t in (bytes.fromhex(line).decode() for line in p.stdout.split("\n")[:-1]):
            assert len(t) > LONGEST or t in of, (text, t)
        held += 1
    print(f"# {held} grammars, {refused} more are refused")
    assert held > 150 and refused > 20, (held, refused)


# --- answers ------------------------------------------------------------------------------------

def run(*args):
    p = subprocess.run([PROGRAM, *args], env=ENV, text=True, capture_output=True, timeout=120)
    assert "Sanitizer" not in p.stderr and p.returncode >= 0, p
    return p


CALLS = r'''
start: call{2}
call: "<tool_call>\n{\"name\": \"" NAME "\", \"arguments\": " args "}\n</tool_call>\n"
NAME: "get_weather" | "get_time"
args: %json {"type": "object", "properties": {"city": {"type": "string", "maxLength": 6},
  "days": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["city", "days"],
  "additionalProperties": false}
'''


def an_answer_is_a_text_of_the_grammar():
    path = file("calls.lark", CALLS)
    for model, seed in ((m, s) for m in MODELS for s in range(3)):
        p = run("run", model, "hello", "--raw", "--grammar", path, "--temp", "1.5", "--seed", str(seed), "--json",
                "-n", "600")
        assert p.returncode == 0, p
        out = json.loads(p.stdout)
        assert out["finish"] == "schema", out
        calls = out["text"].split("<tool_call>\n")[1:]
        assert len(calls) == 2, out
        for c in calls:
            v = json.loads(c.removesuffix("\n</tool_call>\n"))
            assert v["name"] in ("get_weather", "get_time") and 1 <= v["arguments"]["days"] <= 9, v
        assert out["timing"]["steps"] < len(out["tokens"]), out  # what is certain is not drawn


def free_text_that_is_cut_says_so():
    path = file("free.gbnf", "root ::= .*")
    out = json.loads(run("run", MODELS[0], "hello", "--raw", "--grammar", path, "-n", "5", "--json").stdout)
    assert out["finish"] in ("length", "schema") and (out["finish"] == "length") == (len(out["tokens"]) == 5), out


def what_cannot_be_held_is_an_error():
    for text, code in (('start: "a', 3), ("start: <nothing>", 3), ("start: start", 3)):
        p = run("run", MODELS[0], "hello", "--raw", "--grammar", file("no.lark", text))
        assert p.returncode == code and p.stdout == "" and p.stderr.count("\n") == 1, p
    p = run("run", MODELS[0], "hello", "--raw", "--grammar", file("g", "root ::= .*"), "--schema", file("s", "true"))
    assert p.returncode == 2, p


def what_grows_too_large_is_refused_or_cut():
    """Refused before the answer, with the limit's name; or the answer is cut, and no error follows."""
    p = run("run", MODELS[0], "hello", "--raw", "--grammar",
            file("g", 'root ::= ((("a"{1,1000}){1,1000}){1,1000}){1,1000}'))
    assert p.returncode == 4 and p.stdout == "" and "rule root: its repetitions multiply" in p.stderr, p
    for text, letters in ((r'root ::= (([a-c]{3,30} "b"?){20,30} "c"?){20,30} "."', "abc"),
                          ('root ::= (([a-c]{1,30} x?){20,30} x?){20,30} "."\nx ::= [ab] x | [bc] x | ""', "abc"),
                          ('root ::= ("a"? "a"? "a"? "a"? "a"? ){30} x\nx ::= "a" x root | "ab" | "aa" x', "ab"),
                          (r'root ::= ([ab]* "a" [ab]{20} "."){20}', "ab.")):
        for seed in range(2):
            p = run("run", MODELS[0], "hello", "--raw", "--grammar", file("g", text), "-n", "300", "--json",
                    "--seed", str(seed))
            assert p.returncode == 0, (text, p)
            out = json.loads(p.stdout)
            assert out["finish"] in ("length", "schema") and not out["text"].strip(letters), (text, out)


warnings.simplefilter("ignore")
sys.exit(tap.run([json_is_what_python_reads, sums_are_what_python_parses, random_grammars_derive_what_they_should,
                  an_answer_is_a_text_of_the_grammar, free_text_that_is_cut_says_so,
                  what_cannot_be_held_is_an_error, what_grows_too_large_is_refused_or_cut]))
