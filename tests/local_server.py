"""An HTTP server on this machine: it answers as it is told, badly if need be, and remembers the requests."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer; by default that of a good server: ranges, ETag and length."""

    content: bytes = b""
    status: int = 200
    etag: str | None = '"one"'
    last_modified: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    ranges: bool = True
    """Whether a Range header is heeded."""
    if_range: bool = True
    """Whether an If-Range header is heeded."""
    begin_at: int | None = None
    """Where the range that is sent begins, whatever was asked for."""
    length: bool = True
    """Whether the length is stated; without it the end of the connection is the end of the content."""
    chunked: bool = False
    """Whether the content goes in chunks, of 100 bytes, without a length but with an end."""
    cut_after: int | None = None
    """Bytes after which the connection is closed."""
    stall_after: int | None = None
    """Bytes after which nothing comes any more while the connection stays."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request."""

    path: str
    headers: Mapping[str, str]


class LocalServer:
    """Answers each request with the next of ``answers``, and when there is only one left always with that."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self.leave = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def address(self) -> str:
        """Address of a file there."""
        return f"http://127.0.0.1:{self._server.server_port}/archive.tar"

    @property
    def ranges(self) -> list[str | None]:
        """The Range header of each request."""
        return [one.headers.get("Range") for one in self.asked]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _next(self, path: str, headers: Mapping[str, str]) -> Answer:
        self.asked.append(Asked(path=path, headers=headers))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.close_connection = True
                try:
                    self._send(outer._next(self.path, dict(self.headers)))
                except (BrokenPipeError, ConnectionResetError):
                    return  # the client had enough

            def _send(self, answer: Answer) -> None:
                whole = answer.content
                status, begin = self._range(answer)
                self.send_response(status)
                body = b"" if status == 416 else whole[begin:]
                if status == 206:
                    self.send_header("Content-Range", f"bytes {begin}-{len(whole) - 1}/{len(whole)}")
                if status == 416:
                    self.send_header("Content-Range", f"bytes */{len(whole)}")
                for name, value in (("ETag", answer.etag), ("Last-Modified", answer.last_modified)):
                    if value is not None:
                        self.send_header(name, value)
                if answer.chunked:
                    self.send_header("Transfer-Encoding", "chunked")
                elif answer.length:
                    self.send_header("Content-Length", str(len(body)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self._body(body, answer)

            def _range(self, answer: Answer) -> tuple[int, int]:
                match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                if answer.status != 200 or match is None or not answer.ranges:
                    return answer.status, 0
                condition = self.headers.get("If-Range")
                if answer.if_range and condition not in (None, answer.etag, answer.last_modified):
                    return 200, 0
                if int(match[1]) >= len(answer.content):
                    return 416, 0
                return 206, int(match[1]) if answer.begin_at is None else answer.begin_at

            def _body(self, body: bytes, answer: Answer) -> None:
                body = body[: answer.cut_after]
                if answer.chunked:
                    for i in range(0, len(body), 100):
                        piece = body[i : i + 100]
                        self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                    if answer.cut_after is None:
                        self.wfile.write(b"0\r\n\r\n")
                else:
                    self.wfile.write(body[: answer.stall_after])
                    if answer.stall_after is not None:
                        outer.leave.wait(30)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        return Handler
