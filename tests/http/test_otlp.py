#!/usr/bin/env python3
"""Traces: each request becomes a span with its parts, under the trace that its client named, at a
collector that a process of its own sends them to; never a text. Without a collector all goes on.

usage: test_otlp.py SELVAGE MODEL      prints TAP
"""
import http.server
import json
import os
import subprocess
import sys
import threading

from serving import PROGRAM, Server, tap

MODEL = os.path.abspath(sys.argv[2])


class Collector:
    def __init__(self):
        self.spans, self.came, collector = [], threading.Condition(), self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces" and self.headers["Content-Type"] == "application/json"
                assert b"prompt of mine" not in body
                for r in json.loads(body)["resourceSpans"]:
                    names = {a["key"]: a["value"]["stringValue"] for a in r["resource"]["attributes"]}
                    assert names["service.name"] == "selvage"
                    with collector.came:
                        collector.spans += [s for scope in r["scopeSpans"] for s in scope["spans"]]
                        collector.came.notify_all()
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = "http://127.0.0.1:%d" % self.server.server_address[1]

    def wait(self, n):
        with self.came:
            assert self.came.wait_for(lambda: len(self.spans) >= n, 30), self.spans
            return list(self.spans)


def ask(server, **headers):
    r = server.ask("POST", "/v1/completions", {"prompt": "prompt of mine", "max_tokens": 4, "temperature": 0},
                   headers)
    assert r.status == 200, r.body
    return r.json()


def requests_become_spans():
    collector = Collector()
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with Server("--otlp", collector.url, models=["m=" + MODEL]) as server:
        answer = ask(server, traceparent=f"00-{trace}-{parent}-01")
        ask(server, traceparent="00-nonsense")
        spans = collector.wait(8)
    mine = [s for s in spans if s["traceId"] == trace]
    top = next(s for s in mine if s["kind"] == 2)
    facts = {a["key"]: a["value"] for a in top["attributes"]}
    assert top["parentSpanId"] == parent and top["name"] == "/v1/completions", top
    assert facts["gen_ai.response.id"]["stringValue"] == answer["id"], facts
    assert facts["gen_ai.usage.input_tokens"]["intValue"] == str(answer["usage"]["prompt_tokens"]), facts
    assert facts["gen_ai.usage.output_tokens"]["intValue"] == "4", facts
    parts = [s for s in mine if s["kind"] == 1]
    assert [s["name"] for s in parts] == ["queue", "prompt", "answer"], parts
    assert all(s["parentSpanId"] == top["spanId"] for s in parts)
    times = [int(top["startTimeUnixNano"])] + [int(s["endTimeUnixNano"]) for s in parts]
    assert times == sorted(times) and times[-1] == int(top["endTimeUnixNano"]), times
    assert len({s["spanId"] for s in spans}) == len(spans) == 8
    assert len({s["traceId"] for s in spans}) == 2


def without_a_collector_all_goes_on():
    with Server("--otlp", "http://127.0.0.1:9", models=["m=" + MODEL]) as server:
        for _ in range(3):
            ask(server)
        server.until(lambda: "takes none" in server.stderr(), 20)
        ask(server)


def what_is_no_url_is_refused():
    p = subprocess.run([PROGRAM, "serve", MODEL, "--otlp", "localhost:4318"], capture_output=True, text=True)
    assert p.returncode == 2 and "--otlp" in p.stderr, p


if __name__ == "__main__":
    sys.exit(tap.run([requests_become_spans, without_a_collector_all_goes_on, what_is_no_url_is_refused]))
