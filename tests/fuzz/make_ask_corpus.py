#!/usr/bin/env python3
"""Requests to the server to begin fuzzing from: make_ask_corpus.py FOLDER STAMP. The first byte says which
interface: chat, completions, responses, messages, embeddings, tokenize, detokenize."""
import json
import pathlib
import sys

MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
SAMPLING = {"temperature": 0.5, "top_p": 1, "top_k": 40, "min_p": 0.1, "typical_p": 1, "repeat_penalty": 1.1,
            "presence_penalty": -2, "frequency_penalty": 2, "repeat_last_n": 64, "dry_multiplier": 0.8, "dry_base": 1.75,
            "dry_allowed_length": 2, "dry_last_n": 100, "seed": 7}
COMMON = {"model": "m", "stream": True, "timeout_ms": 5, "priority": -1, "user": "u", "metadata": {}, "service_tier": "auto"}
OPENAI = {"n": 3, "stop": ["a", "b"], "logit_bias": {"1": -100, "22": 3.5}, "max_tokens": 9,
          "stream_options": {"include_usage": True}, "ignore_eos": False}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
FORM = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "properties": {"a": True}}}}
CASES = [
    (0, {"messages": MESSAGES, **COMMON, **SAMPLING, **OPENAI, "logprobs": True, "top_logprobs": 2}),
    (0, {"messages": MESSAGES, "response_format": FORM, "tools": TOOLS, "tool_choice": "required", "store": False,
         "parallel_tool_calls": True, "chat_template_kwargs": {"a": 1}, "modalities": ["text"], "adapters": []}),
    (0, {"messages": MESSAGES, "response_format": {"type": "json_object"}, "max_completion_tokens": 2,
         "tool_choice": {"type": "function", "function": {"name": "f"}}}),
    (0, {"messages": MESSAGES, "grammar": "root ::= \"a\"", "n": None}),
    (1, {"prompt": "a", **COMMON, **SAMPLING, **OPENAI, "logprobs": 2, "echo": True, "best_of": 1}),
    (1, {"prompt": [1, 2, 3], "stop": "x"}),
    (2, {"input": "a", "instructions": "b", "max_output_tokens": 3, "text": {"format": FORM, "verbosity": "low"},
         "store": False, "background": False, **COMMON, **SAMPLING}),
    (3, {"messages": MESSAGES, "max_tokens": 3, "system": [{"type": "text", "text": "s"}], "stop_sequences": ["q"],
         "tools": TOOLS, "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}),
    (4, {"input": ["a", "b"], "dimensions": 3, "encoding_format": "base64"}),
    (5, {"content": "a", "add_special": True, "parse_special": True, "with_pieces": True}),
    (5, {"messages": MESSAGES, "tools": TOOLS}),
    (6, {"tokens": [1, 2]}),
]
RAW = [b'\0{"a":1,"a":2}', b'\0{"messages":"\\ud800"}', b'\0{"messages":[],"seed":99999999999999999999}', b"\0[[[[",
       b'\0{"messages":[],"temperature":1e999}', b'\0{"messages":[],"\\u0000":1}', b"\0", b"\0null"]

folder, stamp = map(pathlib.Path, sys.argv[1:])
folder.mkdir(exist_ok=True)
for i, (api, body) in enumerate(CASES):
    (folder / f"{i:02}").write_bytes(bytes([api]) + json.dumps(body).encode())
for i, data in enumerate(RAW):
    (folder / f"raw{i}").write_bytes(data)
stamp.write_text("")
