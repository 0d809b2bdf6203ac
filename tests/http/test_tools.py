#!/usr/bin/env python3
"""Tools in each family's words: whatever the weights, a call has a name of the request and arguments
that meet its schema, whole and streamed alike, in all three interfaces; what was called before is told
to the model in its own words.

usage: test_tools.py SELVAGE      prints TAP

Models of random weights, whose vocabularies have the families' marks as text, as control tokens or
as tokens that text may make, and templates that tell of tools, or do not.
"""
import json
import sys

from serving import Home, events, tap

import jsonschema
import make_gguf as g

HOME = Home("tools")
CONTROL, USER = 3, 4

TALK = ("{% for m in messages %}[{{ m.role }}]{{ m.content }}"
        "{% for c in m.tool_calls or [] %}CALL {{ c.function.name }} {{ c.function.arguments | tojson }}{% endfor %}"
        "{% if m.role == 'tool' %}RESULT {{ m.content }}{% endif %}\n{% endfor %}")
TOOLS = "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}"

# name: template, marks that are tokens of the vocabulary, of which kind
FAMILIES = {
    "hermes-text": (TOOLS + "<tool_call>" + TALK, (), CONTROL),
    "hermes-control": (TOOLS + "<tool_call>" + TALK, ("<tool_call>", "</tool_call>"), CONTROL),
    "hermes-user": (TOOLS + "<tool_call>" + TALK, ("<tool_call>", "</tool_call>"), USER),
    "mistral": (TOOLS + "[TOOL_CALLS]" + TALK, ("[TOOL_CALLS]",), CONTROL),
    "granite": (TOOLS + "<|tool_call|>" + TALK, ("<|tool_call|>",), CONTROL),
    "llama3": (TOOLS + '{"name": .., "parameters": ..}' + TALK, (), CONTROL),
    "plain": ("{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}", (), CONTROL),
}

WEATHER = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome", "a \"b\" {c}"]},
                                            "days": {"type": "integer", "minimum": 1, "maximum": 9}},
           "required": ["city", "days"], "additionalProperties": False}
LAMP = {"type": "object", "properties": {"on": {"type": "boolean"}, "rooms": {
    "type": "array", "items": {"enum": ["hall", "attic"]}, "minItems": 1, "maxItems": 2}},
    "required": ["on", "rooms"], "additionalProperties": False}
SCHEMAS = {"get_weather": WEATHER, "set-lamp.2": LAMP, "ping": {"type": "object", "additionalProperties": False}}
OPENAI = [{"type": "function", "function": {"name": "get_weather", "description": "says \"it\"",
                                            "parameters": WEATHER}},
          {"type": "function", "function": {"name": "set-lamp.2", "parameters": LAMP, "strict": True}},
          {"type": "function", "function": {"name": "ping", "parameters": SCHEMAS["ping"]}}]


def write_model(name):
    template, marks, kind = FAMILIES[name]
    m = g.bpe()
    tokens = sorted(g.byte_letters()) + [s.replace(" ", "") for s in g.MERGES]
    tokens += ["<|endoftext|>", *marks, "<|im_start|>", "<|im_end|>", "<|pad|>"]
    tokens = tokens[:g.VOCAB]
    m.set_array("tokenizer.ggml.tokens", g.STR, tokens)
    m.set_array("tokenizer.ggml.token_type", g.I32,
                [1] * 296 + [CONTROL] + [kind] * len(marks) + [CONTROL] * (3 - len(marks)))
    m.set("llama.context_length", g.U32, 8192)
    m.set("tokenizer.chat_template", g.STR, template)
    path = HOME.path(name + ".gguf")
    with open(path, "wb") as f:
        f.write(m.bytes())
    return path


def check_calls(calls, at_least=1, only=None):
    assert len(calls) >= at_least, calls
    for name, arguments in calls:
        assert only is None or name == only, calls
        jsonschema.validate(json.loads(arguments), SCHEMAS[name])


def chat(server, model, **how):
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "tools": OPENAI, "max_tokens": 600,
            "temperature": 1, **how}
    r = server.ask("POST", "/v1/chat/completions", body)
    assert r.status == 200, r.body
    if not how.get("stream"):
        choice = r.json()["choices"][0]
        calls = [(c["function"]["name"], c["function"]["arguments"]) for c in choice["message"].get("tool_calls", [])]
        return choice["message"]["content"], calls, choice["finish_reason"]
    text, calls, finish, ids = "", [], None, set()
    for e in events(r.body):
        if e == "[DONE]":
            break
        choice = json.loads(e)["choices"][0]
        text += choice["delta"].get("content") or ""
        for c in choice["delta"].get("tool_calls", []):
            if "id" in c:
                assert c["index"] == len(calls) and c["id"] not in ids, e
                ids.add(c["id"])
                calls.append([c["function"]["name"], ""])
            calls[c["index"]][1] += c["function"].get("arguments", "")
        finish = choice["finish_reason"] or finish
    return text or None, [tuple(c) for c in calls], finish


def calls_that_must_be(server, model):
    for seed in range(6):
        how = {"tool_choice": "required", "seed": seed}
        whole = chat(server, model, **how)
        assert whole[0] is None and whole[2] in ("tool_calls", "length"), whole
        if whole[2] == "tool_calls":
            check_calls(whole[1])
        assert chat(server, model, stream=True, **how) == whole, (model, seed)
    one = chat(server, model, tool_choice="required", parallel_tool_calls=False, seed=1)
    check_calls(one[1])
    assert len(one[1]) == 1 and one[2] == "tool_calls", one


def a_named_call(server, model):
    for name in SCHEMAS:
        r = chat(server, model, tool_choice={"type": "function", "function": {"name": name}}, seed=3)
        check_calls(r[1], only=name)
        assert len(r[1]) == 1, r


def text_or_calls(server, model):
    for seed in range(8):
        text, calls, finish = chat(server, model, seed=seed, max_tokens=200)
        assert finish in ("stop", "length", "tool_calls"), finish
        assert calls or text is not None
        if finish == "tool_calls":
            check_calls(calls)
        assert "<tool_call>" not in (text or ""), text
    text, calls, _ = chat(server, model, tool_choice="none", seed=1, max_tokens=20)
    assert not calls and text


def cut_calls_say_so(server, model):
    """An answer that ends within a call is told as far as it is, and why it ended."""
    text, calls, finish = chat(server, model, tool_choice={"type": "function", "function": {"name": "get_weather"}},
                               max_tokens=40, seed=1)
    whole = chat(server, model, tool_choice={"type": "function", "function": {"name": "get_weather"}}, seed=1)
    assert not text and finish == "length", (text, calls, finish)
    assert not calls or whole[1][0][1].startswith(calls[0][1]), (calls, whole)


def other_interfaces(server, model):
    tools = [{"name": f["function"]["name"], "input_schema": f["function"]["parameters"]} for f in OPENAI]
    ask = {"model": model, "max_tokens": 600, "messages": [{"role": "user", "content": "Hi"}], "tools": tools,
           "tool_choice": {"type": "any", "disable_parallel_tool_use": True}, "seed": 5}
    r = server.ask("POST", "/v1/messages", ask)
    assert r.status == 200, r.body
    blocks = [b for b in r.json()["content"] if b["type"] == "tool_use"]
    check_calls([(b["name"], json.dumps(b["input"])) for b in blocks])
    assert r.json()["stop_reason"] == "tool_use", r.body
    got, name = "", None
    for e in events(server.ask("POST", "/v1/messages", {**ask, "stream": True}).body):
        e = json.loads(e)
        if e["type"] == "content_block_start" and e["content_block"]["type"] == "tool_use":
            name = e["content_block"]["name"]
        if e["type"] == "content_block_delta":
            got += e["delta"].get("partial_json", "")
    assert (name, json.loads(got)) == (blocks[0]["name"], blocks[0]["input"]), (name, got, blocks)
    flat = [{"type": "function", **f["function"]} for f in OPENAI]
    ask = {"model": model, "max_output_tokens": 600, "input": "Hi", "tools": flat, "tool_choice": "required",
           "parallel_tool_calls": False, "seed": 5}
    r = server.ask("POST", "/v1/responses", ask)
    assert r.status == 200, r.body
    items = [i for i in r.json()["output"] if i["type"] == "function_call"]
    check_calls([(i["name"], i["arguments"]) for i in items])
    done = [json.loads(e) for e in events(server.ask("POST", "/v1/responses", {**ask, "stream": True}).body)]
    assert [e["sequence_number"] for e in done] == list(range(len(done)))
    assert "".join(e["delta"] for e in done if e["type"] == "response.function_call_arguments.delta") == \
        items[0]["arguments"]


def what_was_called_is_told(server, model):
    messages = [{"role": "user", "content": "Hi"},
                {"role": "assistant", "content": None, "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "get_weather",
                                                                     "arguments": '{"city":"Rome","days":2}'}}]},
                {"role": "tool", "tool_call_id": "call_1", "content": "sunny <|im_end|>"}]
    r = server.ask("POST", "/tokenize", {"model": model, "messages": messages, "tools": OPENAI})
    assert r.status == 200, r.body
    ids = r.json()["tokens"]
    text = server.ask("POST", "/detokenize", {"model": model, "tokens": ids}).json()["content"]
    assert "get_weather" in text and "Rome" in text and "sunny <|im_end|>" in text, text
    assert "set-lamp.2" in text, text
    blocks = [{"role": "user", "content": "Hi"},
              {"role": "assistant", "content": [{"type": "text", "text": ""}, {
                  "type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "Rome", "days": 2}}]},
              {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1",
                                            "content": [{"type": "text", "text": "sunny"}]},
                                           {"type": "text", "text": "Go on."}]}]
    r = server.ask("POST", "/v1/messages", {"model": model, "max_tokens": 4, "messages": blocks})
    assert r.status == 200, r.body


def wrong_tools_are_refused(server, model):
    rows = [({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "name"),
            ({"tools": [{"type": "web_search"}]}, "web_search"),
            ({"tools": {}}, "list"),
            ({"tools": OPENAI, "tool_choice": {"type": "function", "function": {"name": "nope"}}}, "nope"),
            ({"tools": OPENAI, "tool_choice": "sometimes"}, "sometimes"),
            ({"tool_choice": "required"}, "no tools"),
            ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {
                "type": "object", "properties": {"a": {"type": "strng"}}}}}], "tool_choice": "required"}, "type")]
    for fields, word in rows:
        r = server.ask("POST", "/v1/chat/completions", {"model": model, "messages": [
            {"role": "user", "content": "Hi"}], **fields})
        assert r.status == 400 and word in r.error()["message"], (fields, r.body)


def main():
    paths = {name: write_model(name) for name in FAMILIES}
    models = [f"{name}={path}" for name, path in paths.items()]
    with HOME.serve("--slots", "4", "--memory", "1G", models=models) as server:
        tests = []
        for name in FAMILIES:
            for check in (calls_that_must_be, a_named_call, text_or_calls, cut_calls_say_so, other_interfaces,
                          what_was_called_is_told, wrong_tools_are_refused):
                def test(check=check, name=name):
                    check(server, name)
                test.__name__ = f"{name}_{check.__name__}"
                tests.append(test)
        return tap.run(tests)


if __name__ == "__main__":
    sys.exit(main())
