"""Files over HTTP on this machine, as publishers serve them: parts of files, versions, cut lines, passing faults.

``with file_server({"a.zip": b"..."}) as server`` gives ``server.url("a.zip")`` and what was asked for.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class FileServer:
    """What it serves, what it has sent, and how it misbehaves."""

    address: str
    files: dict[str, bytes]
    sent: Counter = field(default_factory=Counter)
    """Bytes by file."""
    asked: list[str] = field(default_factory=list)
    """The Range header of each request, empty where there was none."""
    cut: dict[str, list[int]] = field(default_factory=dict)
    """File -> bytes after which the next answers' lines are cut."""
    status: dict[str, list[int]] = field(default_factory=dict)
    """File -> HTTP statuses of its next answers."""
    whole_only: bool = False
    """Does not take up parts of files."""

    def url(self, name: str) -> str:
        """Address of a file."""
        return f"{self.address}/{name}?download=1"


@contextmanager
def file_server(files: Mapping[str, bytes]) -> Iterator[FileServer]:
    """Serve on a free port until the block is left."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words):
            pass

        def do_GET(self):
            name = unquote(urlsplit(self.path).path).strip("/")
            asked = self.headers.get("Range", "")
            server.asked.append(asked)
            content = server.files.get(name)
            if server.status.get(name):
                self.reply(server.status[name].pop(0), b"", {})
            elif content is None:
                self.reply(404, b"", {})
            else:
                tag = f'"{hashlib.sha1(content).hexdigest()}"'
                same = self.headers.get("If-Range", tag) == tag
                start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
                if not asked or server.whole_only or not same:
                    self.reply(200, content, {"ETag": tag}, name)
                elif start >= len(content):
                    self.reply(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                else:
                    where = f"bytes {start}-{len(content) - 1}/{len(content)}"
                    self.reply(206, content[start:], {"ETag": tag, "Content-Range": where}, name)

        def reply(self, status, content, headers, name=""):
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if server.cut.get(name):
                content = content[: server.cut[name].pop(0)]
                self.close_connection = True
            self.wfile.write(content)
            server.sent[name] += len(content)

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = FileServer(f"http://127.0.0.1:{listening.server_address[1]}", dict(files))
    thread = threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
