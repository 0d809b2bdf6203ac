"""A stand-in for the Hugging Face Hub that misbehaves on request: HTTPS on loopback, Python's
standard library only. Certificates come from the `openssl` command and live as long as the test.

A Hub has repositories {"OWNER/REPO": {path: bytes}} and a list `faults`: each request for a file
takes the next one and hands itself to it. Without a fault the file is served as the Hub does:
Range, If-Range, ETag, X-Linked-ETag, X-Linked-Size.
"""
import hashlib
import http.server
import json
import os
import socket
import ssl
import subprocess
import threading
import time


def make_certificates(folder):
    """ca.crt, and server.pem (key and certificate) for 127.0.0.1 and localhost."""
    def run(*args, **kw):
        subprocess.run(["openssl", *args], cwd=folder, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, **kw)
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run("req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=test CA",
        "-addext", "basicConstraints=critical,CA:TRUE")
    run("req", *ec, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    with open(os.path.join(folder, "ext"), "w") as f:
        f.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    run("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
        "-out", "server.crt", "-days", "2", "-extfile", "ext")
    with open(os.path.join(folder, "server.pem"), "wb") as out:
        for name in ("server.key", "server.crt"):
            with open(os.path.join(folder, name), "rb") as f:
                out.write(f.read())


class Hub(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder, repos, plain=False):
        super().__init__(("127.0.0.1", 0), Handler)
        if not plain:
            ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            ctx.load_cert_chain(os.path.join(folder, "server.pem"))
            self.socket = ctx.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.repos = repos
        self.faults = []        # functions of a Handler; each file request takes one
        self.always = None      # the same for every file request
        self.tree = None        # bytes in place of the listing, or a function of a Handler
        self.lfs = True         # whether the listing tells digests
        self.etag = '"one"'
        self.linked = True      # X-Linked-* headers
        self.requests = []      # (path, headers) of all requests
        self.sent = 0           # bytes of files
        self.lock = threading.Lock()
        self.url = "https://127.0.0.1:%d" % self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # clients that vanish are what these tests are about

    def file_requests(self):
        return [h for p, h in self.requests if "/resolve/" in p]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20

    def log_message(self, *args):
        pass

    def do_GET(self):
        hub = self.server
        with hub.lock:
            hub.requests.append((self.path, dict(self.headers)))
        path = self.path.split("?")[0]
        if path.startswith("/api/models/"):
            return self.listing(path[len("/api/models/"):])
        parts = path.lstrip("/").split("/", 4)
        repo = hub.repos.get("/".join(parts[:2]))
        self.body = repo.get(parts[4]) if repo and len(parts) == 5 else None
        with hub.lock:
            fault = hub.faults.pop(0) if hub.faults else hub.always
        (fault or Handler.serve)(self)

    def listing(self, rest):
        hub = self.server
        repo = hub.repos.get(rest.rsplit("/tree/", 1)[0])
        if callable(hub.tree):
            return hub.tree(self)
        if hub.tree is not None:
            return self.answer(200, hub.tree)
        if repo is None:
            return self.answer(404, b"{}", {"X-Error-Message": "Repository not found"})
        rows = [{"type": "directory", "path": "x", "size": 0}]
        for path, data in repo.items():
            row = {"type": "file", "path": path, "size": len(data), "oid": "0" * 40}
            if hub.lfs:
                row["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            rows.append(row)
        self.answer(200, json.dumps(rows).encode())

    def answer(self, status, body=b"", headers=None):
        self.send_response(status)
        for k, v in (headers or {}).items():
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def serve(self, cut=None, claim=None, body=None, ignore_range=False, chunk=65536, delay=0.0,
              stall=0.0):
        """The file, or with `cut` its first bytes of this answer and then the end of the line."""
        hub = self.server
        data = self.body if body is None else body
        if data is None:
            return self.answer(404)
        begin, total = 0, claim or len(data)
        wanted = self.headers.get("Range")
        same = self.headers.get("If-Range") in (None, hub.etag)
        if wanted and same and not ignore_range:
            begin = int(wanted[len("bytes="):].rstrip("-"))
            if begin >= len(data):
                return self.answer(416, b"", {"Content-Range": "bytes */%d" % len(data)})
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (begin, total - 1, total))
        self.send_header("Content-Length", str(total - begin))
        if hub.etag:
            self.send_header("ETag", hub.etag)
        if hub.linked:
            self.send_header("X-Linked-ETag", '"%s"' % hashlib.sha256(self.body).hexdigest())
            self.send_header("X-Linked-Size", str(len(self.body)))
        self.end_headers()
        end = len(data) if cut is None else min(begin + cut, len(data))
        while begin < end:
            piece = data[begin:min(begin + chunk, end)]
            self.wfile.write(piece)
            with hub.lock:
                hub.sent += len(piece)
            begin += len(piece)
            if delay:
                time.sleep(delay)
        if stall:
            time.sleep(stall)
        if cut is not None or claim:
            self.close_connection = True
            self.connection.close()


def cut_after(n):
    return lambda h: h.serve(cut=n)


def status(code, headers=None):
    return lambda h: h.answer(code, b"no\n", headers)


def redirect(to, code=302):
    return lambda h: h.answer(code, b"Found\n", {"Location": to(h) if callable(to) else to})


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
