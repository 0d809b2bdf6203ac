#!/usr/bin/env python3
"""The server, seen by the clients that people have: OpenAI's and Anthropic's own, unmodified, and curl.

    SLV_TEST_MODEL=FILE SLV_TEST_ENCODER=FOLDER SLV_TEST_CLIENTS=PYTHON test_serve.py SELVAGE [--full]    prints TAP

SLV_TEST_CLIENTS is a Python that has the clients (tools/get-clients.sh)."""
import os
import sys

if not os.environ.get("SLV_TEST_MODEL"):
    print("1..0 # SKIP SLV_TEST_MODEL is not set")
    sys.exit(0)
CLIENTS = os.environ.get("SLV_TEST_CLIENTS")
if CLIENTS and os.path.realpath(sys.prefix) != os.path.realpath(os.path.dirname(os.path.dirname(CLIENTS))):
    os.execv(CLIENTS, [CLIENTS, *sys.argv])

try:
    import anthropic
    import jsonschema
    import openai
except ImportError as e:
    print("1..0 # SKIP %s: SLV_TEST_CLIENTS names a Python that has it" % e)
    sys.exit(0)

import base64
import concurrent.futures
import json
import math
import random
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import serving
from serving import ENCODER, FULL, MODEL, NAME, Home, Server, bearer, full, tap, test

HOME = Home("serve")  # but packed weights come from the store of who runs it
ROOT = HOME.root
ASK = "What is the capital of France?"
MESSAGES = [{"role": "user", "content": ASK}]
SHARED = []


def shared():
    """One server for all tests that leave it as it was."""
    if not SHARED:
        models = [NAME + "=" + MODEL] + (["mini=" + ENCODER] if ENCODER else [])
        SHARED.append(Server("--ctx", 2048, models=models))
        SHARED[0].until(lambda: SHARED[0].ask("GET", "/health").json()["models_ready"] == len(models), 60)
    return SHARED[0]


def openai_client(s=None, key="none", **kw):
    return openai.OpenAI(base_url=(s or shared()).url + "/v1", api_key=key, max_retries=0, **kw)


def anthropic_client(s=None, key="none", **kw):
    return anthropic.Anthropic(base_url=(s or shared()).url, api_key=key, max_retries=0, **kw)


def raises(kind, fn, *words):
    try:
        fn()
    except kind as e:
        for w in words:
            assert w in str(e), (w, str(e))
        return e
    raise AssertionError("nothing was raised")


# --- OpenAI's client ------------------------------------------------------------------------------

@test
def openai_chat_answers_and_streams_the_same():
    c = openai_client()
    r = c.chat.completions.create(model=NAME, messages=MESSAGES, max_tokens=12, temperature=0)
    assert r.object == "chat.completion" and r.choices[0].finish_reason == "length" and r.id.startswith("chatcmpl-")
    text = r.choices[0].message.content
    assert text and r.usage.completion_tokens == 12 and r.usage.total_tokens == r.usage.prompt_tokens + 12
    chunks = list(c.chat.completions.create(model=NAME, messages=MESSAGES, max_tokens=12, temperature=0, stream=True,
                                            stream_options={"include_usage": True}))
    assert "".join(x.choices[0].delta.content or "" for x in chunks if x.choices) == text
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 12
    assert all(x.usage is None for x in chunks[:-1]) and len({x.id for x in chunks}) == 1
    plain = list(c.chat.completions.create(model=NAME, messages=MESSAGES, max_completion_tokens=3, stream=True))
    assert all(x.choices for x in plain)


@test
def openai_choices_seeds_stops_and_biases():
    c = openai_client()

    def ask(**kw):
        return c.chat.completions.create(**{"model": NAME, "messages": MESSAGES, "max_tokens": 8, **kw})

    a, b = ask(n=3, seed=7), ask(n=3, seed=7)
    texts = [x.message.content for x in a.choices]
    assert texts == [x.message.content for x in b.choices] and len(set(texts)) > 1
    assert [x.index for x in a.choices] == [0, 1, 2] and a.usage.completion_tokens <= 24
    for r in (a, b):
        assert r.usage.prompt_tokens_details.cached_tokens <= r.usage.prompt_tokens, r.usage
    assert ask(seed=8).choices[0].message.content != ask(seed=9).choices[0].message.content
    whole = ask(temperature=0, max_tokens=20).choices[0].message.content
    stop = whole[9:12]
    r = ask(temperature=0, max_tokens=20, stop=[stop, "never"]).choices[0]
    assert r.message.content == whole[:whole.index(stop)] and r.finish_reason == "stop", r
    streamed = list(ask(temperature=0, max_tokens=20, stop=stop, stream=True))
    assert "".join(x.choices[0].delta.content or "" for x in streamed) == r.message.content
    assert streamed[-1].choices[0].finish_reason == "stop"
    first = ask(temperature=0, max_tokens=1, logprobs=True).choices[0].logprobs.content[0]
    ids = shared().ask("POST", "/tokenize", {"content": first.token}).json()["tokens"]
    other = ask(temperature=0, max_tokens=1, logit_bias={str(ids[0]): -100}).choices[0].message.content
    assert other != first.token
    forced = ask(max_tokens=4, logit_bias={str(ids[0]): 100}).choices[0].message.content
    assert forced == first.token * 4, forced
    rep = ask(temperature=0, max_tokens=30, frequency_penalty=2.0, presence_penalty=2.0).choices[0].message.content
    assert rep != ask(temperature=0, max_tokens=30).choices[0].message.content


@test
def openai_streams_of_several_choices_are_whole():
    c = openai_client()
    whole = c.chat.completions.create(model=NAME, messages=MESSAGES, max_tokens=6, n=3, seed=3)
    got = {}
    for x in c.chat.completions.create(model=NAME, messages=MESSAGES, max_tokens=6, n=3, seed=3, stream=True):
        for ch in x.choices:
            got.setdefault(ch.index, ["", None])
            got[ch.index][0] += ch.delta.content or ""
            got[ch.index][1] = ch.finish_reason or got[ch.index][1]
    assert got == {i: [x.message.content, x.finish_reason] for i, x in enumerate(whole.choices)}, got


@test
def a_stream_that_says_nothing_has_a_reason_too():
    """An answer that ends with its first token, where it is certain."""
    s = shared()
    end = s.ask("POST", "/tokenize", {"content": "<|im_end|>", "parse_special": True}).json()["tokens"]
    assert len(end) == 1
    for path, body in (("/v1/chat/completions", {"messages": MESSAGES}), ("/v1/completions", {"prompt": "a"})):
        r = s.ask("POST", path, {"stream": True, "logit_bias": {str(end[0]): 100}, **body})
        e = serving.events(r.body)
        assert r.status == 200 and e[-1] == "[DONE]", r.body
        assert any(json.loads(x)["choices"][0]["finish_reason"] == "stop" for x in e[:-1] if json.loads(x)["choices"]), e


@test
def openai_logprobs_are_probabilities():
    c = openai_client()
    r = c.chat.completions.create(model=NAME, messages=MESSAGES, max_tokens=5, temperature=0, logprobs=True,
                                  top_logprobs=5).choices[0]
    assert "".join(t.token for t in r.logprobs.content) == r.message.content
    for t in r.logprobs.content:
        assert bytes(t.bytes).decode() == t.token and len(t.top_logprobs) == 5
        assert t.top_logprobs[0].token == t.token and abs(t.top_logprobs[0].logprob - t.logprob) < 1e-6
        values = [x.logprob for x in t.top_logprobs]
        assert values == sorted(values, reverse=True) and sum(map(math.exp, values)) <= 1.0001
    chunks = list(c.chat.completions.create(model=NAME, messages=MESSAGES, max_tokens=5, temperature=0, logprobs=True,
                                            stream=True))
    tokens = [t.token for x in chunks if x.choices[0].logprobs for t in x.choices[0].logprobs.content]
    assert "".join(tokens) == r.message.content, tokens


@test
def openai_response_formats_are_kept():
    c = openai_client()
    schema = {"type": "object", "additionalProperties": False, "required": ["city", "people", "tags"],
              "properties": {"city": {"type": "string", "maxLength": 12}, "people": {"type": "integer", "maximum": 99},
                             "tags": {"type": "array", "items": {"enum": ["big", "old"]}, "maxItems": 2}}}
    form = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": schema}}
    for stream in (False, True):
        r = c.chat.completions.create(model=NAME, messages=MESSAGES, max_tokens=90, seed=5, response_format=form,
                                      stream=stream)
        text = "".join(x.choices[0].delta.content or "" for x in r) if stream else r.choices[0].message.content
        jsonschema.validate(json.loads(text), schema)
    r = c.chat.completions.create(model=NAME, messages=MESSAGES, max_tokens=40, temperature=0, seed=1,
                                  response_format={"type": "json_object"}).choices[0]
    assert r.message.content.lstrip().startswith("{"), r
    if r.finish_reason == "stop":
        assert isinstance(json.loads(r.message.content), dict)
    bad = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "string", "pattern": "(?<=a)b"}}}
    raises(openai.BadRequestError, lambda: c.chat.completions.create(model=NAME, messages=MESSAGES,
                                                                     response_format=bad), "pattern")


@test
def openai_completions_are_the_older_form():
    c = openai_client()
    r = c.completions.create(model=NAME, prompt="The capital of France is", max_tokens=4, temperature=0, logprobs=2,
                             echo=True)
    t = r.choices[0]
    assert t.text.startswith("The capital of France is Paris") and r.object == "text_completion", r
    assert len(t.logprobs.tokens) == len(t.logprobs.token_logprobs) == len(t.logprobs.top_logprobs) == 4
    assert all(len(x) == 2 for x in t.logprobs.top_logprobs)
    parts = c.completions.create(model=NAME, prompt="The capital of France is", max_tokens=4, temperature=0, echo=True,
                                 stream=True, stream_options={"include_usage": True})
    parts = list(parts)
    assert "".join(x.choices[0].text for x in parts if x.choices) == t.text and parts[-1].usage.completion_tokens == 4
    ids = shared().ask("POST", "/tokenize", {"content": "The capital of France is"}).json()["tokens"]
    assert c.completions.create(model=NAME, prompt=ids, max_tokens=4, temperature=0).choices[0].text in t.text


@test
def openai_responses_and_their_events():
    c = openai_client()
    r = c.responses.create(model=NAME, input=ASK, instructions="Be brief.", max_output_tokens=8, temperature=0)
    assert r.output_text and r.status == "incomplete" and r.incomplete_details.reason == "max_output_tokens", r
    assert r.usage.output_tokens == 8
    events = list(c.responses.create(model=NAME, input=[{"role": "user", "content": ASK}], instructions="Be brief.",
                                     max_output_tokens=8, temperature=0, stream=True))
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == r.output_text
    assert events[0].type == "response.created" and events[-1].type == "response.incomplete"
    assert events[-1].response.output_text == r.output_text and events[-1].response.usage.output_tokens == 8
    with c.responses.stream(model=NAME, input=ASK, max_output_tokens=4, temperature=0) as stream:
        kinds = [e.type for e in stream]
    assert "response.output_text.done" in kinds and kinds[-1] == "response.incomplete", kinds


@test
def openai_embeddings_in_both_encodings():
    if not ENCODER:
        return tap.skip("SLV_TEST_ENCODER is not set")
    c = openai_client()
    texts = ["A cat sits on a mat.", "A feline rests on a rug.", "Interest rates rose."]
    v = [x.embedding for x in c.embeddings.create(model="mini", input=texts).data]  # base64, by default
    f = [x.embedding for x in c.embeddings.create(model="mini", input=texts, encoding_format="float").data]
    for a, b in zip(v, f):
        assert len(a) == 384 and abs(sum(x * x for x in a) - 1) < 1e-4
        assert max(abs(x - y) for x, y in zip(a, b)) < 1e-6
    dot = lambda a, b: sum(x * y for x, y in zip(a, b))
    assert dot(v[0], v[1]) > dot(v[0], v[2]) + 0.2
    raw = shared().ask("POST", "/v1/embeddings", {"model": "mini", "input": texts[0], "encoding_format": "base64"})
    assert struct.unpack("<384f", base64.b64decode(raw.json()["data"][0]["embedding"]))[:3] == tuple(v[0][:3])
    short = c.embeddings.create(model="mini", input=texts[0], dimensions=32).data[0].embedding
    assert len(short) == 32 and abs(sum(x * x for x in short) - 1) < 1e-4
    raises(openai.BadRequestError, lambda: c.embeddings.create(model="mini", input="a", dimensions=385), "dimensions")
    raises(openai.BadRequestError, lambda: c.embeddings.create(model="mini", input=""), "input")
    raises(openai.BadRequestError, lambda: c.chat.completions.create(model="mini", messages=MESSAGES), "mini")
    return None


# --- Anthropic's client ---------------------------------------------------------------------------

@test
def anthropic_messages_and_their_events():
    c = anthropic_client()
    greedy = {"extra_body": {"temperature": 0}}
    r = c.messages.create(model=NAME, messages=MESSAGES, max_tokens=8, system="Be brief.", **greedy)
    assert r.type == "message" and r.role == "assistant" and r.stop_reason == "max_tokens" and r.usage.output_tokens == 8
    text = r.content[0].text
    with c.messages.stream(model=NAME, messages=MESSAGES, max_tokens=8, system=[{"type": "text", "text": "Be brief."}],
                           **greedy) as stream:
        assert "".join(stream.text_stream) == text
        final = stream.get_final_message()
    assert final.content[0].text == text and final.stop_reason == "max_tokens" and final.usage.output_tokens == 8
    r = c.messages.create(model=NAME, messages=MESSAGES, max_tokens=20, system="Be brief.",
                          stop_sequences=[text[4:7]], **greedy)
    assert r.stop_reason == "stop_sequence" and r.stop_sequence == text[4:7], r
    assert NAME in [m.id for m in c.models.list().data]
    tool = {"name": "look", "description": "Looks at a thing.", "input_schema": {"type": "object"}}
    for more in {}, {"system": "Be brief."}, {"tools": [tool]}, {"tools": [tool], "tool_choice": {"type": "any"}}:
        counted = c.messages.count_tokens(model=NAME, messages=MESSAGES, **more).input_tokens
        used = c.messages.create(model=NAME, messages=MESSAGES, max_tokens=1, **more).usage
        assert counted == used.input_tokens + used.cache_read_input_tokens, (more, counted, used)
    e = raises(anthropic.BadRequestError, lambda: c.messages.count_tokens(model=NAME, messages=[{"role": "user"}]), "content")
    assert e.body["type"] == "error", e.body
    raises(anthropic.BadRequestError, lambda: c.post("/v1/messages/count_tokens", cast_to=object, body={"model": NAME}),
           "messages")
    raises(anthropic.NotFoundError, lambda: c.messages.create(model="no", messages=MESSAGES, max_tokens=1), "no")
    e = raises(anthropic.BadRequestError, lambda: c.messages.create(model=NAME, messages=MESSAGES, max_tokens=1,
                                                                    extra_body={"colour": 1}), "colour")
    assert e.body["type"] == "error" and e.body["error"]["type"] == "invalid_request_error", e.body
    e = raises(anthropic.NotFoundError, lambda: c.post("/v1/messages/nothing", cast_to=object, body={}))
    assert e.body.get("type") == "error", e.body


# --- models, errors -------------------------------------------------------------------------------

@test
def models_are_named_and_found():
    c = openai_client()
    assert NAME in [m.id for m in c.models.list()] and c.models.retrieve(NAME).id == NAME


@test
def each_refusal_says_what_is_wrong():
    s, c = shared(), openai_client()

    def chat(**kw):
        return c.chat.completions.create(**{"model": NAME, "messages": MESSAGES, "max_tokens": 4, **kw})

    e = raises(openai.BadRequestError, lambda: chat(extra_body={"frobnicate": 1}), "frobnicate")
    assert e.param == "frobnicate" and e.code == "unknown_field" and e.type == "invalid_request_error", e
    bad = []
    for field, value in (("temperature", "hot"), ("temperature", -1), ("top_p", 2), ("n", 0), ("n", 65), ("max_tokens", 0),
                         ("max_tokens", 1.5), ("seed", "x"), ("stop", [""]), ("stop", ["a"] * 17), ("stream", "yes"),
                         ("logit_bias", {"x": 1}), ("logit_bias", {"1": 200}), ("logit_bias", {" 1": 2}),
                         ("logit_bias", {"99999999": 1}), ("top_logprobs", 3), ("response_format", {"type": "xml"}),
                         ("messages", "hello"), ("messages", []), ("messages", [{"role": "user"}]),
                         ("messages", [{"role": "nobody", "content": "x"}]), ("timeout_ms", 0), ("priority", 1000)):
        r = s.chat(**{field: value})
        if r.status != 400 or r.error()["param"] != field or field not in r.error()["message"]:
            bad.append((field, value, r.body))
    assert not bad, bad
    raises(openai.NotFoundError, lambda: chat(model="gpt-4"), "gpt-4")
    e = raises(openai.APIStatusError, lambda: chat(messages=[{"role": "user", "content": "hello " * 3000}]), "2048")
    assert e.status_code == 413 and e.code == "context_length_exceeded"
    for path, method, status in (("/v1/nothing", "GET", 404), ("/", "GET", 404), ("/v1/chat/completions", "GET", 405),
                                 ("/v1/models", "POST", 405), ("/v1/modelsX", "GET", 404)):
        r = s.ask(method, path, {} if method == "POST" else None)
        assert r.status == status and r.error()["message"], (path, r.body)


# --- who is let in --------------------------------------------------------------------------------

@test
def keys_scopes_and_their_limits():
    file = ROOT / "keys.json"
    free = HOME.add_key("free")
    other = HOME.add_key("other", "--model", "something-else")
    few = HOME.add_key("few", "--requests-per-minute", 2)
    small = HOME.add_key("small", "--context", 64)
    thrifty = HOME.add_key("thrifty", "--tokens-per-minute", 60)
    one = HOME.add_key("one", "--sessions", 1)
    with Server("--keys", file, "--ctx", 2048, "--slots", 4) as s:
        assert s.ask("GET", "/v1/models").status == 401
        for key in ("", "slv_wrong", free[:-1], free + "a"):
            r = s.chat(key=key or None)
            assert r.status == 401 and r.headers["WWW-Authenticate"], r.body
        raises(openai.AuthenticationError, lambda: openai_client(s, "slv_no").models.list())
        assert s.ask("POST", "/v1/messages", {"model": NAME, "messages": MESSAGES, "max_tokens": 2},
                     {"x-api-key": free}).status == 200
        assert openai_client(s, free).models.list().data
        assert openai_client(s, other).models.list().data == []
        raises(openai.PermissionDeniedError, lambda: openai_client(s, other).chat.completions.create(
            model=NAME, messages=MESSAGES), NAME)
        assert s.ask("GET", "/v1/models/" + NAME, headers=bearer(other)).status == 404
        assert [s.chat(key=few).status for _ in range(3)] == [200, 200, 429]
        e = raises(openai.RateLimitError, lambda: openai_client(s, few).models.list(), "requests")
        assert 1 <= int(e.response.headers["Retry-After"]) <= 60
        assert s.chat("one two three " * 20, key=small).status == 413
        r = s.chat(key=small, max_tokens=200)
        assert r.status == 200 and r.json()["usage"]["total_tokens"] <= 64, r.body
        assert s.chat("one two three " * 20, key=thrifty).status == 413
        assert s.chat(key=thrifty, max_tokens=30).status == 200
        r = s.chat(key=thrifty)
        assert r.status == 429 and int(r.headers["Retry-After"]) >= 1, r.body
        sessions(s, one)
        revoke(s, file, free)


def sessions(s, key):
    """A key that may have one answer at a time gets them one after the other."""
    seen = []
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(s.chat, key=key, max_tokens=25, ignore_eos=True) for _ in range(3)]
        while not all(j.done() for j in jobs):
            seen.append(s.active())
            time.sleep(0.005)
    assert [j.result().status for j in jobs] == [200] * 3 and max(seen) == 1, max(seen)


def revoke(s, file, key):
    assert s.chat(key=key).status == 200
    HOME.run("key", "revoke", "--file", file, "free")
    assert s.chat(key=key).status == 200  # until it is read again
    s.process.send_signal(signal.SIGHUP)
    s.until(lambda: "keys read again" in s.stderr())
    assert s.chat(key=key).status == 401


@test
def pages_of_others_do_not_get_in():
    s = shared()
    assert s.ask("GET", "/v1/models", headers={"Host": "evil.example"}).status == 421
    assert s.ask("GET", "/v1/models", headers={"Host": "evil.example:%d" % s.port}).status == 421
    assert s.chat(headers={"Origin": "http://evil.example"}).status == 403
    assert s.chat(headers={"Origin": "null"}).status == 403
    assert s.ask("OPTIONS", "/v1/models", headers={"Origin": "http://evil.example"}).status == 403
    assert s.ask("GET", "/health", headers={"Host": "evil.example"}).status == 421
    raw = s.raw()
    raw.sendall(b"GET http://evil.example/v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b" 421 " in serving.read_all(raw)
    for host in ("localhost:%d" % s.port, "127.0.0.1", "[::1]:80"):
        assert s.ask("GET", "/v1/models", headers={"Host": host}).status == 200
    own = "127.0.0.1:%d" % s.port
    assert s.ask("GET", "/v1/models", headers={"Host": own, "Origin": "http://" + own}).status == 200


@test
def other_machines_need_tls_and_keys():
    for args in (["--listen", "0.0.0.0:0"], ["--listen", "[::]:0"]):
        said = HOME.run("serve", "--alias", NAME + "=" + MODEL, *args, status=2)
        assert "--tls-cert" in said and "--keys" in said, said


def certificates(folder):
    folder.mkdir()
    for ca in ("ours", "theirs"):
        serving.authority(folder, ca)
    serving.certificate(folder, "ours", "server")
    serving.certificate(folder, "ours", "friend")
    serving.certificate(folder, "theirs", "stranger")


def http_client(context):
    return openai.DefaultHttpxClient(verify=context)


@test
def tls_for_the_clients_and_new_certificates():
    folder = ROOT / "tls"
    certificates(folder)
    tls = serving.client_tls(folder, "ours")
    live = ROOT / "live"  # links to them, as they often are
    live.mkdir()
    for name in ("server.crt", "server.key"):
        (live / name).symlink_to(folder / name)
    with Server("--tls-cert", live / "server.crt", "--tls-key", live / "server.key", tls=tls) as s:
        s.url = s.url.replace("127.0.0.1", "localhost")
        plain = shared().text(ASK)
        c = openai_client(s, http_client=http_client(tls))
        r = c.chat.completions.create(model=NAME, messages=MESSAGES, max_tokens=16, temperature=0)
        assert r.choices[0].message.content == plain
        stream = c.chat.completions.create(model=NAME, messages=MESSAGES, max_tokens=16, temperature=0, stream=True)
        assert "".join(x.choices[0].delta.content or "" for x in stream) == plain
        big = s.chat("a " * 2_000_000)  # 4 MB through TLS
        assert big.status == 413, (big.status, big.body[:300])
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            held = pool.submit(s.chat, ASK, max_tokens=60, ignore_eos=True)
            s.until(lambda: s.active() == 1)
            before = ssl.get_server_certificate(("127.0.0.1", s.port))
            serving.certificate(folder, "ours", "server")
            s.process.send_signal(signal.SIGHUP)
            s.until(lambda: ssl.get_server_certificate(("127.0.0.1", s.port)) != before)
            assert held.result().status == 200  # who was there stays
        (folder / "server.crt").write_text("nothing")
        s.process.send_signal(signal.SIGHUP)
        s.until(lambda: "stay as they were" in s.stderr())
        assert s.chat(max_tokens=1).status == 200
        vanish(s, "tls")


@test
def mutual_tls_lets_friends_in_and_no_others():
    folder = ROOT / "mtls"
    certificates(folder)
    friend = serving.client_tls(folder, "ours", "friend")
    with Server("--tls-cert", folder / "server.crt", "--tls-key", folder / "server.key", "--client-ca",
                folder / "ours.crt", tls=friend) as s:
        s.url = s.url.replace("127.0.0.1", "localhost")
        c = openai_client(s, http_client=http_client(friend))
        assert c.models.list().data
        for who in (None, "stranger"):
            bad = openai_client(s, http_client=http_client(serving.client_tls(folder, "ours", who)))
            raises(openai.APIConnectionError, bad.models.list)
        raises(OSError, lambda: s.tls.wrap_socket and serving_plain(s))
        assert c.models.list().data

        # whoever knocks in vain leaves a trace
        socket.create_connection(("127.0.0.1", s.port), timeout=20).close()
        s.until(lambda: {"no_certificate", "certificate", "protocol", "closed"} <=
                {k.split('"')[1] for k in s.metrics() if k.startswith("selvage_tls_failures_total{")})
        told = [x for x in s.stderr().splitlines() if "TLS handshake failed: " in x]
        assert told and "127.0.0.1:" in told[0] and "no_certificate: peer did not return" in told[0], told
        assert len(told) <= 3 + 20 * serving.SLOW, told  # at most one a second


def serving_plain(s):
    """A client that speaks no TLS gets nothing."""
    raw = socket.create_connection(("127.0.0.1", s.port), timeout=20)
    raw.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = serving.read_all(raw)
    assert b"HTTP/1.1 2" not in answer, answer
    raise OSError("closed")


@test
def unix_sockets_by_curl():
    curl = shutil.which("curl")
    if not curl:
        return tap.skip("no curl")
    path = ROOT / "s"
    with Server(listen=("unix:%s" % path,), wait=False) as s:
        assert path.stat().st_mode & 0o777 == 0o600
        body = json.dumps({"messages": MESSAGES, "max_tokens": 4, "temperature": 0})
        p = subprocess.run([curl, "-sS", "--retry", "40", "--retry-delay", "1", "--unix-socket", path, "-d", body,
                            "http://localhost/v1/chat/completions"], capture_output=True, timeout=60, check=False)
        assert p.returncode == 0 and json.loads(p.stdout)["choices"], (p.stdout, p.stderr, s.stderr())
    assert not path.exists()
    return None


# --- one answer -----------------------------------------------------------------------------------

@test
def an_answer_does_not_depend_on_who_else_is_served():
    """The same bytes alone, among 15 others, with a beginning that is cached and one that is not."""
    bodies = [("The sea is " + "deep " * k, {"max_tokens": 12 + k, "temperature": 0.8, "seed": k, "ignore_eos": True})
              for k in range(16)]
    with Server("--ctx", 1024) as s:
        alone = [s.text(t, **kw) for t, kw in bodies[:4]]
        again = [s.text(t, **kw) for t, kw in bodies[:4]]
        assert alone == again
    with Server("--ctx", 1024) as s:
        for _ in range(3 if FULL else 1):
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                among = list(pool.map(lambda b: s.text(b[0], **b[1]), bodies))
            assert among[:4] == alone, (among[:4], alone)
        assert s.metrics()['selvage_batch_answers_bucket{model="%s",le="+Inf"}' % NAME] > \
            s.metrics()['selvage_batch_answers_bucket{model="%s",le="4"}' % NAME]  # they did share steps


# --- time -----------------------------------------------------------------------------------------

@test
def time_that_is_over_ends_an_answer_with_what_there_is():
    s = shared()
    r = s.chat("Count to a thousand.", max_tokens=2000, timeout_ms=400, ignore_eos=True)
    c = r.json()["choices"][0]
    assert r.status == 200 and c["finish_reason"] == "timeout" and c["message"]["content"], r.body
    r = s.chat("Count to a thousand.", max_tokens=2000, timeout_ms=400, ignore_eos=True, stream=True)
    e = serving.events(r.body)
    assert e[-1] == "[DONE]" and json.loads(e[-2])["choices"][0]["finish_reason"] == "timeout", e[-3:]
    with Server("--slots", 1, "--timeout-ms", 1500, "--ctx", 4096) as one:
        assert one.ask("POST", "/v1/completions", {"prompt": "a", "stop": ["e"]}).status == 200  # of all its room
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            first = pool.submit(one.chat, max_tokens=4000, ignore_eos=True, timeout_ms=60000)  # the server's counts
            one.until(lambda: one.active() == 1)
            for stream in (False, True):  # who waits for a place is late there
                r = one.chat(timeout_ms=150, stream=stream)
                assert r.status == 200 and b'"finish_reason":"timeout"' in r.body, r.body
            assert first.result().json()["choices"][0]["finish_reason"] == "timeout"


@test
def a_full_queue_says_so_and_priority_goes_first():
    with Server("--slots", 1, "--queue", 2, "--ctx", 4096) as s:
        done = []

        def ask(name, **kw):
            r = s.chat(**{"max_tokens": 2, **kw})
            done.append(name)
            return r

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            first = pool.submit(ask, "first", max_tokens=120, ignore_eos=True, priority=9)
            s.until(lambda: s.active() == 1)
            # long enough that its client cannot be told before that of who went first
            low = pool.submit(ask, "low", priority=-5, max_tokens=60, ignore_eos=True)
            s.until(lambda: s.metrics()["selvage_waiting"] == 1)
            high = pool.submit(ask, "high", priority=5)
            s.until(lambda: s.metrics()["selvage_waiting"] == 2)
            r = s.chat()
            assert r.status == 429 and int(r.headers["Retry-After"]) >= 1 and "wait" in r.error()["message"], r.body
            assert {j.result().status for j in (first, low, high)} == {200}
        assert done == ["first", "high", "low"], done
        assert s.chat(n=3).status == 429  # more than can ever wait: not half of them


@test
def schemas_in_use_may_leave_no_room_for_another():
    """Those of answers that wait are not dropped; who finds no room hears so, and is served when they are done."""
    def ask(k):
        words = ["%d word %05d %s" % (k, i * 7919 % 99991, "x" * (i % 13)) for i in range(30000)]
        return s.chat(max_tokens=1, response_format={"type": "json_schema",
                                                     "json_schema": {"name": "s%d" % k, "schema": {"enum": words}}})

    with Server("--slots", 1, "--ctx", 4096, "--memory", "400M") as s:
        with concurrent.futures.ThreadPoolExecutor(9) as pool:
            first = s.raw()
            first.sendall(serving.raw_request("/v1/completions", json.dumps(
                {"prompt": "a", "max_tokens": 4000, "ignore_eos": True, "stream": True}).encode()))
            s.until(lambda: s.active() == 1)
            asked, full = [], None
            while not full:
                one = pool.submit(ask, len(asked))
                s.until(lambda: one.done() or s.metrics()["selvage_waiting"] == len(asked) + 1)
                if one.done():
                    full = one.result()
                else:
                    asked.append(one)
                assert len(asked) < 8, "they take no memory"
            assert full.status == 503 and full.error()["code"] == "out_of_memory", full.body
            assert "no room beside the schemas" in full.error()["message"] and asked, full.body
            first.close()
            assert {one.result().status for one in asked} == {200}
        assert ask(len(asked)).status == 200


@test
def a_small_cache_takes_shorter_requests():
    """And not every request that does not say how long its answer may be is refused."""
    with Server("--kv-memory", "8M") as s:
        context = s.ask("GET", "/v1/models").json()["data"][0]["context"]
        assert 64 <= context < 1024, context
        r = s.ask("POST", "/v1/completions", {"prompt": "a", "ignore_eos": True})
        assert r.status == 200 and r.json()["usage"]["total_tokens"] <= context, r.body
        assert s.chat("a " * 2 * context).status == 413


def vanish(s, how):
    """Clients that go: how long until nobody computes for them."""
    long_text = "one two three four five six seven eight nine ten " * (150 if how != "tls" else 60)
    cases = {"during a stream": ({"stream": True, "max_tokens": 1000}, "hello", 0.3),
             "before the reply": ({"max_tokens": 1000}, "hello", 0.3),
             "during a long prompt": ({"max_tokens": 1000}, long_text, 0.25)}
    for name, (fields, text, wait) in cases.items():
        for kill in (False, True):
            body = {"messages": [{"role": "user", "content": text + str(time.time())}], "ignore_eos": True, **fields}
            request = serving.raw_request(body=json.dumps(body).encode())
            if kill:
                code = ("import socket,sys,time\ns=socket.create_connection(('127.0.0.1',%d))\n"
                        "s.sendall(sys.stdin.buffer.read())\ntime.sleep(60)\n" % s.port)
                if s.tls:
                    continue
                p = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
                p.stdin.write(request)
                p.stdin.close()
            else:
                raw = s.raw()
                raw.sendall(request)
            s.until(lambda: s.active() == 1)
            time.sleep(wait if name != "during a long prompt" else 0.05)
            start = time.monotonic()
            if kill:
                p.kill()
                p.wait()
            else:
                raw.close()
            s.until(lambda: s.active() == 0, 1.0)
            print("# %s, %s, %s: %.0f ms" % (how, name, "killed" if kill else "closed",
                                             (time.monotonic() - start) * 1000), flush=True)


@test
def who_vanishes_is_not_computed_for():
    with Server("--ctx", 4096) as s:
        vanish(s, "plain")
        assert s.chat(max_tokens=2).status == 200


@test
def a_stop_lets_answers_end():
    with Server() as s:
        raw, idle = s.raw(), s.raw()
        body = {"messages": MESSAGES, "stream": True, "max_tokens": 60, "ignore_eos": True, "temperature": 0}
        raw.sendall(serving.raw_request(body=json.dumps(body).encode()))
        first = raw.recv(1000)
        s.process.send_signal(signal.SIGTERM)
        s.until(lambda: idle.recv(1) == b"")
        raises(ConnectionRefusedError, s.raw)
        whole = first + serving.read_all(raw)
        assert whole.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") and whole.count(b'"content"') > 50, whole[-300:]
        assert s.process.wait(20 * serving.SLOW) == 0, s.stderr()


def device_key():
    """Audit logs are signed with it."""
    if not (ROOT / "store" / "keys" / "device.key").exists():
        HOME.run("key", "new")


def cut(server, path, body, n):
    """Signals it n times while it streams an answer; all that came of it, by event."""
    raw = server.raw()
    raw.sendall(serving.raw_request(path, json.dumps({**body, "stream": True}).encode()))
    first = b""
    while first.count(b"data: ") < 6:
        first += raw.recv(4000)
    for _ in range(n):
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    whole = first + serving.read_all(raw)
    assert server.process.wait(20 * serving.SLOW) == 0, server.stderr()
    return whole.decode()


@test
def answers_that_a_stop_cuts_say_so():
    device_key()
    story = [{"role": "user", "content": "Write a long story about a lighthouse and the people who live there."}]
    long = {"messages": story, "max_tokens": 4000, "temperature": 0}
    for i, (path, n, drain) in enumerate([("/v1/chat/completions", 1, 1), ("/v1/chat/completions", 2, 3600),
                                          ("/v1/messages", 2, 3600)]):
        log = ROOT / ("cut-%d.log" % i)
        with HOME.serve("--ctx", 4096, "--drain", drain, "--audit", log, models=[NAME + "=" + MODEL]) as s:
            whole = [None]
            other = threading.Thread(target=lambda: whole.__setitem__(0, s.chat(**long)))
            other.start()
            s.until(lambda: s.active() == 1)
            text = cut(s, path, long, n)
            other.join()
            assert text.endswith("\r\n0\r\n\r\n") and "the server is stopping" in text, text[-500:]
            assert "server_error" in text and "finish_reason\":\"" not in text, text[-500:]
            if path.endswith("completions"):
                assert '"code":"stopping"' in text, text[-500:]
            assert whole[0].status == 503 and whole[0].error()["code"] == "stopping", whole[0].body
            assert s.stderr().count(" 503 stopping: ") == 2 and " 499 " not in s.stderr(), s.stderr()[-2000:]
        shown = HOME.run("audit", "show", "--json", log)
        assert shown.count('"finish":"stopping"') == 2 and '"status":503' in shown, shown[-2000:]


@test
def vectors_that_a_stop_cuts_say_so():
    with Server("--drain", 3600, models=["v=" + ENCODER]) as s:
        reply = [None]
        texts = [("%d " % i) * 100 for i in range(2000)]
        asks = threading.Thread(target=lambda: reply.__setitem__(0, s.ask("POST", "/v1/embeddings", {"input": texts})))
        asks.start()
        s.until(lambda: s.metrics()["selvage_waiting"] == 1)
        for _ in range(2):
            s.process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        asks.join()
        assert s.process.wait(20 * serving.SLOW) == 0, s.stderr()
        assert reply[0].status == 503 and reply[0].error()["code"] == "stopping", reply[0].body[:300]


# --- what is kept ---------------------------------------------------------------------------------

@test
def every_answer_has_a_record_and_no_text_is_kept():
    secret = "xyzzy-plugh-"
    device_key()
    log = ROOT / "audit.log"
    with HOME.serve("--audit", log, "--ctx", 1024) as s:
        said = "Repeat: " + secret + "alpha"
        assert s.chat(said).status == 200 and s.chat(said, stream=True).status == 200
        assert s.ask("POST", "/v1/completions", {"prompt": said, "max_tokens": 3}).status == 200
        assert s.ask("POST", "/tokenize", {"content": said}).status == 200
        s.chat(said, response_format={"type": secret})
        s.chat(said, **{secret: 1})
        s.chat(model=secret)
        s.ask("POST", "/v1/chat/completions", ('{"messages":[{"role":"user","content":%s' % secret).encode())
        s.ask("POST", "/v1/chat/completions", ('{"a":"%s","a":"%s"}' % (secret, secret)).encode())
        s.ask("POST", "/v1/chat/completions", ('{"%s":1,"%s":1}' % (secret, secret)).encode())
        s.ask("POST", "/v1/chat/completions", ('{"a":"%s\x01"}' % secret).encode())
        s.chat("a " + secret * 600)
        text = s.stop()
    assert secret not in text, [x for x in text.splitlines() if secret in x]
    for f in list((ROOT / "store").rglob("*")) + [p for p in ROOT.glob("audit*")]:
        assert not f.is_file() or secret.encode() not in f.read_bytes(), f
    records = [json.loads(x) for x in HOME.run("audit", "show", "--json", log).splitlines()]
    records = records[0].get("records", records) if len(records) == 1 else records
    answered = [r for r in records if r.get("status") == 200]
    assert len(answered) >= 3, records[:5]
    HOME.run("audit", "verify", log)
    # killed while it serves: what was answered is there, and nothing is half
    s = HOME.serve("--audit", log, "--ctx", 1024)
    count = [0]

    def load():
        try:
            while s.chat(max_tokens=2).status == 200:
                count[0] += 1
        except (OSError, serving.http.client.HTTPException):
            pass

    threads = [threading.Thread(target=load) for _ in range(4)]
    for t in threads:
        t.start()
    time.sleep(1.5 * serving.SLOW)
    s.process.kill()
    s.process.wait()
    for t in threads:
        t.join()
    HOME.run("audit", "verify", log)
    shown = HOME.run("audit", "show", "--json", log)
    assert shown.count('"status":200') >= len(answered) + count[0] > len(answered), (count, shown[-500:])


@test
def prometheus_takes_the_metrics():
    s = shared()
    s.chat()
    page = s.ask("GET", "/metrics")
    assert page.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    m = s.metrics()
    assert m['selvage_requests_total{model="%s",status="200"}' % NAME] >= 1
    assert m['selvage_output_tokens_total{model="%s"}' % NAME] >= 16
    assert m['selvage_first_token_seconds_count{model="%s"}' % NAME] >= 1
    promtool = shutil.which("promtool")
    if promtool:
        p = subprocess.run([promtool, "check", "metrics"], input=page.body, capture_output=True, check=False)
        assert p.returncode == 0, p.stdout + p.stderr
        return None
    return tap.skip("no promtool; the rest held")


def client_of_a_mix(s, key, seed, end):
    """One of many, who does this and that; how many answers it had."""
    r = random.Random(seed)
    answers = 0
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    while time.monotonic() < end:
        kind = r.randrange(9)
        body = {"messages": [{"role": "user", "content": "Count: " + "1 2 3 " * r.randrange(60)}], "seed": r.randrange(9),
                "max_tokens": r.randrange(1, 30), "stream": r.random() < 0.5, "n": r.choice([1, 1, 2])}
        if kind == 0:
            body["timeout_ms"] = r.randrange(1, 300)
        if kind == 1:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        if kind == 2:
            body.update(logprobs=True, top_logprobs=3)
        if kind == 3:  # it leaves
            raw = s.raw()
            raw.sendall(serving.raw_request(body=json.dumps(body).encode(), headers=["Authorization: Bearer " + key]))
            raw.settimeout(r.random())
            try:
                raw.recv(100)
            except OSError:
                pass
            raw.close()
            continue
        if kind == 4:
            assert s.ask("GET", r.choice(["/metrics", "/health"])).status == 200
            s.ask("GET", "/v1/models", headers={"Authorization": "Bearer wrong"})
            continue
        if kind == 5:
            s.process.send_signal(signal.SIGHUP)
        if kind == 6 and ENCODER:
            e = s.ask("POST", "/v1/embeddings", {"model": "mini", "input": ["a b c"] * r.randrange(1, 40)},
                      bearer(key))
            assert e.status == 200, e.body
            continue
        if kind == 7:
            m = s.ask("POST", "/v1/messages", {"messages": MESSAGES, "max_tokens": 5, "stream": body["stream"]},
                      {"x-api-key": key, "anthropic-version": "2023-06-01"})
            assert m.status == 200, m.body
            continue
        answer = s.ask("POST", "/v1/chat/completions", body, bearer(key))
        assert answer.status == 200, answer.body
        assert not body["stream"] or answer.body.endswith(b"data: [DONE]\n\n"), answer.body[-200:]
        answers += 1
    return answers


@full
def eight_clients_do_what_they_like():
    file = ROOT / "mix.json"
    keys = [HOME.add_key("k%d" % i, *(["--sessions", 1] if i == 0 else []), file="mix.json") for i in range(3)]
    models = [NAME + "=" + MODEL] + (["mini=" + ENCODER] if ENCODER else [])
    with Server("--keys", file, "--ctx", 1024, "--slots", 4, models=models) as s:
        s.until(lambda: s.ask("GET", "/health").json()["models_ready"] == len(models), 60)
        end = time.monotonic() + 30
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(client_of_a_mix, s, keys[i % 3], i, end) for i in range(8)]
        print("# %d answers, %.0f MiB" % (sum(j.result() for j in jobs), s.memory()), flush=True)
        s.until(lambda: s.active() == 0, 5)
        s.until(lambda: s.metrics()["selvage_connections"] <= 1, 5)


@test
def the_server_ends_well():
    if SHARED:
        SHARED[0].alive()
        SHARED[0].stop()


if __name__ == "__main__":
    serving.main()
