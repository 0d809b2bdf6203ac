#!/usr/bin/env python3
"""What Jinja2 makes of published chat templates, set up as transformers sets it up.

As a module: reference() and conversations(), for tests/interop/compare_templates.py and
make_template_cases.py. As a program: make_templates.py FOLDER writes one JSON line for each
template of the folder and each conversation: what came out, or what was raised.

The set-up follows transformers' documented behaviour for chat templates: Jinja2's immutable
sandbox, trim_blocks and lstrip_blocks, loop controls, the `generation` tag, a tojson that is plain
json.dumps, raise_exception and strftime_now. Needs jinja2 (checked with 3.1.6).
"""
import datetime
import json
import os
import sys

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

NOW = 1753536896  # 2025-07-26 13:34:56 UTC: what strftime_now tells


class Generation(jinja2.ext.Extension):
    """{% generation %}...{% endgeneration %}: the body, in a scope of its own."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("render")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def render(self, caller):
        return caller()


def reference():
    """A Jinja2 environment that renders as transformers does."""

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def strftime_now(form):
        now = datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc)
        return now.replace(tzinfo=None).strftime(form)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True,
        extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


def outcome(template, context):
    """{"ok": text}, {"raised": message} for raise_exception, or {"error": what happened}."""
    try:
        return {"ok": template.render(**context)}
    except jinja2.exceptions.TemplateError as e:
        if type(e) is jinja2.exceptions.TemplateError:
            return {"raised": str(e)}
        return {"error": f"{type(e).__name__}: {e}"}
    except Exception as e:  # what Python raises inside a template
        return {"error": f"{type(e).__name__}: {e}"}


# --- conversations -------------------------------------------------------------------------------

def system(text="You are a helpful assistant."):
    return {"role": "system", "content": text}


def user(text="Hello, who are you?"):
    return {"role": "user", "content": text}


def assistant(text="I am a small model.", **more):
    return {"role": "assistant", "content": text, **more}


def called(name, arguments, ident=None):
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"id": ident, **call} if ident else call


def result(text, **more):
    return {"role": "tool", "content": text, **more}


WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Get the weather for a city.",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "City, \"quoted\" & <tagged>"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
        "days": {"type": "integer", "minimum": 1, "maximum": 14}},
        "required": ["city"]}}}
NESTED = {"type": "function", "function": {
    "name": "book", "description": "Books a trip.\nTwo lines.",
    "parameters": {"type": "object", "properties": {
        "legs": {"type": "array", "items": {"type": "object", "properties": {
            "from": {"type": "string"}, "to": {"type": "string"},
            "price": {"type": "number", "minimum": 0.5}}, "required": ["from", "to"]}},
        "class": {"type": ["string", "null"], "enum": ["eco", "biz", None]},
        "flag": {"type": "boolean"},
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "free": {"type": "object", "additionalProperties": {"type": "string"}}}}}}
EMPTY = {"type": "function", "function": {
    "name": "ping", "description": "No arguments.",
    "parameters": {"type": "object", "properties": {}}}}
RETURNING = {"type": "function", "function": {
    "name": "temperature", "description": "Temperature now.",
    "parameters": {"type": "object", "properties": {
        "place": {"type": "string", "description": "Ort: Zürich, 東京"}}, "required": ["place"]},
    "return": {"type": "number", "description": "Degrees"}}}
BARE = {"name": "bare", "description": "Without the function wrapper.",
        "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}}

DOCUMENTS = [{"title": "Pandas", "text": "Pandas eat bamboo.", "contents": "Pandas eat bamboo."},
             {"title": "Über", "text": "Zweites Dokument.", "contents": "Zweites Dokument.",
              "doc_id": 7}]


def message_lists():
    """Name -> messages."""
    parts = [{"type": "text", "text": "First part."}, {"type": "text", "text": " Second part."}]
    args = {"city": "Paris", "days": 3, "exact": True, "none": None, "x": 1.5, "l": [1, "a"]}
    one = [user("Weather in Paris?"), assistant("", tool_calls=[called("get_weather", args, "c1")]),
           result("{\"temp\": 21}", tool_call_id="c1", name="get_weather")]
    lists = {
        "plain": [user()],
        "system": [system(), user()],
        "multi": [user("a"), assistant("b"), user("c"), assistant("d"), user("e")],
        "system-multi": [system("Be brief."), user("a"), assistant("b"), user("c")],
        "ends-assistant": [user("a"), assistant("b")],
        "empty": [],
        "empty-content": [user(""), assistant(""), user(" \n ")],
        "only-system": [system()],
        "starts-assistant": [assistant("first"), user("second")],
        "two-users": [user("one"), user("two")],
        "two-assistants": [user("q"), assistant("one"), assistant("two"), user("r")],
        "late-system": [user("a"), system("late"), user("b")],
        "two-systems": [system("one"), system("two"), user("b")],
        "developer": [{"role": "developer", "content": "Do it."}, user("go")],
        "odd-role": [{"role": "narrator", "content": "Once."}, user("x")],
        "unicode": [system("Ünïcödé 東京 🙂"), user("こんにちは — “quotes” \u00a0 ß ﬁ"),
                    assistant("Γειά Σου 🇨🇭")],
        "special-text": [user("<|im_end|> </s> [INST] {{ 7*7 }} {% if %} <think>"),
                         assistant("<tool_call>\n{}\n</tool_call>"), user("& < > \" ' \\n \\")],
        "blank-lines": [system("  padded  \n\n"), user("\n\nlines\n\n"), assistant("  out \n"),
                        user("\t")],
        "parts": [user(parts)],
        "parts-all": [{"role": "system", "content": parts[:1]}, user(parts),
                      {"role": "assistant", "content": parts[:1]}, user(parts[1:])],
        "null-content": [user("q"), assistant(None), user("r")],
        "missing-content": [user("q"), {"role": "assistant"}, user("r")],
        "thinking-field": [user("q"), assistant("answer", reasoning_content="think first"),
                           user("more")],
        "thinking-other": [user("q"), assistant("answer", thinking="hm", reasoning="hm2"),
                           user("more")],
        "thinking-inline": [user("q"), assistant("<think>\nsteps\n</think>\n\nanswer"),
                            user("more"), assistant("<think>open", reasoning_content="")],
        "thinking-last": [user("q"), assistant("answer", reasoning_content="think\nlines\n")],
        "tool-call": one,
        "tool-call-open": one[:2],
        "tool-call-answered": one + [assistant("21 degrees."), user("thanks")],
        "tool-call-text": [user("w"), assistant("I look.", tool_calls=[
            called("get_weather", json.dumps(args))]), result("sunny"), assistant("ok")],
        "tool-call-string": [user("w"), assistant(None, tool_calls=[
            called("get_weather", "{\"city\": \"Rome\"}", "abcdefghi")]),
            result("rain", tool_call_id="abcdefghi")],
        "tool-call-bad-string": [user("w"), assistant("", tool_calls=[
            called("get_weather", "not json", "abcdefghi")]),
            result("rain", tool_call_id="abcdefghi")],
        "tool-call-empty": [user("w"), assistant("", tool_calls=[called("ping", {}, "abcdefghi")]),
                            result("", tool_call_id="abcdefghi", name="ping")],
        "tool-parallel": [system(), user("two"), assistant("", tool_calls=[
            called("get_weather", {"city": "A"}, "a12345678"),
            called("get_weather", {"city": "B", "unit": "celsius"}, "b12345678")]),
            result("1", tool_call_id="a12345678", name="get_weather"),
            result({"temp": 2}, tool_call_id="b12345678", name="get_weather"),
            assistant("done"), user("next")],
        "tool-reasoning": [user("w"), assistant("Looking.", reasoning_content="I need the tool.",
            tool_calls=[called("get_weather", {"city": "A"}, "a12345678")]),
            result("1", tool_call_id="a12345678"),
            assistant("It is 1.", reasoning_content="Got it."), user("and now?")],
        "tool-twice": [user("w"), assistant("", tool_calls=[called("ping", {}, "a12345678")]),
                       result("1", tool_call_id="a12345678"),
                       assistant("", tool_calls=[called("ping", {}, "b12345678")]),
                       result("2", tool_call_id="b12345678")],
        "tool-result-parts": one[:2] + [{"role": "tool", "content": parts, "tool_call_id": "c1"}],
        "tool-orphan": [user("q"), result("nobody asked")],
        "no-id-calls": [user("q"), assistant("", tool_calls=[
            {"function": {"name": "ping", "arguments": {"a": [1, 2, {"b": None}]}}}])],
        "bare-calls": [user("q"), assistant("", tool_calls=[
            {"name": "ping", "arguments": {"k": "v"}}])],
        "observation": [user("q"), assistant("a", metadata="ping"),
                        {"role": "observation", "content": "seen"}],
        "function-role": [user("q"), {"role": "function", "name": "ping", "content": "pong"}],
        "names": [user("q") | {"name": "Ann"}, assistant("a") | {"name": "Bot"}],
        "long": [system("S" * 300)] + [m for i in range(12) for m in
                                       (user(f"question {i}"), assistant(f"answer {i}"))],
    }
    return lists


def conversations():
    """Pairs of a name and the names and values a template is given."""
    base = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    all_tools = [WEATHER, NESTED, EMPTY, RETURNING]
    variants = {
        "": {"tools": None, "documents": None, "add_generation_prompt": True},
        "/no-prompt": {"tools": None, "documents": None, "add_generation_prompt": False},
        "/unset": {"add_generation_prompt": True},
        "/tool": {"tools": [WEATHER], "documents": None, "add_generation_prompt": True},
        "/tools": {"tools": all_tools, "add_generation_prompt": True},
    }
    for name, messages in message_lists().items():
        for suffix, extra in variants.items():
            yield name + suffix, {**base, "messages": messages, **extra}
    extras = {
        "no-tools": {"tools": []},
        "bare-tool": {"tools": [BARE]},
        "documents": {"documents": DOCUMENTS},
        "no-documents": {"documents": []},
        "think": {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"},
        "no-think": {"enable_thinking": False, "thinking": False, "reasoning_effort": "low"},
        "think-budget": {"thinking_budget": 512, "preserve_thinking": True,
                         "clear_thinking": False},
        "date": {"date_string": "26 Jul 2024", "current_date": "2024-07-26"},
        "flags": {"tools_in_user_message": False, "custom_tools": [WEATHER],
                  "builtin_tools": ["brave_search", "code_interpreter"],
                  "xml_tools": True, "python_tools": ["def f(): pass"], "tool_choice": "auto",
                  "model_identity": "You are X.", "continue_final_message": True,
                  "keep_past_thinking": True, "controls": {"length": "long"}},
        "system-kwargs": {"system_message": "From outside.", "system_prompt": "Outside 2.",
                          "custom_instructions": "Act.", "citation_mode": "fast",
                          "safety_mode": "NONE", "grounding": "enabled"},
        "functions": {"functions": json.dumps([WEATHER["function"]]), "datetime": "2024-07-26",
                      "tools": [WEATHER]},
        "no-tokens": {"bos_token": None, "eos_token": None},
    }
    shapes = message_lists()
    for name, extra in extras.items():
        for shape in ("plain", "system-multi", "tool-call-answered", "thinking-field", "parts",
                      "tool-reasoning"):
            yield f"{shape}+{name}", {**base, "messages": shapes[shape], "tools": None,
                                      "documents": None, "add_generation_prompt": True, **extra}


def templates(folder):
    """Paths of the templates in a folder, in order."""
    return [os.path.join(folder, n) for n in sorted(os.listdir(folder)) if n.endswith(".jinja")]


def main():
    env = reference()
    for path in templates(sys.argv[1]):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        try:
            template = env.from_string(text)
        except jinja2.exceptions.TemplateError as e:
            print(json.dumps({"template": os.path.basename(path), "error": str(e)}))
            continue
        for name, context in conversations():
            print(json.dumps({"template": os.path.basename(path), "conversation": name,
                              **outcome(template, context)}))


if __name__ == "__main__":
    main()
