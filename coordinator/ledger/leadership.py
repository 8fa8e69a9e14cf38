"""Leadership: one row says who leads. Every write checks its epoch; its beat is the leader's sign of life.

No clock of one machine is compared with another's: who stands by counts how often it looked and found the
row as before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, Engine, insert, inspect, select, text, update

from common.errors import Unavailable
from coordinator.ledger.database import refuse_newer, transaction, upgrade
from coordinator.ledger.schema import leader

#: Of the lock that lets one coordinator after the other take a PostgreSQL ledger; any number would do.
_TAKING = 0x5407


class Replaced(Unavailable):
    """Another coordinator leads; this one must act no more."""


class _Sign(NamedTuple):
    """The row as a candidate found it."""

    epoch: int
    holder: str
    beat: int


@dataclass(frozen=True, slots=True)
class Lead:
    """The right to write a ledger, until another coordinator takes it."""

    engine: Engine
    epoch: int

    def check(self, connection: Connection) -> None:
        """Raises Replaced when another coordinator has taken over."""
        self._compare(connection, for_update=False)

    def hold(self, connection: Connection) -> None:
        """The same, and nobody can take over until the transaction ends."""
        self._compare(connection, for_update=True)

    def release(self) -> None:
        """Let another coordinator lead at once; nothing where one does already. Raises Unavailable."""
        with transaction(self.engine, writes=True) as connection:
            connection.execute(update(leader).where(leader.c.epoch == self.epoch).values(holder=""))

    def _compare(self, connection: Connection, *, for_update: bool) -> None:
        row = select(leader.c.epoch, leader.c.holder)
        epoch, holder = connection.execute(row.with_for_update() if for_update else row).one()
        if epoch != self.epoch:
            raise Replaced(
                f"another coordinator leads this farm now ({holder or 'it has ended since'}); "
                "this one acts no more, and stands by when it is started again"
            )


def show_life(connection: Connection) -> None:
    """Show those who stand by that the leader, whose transaction this is, lives."""
    connection.execute(update(leader).values(beat=leader.c.beat + 1))


class Candidate:
    """A coordinator that leads as soon as it may.

    It may where nobody leads or an earlier run of the same `instance` did, and where the leader showed no
    sign of life in `patience` looks one after the other. A candidate that stood still itself has not looked,
    so that after a stall of the whole machine nobody is replaced.
    """

    def __init__(self, engine: Engine, instance: str, *, patience: int) -> None:
        self._engine = engine
        self._instance = instance
        self._patience = patience
        self._seen: _Sign | None = None
        self._unchanged = 0
        #: Instance name of who led when that was last seen.
        self.leader = ""

    def look(self) -> Lead | None:
        """Take the lead if that is allowed now, and bring the schema to the newest revision with it.

        Raises Invalid for a ledger of newer code, Unavailable when the database does not work.
        """
        try:
            with transaction(self._engine) as connection:
                refuse_newer(connection)
                sign = _sign(connection)
        except Unavailable:
            # A leader cannot show itself either while the database is away.
            self._seen, self._unchanged = None, 0
            raise
        self._unchanged = self._unchanged + 1 if sign == self._seen else 0
        self._seen, self.leader = sign, sign.holder if sign else ""
        free = sign is None or sign.holder in ("", self._instance)
        return self._take() if free or self._unchanged >= self._patience else None

    def _take(self) -> Lead | None:
        """None where somebody was quicker, or the leader lives after all."""
        with transaction(self._engine, writes=True) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_TAKING})"))
            if _sign(connection) != self._seen:
                return None
            upgrade(connection)
            epoch: int | None = connection.scalar(select(leader.c.epoch).with_for_update())
            if epoch is None:
                connection.execute(insert(leader), [{"id": 1, "epoch": 0}])
            lead = Lead(self._engine, (epoch or 0) + 1)
            connection.execute(update(leader).values(epoch=lead.epoch, holder=self._instance))
        return lead


def _sign(connection: Connection) -> _Sign | None:
    """None in a ledger that is new, or of a revision in which nobody stood by."""
    tables = inspect(connection)
    if not tables.has_table(leader.name):
        return None
    if {column["name"] for column in tables.get_columns(leader.name)} < set(leader.c.keys()):
        return None
    row = connection.execute(select(leader.c.epoch, leader.c.holder, leader.c.beat)).one_or_none()
    return None if row is None else _Sign(*row)
