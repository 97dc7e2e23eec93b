"""A hub on this machine that has one repository, ``org/name``, at one commit."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def loopback_hub(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Offer the files of ``folder``; give the hub's address and the paths of the files that were fetched."""
    fetched: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_content=False)

        def do_GET(self) -> None:
            self._answer(with_content=True)

        def _answer(self, *, with_content: bool) -> None:
            path = self.path.partition("?")[0]
            file = folder / path.rpartition("/")[2]
            if path.startswith("/api/models/org/name/"):
                files = [{"type": "file", "rfilename": one.name, "path": one.name, "oid": "0", "size": 1}
                         for one in folder.iterdir()]  # fmt: skip
                whole = {"id": "org/name", "sha": COMMIT, "siblings": files}
                content = json.dumps(files if "/tree/" in path else whole).encode()
                self._send(200, content if with_content else b"", content)
            elif path.startswith(f"/org/name/resolve/{COMMIT}/") and file.is_file():
                if with_content:
                    fetched.append(file.name)
                self._send(200, file.read_bytes() if with_content else b"", file.read_bytes())
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def _send(self, status: int, body: bytes, whole: bytes) -> None:
            self.send_response(status)
            self.send_header("ETag", f'"{hashlib.sha1(whole, usedforsecurity=False).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", fetched
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
