#!/usr/bin/env python3
"""Writes tests/data/template/cases.jsonl: templates and what Jinja2 makes of them.

make_template_cases.py TEMPLATES OUTPUT

TEMPLATES is template_cases.txt. The output's first line holds the names; then, one JSON list a
line: [template, {"ok": text} | {"raised": message} | {"error": reason}].
Reasons are Python's, for the reader; the test wants only that the template fails. Needs jinja2
(the checked-in file was made with 3.1.6 on Python 3.11); its set-up is make_templates.reference().
"""
import json
import sys

import make_templates

NAMES = {
    "s": "Hello, World", "u": "Grüße ß ﬁ 東京 🙂 Σίσυφος ΣΑΣ", "empty": "", "pad": "  \t a b \n ",
    "n": 42, "neg": -7, "zero": 0, "f": 3.14159, "t": True, "no": False, "none": None,
    "big": 123456789012345678901234567890, "l": [3, 1, 2], "nested": [[1, 2], [3, 4]],
    "words": ["banana", "Apple", "cherry", "apple"], "d": {"b": 1, "a": 2, "C": 3},
    "users": [{"name": "bob", "age": 30, "tags": ["x"]}, {"name": "Al", "age": 25, "tags": []},
              {"name": "cy", "age": 30, "tags": ["y", "z"]}],
    "lines": "one\ntwo\n\nthree\n", "html": "<a href=\"x\">T&amp;C's</a>  and <b>more</b>",
    "items": {"items": [1], "keys": "k", "get": 5, "x": "v"},
    "quotes": "it's \"so\" \\ \n\t\x01\x7f",
}


def cases(path):
    """The templates of a file such as template_cases.txt."""
    section = None
    with open(path, encoding="utf-8") as f:
        for line in f:
            line = line.rstrip("\n")
            if line.startswith("== "):
                section = line[3:]
            elif line and not line.startswith("# "):
                yield json.loads(line) if section == "templates" else "{{ " + line + " }}"


def main():
    env = make_templates.reference()
    seen = set()
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        f.write(json.dumps(NAMES, ensure_ascii=False) + "\n")
        for text in cases(sys.argv[1]):
            if text in seen:
                continue
            seen.add(text)
            try:
                want = make_templates.outcome(env.from_string(text), NAMES)
            except Exception as e:  # refused when compiled
                want = {"error": f"{type(e).__name__}: {e}"}
            if "ok" in want and " at 0x" in want["ok"]:
                print(f"left out, an address: {text!r}: {want}")
                continue
            f.write(json.dumps([text, want], ensure_ascii=False) + "\n")
    print(len(seen), "cases")


if __name__ == "__main__":
    main()
