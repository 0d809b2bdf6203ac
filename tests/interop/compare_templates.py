#!/usr/bin/env python3
"""Renders every published chat template at hand with Jinja2 and with Selvage and compares.

compare_templates.py RENDER_TEMPLATE [-v]

RENDER_TEMPLATE is the program built from tests/tools/render_template.c. The templates are those of
$SLV_LLAMA_SRC/models/templates (a llama.cpp source tree). Without that variable or without jinja2
the comparison is left out: exit status 77. Agreement means the same text, the same words from
raise_exception, or that both fail.
"""
import collections
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden"))

USAGE = -4  # SLV_E_USAGE: the template's own raise_exception
MESSAGE = 499  # bytes of a message in struct slv_err


def shown(message):
    """A message as struct slv_err holds it: cut, with what cannot be printed as '?'."""
    raw = message.encode("utf-8", "replace")[:MESSAGE]
    text = raw.decode("utf-8", "ignore")
    return "".join(c if c.isprintable() else "?" for c in text)


class Ours:
    def __init__(self, program, now):
        self.p = subprocess.Popen([program, str(now)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)

    def ask(self, request):
        self.p.stdin.write(json.dumps(request).encode() + b"\n")
        self.p.stdin.flush()
        return json.loads(self.p.stdout.readline())


def agree(want, got):
    if "ok" in want:
        return got.get("ok") == want["ok"]
    if "raised" in want:
        return got.get("error") == USAGE and shown(want["raised"]) == shown(got["message"])
    return "error" in got


def main():
    source = os.environ.get("SLV_LLAMA_SRC")
    try:
        import jinja2
        import make_templates
    except ImportError:
        jinja2 = None
    if not source or not jinja2:
        print("SLV_LLAMA_SRC is not set, or jinja2 is not installed")
        return 77
    env, verbose = make_templates.reference(), "-v" in sys.argv
    ours = Ours(sys.argv[1], make_templates.NOW)
    cases = list(make_templates.conversations())
    count, bad, files = collections.Counter(), 0, 0
    for path in make_templates.templates(os.path.join(source, "models", "templates")):
        name = os.path.basename(path)
        with open(path, encoding="utf-8", newline="") as f:
            text = f.read()
        files += 1
        reply = ours.ask(["template", text])
        try:
            template = env.from_string(text)
        except jinja2.exceptions.TemplateError as e:
            same = "error" in reply
            count["neither compiles" if same else "differ"] += 1
            bad += not same
            if verbose or not same:
                print(f"{name}: Jinja2 refuses: {e}; ours: {reply}")
            continue
        if "error" in reply:
            print(f"{name}: ours refuses: {reply}")
            count["differ"] += 1
            bad += 1
            continue
        for conversation, context in cases:
            want = make_templates.outcome(template, context)
            got = ours.ask(["render", context])
            if agree(want, got):
                count["same text" if "ok" in want else
                      "same exception" if "raised" in want else "both fail"] += 1
                continue
            count["differ"] += 1
            bad += 1
            if bad <= 20 or verbose:
                print(f"{name} / {conversation}:\n  want {want}\n  got  {got}")
    print(f"{files} templates, {len(cases)} conversations:",
          ", ".join(f"{n} {what}" for what, n in sorted(count.items())))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
