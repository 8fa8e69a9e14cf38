"""The fast path of the API, as ASGI servers call it."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.types import Message

from coordinator.http.fast_path import FastPath


class Word(BaseModel):
    text: str


async def echo(word: Word) -> Word:
    return word


def called(*messages: Message) -> tuple[list[Message], list[Exception]]:
    """What is sent to a caller from whom these come, and the errors that are answered."""
    app = FastAPI()
    app.post("/words")(echo)
    coming, sent, errors = list(messages), list[Message](), list[Exception]()

    async def receive() -> Message:
        return coming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    async def on_error(_request: Request, error: Exception) -> Response:
        errors.append(error)
        return Response(status_code=500)

    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    scope = {"type": "http", "method": "POST", "path": "/words", "headers": [], "query_string": b""}
    asyncio.run(FastPath(app, routes, on_error)(scope, receive, send))
    return sent, errors


def test_a_message_in_several_parts_is_answered() -> None:
    parts = (b'{"text": ', b'"mug"}')
    sent, errors = called(
        *({"type": "http.request", "body": part, "more_body": part != parts[-1]} for part in parts)
    )
    assert (sent[0]["status"], sent[1]["body"], errors) == (200, b'{"text":"mug"}', [])


def test_a_caller_that_goes_away_in_its_message_is_no_error() -> None:
    sent, errors = called(
        {"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}
    )
    assert (sent, errors) == ([], [])
