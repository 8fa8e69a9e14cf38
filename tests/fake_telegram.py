"""Telegram's bot API as far as bots here use it: a real HTTP server with its answers, limits and refusals."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler
from queue import Queue
from typing import Any

from tests.local_http import serving
from tests.waiting import PATIENCE_S

TOKEN = "123:token"
#: Characters of a message and of a caption, and bytes of a photo.
_MESSAGE, _CAPTION, _PHOTO = 4096, 1024, 10 * 2**20


@dataclass
class FakeTelegram:
    url: str = ""
    updates: list[dict[str, Any]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    #: What the bot sent: method and fields.
    sent: Queue[tuple[str, dict[str, Any]]] = field(default_factory=Queue)
    closed: bool = False

    def write(self, chat: int, text: str) -> None:
        """As a person in a chat."""
        with self.changed:
            number = 1 + max((update["update_id"] for update in self.updates), default=0)
            message = {"message_id": number, "chat": {"id": chat, "type": "private"}, "text": text}
            self.updates.append({"update_id": number, "message": message})
            self.changed.notify_all()

    def next(self) -> tuple[str, dict[str, Any]]:
        return self.sent.get(timeout=PATIENCE_S)

    def answer(self, method: str, fields: dict[str, Any]) -> tuple[int, Any]:
        if method == "getUpdates":
            return 200, self._new(int(fields.get("offset", 0)), float(fields.get("timeout", 0)))
        if method == "sendMessage" and not 0 < len(fields["text"]) <= _MESSAGE:
            return 400, "Bad Request: message is too long"
        if method == "sendPhoto" and len(fields.get("caption", "")) > _CAPTION:
            return 400, "Bad Request: message caption is too long"
        if method == "sendPhoto" and len(fields["photo"]) > _PHOTO:
            return 413, "Request Entity Too Large"
        self.sent.put((method, fields))
        return 200, {"message_id": 1} if method.startswith("send") else True

    def _new(self, offset: int, timeout_s: float) -> list[dict[str, Any]]:
        """As a long poll; what is before the offset was confirmed, and is not told again."""

        def unread() -> list[dict[str, Any]]:
            return [update for update in self.updates if update["update_id"] >= offset]

        with self.changed:
            self.changed.wait_for(lambda: bool(unread()) or self.closed, timeout_s)
            return unread()


@contextmanager
def fake_telegram() -> Iterator[FakeTelegram]:
    """Serves at `url` while inside."""
    telegram = FakeTelegram()
    with serving(_handler(telegram)) as telegram.url:
        try:
            yield telegram
        finally:
            with telegram.changed:
                telegram.closed = True
                telegram.changed.notify_all()


def _fields(content_type: str, body: bytes) -> dict[str, Any]:
    if content_type.startswith("application/json"):
        found: dict[str, Any] = json.loads(body)
        return found
    form = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    parts = {str(part.get_param("name", header="content-disposition")): part for part in form.iter_parts()}
    return {
        name: part.get_payload(decode=True) if part.get_filename() else part.get_content().strip()
        for name, part in parts.items()
    }


def _handler(telegram: FakeTelegram) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            _, bot, method = self.path.split("/")
            if bot != f"bot{TOKEN}":
                status, result = 401, "Unauthorized"
            else:
                status, result = telegram.answer(method, _fields(self.headers["Content-Type"], body))
            told = {"ok": True, "result": result}
            if status != 200:
                told = {"ok": False, "error_code": status, "description": result}
            content = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(ConnectionError):  # the bot ended while it waited
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
