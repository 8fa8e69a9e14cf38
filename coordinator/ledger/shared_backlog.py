"""The backlog in memory, as planner, dispatcher and pages look at it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from common.views import BacklogView
from coordinator.ledger import costs
from coordinator.ledger.fleet import in_service
from coordinator.ledger.rules import Rules
from coordinator.ledger.transactions import Transactions
from coordinator.scheduling.changes import CatalogChanged
from coordinator.scheduling.horizon import Horizon
from coordinator.scheduling.running import Copy
from coordinator.scheduling.survey import Survey, survey
from coordinator.scheduling.ticket_demand import Demand, TicketDemand
from coordinator.simulate.present import backlog_view


@dataclass(frozen=True, slots=True)
class SharedBacklog:
    transactions: Transactions
    rules: Rules
    _demand: TicketDemand = field(init=False, default_factory=TicketDemand)

    def ticket_demand(self, parked: Set[str] = frozenset()) -> Demand:
        """Number of tickets that each queue needs, by (lane, class).

        One per free node of the class that can take work of the lane now, and at most the number of waiting
        images; nodes `parked` in a claim already have a ticket.
        """
        batch_s = self.rules.timing.batch_s
        with self.transactions.backlog() as backlog, self.transactions.read() as connection:
            fleet = in_service(connection, backlog).values()
            return self._demand.at(self.transactions.clock(), fleet, parked, backlog, batch_s)

    def survey(self, seen: int = 0) -> Survey | None:
        """What waits and runs, for the look-ahead; None if nothing does and the backlog is as `seen`."""
        with self.transactions.backlog() as present:
            if present.version == seen and not present.lines and not present.running:
                return None
            version, backlog = present.version, present.copy()
        # With many nodes and jobs this takes a while, so it must not block writers.
        now, batch_s = self.transactions.clock(), self.rules.timing.batch_s
        return survey(backlog, version, now, batch_s, eco=self.rules.eco)

    def view(self) -> BacklogView:
        """What waits and runs, as the planner sees it."""
        with self.transactions.backlog() as present:
            backlog = present.copy()
        return backlog_view(backlog, self.transactions.clock())

    def waiting(self) -> dict[tuple[str, int], int]:
        """Waiting shots by (lane, smallest fitting class), counted once per open job that wants them."""
        with self.transactions.backlog() as backlog:
            return costs.waiting(backlog).waiting

    def adopt(self, horizons: dict[str, Horizon], copies: dict[str, Copy]) -> None:
        """Let claims go by these horizons, by lane, and let free nodes duplicate passes, by node."""
        with self.transactions.backlog() as backlog:
            backlog.horizons, backlog.copies = horizons, copies

    def catalog_changed(self) -> None:
        """Place by the catalog as it is now, and look again for work for nodes that wait."""
        with self.transactions.write() as write:
            write.changes.append(CatalogChanged())
