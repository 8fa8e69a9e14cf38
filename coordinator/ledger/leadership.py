"""Leader election: one row names the leader. Every write compares its epoch; its beat shows that it is alive.

Clocks of different machines are never compared: a standby counts the checks in which the row was unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, Engine, insert, inspect, select, text, update

from common.errors import Unavailable
from coordinator.ledger.database import IDLE_S, is_newest, refuse_newer, transaction, upgrade
from coordinator.ledger.schema import leader

#: Arbitrary ID of the advisory lock that serialises takeovers of a PostgreSQL ledger.
_TAKING = 0x5407


#: Seconds after which a session that waits for its client in mid-transaction has stalled.
STALLED_S = IDLE_S
#: Ends stalled sessions that hold the leader row. PostgreSQL itself ends only idle ones, not one whose
#: client was suspended between the statements that the driver sends together.
_END_STALLED = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE state = 'active' AND wait_event = 'ClientRead' "
    "AND state_change < now() - make_interval(secs => :after_s) "
    "AND pid IN (SELECT pid FROM pg_locks WHERE relation = 'leader'::regclass)"
)


class Replaced(Unavailable):
    """Another coordinator leads; this one must stop acting."""


class _Sign(NamedTuple):
    """The leader row as read by a candidate."""

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
        """As `check`, and no other coordinator can take over until the transaction ends."""
        self._compare(connection, for_update=True)

    def release(self) -> None:
        """Release the lead, so that another coordinator takes over immediately. Raises Unavailable."""
        with transaction(self.engine, writes=True) as connection:
            connection.execute(update(leader).where(leader.c.epoch == self.epoch).values(holder=""))

    def _compare(self, connection: Connection, *, for_update: bool) -> None:
        row = select(leader.c.epoch, leader.c.holder)
        epoch, holder = connection.execute(row.with_for_update() if for_update else row).one()
        if epoch != self.epoch:
            raise Replaced(
                f"another coordinator leads this farm now ({holder or 'it has stopped since'}); "
                "this one exits; restart it to run as a standby"
            )


def show_life(connection: Connection) -> None:
    """Increment the beat, which shows the standbys that the leader is alive."""
    connection.execute(update(leader).values(beat=leader.c.beat + 1))


class Candidate:
    """A coordinator that takes the lead as soon as it may.

    It may if nobody leads, if an earlier run of the same `instance` led, or if the beat of the leader was
    unchanged in `patience` consecutive checks. A candidate that was suspended itself made no checks, so a
    stall of the whole machine replaces nobody.
    """

    def __init__(self, engine: Engine, instance: str, *, patience: int) -> None:
        self._engine = engine
        self._instance = instance
        self._patience = patience
        self._seen: _Sign | None = None
        self._unchanged = 0
        #: Instance name of the leader at the last check.
        self.leader = ""

    def look(self) -> Lead | None:
        """Take the lead if allowed, and migrate the schema to the newest revision in the same transaction.

        Raises Invalid for a ledger written by newer code, Unavailable if the database is not working.
        """
        try:
            with transaction(self._engine) as connection:
                refuse_newer(connection)
                sign = _sign(connection)
        except Unavailable:
            # While the database is unavailable, a leader cannot show that it is alive either.
            self._seen, self._unchanged = None, 0
            raise
        self._unchanged = self._unchanged + 1 if sign == self._seen else 0
        self._seen, self.leader = sign, sign.holder if sign else ""
        free = sign is None or sign.holder in ("", self._instance)
        return self._take() if free or self._unchanged >= self._patience else None

    def _take(self) -> Lead | None:
        """The lead; None if another candidate was faster or the leader is alive."""
        with transaction(self._engine, writes=True) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_TAKING})"))
            if _sign(connection) != self._seen:
                return None
            upgrade(connection)
            if connection.dialect.name == "postgresql":
                connection.execute(_END_STALLED, {"after_s": STALLED_S})
            epoch: int | None = connection.scalar(select(leader.c.epoch).with_for_update())
            if epoch is None:
                connection.execute(insert(leader), [{"id": 1, "epoch": 0}])
            lead = Lead(self._engine, (epoch or 0) + 1)
            connection.execute(update(leader).values(epoch=lead.epoch, holder=self._instance))
        return lead


def migrate(engine: Engine) -> bool:
    """Migrate the schema of a ledger to the newest revision; False if it has it.

    A coordinator that leads it, of an older version, is replaced and ends: its code does not know the schema.
    If the migration fails, it leads on, with the old schema. Nobody leads afterwards.
    Raises Invalid for a ledger written by newer code, Unavailable if the database is not working.
    """
    lead = None
    while lead is None:
        with transaction(engine) as connection:
            refuse_newer(connection)
            if is_newest(connection):
                return False
        # Without patience it waits for nobody's silence; None if the leader showed life in between.
        lead = Candidate(engine, "a migration", patience=0).look()
    lead.release()
    return True


def _sign(connection: Connection) -> _Sign | None:
    """The leader row; None in a new ledger or one of a revision without leader election."""
    tables = inspect(connection)
    if not tables.has_table(leader.name):
        return None
    if {column["name"] for column in tables.get_columns(leader.name)} < set(leader.c.keys()):
        return None
    row = connection.execute(select(leader.c.epoch, leader.c.holder, leader.c.beat)).one_or_none()
    return None if row is None else _Sign(*row)
