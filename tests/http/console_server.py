"""A `selvage serve` for tests of the console: a store of its own, a port that the system picks."""
import http.client
import json
import os
import subprocess
import tempfile

POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
SANITIZERS = ("ASAN_", "UBSAN_", "LSAN_", "TSAN_")


class Server:
    """with Server(program, "--alias", "tiny=FILE") as s: s.url, s.get(..)"""

    def __init__(self, program, *args):
        self.program, self.args = os.path.abspath(program), args
        self.folder = tempfile.TemporaryDirectory(prefix="selvage-console-")
        self.env = {"PATH": os.environ["PATH"], "SELVAGE_HOME": self.folder.name + "/store"}
        self.env.update({k: v for k, v in os.environ.items() if k.startswith(SANITIZERS)})

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def run(self, *args):
        p = subprocess.run([self.program, *args], env=self.env, text=True, capture_output=True, timeout=60)
        assert p.returncode == 0, p
        return p.stdout

    def add_key(self, name, *args):
        """Its token."""
        return self.run("key", "add", name, "--file", self.path("keys.json"), *args).strip()

    def __enter__(self):
        self.errors = open(self.path("stderr"), "w+")
        self.process = subprocess.Popen(
            [self.program, "serve", *[a.replace("{}", self.folder.name) for a in self.args],
             "--listen", "127.0.0.1:0", "--json", "--drain", "5"],
            env=self.env, text=True, stdout=subprocess.PIPE, stderr=self.errors)
        line = self.process.stdout.readline()
        assert line, self.stderr()
        self.url = json.loads(line)["listening"][0]
        self.port = int(self.url.rsplit(":", 1)[1])
        return self

    def stderr(self):
        self.errors.flush()
        with open(self.path("stderr")) as f:
            return f.read()

    def __exit__(self, *exc):
        self.process.terminate()
        status = self.process.wait(timeout=60)
        said = self.stderr()
        self.errors.close()
        self.process.stdout.close()
        if not exc[0]:
            assert status == 0 and "Sanitizer" not in said, (status, said)
        self.folder.cleanup()

    def ask(self, method, path, body=None, key=None, **headers):
        """(status, headers in small letters, bytes)"""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        if key:
            headers["Authorization"] = "Bearer " + key
        c.request(method, path, json.dumps(body) if body is not None else None, headers)
        r = c.getresponse()
        data = r.read()
        c.close()
        return r.status, {k.lower(): v for k, v in r.getheaders()}, data

    def json(self, path, want=200, **kw):
        status, _, data = self.ask("GET", path, **kw)
        assert status == want, (path, status, data)
        return json.loads(data)

    def stream(self, body, key=None):
        """A connection whose stream has begun; close() is leaving."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Authorization": "Bearer " + key} if key else {}
        c.request("POST", "/v1/completions", json.dumps({**body, "stream": True}), headers)
        r = c.getresponse()
        assert r.status == 200, (r.status, r.read())
        r.readline()
        return c
