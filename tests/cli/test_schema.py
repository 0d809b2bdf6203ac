#!/usr/bin/env python3
"""Schemas on the command line: the JSON Schema test suite; values that other validators judge; answers
of a model; what is refused, and how.

usage: test_schema.py SELVAGE WALK SCHEMAS MODEL...      prints TAP

WALK writes random values of schemas (constraint/walk.c), SCHEMAS is a list of schemas, MODELs are small, with
vocabularies of each kind.
The suite is Debian's json-schema-test-suite, which ends with draft 7, and, where SLV_TEST_SUITE names it, one that goes
on; the validator is python3-jsonschema: without them the tests that need them are skipped, and say so.
"""
import glob
import json
import os
import subprocess
import sys
import tempfile
import warnings

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
import tap  # noqa: E402

try:
    import jsonschema
except ImportError:
    jsonschema = None

PROGRAM, WALK, SCHEMAS, MODEL = sys.argv[1:5]
MODELS = sys.argv[4:]
HOME = tempfile.TemporaryDirectory(prefix="selvage-schema-")
ENV = {"PATH": os.environ["PATH"], "SELVAGE_HOME": HOME.name + "/store"}
ENV.update({k: v for k, v in os.environ.items() if k.startswith(("ASAN_", "UBSAN_", "LSAN_"))})
SUITES = ["/usr/share/json-schema-test-suite/tests", os.environ.get("SLV_TEST_SUITE", "")]
DIALECTS = {"draft4": "http://json-schema.org/draft-04/schema#",
            "draft6": "http://json-schema.org/draft-06/schema#",
            "draft7": "http://json-schema.org/draft-07/schema#",
            "draft2019-09": "https://json-schema.org/draft/2019-09/schema",
            "draft2020-12": "https://json-schema.org/draft/2020-12/schema"}


def run(*args, **kw):
    p = subprocess.run([PROGRAM, *args], env=ENV, text=True, capture_output=True, timeout=120, **kw)
    assert "Sanitizer" not in p.stderr, p.stderr
    assert p.returncode >= 0, p
    return p


def check(cases, *options):
    lines = "\n".join(json.dumps(c) for c in cases) + "\n"
    p = run("schema", "check", "--json", *options, "-", input=lines)
    assert p.returncode == 0, p.stderr
    return [json.loads(line) for line in p.stdout.rstrip("\n").split("\n")]


def file(name, text):
    path = os.path.join(HOME.name, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text if isinstance(text, str) else json.dumps(text))
    return path


def suite_of(draft):
    suite = next(s for s in SUITES if os.path.isdir(f"{s}/{draft}"))
    for path in sorted(glob.glob(f"{suite}/{draft}/*.json")):
        with open(path, encoding="utf-8") as f:
            for group in json.load(f):
                s = group["schema"]
                if isinstance(s, dict) and "$schema" not in s:
                    s = {"$schema": DIALECTS[draft], **s}
                yield os.path.basename(path), group["description"], {"schema": s, "tests": group["tests"]}


def the_suite_is_judged_rightly_or_refused():
    drafts = [d for d in DIALECTS if any(os.path.isdir(f"{s}/{d}") for s in SUITES)]
    if not drafts:
        return tap.skip("json-schema-test-suite is not installed")
    for draft in drafts:
        rows = list(suite_of(draft))
        right = refused = 0
        table = {}
        for (name, what, case), out in zip(rows, check([r[2] for r in rows])):
            n = len(case["tests"])
            row = table.setdefault(name, [0, 0])
            if not out["supported"]:
                assert out["why"] and out["pointer"] is not None, (what, out)
                refused += n
                row[1] += n
                continue
            wrong = [t["description"] for t, r in zip(case["tests"], out["results"]) if r != t["valid"]]
            assert not wrong, (draft, name, what, wrong)
            right += n
            row[0] += n
        print(f"# {draft}: {right} right, {refused} refused")
        for name, (ok, no) in sorted(table.items()):
            print(f"#   {name:32} {ok:4} right {no:4} refused")
        assert refused <= 0.1 * (right + refused), (draft, refused, right)


def what_is_written_is_valid_for_another_validator():
    if jsonschema is None:
        return tap.skip("python3-jsonschema is not installed")
    with open(SCHEMAS, encoding="utf-8") as f:
        lines = f.read()
    schemas = [json.loads(line) for line in lines.rstrip("\n").split("\n")]
    for seed in range(1, 4):
        p = subprocess.run([WALK, str(seed), "10"], input=lines, text=True, capture_output=True,
                           timeout=240, env=ENV)
        assert p.returncode == 0, p.stderr[:2000]
        out = [json.loads(line) for line in p.stdout.rstrip("\n").split("\n")]
        assert len(out) == len(schemas)
        for schema, values in zip(schemas, out):
            assert values, ("no value of", schema)
            kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
            for v in values:
                error = next(iter(kind(schema).iter_errors(v)), None)
                assert error is None, (schema, v, error.message)


def what_is_written_is_read_back():
    with open(SCHEMAS, encoding="utf-8") as f:
        lines = f.read()
    p = subprocess.run([WALK, "9", "5"], input=lines, text=True, capture_output=True, timeout=240, env=ENV)
    assert p.returncode == 0, p.stderr[:2000]
    cases = [{"schema": json.loads(s), "tests": [{"data": v} for v in json.loads(o)]}
             for s, o in zip(lines.rstrip("\n").split("\n"), p.stdout.rstrip("\n").split("\n"))]
    for case, out in zip(cases, check(cases, "--as-written")):
        assert out["supported"] and all(out["results"]), (case, out)


def files_and_instances():
    s = file("s.json", {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})
    good, bad = file("good.json", {"a": 1}), file("bad.json", {"a": "x"})
    p = run("schema", "check", s, good, bad)
    assert p.returncode == 0 and "instance 1: accepted\ninstance 2: refused\n" in p.stdout, p
    p = run("schema", "check", "--json", s, good, bad)
    assert json.loads(p.stdout)["results"] == [True, False], p
    p = run("schema", "check", "--json", file("case.json", {"schema": True, "tests": [{"data": 1}]}))
    assert json.loads(p.stdout)["results"] == [True], p


def what_is_refused_says_where():
    p = run("schema", "check", "--json", file("r.json", {"items": {"not": {"uniqueItems": True}}}))
    out = json.loads(p.stdout)
    assert p.returncode == 0 and not out["supported"], p
    assert "uniqueItems" in out["why"] and out["pointer"] == "/items/not/uniqueItems", out
    for dialect in ("http://json-schema.org/draft-03/schema#", "https://example.com/of-my-own", "draft-07", 7):
        p = run("schema", "check", "--json", file("r.json", {"properties": {"a": {"$schema": dialect}}}))
        out = json.loads(p.stdout)
        assert not out["supported"] and out["pointer"] == "/properties/a/$schema", (dialect, out)
    p = run("schema", "check", file("r.json", "{"))
    assert p.returncode == 0 and p.stdout.startswith("not supported: line 1"), p
    assert run("schema", "check", HOME.name + "/none").returncode == 1
    assert run("schema", "check", s_missing_instance(), HOME.name + "/none").returncode == 1


def s_missing_instance():
    return file("t.json", "true")


def hostile_schemas_end_soon():
    deep = "true"
    for _ in range(300):
        deep = '{"items":' + deep + "}"
    wide = {"anyOf": [{"required": [f"p{i}"], "properties": {f"p{i}": {"const": i}}} for i in range(1500)]}
    cases = [
        deep,
        json.dumps({"oneOf": [{"properties": {f"p{i}": {"type": "integer"}, f"q{i}": {"pattern": "a*b"}},
                               "required": [f"p{i}"]} for i in range(60)]}),
        json.dumps({"allOf": [{"anyOf": [{"const": i}, {"minimum": i}, {"type": "string"}]}
                              for i in range(200)]}),
        json.dumps({"pattern": "(a?){500}a{500}$"}), json.dumps({"pattern": "(" * 3000}),
        json.dumps({"pattern": "((a{1,100}){1,100}){1,100}"}), json.dumps({"pattern": "^(.*a.{20})$"}),
        json.dumps({"maxLength": 10 ** 9, "pattern": "^(ab|cde)*$", "minLength": 10 ** 8}),
        json.dumps({"enum": [f"value {i}" for i in range(50000)]}),
        json.dumps({"properties": {f"p{i}": {"type": "integer"} for i in range(20000)}}),
        json.dumps({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        json.dumps(wide), json.dumps({"items": [{"$ref": "#/items/0"}]}),
        json.dumps({"properties": {f"p{i}": {"pattern": "^\\p{L}+\\P{Lu}*" + str(i)} for i in range(1500)}}),
        json.dumps({"patternProperties": {f"{c}.{{{n}}}": True for c, n in zip("abcdefgh", range(5, 13))},
                    "additionalProperties": False}),
        json.dumps({"pattern": "^(((ab?){1,100}c?){1,100}d?){1,100}$"}),
        json.dumps({"allOf": [{"pattern": f"^.*{c}.{{{n}}}$"} for c, n in zip("abcdefgh", range(5, 13))]}),
        json.dumps({"enum": [f"{i:07d}" for i in range(300000)]}),
        '{"minimum": 1e999}', '{"multipleOf": 1e-300}', '{"const": "\\ud800"}', "[" * 100000, '"x"', "nul"]
    for c in cases:
        p = run("schema", "check", "--json", "-", input=c + "\n")
        assert p.returncode == 0, (c[:200], p.stderr)
        out = json.loads(p.stdout)
        assert out["compile_us"] < 4e6, (c[:200], out)  # some 0.2 s: the rest is for a busy machine, or checkers
        assert out["supported"] or "limit was exceeded" not in out["why"], (c[:200], out)
        if not out["supported"] and any(x in out["why"] for x in ("places", "states", "steps")):
            assert "attern" in out["pointer"], (c[:200], out)
    p = run("schema", "check", "--json", "-", input=json.dumps({"pattern": "^((a{1,100}){1,100}){1,100}$"}) + "\n")
    assert json.loads(p.stdout)["supported"], p  # what is one repetition is taken as one


def an_answer_keeps_to_the_schema():
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 99},
                                               "b": {"enum": ["x", "yz"]}, "c": {"type": "string", "maxLength": 5}},
              "required": ["a", "b", "c"], "additionalProperties": False}
    path = file("answer.json", schema)
    for model, seed in ((m, s) for m in MODELS for s in range(4)):
        p = run("run", model, "hello", "--raw", "--schema", path, "--temp", "1.5", "--seed", str(seed), "--json",
                "-n", "400")
        assert p.returncode == 0, p
        out = json.loads(p.stdout)
        assert out["finish"] == "schema", out
        v = json.loads(out["text"])
        assert list(v) == ["a", "b", "c"] and 0 <= v["a"] <= 99 and v["b"] in ("x", "yz"), v
        assert isinstance(v["c"], str) and len(v["c"]) <= 5, v
        assert out["timing"]["steps"] < len(out["tokens"]), out  # what is certain is not drawn
    p = run("run", MODEL, "hello", "--raw", "--schema", path, "-n", "3", "--json")
    assert json.loads(p.stdout)["finish"] == "length", p


def a_schema_that_cannot_be_kept_is_an_error():
    for schema, code in (({"not": {"uniqueItems": True}}, 3), (False, 3), ("{", 3)):
        p = run("run", MODEL, "hello", "--raw", "--schema", file("no.json", schema))
        assert p.returncode == code and p.stdout == "" and p.stderr.count("\n") == 1, p
    assert run("run", MODEL, "x", "--raw", "--schema", HOME.name + "/none").returncode == 1


warnings.simplefilter("ignore")
sys.exit(tap.run([the_suite_is_judged_rightly_or_refused, what_is_written_is_valid_for_another_validator,
         what_is_written_is_read_back, files_and_instances, what_is_refused_says_where,
         hostile_schemas_end_soon, an_answer_keeps_to_the_schema, a_schema_that_cannot_be_kept_is_an_error]))
