"""What tests of the server share: a store of the test's own, `selvage serve` as a process, plain requests to it
and streams, its metrics, waiting, certificates. The program is the script's first argument.

Importing it lets a script import what lies in the neighbouring folders (tap, make_gguf, gguf_writer).
"""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, "..", sibling) for sibling in ("interop", "hostile", "tools")]
import tap  # noqa: E402

PROGRAM = os.path.abspath(sys.argv[1])
FULL = "--full" in sys.argv
MODEL = os.environ.get("SLV_TEST_MODEL", "")
ENCODER = os.environ.get("SLV_TEST_ENCODER", "")
# A name with characters that paths and labels escape, as names in the store have them.
NAME = "smollm2:135m-instruct"
SLOW = 10.0 if tap.sanitized(PROGRAM) else 1.0  # sanitizers take their time


def skip_unless(*names):
    """The whole script, where the environment does not name what it needs."""
    for name in names:
        if not os.environ.get(name):
            print("1..0 # SKIP %s is not set" % name)
            sys.exit(0)


# --- a script's tests, in the order in which they stand there -------------------------------------

TESTS = []


def test(fn):
    TESTS.append(fn)
    return fn


def full(fn):
    """One that takes long: with --full only."""
    if FULL:
        TESTS.append(fn)
    return fn


def main():
    sys.exit(tap.run(TESTS))


# --- a place to work ------------------------------------------------------------------------------

class Home:
    """A folder of the script's own that goes with it, and commands of the program with their store there."""

    def __init__(self, name):
        self.folder = tempfile.TemporaryDirectory(prefix="selvage-%s-" % name)
        self.root = pathlib.Path(self.folder.name)
        self.env = {"SELVAGE_HOME": self.path("store")}

    def path(self, name):
        return str(self.root / name)

    def run(self, *args, status=0):
        """What it prints."""
        p = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=120 * SLOW,
                           env={**os.environ, **self.env}, check=False)
        assert p.returncode == status, (args, p.returncode, p.stdout, p.stderr)
        return p.stderr if status else p.stdout

    def new_key(self, name, *args, file="keys.json"):
        """Its id and its token."""
        got = json.loads(self.run("key", "add", "--json", "--file", self.path(file), name, *args))
        return got["id"], got["token"]

    def add_key(self, name, *args, file="keys.json"):
        """Its token."""
        return self.new_key(name, *args, file=file)[1]

    def serve(self, *args, **how):
        return Server(*args, env=self.env, **how)


# --- the server -----------------------------------------------------------------------------------

def bearer(key):
    return {"Authorization": "Bearer " + key} if key else {}


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def error(self):
        return self.json()["error"]


class Server:
    """With `args` besides the model and a port that the system picks. full_disks: writing past a limit of
    the process is an error, and does not end it."""

    def __init__(self, *args, models=None, listen=("127.0.0.1:0",), wait=True, env=None, tls=None,
                 host="127.0.0.1", full_disks=False):
        self.tls, self.host = tls, host
        self.log = tempfile.TemporaryFile()
        aliases = models if models is not None else [NAME + "=" + MODEL]
        command = [PROGRAM, "serve", "--json"]
        for a in listen:
            command += ["--listen", a]
        for m in aliases:
            command += ["--alias", m]
        self.process = subprocess.Popen(command + list(map(str, args)), stdout=subprocess.PIPE, stderr=self.log,
                                        env={**os.environ, **(env or {})},
                                        restore_signals=not full_disks)
        line = self.process.stdout.readline()
        assert line, self.stderr()
        self.urls = json.loads(line)["listening"]
        self.port = next((int(u.rsplit(":", 1)[1]) for u in self.urls if not u.startswith("unix:")), 0)
        self.url = next((u for u in self.urls if not u.startswith("unix:")), None)
        if wait:
            self.wait_ready()

    def stderr(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def wait_ready(self, seconds=60):
        end = time.monotonic() + seconds * SLOW
        while time.monotonic() < end:
            assert self.process.poll() is None, self.stderr()
            try:
                if self.ask("GET", "/health").status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        raise AssertionError("not ready: " + self.stderr())

    def connection(self, timeout=120):
        if self.tls:
            name = "localhost" if self.host == "127.0.0.1" else self.host  # which certificates are for
            return http.client.HTTPSConnection(name, self.port, timeout=timeout * SLOW, context=self.tls)
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout * SLOW)

    def ask(self, method, path, body=None, headers=None, timeout=120):
        c = self.connection(timeout)
        try:
            data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
            c.request(method, path, data, headers or {})
            r = c.getresponse()
            return Reply(r.status, r.headers, r.read())
        finally:
            c.close()

    def get(self, path, key=None, status=200):
        """The JSON at a path."""
        r = self.ask("GET", path, headers=bearer(key))
        assert r.status == status, (path, r.status, r.body)
        return r.json()

    def states(self):
        """Of the models, by name."""
        return {m["id"]: m["status"] for m in self.get("/v1/models")["data"]}

    def chat(self, text="Say hello.", key=None, headers=None, **fields):
        body = {"model": NAME, "messages": [{"role": "user", "content": text}], "max_tokens": 16, "temperature": 0}
        body.update(fields)
        return self.ask("POST", "/v1/chat/completions", body, {**(headers or {}), **bearer(key)})

    def text(self, *args, **fields):
        r = self.chat(*args, **fields)
        assert r.status == 200, r.body
        return r.json()["choices"][0]["message"]["content"]

    def metrics(self):
        r = self.ask("GET", "/metrics")
        assert r.status == 200, r.body
        return {m[1]: float(m[2]) for m in re.finditer(r"^([a-z_]+(?:{[^\n]*})?) ([^ \n]+)$", r.body.decode(), re.M)}

    def active(self):
        return self.metrics()["selvage_active"]

    def until(self, condition, seconds=10.0, step=0.005):
        """Seconds until it holds."""
        start = time.monotonic()
        while not condition():
            assert time.monotonic() - start < seconds * SLOW, "waited in vain\n" + self.stderr()[-3000:]
            time.sleep(step)
        return time.monotonic() - start

    def raw(self, timeout=30):
        s = socket.create_connection((self.host, self.port), timeout=timeout * SLOW)
        return self.tls.wrap_socket(s, server_hostname="localhost") if self.tls else s

    def memory(self):
        """MiB: the most that was resident at a time."""
        with open("/proc/%d/status" % self.process.pid) as f:
            return int(re.search(r"VmHWM:\s+(\d+) kB", f.read())[1]) / 1024

    def alive(self):
        assert self.process.poll() is None, self.stderr()[-5000:]
        assert self.ask("GET", "/health").status == 200

    def stop(self, status=0, seconds=60):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            got = self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("does not stop\n" + self.stderr()[-3000:]) from None
        self.process.stdout.close()
        log = self.stderr()
        assert "Sanitizer" not in log and "runtime error" not in log, log[-20000:]
        assert got == status, (got, log[-5000:])
        return log

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.stop()
        elif self.process.poll() is not None:
            text = "the server had ended with %d: %s" % (self.process.returncode, self.stderr()[-3000:])
            print("# " + text.replace("\n", "\n# "))
        elif self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Stream:
    """A streamed answer that has begun, read as it comes by a thread of its own. times: when each event came.
    `with` ends in leaving."""

    def __init__(self, server, path, body, key=None):
        self.times, self.data, self.most = [], [], body.get("max_tokens", 0)
        self.connection = server.connection()
        self.connection.request("POST", path, json.dumps({**body, "stream": True}), bearer(key))
        self.reply = self.connection.getresponse()
        assert self.reply.status == 200, self.reply.read()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        try:
            for line in self.reply:
                if line.startswith(b"data: "):
                    self.times.append(time.monotonic())
                    self.data.append(line[6:].decode().rstrip())
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass  # it was closed, from here

    def lives(self, events):
        """It goes on, for so many events more."""
        return self.thread.is_alive() and len(self.times) + events < self.most

    def longest_pause(self, start, end):
        """Seconds between two events, or an event and an end of the spell."""
        at = [start] + [t for t in list(self.times) if start < t < end] + [end]
        return max(b - a for a, b in zip(at, at[1:]))

    def close(self):
        """Leaves, whether it has ended or not."""
        if self.connection.sock:
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()


def raw_request(path="/v1/chat/completions", body=b"", method="POST", headers=()):
    head = "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n" % (method, path, len(body))
    return (head + "".join(h + "\r\n" for h in headers) + "\r\n").encode() + body


def read_all(s):
    """Until the other side closes."""
    out = b""
    try:
        while chunk := s.recv(65536):
            out += chunk
    except ConnectionResetError:
        pass
    return out


def events(body):
    """Data of server-sent events."""
    return [e[6:] for e in body.decode().split("\n") if e.startswith("data: ")]


# What a browser is told of the console's page: nothing of elsewhere runs in it or is loaded.
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


# --- certificates ---------------------------------------------------------------------------------

def openssl(*args, cwd):
    p = subprocess.run(["openssl", *args], cwd=cwd, capture_output=True, check=False)
    assert p.returncode == 0, p.stderr.decode()


def authority(folder, name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-keyout", name + ".key", "-out", name + ".crt", "-subj", "/CN=" + name, cwd=folder)


def certificate(folder, ca, name):
    """NAME.crt and NAME.key, for localhost and 127.0.0.1."""
    pathlib.Path(folder, name + ".ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", name + ".key",
            "-out", name + ".csr", "-subj", "/CN=" + name, cwd=folder)
    openssl("x509", "-req", "-in", name + ".csr", "-CA", ca + ".crt", "-CAkey", ca + ".key", "-CAcreateserial",
            "-days", "2", "-out", name + ".crt", "-extfile", name + ".ext", cwd=folder)
    os.chmod(pathlib.Path(folder, name + ".key"), 0o600)


def client_tls(folder, ca, name=None):
    """What a client believes, and what it shows."""
    ctx = ssl.create_default_context(cafile=os.path.join(folder, ca + ".crt"))
    if name:
        ctx.load_cert_chain(os.path.join(folder, name + ".crt"), os.path.join(folder, name + ".key"))
    return ctx
