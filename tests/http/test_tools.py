#!/usr/bin/env python3
"""Tools in each family's words: whatever the weights, a call has a name of the request and arguments
that meet its schema, whole and streamed alike, in all three interfaces; what was called before is told
to the model in its own words.

usage: [SLV_TEST_CLIENTS=PYTHON] test_tools.py SELVAGE      prints TAP

SLV_TEST_CLIENTS is a Python that has OpenAI's and Anthropic's own clients (tools/get-clients.sh): they too are to
understand answers that were cut.

Models of random weights, whose vocabularies have the families' marks as text, as control tokens or
as tokens that text may make, and templates that tell of tools, or do not.
"""
import functools
import json
import os
import sys

CLIENTS = os.environ.get("SLV_TEST_CLIENTS")
if CLIENTS and os.path.realpath(sys.prefix) != os.path.realpath(os.path.dirname(os.path.dirname(CLIENTS))):
    os.execv(CLIENTS, [CLIENTS, *sys.argv])

from serving import SLOW, Home, events, tap

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


FLAT = [{"type": "function", **t["function"]} for t in OPENAI]
BLOCKS = [{"name": t["function"]["name"], "input_schema": t["function"]["parameters"]} for t in OPENAI]
HI = [{"role": "user", "content": "Hi"}]


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
    ask = {"model": model, "max_tokens": 600, "messages": HI, "tools": BLOCKS,
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
    ask = {"model": model, "max_output_tokens": 600, "input": "Hi", "tools": FLAT, "tool_choice": "required",
           "parallel_tool_calls": False, "seed": 5}
    r = server.ask("POST", "/v1/responses", ask)
    assert r.status == 200, r.body
    items = [i for i in r.json()["output"] if i["type"] == "function_call"]
    check_calls([(i["name"], i["arguments"]) for i in items])
    done = [json.loads(e) for e in events(server.ask("POST", "/v1/responses", {**ask, "stream": True}).body)]
    assert [e["sequence_number"] for e in done] == list(range(len(done)))
    assert "".join(e["delta"] for e in done if e["type"] == "response.function_call_arguments.delta") == \
        items[0]["arguments"]


# --- answers that a limit ends ---------------------------------------------------------------------

CUTS = range(1, 91, 7 if SLOW > 1 else 1)


def messages(server, model, **how):
    """As chat(): text, calls with their arguments' text, or object of a whole reply; why it ended."""
    body = {"model": model, "messages": HI, "tools": BLOCKS, "temperature": 1, "max_tokens": 600, **how}
    r = server.ask("POST", "/v1/messages", body)
    assert r.status == 200, r.body
    if not how.get("stream"):
        blocks = r.json()["content"]
        calls = [(b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"]
        return "".join(b["text"] for b in blocks if b["type"] == "text") or None, calls, r.json()["stop_reason"]
    text, calls, why, is_open = "", [], None, False
    for e in map(json.loads, events(r.body)):
        if e["type"] == "content_block_start":
            assert not is_open and e["index"] == len(calls) + bool(text), e
            if e["content_block"]["type"] == "tool_use":
                assert e["content_block"]["input"] == {}, e
                calls.append([e["content_block"]["name"], ""])
        elif e["type"] == "content_block_delta":
            text += e["delta"].get("text", "")
            if "partial_json" in e["delta"]:
                calls[-1][1] += e["delta"]["partial_json"]
        elif e["type"] == "message_delta":
            why = e["delta"]["stop_reason"]
        is_open = e["type"] == "content_block_start" or (is_open and e["type"] != "content_block_stop")
    assert not is_open
    return text or None, [tuple(c) for c in calls], why


def responses(server, model, max_tokens=600, **how):
    """As chat(), and the items' states."""
    body = {"model": model, "input": "Hi", "tools": FLAT, "temperature": 1, "max_output_tokens": max_tokens, **how}
    r = server.ask("POST", "/v1/responses", body)
    assert r.status == 200, r.body
    whole = r.json() if not how.get("stream") else None
    if not whole:
        told = [json.loads(e) for e in events(r.body)]
        whole = told[-1]["response"]
        assert told[-1]["type"] == "response." + whole["status"], told[-1]
        assert [e["item"] for e in told if e["type"] == "response.output_item.done"] == whole["output"]
        for e in told:
            if e["type"] == "response.function_call_arguments.done":
                json.loads(e["arguments"])  # what is done is whole
    calls = [(i["name"], i["arguments"]) for i in whole["output"] if i["type"] == "function_call"]
    text = "".join(i["content"][0]["text"] for i in whole["output"] if i["type"] == "message") or None
    why = (whole["incomplete_details"] or {"reason": "tool_calls" if calls else "stop"})["reason"]
    return text, calls, why, [i["status"] for i in whole["output"]]


def begins(part, of):
    """Whether calls that were cut are the beginning of those that were not."""
    assert len(part) <= len(of), (part, of)
    for i, (name, arguments) in enumerate(part):
        assert name == of[i][0], (part, of)
        if arguments == of[i][1]:
            continue
        assert i == len(part) - 1, (part, of)  # only the last one may be cut
        if isinstance(arguments, str):
            assert of[i][1].startswith(arguments), (part, of)
        else:
            assert isinstance(arguments, dict) and is_part(arguments, of[i][1]), (part, of)


def is_part(value, of):
    """Whether a value is what is sure of another one."""
    if isinstance(value, dict) and isinstance(of, dict):
        return all(k in of and is_part(v, of[k]) for k, v in value.items())
    if isinstance(value, list) and isinstance(of, list):
        return len(value) <= len(of) and all(map(is_part, value, of))
    return type(value) is type(of) and value == of


def cut_anywhere_no_mark_is_text(server, model):
    """Wherever a limit ends an answer that must be calls: there is no text, every reply is what its
    interface says, a limit is told of, and all calls but the last are whole."""
    for ask, must, limit, end in ((chat, "required", "length", "tool_calls"),
                                  (messages, {"type": "any"}, "max_tokens", "tool_use"),
                                  (responses, "required", "max_output_tokens", "tool_calls")):
        how = {"tool_choice": must, "seed": 3}
        of, of_streamed = ask(server, model, **how), ask(server, model, stream=True, **how)
        many = 0
        for n in CUTS:
            r = ask(server, model, max_tokens=n, **how)
            streamed = ask(server, model, max_tokens=n, stream=True, **how)
            assert r[0] in (None, "") and not streamed[0], (ask, n, r, streamed)
            begins(r[1], of[1])
            begins(streamed[1], of_streamed[1])
            assert len(r[1]) == len(streamed[1]) and r[2:] == streamed[2:], (ask, n, r, streamed)
            assert r[2] == limit or (r == of and r[2] == end), (ask, n, r)
            if ask is responses:
                whole = [c == of[1][i] for i, c in enumerate(r[1])]
                assert r[3] == ["completed" if w else "incomplete" for w in whole], (n, r)
            many = max(many, len(r[1]))
        assert many, ask


def what_is_sure_of_a_cut_input(server, model):
    """An input of the last block, however deep its values lie and whatever is in its strings, is a part of
    what it would have become, and says all that is whole."""
    text = {"type": "string", "pattern": '^[a-c"\\\\{}:,\\n\\[\\]]{3,12}$'}
    deep = {"type": "array", "minItems": 2, "maxItems": 3, "items": {
        "type": "object", "properties": {'x"\\{': text, "n": {"type": "number"}, "is": {"type": "boolean"},
                                         "no": {"type": "null"}, "more": {"type": "array", "items": text}},
        "required": ["n", "is", "no", "more"], "additionalProperties": False}}
    tool = {"name": "f", "input_schema": {"type": "object", "properties": {"a": deep, "b": text},
                                          "required": ["a", "b"], "additionalProperties": False}}
    sizes = set()
    for seed in range(3):
        how = {"tools": [tool], "tool_choice": {"type": "tool", "name": "f"}, "seed": seed}
        whole = messages(server, model, **how)
        for n in range(1, 400, 3 if SLOW == 1 else 40):
            _, calls, _ = messages(server, model, max_tokens=n, **how)
            if calls:
                assert is_part(calls[0][1], whole[1][0][1]), (n, calls, whole)
                sizes.add(len(json.dumps(calls[0][1])))
    assert len(sizes) > 3, sizes


def cut_texts_have_no_mark(server, model):
    """The same where a model may choose: what a mark begins with is held back until it is known. Some
    are led to begin marks."""
    marks = {"mistral": "[TOOL_CALLS]", "granite": "<|tool_call|>", "llama3": '{"name": "'}
    mark = marks.get(model, "<tool_call>")
    ids = server.ask("POST", "/tokenize", {"model": model, "content": mark, "parse_special": True}).json()["tokens"]
    begun = 0
    for seed, bias in ((0, {}), (1, {}), (2, {ids[0]: 100}), (3, {i: 8 for i in ids}), (4, {i: 12 for i in ids})):
        how = {"seed": seed, "logit_bias": bias}
        full = chat(server, model, max_tokens=100, **how)
        for n in CUTS[:60]:
            r = chat(server, model, max_tokens=n, **how)
            streamed = chat(server, model, stream=True, max_tokens=n, **how)
            text = (r[0] or "").rstrip("\ufffd")  # a character that was cut
            assert (r[0] or "") == (streamed[0] or "") and r[1:] == streamed[1:], (n, r, streamed)
            assert (full[0] or "").startswith(text) and mark not in text, (n, text, full)
            assert r[2] == "length" or r == full, (n, r, full)
            begun += bool(r[2] == "length" and not text)
    assert begun, "no mark was begun"


def cut_in_time_is_the_same(server, model):
    """What the time ends is as well-formed as what a limit ends."""
    for ms in (1, 3, 5, 8, 12, 20):
        for stream in (False, True):
            text, calls, why = messages(server, model, tool_choice={"type": "any"}, seed=3, max_tokens=4000,
                                        timeout_ms=ms, stream=stream)
            assert not text and why in ("timeout", "tool_use"), (text, calls, why)


def what_a_stop_string_cuts_is_no_text(server, model):
    """A stop string within a call, or between two."""
    how = {"tool_choice": "required", "seed": 3}
    assert chat(server, model, stop=['"name'], **how) == ("", [], "stop")
    text, calls, why = chat(server, model, stop=['"arguments', '"parameters'], **how)
    assert (text, calls, why) == ("", [], "stop"), (text, calls, why)
    text, calls, why = messages(server, model, stop_sequences=['","', '":'], seed=3, tool_choice={"type": "any"})
    assert not text and why == "stop_sequence", (text, calls, why)
    text, calls, why = chat(server, model, stop=["</tool_call>", "}]", "}, {"], **how)
    assert not text and why == "tool_calls", (text, calls, why)
    check_calls(calls)


def their_own_clients_understand_cuts(server, model):
    try:
        import anthropic
        import openai
    except ImportError:
        return tap.skip("SLV_TEST_CLIENTS names no Python that has the clients")
    o = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
    a = anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0)
    for n in CUTS:
        same = {"model": model, "messages": HI, "max_tokens": n, "seed": 3}
        r = o.chat.completions.create(tools=OPENAI, tool_choice="required", **same)
        chunks = list(o.chat.completions.create(tools=OPENAI, tool_choice="required", stream=True, **same))
        assert r.choices[0].finish_reason == chunks[-1].choices[0].finish_reason, n
        assert not any(c.choices[0].delta.content for c in chunks) and not r.choices[0].message.content, n
        o.completions.create(model=model, prompt="Hi", max_tokens=n)
        list(o.completions.create(model=model, prompt="Hi", max_tokens=n, stream=True))
        same = {"model": model, "input": "Hi", "max_output_tokens": n, "tools": FLAT, "tool_choice": "required",
                "extra_body": {"seed": 3}}
        r = o.responses.create(**same)
        last = list(o.responses.create(stream=True, **same))[-1].response
        assert [i.type for i in r.output] == [i.type for i in last.output] and r.status == last.status, n
        same = {"model": model, "messages": HI, "max_tokens": n, "tools": BLOCKS, "tool_choice": {"type": "any"},
                "extra_body": {"seed": 3}}
        r = a.messages.create(**same)
        with a.messages.stream(**same) as stream:
            final = stream.get_final_message()
        assert r.stop_reason == final.stop_reason and len(r.content) == len(final.content), n
        for one, other in zip(r.content, final.content):  # theirs keeps numbers that might go on
            assert one.type == other.type == "tool_use", (n, one, other)
            assert all(other.input.get(k) == v or isinstance(v, list) for k, v in one.input.items()), (n, one, other)
    return None


# --- requests ---------------------------------------------------------------------------------------

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
            ({"tools": OPENAI + OPENAI[1:2]}, '"set-lamp.2"'),
            ({"tools": OPENAI + OPENAI[1:2], "tool_choice": "none"}, '"set-lamp.2"'),
            ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {
                "type": "object", "properties": {"a": {"type": "strng"}}}}}], "tool_choice": "required"}, "type")]
    for fields, word in rows:
        r = server.ask("POST", "/v1/chat/completions", {"model": model, "messages": [
            {"role": "user", "content": "Hi"}], **fields})
        assert r.status == 400 and word in r.error()["message"], (fields, r.body)


UNIQUE = {"type": "object", "properties": {"a/b": {"not": {"uniqueItems": True}}}}


def schemas_that_cannot_be_honoured_are_named(server, model):
    """Which tool, where in its parameters, which keyword: nobody wrote a grammar."""
    bad = {"type": "function", "function": {"name": "sort", "parameters": UNIQUE}}
    for path, ask, tools in (("/v1/chat/completions", {"messages": HI}, [*OPENAI, bad]),
                             ("/v1/responses", {"input": "Hi"}, [*FLAT, {"type": "function", **bad["function"]}]),
                             ("/v1/messages", {"messages": HI, "max_tokens": 9},
                              [*BLOCKS, {"name": "sort", "input_schema": UNIQUE}])):
        for must in (None, {"type": "any"} if "messages" in path else "required", {"type": "tool", "name": "sort"}):
            r = server.ask("POST", path, {"model": model, "tools": tools, "tool_choice": must, **ask})
            e = r.error()
            assert r.status == 400 and e["param"] == "tools" and e["code"] == "unsupported_schema", r.body
            assert e["message"] == ("tools: sort: parameters: cannot be honoured: /properties/a~1b/not/uniqueItems: "
                                    '"uniqueItems": in a complement'), e
    # A choice that does not need it
    chat(server, model, tools=[*OPENAI, bad], max_tokens=4,
         tool_choice={"type": "function", "function": {"name": "ping"}})


def arguments_are_objects(server, model):
    """Whatever a tool's schema leaves open; the interfaces say so."""
    old = {"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/a",
           "definitions": {"a": {"type": ["object", "string"], "maxProperties": 1, "maxLength": 3,
                                 "additionalProperties": {"type": "boolean"}}}}
    for schema in ({"maxProperties": 0}, {"type": ["object", "null", "string"], "maxProperties": 0}, old):
        for seed in range(6):
            tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
            text, calls, why = chat(server, model, tools=tools, tool_choice="required", seed=seed)
            assert not text and calls, (text, calls)
            for _, arguments in calls[:-1] if why == "length" else calls:
                assert isinstance(json.loads(arguments), dict), calls
    for schema in ({"type": "string"}, {"type": ["null", "array"]}):
        r = server.ask("POST", "/v1/chat/completions", {"model": model, "messages": HI, "tools": [
            {"type": "function", "function": {"name": "f", "parameters": schema}}]})
        assert r.status == 400 and "f: parameters" in r.error()["message"], r.body


def a_format_goes_with_calls(server, model):
    """Where there may be a text it keeps to its schema, or there is a call; where there is none that is
    said, and nothing is left out in silence."""
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {
        "type": "object", "properties": {"name": {"enum": ["<tool_call>", "b"]}}, "required": ["name"],
        "additionalProperties": False}}}
    for seed in range(8):
        for choice in ("auto", "none"):
            text, calls, why = chat(server, model, seed=seed, tool_choice=choice, response_format=form)
            if why != "length":
                assert bool(text) != bool(calls) and not (calls and choice == "none"), (text, calls, why)
            if text:
                jsonschema.validate(json.loads(text), form["json_schema"]["schema"])
            elif why == "tool_calls":
                check_calls(calls)
    for must in ("required", {"type": "function", "function": {"name": "ping"}}):
        for f in (form, {"type": "json_object"}):
            r = server.ask("POST", "/v1/chat/completions", {"model": model, "messages": HI, "tools": OPENAI,
                                                            "tool_choice": must, "response_format": f})
            assert r.status == 400 and r.error()["param"] == "response_format", r.body
            assert "tool_choice" in r.error()["message"], r.body
            r = server.ask("POST", "/v1/responses", {"model": model, "input": "Hi", "tools": FLAT, "text": {
                "format": {"type": "json_object"}}, "tool_choice": "required"})
            assert r.status == 400 and r.error()["param"] == "text.format", r.body
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": UNIQUE}}
    r = server.ask("POST", "/v1/chat/completions", {"model": model, "messages": HI, "tools": OPENAI,
                                                    "response_format": form})
    assert r.status == 400 and r.error()["param"] == "response_format", r.body
    assert r.error()["message"].startswith("cannot be honoured: /properties/a~1b/not/uniqueItems"), r.body


def main():
    paths = {name: write_model(name) for name in FAMILIES}
    models = [f"{name}={path}" for name, path in paths.items()]
    with HOME.serve("--slots", "4", "--memory", "1G", models=models) as server:
        tests = []
        for name in FAMILIES:
            for check in (calls_that_must_be, a_named_call, text_or_calls, cut_calls_say_so, other_interfaces,
                          cut_anywhere_no_mark_is_text, cut_texts_have_no_mark, cut_in_time_is_the_same,
                          what_a_stop_string_cuts_is_no_text, what_was_called_is_told, wrong_tools_are_refused,
                          schemas_that_cannot_be_honoured_are_named, arguments_are_objects, a_format_goes_with_calls):
                def test(check=check, name=name):
                    return check(server, name)
                test.__name__ = f"{name}_{check.__name__}"
                tests.append(test)
        for name in ("hermes-text", "mistral"):
            for check in (what_is_sure_of_a_cut_input, their_own_clients_understand_cuts):
                tests.append(functools.partial(check, server, name))
                tests[-1].__name__ = f"{name}_{check.__name__}"
        return tap.run(tests)


if __name__ == "__main__":
    sys.exit(main())
