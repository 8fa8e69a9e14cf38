"""Server-sent events of a farm: line by line, and from where the last stream ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from common.errors import TooMany, Unavailable
from common.events import Event

_EVENT: TypeAdapter[Event] = TypeAdapter(Event)
#: Seconds between two streams at first, and at most while the farm does not answer.
_FIRST_S, _LONGEST_S = 0.5, 15.0
#: Seconds from the end of a stream to the next.
_BETWEEN_S = 0.1
#: A farm says something every 15 seconds.
SILENCE_S = 45.0
#: What is tried again; every other error ends the events.
PASSING = (Unavailable, TooMany)


@dataclass(slots=True)
class EventReader:
    """Where a watcher is: the ID of the last event, and how long the farm has not answered."""

    #: None: from now on.
    last_id: int | None = None
    _failures: int = 0
    _fields: dict[str, str] = field(default_factory=dict)
    #: The beginning of a line whose end has not arrived.
    _rest: bytes = b""

    def headers(self) -> dict[str, str]:
        """Of the request for the next stream."""
        self._fields, self._rest = {}, b""
        known = {} if self.last_id is None else {"Last-Event-ID": str(self.last_id)}
        return {"Accept": "text/event-stream", **known}

    def events(self, received: bytes) -> Iterator[Event]:
        """The events that end with these bytes of the stream. Raises Unavailable for what is no event."""
        # Not `splitlines`: a value may contain U+2028 and other separators, which end no line of a stream.
        *lines, self._rest = (self._rest + received).split(b"\n")
        for line in lines:
            if (event := self._line(line.decode(errors="replace"))) is not None:
                yield event

    def _line(self, line: str) -> Event | None:
        """The event that ends with this line."""
        if line:
            name, _, value = line.partition(":")
            self._fields[name] = value.removeprefix(" ")
            return None
        fields, self._fields = self._fields, {}
        self._failures = 0
        if fields.get("id", "").isdecimal():
            self.last_id = int(fields["id"])
        if "data" not in fields:
            return None
        try:
            return _EVENT.validate_json(fields["data"])
        except ValidationError:
            raise Unavailable(
                "the farm streams events that this version does not know: install the version of the farm"
            ) from None

    def pause_s(self, error: Exception | None) -> float:
        """Seconds until the next stream, after one that ended or, with an `error`, failed."""
        if error is None:
            return _BETWEEN_S
        self._failures += 1
        doubled: float = _FIRST_S * 2 ** min(self._failures - 1, 16)
        return min(doubled, _LONGEST_S)
