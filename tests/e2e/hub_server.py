"""A Hugging Face Hub on loopback, as far as clients use one to fetch models, with the faults that a Hub may have.

Two servers: the Hub, and the store that it redirects large files to, which must never see a token.
"""

import hashlib
import http.server
import json
import re
import threading
import time
import urllib.parse


def git_hash(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Repository:
    """`files`: contents by name. Those in `large` are in the store, by their SHA-256."""

    def __init__(self, files, large=(), commit="c0ffee" * 6 + "c0de"):
        self.files = dict(files)
        self.large = set(large)
        self.commit = commit
        self.gated = False
        self.token = None  # what a client must send to see it

    def etag(self, name):
        content = self.files[name]
        return hashlib.sha256(content).hexdigest() if name in self.large else git_hash(content)


class HubServer:
    """`with HubServer({"owner/name": Repository(...)}) as hub:`; hub.faults changes what is answered."""

    def __init__(self, repositories):
        self.repositories = repositories
        self.faults = {}
        self.requests = []  # (server, method, path, headers)
        self.lock = threading.Lock()
        self.hub = self._start(HubHandler)
        self.store = self._start(StoreHandler)

    def _start(self, handler):
        class Bound(handler):
            owner = self

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    @property
    def url(self):
        return f"http://127.0.0.1:{self.hub.server_port}"

    @property
    def store_url(self):
        return f"http://127.0.0.1:{self.store.server_port}"

    def paths(self, method=None):
        return [path for _, verb, path, _ in self.requests if method in (None, verb)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in (self.hub, self.store):
            server.shutdown()
            server.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def note(self, server):
        with self.owner.lock:
            self.owner.requests.append((server, self.command, self.path, dict(self.headers)))

    def fault(self, name):
        """The fault of that name; a number counts down."""
        with self.owner.lock:
            value = self.owner.faults.get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                self.owner.faults[name] = value - 1
                return value > 0
            return value

    def answer(self, status, content=b"", headers=None):
        self.announce()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def announce(self):
        """Answers before the answer, as many as the fault says."""
        for number in range(self.owner.faults.get("interim", 0)):
            self.send_response_only((100, 103)[number % 2])
            self.send_header("Link", "</style.css>; rel=preload")
            self.end_headers()

    def send_file(self, content, headers=None):
        """A file or a range of it, with what may go wrong on the way."""
        begin, status = 0, 200
        fields = {**(headers or {}), "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and not self.fault("no ranges"):
            begin, status = int(wanted[1]), 206
            fields["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        is_get = self.command == "GET"
        if is_get and self.fault("other content"):
            content = bytes(len(content))
        body = content[begin:]
        if is_get and self.fault("more bytes"):
            body += b"x" * 100000
        if is_get and self.fault("chunked forever"):
            return self.send_forever()
        fields["Content-Length"] = str(len(body))
        self.announce()
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return None
        if self.fault("drip"):
            for at in range(len(body)):
                self.wfile.write(body[at : at + 1])
                self.wfile.flush()
                time.sleep(0.05)
        cut = self.fault("cut")
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True
        return None

    def send_forever(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.wfile.write(b"10000\r\n" + b"y" * 65536 + b"\r\n")


class HubHandler(Handler):
    def do_HEAD(self):  # noqa: N802
        self.do_GET()

    def do_GET(self):  # noqa: N802
        self.note("hub")
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        try:
            if self.fault("html"):
                return self.answer(200, b"<!DOCTYPE html><html>Log in to the network</html>")
            if self.fault("busy"):
                return self.answer(503)
            if self.fault("redirect forever"):
                return self.answer(302, headers={"Location": self.path + "/"})
            listed = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(.+))?", path)
            if listed:
                return self.list(listed[1], listed[2], listed[3] or "main")
            found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
            if found:
                return self.resolve(*found.groups())
            return self.answer(404)
        except (BrokenPipeError, ConnectionResetError):
            return None

    def repository(self, name, revision):
        """The repository, or nothing once a refusal has been sent."""
        repository = self.owner.repositories.get(name)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if repository is None or (repository.token and token != repository.token and not repository.gated):
            code = 404 if repository is None and token else 401
            self.answer(code, headers={"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            return None
        if repository.gated and token != repository.token:
            code = 403 if token else 401
            self.answer(code, headers={"X-Error-Code": "GatedRepo", "X-Error-Message": f"{name} is restricted"})
            return None
        if revision not in ("main", "refs/pr/1", repository.commit):
            self.answer(404, headers={"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
            return None
        return repository

    def list(self, name, kind, revision):
        repository = self.repository(name, revision)
        if repository is None:
            return None
        if self.fault("listing"):
            return self.answer(200, self.owner.faults["listing"], {"Content-Type": "application/json"})
        if self.fault("huge listing"):
            return self.send_forever()
        if kind == "tree":
            listing = [
                {"type": "file", "oid": git_hash(content), "size": len(content), "path": path}
                | ({"lfs": {"oid": repository.etag(path), "size": len(content), "pointerSize": 134}}
                   if path in repository.large else {})
                for path, content in repository.files.items()
            ]  # fmt: skip
        else:
            listing = {"_id": "1", "id": name, "modelId": name, "sha": repository.commit, "private": False, "tags": [],
                       "downloads": 0, "likes": 0,
                       "siblings": [{"rfilename": path} for path in repository.files]}  # fmt: skip
        return self.answer(200, json.dumps(listing).encode(), {"Content-Type": "application/json"})

    def resolve(self, name, revision, file):
        repository = self.repository(name, revision)
        if repository is None:
            return None
        if file not in repository.files:
            return self.answer(404, headers={"X-Error-Code": "EntryNotFound"})
        content = repository.files[file]
        headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{repository.etag(file)}"'}
        if file in repository.large:
            headers |= {
                "ETag": '"of-the-store"',
                "X-Linked-Etag": f'"{self.fault("etag") or repository.etag(file)}"',
                "X-Linked-Size": self.fault("size") or self.owner.faults.get("sizes", {}).get(file, str(len(content))),
                "Location": f"{self.owner.store_url}/{name}/{urllib.parse.quote(file)}?signed=yes",
            }
            return self.answer(302, headers=headers)
        if self.fault("no length"):
            self.send_response(200)
            self.send_header("ETag", headers["ETag"])
            self.send_header("X-Repo-Commit", repository.commit)
            self.send_header("Connection", "close")
            self.end_headers()
            return self.command == "GET" and self.wfile.write(content)
        return self.send_file(content, headers)


class StoreHandler(Handler):
    def do_GET(self):  # noqa: N802
        self.note("store")
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        owner, name, file = path[1:].split("/", 2)
        try:
            if self.fault("store busy"):
                return self.answer(503)
            return self.send_file(self.owner.repositories[f"{owner}/{name}"].files[file])
        except (BrokenPipeError, ConnectionResetError):
            return None

    do_HEAD = do_GET
