"""Accounts: what work has taken and cost, of the farm, of a month and of a job."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from common.bill import BillLine, ThanksLine
from common.errors import NotFound
from common.settings import Money
from common.views import CostRow
from coordinator.ledger import bills, costs
from coordinator.ledger.job_rows import detailed_job
from coordinator.ledger.records import Totals
from coordinator.ledger.schema import tallies
from coordinator.ledger.transactions import Transactions


@dataclass(frozen=True, slots=True)
class Accounts:
    transactions: Transactions
    rates: Money

    def totals(self) -> Totals:
        now = self.transactions.clock()
        with self.transactions.backlog() as backlog:
            found = costs.waiting(backlog)
        with self.transactions.read() as connection:
            return costs.totals(connection, found, now)

    def images(self, owner: str | None = None) -> int:
        """Images rendered and stored for the jobs of an owner (None: of all) since the farm exists."""
        query = select(func.coalesce(func.sum(tallies.c.value), 0.0)).where(tallies.c.kind == "owner_images")
        with self.transactions.read() as connection:
            return int(
                connection.scalar(query if owner is None else query.where(tallies.c.label == owner)) or 0
            )

    def cost_table(self, job_id: str | None = None) -> list[CostRow]:
        """Cost per image by model and class over all attempts, of one job or of the whole farm."""
        with self.transactions.read() as connection:
            if job_id is not None:
                detailed_job(connection, job_id)
            return costs.cost_table(connection, job_id)

    def month_bill(self, month: str, owner: str | None = None) -> list[BillLine]:
        """What nodes took in a month such as `2026-11`, of all owners or of the jobs of one."""
        with self.transactions.read() as connection:
            return list(bills.month_lines(connection, month, owner))

    def job_bill(self, job_id: str) -> list[BillLine]:
        """What a job has cost by now. Raises NotFound."""
        with self.transactions.read() as connection:
            job = bills.bill_row(connection, job_id)
            if job is None:
                raise NotFound(f"no job {job_id}; `farm jobs` lists them")
            return list(bills.job_lines(connection, job))

    def thanks(self, month: str, owner: str | None = None) -> list[ThanksLine]:
        """What nodes of volunteers did in a month, by their owners."""
        with self.transactions.read() as connection:
            return list(bills.thanks_lines(connection, month, owner, self.rates))
