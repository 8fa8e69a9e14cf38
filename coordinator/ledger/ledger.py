"""The ledger: the single source of truth of the farm, including its backlog.

Each noun has a class of its own in the module of its name. A method that writes is one transaction, unless it
says that it commits in chunks. One process writes; all of them are thread-safe.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Set
from dataclasses import replace

from common.views import Explanation
from coordinator.ledger import retention, sweep
from coordinator.ledger.accounts import Accounts
from coordinator.ledger.audit import AuditLog
from coordinator.ledger.batches import Batches
from coordinator.ledger.catalog import AddedEntries
from coordinator.ledger.embeddings import KnownEmbeddings
from coordinator.ledger.event_log import EventLog
from coordinator.ledger.explain import explain
from coordinator.ledger.forecast import Forecast
from coordinator.ledger.identities import Identities
from coordinator.ledger.images import Images
from coordinator.ledger.ingest import Ingest
from coordinator.ledger.jobs import Jobs
from coordinator.ledger.keys import StoredKeys
from coordinator.ledger.leadership import Lead, show_life
from coordinator.ledger.nodes import Nodes
from coordinator.ledger.opening import open_jobs
from coordinator.ledger.picks import Picks
from coordinator.ledger.records import Swept
from coordinator.ledger.rules import Incident, Rules
from coordinator.ledger.shared_backlog import SharedBacklog
from coordinator.ledger.shots import Shots
from coordinator.ledger.transactions import Transactions
from coordinator.ledger.webhooks import StoredWebhooks
from coordinator.scheduling.backlog import Backlog


class Ledger:
    """The state of the farm, stored in SQL.

    Only the leading coordinator has one; after another has taken over, every write raises Replaced.
    """

    def __init__(self, lead: Lead, rules: Rules, *, clock: Callable[[], float] = time.time) -> None:
        """`lead` comes from a `Candidate`; `clock` returns seconds since 1970."""
        self._grace = sweep.Grace.begin(rules.timing, clock())
        self.rules = rules = replace(rules, incident=Incident(began=clock(), until=self._grace.until))
        self.transactions = transactions = Transactions(
            lead,
            clock=clock,
            new_backlog=lambda: Backlog(rules.place),
            fill_backlog=open_jobs,
            lanes=rules.lanes,
        )
        currency = rules.rates.currency
        self.commits = transactions.commits
        self.backlog = SharedBacklog(transactions, rules)
        self.jobs = Jobs(transactions, Forecast(transactions, rules.timing.batch_s, eco=rules.eco), currency)
        self.shots = Shots(transactions, currency)
        self.images = Images(transactions)
        self.picks = Picks(transactions, currency)
        self.nodes = Nodes(transactions, rules)
        self.identities = Identities(transactions, rules)
        self.batches = Batches(transactions, rules)
        self.embeddings = KnownEmbeddings(transactions, rules)
        self.ingest = Ingest(transactions, rules)
        self.accounts = Accounts(transactions, rules.rates)
        self.events = EventLog(transactions, rules.keep_s)
        self.keys = StoredKeys(transactions, currency)
        self.audit = AuditLog(transactions)
        self.webhooks = StoredWebhooks(transactions)
        self.catalog = AddedEntries(transactions)
        self.jobs.cancel_cut_off()

    def explain(self, subject: str, *, version: str, owner: str | None = None) -> Explanation:
        """Why a job, node or shot is in its state, and what would change it.

        A shot is given by 6 or more digits of its ID, or by its image: its SHA-256, or the name that one of
        the newest jobs gives it.

        `version` is the version of the farm. With `owner`, only jobs and shots of this owner exist.

        Raises NotFound with the most similar name, Conflict as `Shots.accept` does.
        """
        with self.transactions.backlog() as present:
            backlog = present.copy()
        # This may take seconds with a large backlog, so it must not block writers.
        with self.transactions.read() as connection:
            now = self.transactions.clock()
            return explain(connection, backlog, self.rules, subject, version, now=now, owner=owner)

    def sweep(self, there: Set[str] = frozenset()) -> Swept:
        """Expire leases, detect lost nodes, repeat requests to ingest. Call it every `timing.sweep_s`.

        Nodes that are `there` are not lost, whenever they were heard.
        Rows without a valid transition remain unchanged, are returned, and do not affect other rows.
        """
        stuck = self.jobs.cancel_broken_off()
        with self.transactions.write() as write:
            swept = sweep.sweep(write, self.rules, self._grace, there)
        self._grace.swept(write.now)
        if swept.incident_over:
            self.rules.incident.close()
        return replace(swept, stuck=(*stuck, *swept.stuck))

    def thin(self) -> bool:
        """Remove some details of jobs whose retention has expired; returns whether more may remain.

        One transaction of some hundred rows, or none if nothing is due.
        """
        with self.transactions.read() as connection:
            if not retention.due(connection, self.rules, self.transactions.clock()):
                return False
        with self.transactions.write() as write:
            return retention.thin(write, self.rules)

    def in_incident(self) -> bool:
        """Whether the farm is disturbed, so that no node is blamed."""
        return self.rules.incident.lasts(self.transactions.clock())

    def incident_since(self) -> float | None:
        """When the present incident of the farm began, in which no node is blamed; None: there is none."""
        return self.rules.incident.began if self.in_incident() else None

    def ping(self) -> None:
        """Raises Unavailable if the database does not respond, Replaced if another coordinator leads."""
        self.transactions.ping()

    def show_life(self) -> None:
        """Show standbys that this coordinator is alive. Call it every `timing.sweep_s`."""
        with self.transactions.write() as write:
            show_life(write.connection)
