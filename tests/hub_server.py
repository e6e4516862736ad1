"""A hub on this machine: serves folders as repositories the way huggingface.co does, resumption included.

``with hub({"owner/name": folder}) as server`` gives ``server.address`` and ``server.sent`` (bytes by file name).
"""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Where it listens, what it sent, and what it should break off: file name -> bytes after which the line is cut."""

    address: str
    sent: Counter = field(default_factory=Counter)
    cut: dict[str, int] = field(default_factory=dict)


@contextmanager
def hub(repositories: Mapping[str, Path]) -> Iterator[Hub]:
    """Serve on a free port until the block is left."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words):
            pass

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body):
            parts = unquote(urlsplit(self.path).path).strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                folder = repositories.get("/".join(parts[2:4]))
                files = [] if folder is None else sorted(path for path in folder.rglob("*") if path.is_file())
                names = [str(path.relative_to(folder)) for path in files]
                if folder is None:
                    self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body)
                elif parts[4] == "tree":
                    listed = [
                        {"type": "file", "path": name, "size": path.stat().st_size, "oid": digest(path)}
                        for name, path in zip(names, files, strict=True)
                    ]
                    self.reply(200, json.dumps(listed).encode(), {}, body)
                else:
                    described = {
                        "id": "/".join(parts[2:4]),
                        "sha": COMMIT,
                        "siblings": [{"rfilename": n} for n in names],
                    }
                    self.reply(200, json.dumps(described).encode(), {}, body)
                return
            folder, name = repositories.get("/".join(parts[:2])), "/".join(parts[4:])
            if folder is None or not (folder / name).is_file():
                self.reply(404, b"", {"X-Error-Code": "EntryNotFound"}, body)
                return
            content = (folder / name).read_bytes()
            headers = {"ETag": f'"{digest(folder / name)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            status, start = 200, 0
            if asked := self.headers.get("Range"):
                start = int(asked.removeprefix("bytes=").split("-")[0])
                status = 206
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.reply(status, content[start:], headers, body, name)

        def reply(self, status, content, headers, body, name=""):
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if not body:
                return
            if name in server.cut:
                content = content[: server.cut.pop(name)]
                self.close_connection = True
            self.wfile.write(content)
            if name:
                server.sent[name] += len(content)

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Hub(f"http://127.0.0.1:{listening.server_address[1]}")
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def digest(path: Path) -> str:
    """What stands for a file's contents, as the hub's ETag does."""
    return hashlib.sha1(path.read_bytes()).hexdigest()
