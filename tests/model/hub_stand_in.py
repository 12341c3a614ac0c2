"""A Hub on this machine, as small as the real client allows: models in memory, over real HTTP."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class Hub:
    """`files`: "owner/name" -> {file name: bytes}; `asked`: every request; `address`: for HF_ENDPOINT."""

    def __init__(self):
        self.files, self.asked, self.address = {}, [], ""

    def revision(self, name):
        """A name for the content, as a commit has one."""
        content = sorted((path, hashlib.sha1(data).hexdigest()) for path, data in self.files[name].items())
        return hashlib.sha1(repr(content).encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """The requests of `snapshot_download`, `create_repo` and `upload_folder`."""

    protocol_version = "HTTP/1.1"

    @property
    def hub(self):
        return self.server.hub

    def log_message(self, *arguments):
        pass

    def answer(self, code, content=b"", headers=()):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def do_GET(self):
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        self.hub.asked.append((self.command, "/".join(parts)))
        name = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        files = self.hub.files.get(name)
        if files is None:
            self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif parts[0] == "api" and "tree" in parts:
            self.answer(
                200, [{"type": "file", "path": f, "size": len(d), "oid": "0"} for f, d in files.items()]
            )
        elif parts[0] == "api":
            siblings = [{"rfilename": path} for path in files]
            self.answer(
                200, {"id": name, "sha": self.hub.revision(name), "siblings": siblings, "private": False}
            )
        elif (path := "/".join(parts[4:])) in files:
            tag = {
                "ETag": f'"{hashlib.sha1(files[path]).hexdigest()}"',
                "X-Repo-Commit": self.hub.revision(name),
            }
            self.answer(200, files[path], tag)
        else:
            self.answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})

    do_HEAD = do_GET

    def do_POST(self):
        path, body = unquote(urlsplit(self.path).path).strip("/"), self.body()
        self.hub.asked.append(("POST", path))
        name = "/".join(path.split("/")[2:4])
        if path == "api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.hub.files.setdefault(name, {})
            self.answer(200, {"url": f"{self.hub.address}/{name}", "name": name, "id": "0"})
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
            self.answer(200, {"files": modes})
        elif "/commit/" in path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.hub.files[name][value["path"]] = base64.b64decode(value["content"])
            oid = self.hub.revision(name)
            self.answer(200, {"commitUrl": f"{self.hub.address}/{name}/commit/{oid}", "commitOid": oid})
        else:  # validate-yaml and the like
            self.answer(200, {"errors": [], "warnings": []})


@contextmanager
def stand_in() -> Iterator[Hub]:
    """A Hub on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.hub = Hub()
    server.hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.hub
    finally:
        server.shutdown()
        server.server_close()
