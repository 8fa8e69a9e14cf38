"""The calls of nodes and ingest about work, each kind gathered into transactions of its own."""

from __future__ import annotations

from dataclasses import dataclass

from common.messages import Ack, Close, Delivery, GrantRequest, Heartbeat, HeartbeatAnswer, Report, Verdict
from common.settings import Timing
from coordinator.calls.grouped_calls import GroupedCalls
from coordinator.calls.thread_pools import ThreadPools
from coordinator.ledger import Ledger, Reported

#: Beats are committed this many times in a heartbeat's interval.
_COMMITS_A_HEARTBEAT = 5
#: Seconds between transactions for what nodes and ingest say of their work, and ask for it.
_TOGETHER_S = 0.05


@dataclass(frozen=True, slots=True)
class WorkCalls:
    """Each call names its node, batch or attempt first."""

    heartbeats: GroupedCalls[tuple[str, Heartbeat], HeartbeatAnswer]
    uploads: GroupedCalls[tuple[str, GrantRequest], str]
    reports: GroupedCalls[tuple[str, Report], Reported]
    closes: GroupedCalls[tuple[str, Close], Ack]
    deliveries: GroupedCalls[str, Delivery]
    verdicts: GroupedCalls[tuple[str, Verdict], Ack]

    @classmethod
    def of(cls, ledger: Ledger, threads: ThreadPools, timing: Timing) -> WorkCalls:
        every_s = timing.heartbeat_s / _COMMITS_A_HEARTBEAT
        batches, ingest = ledger.batches, ledger.ingest
        return cls(
            heartbeats=GroupedCalls(ledger.nodes.heartbeats, threads.heartbeats, every_s=every_s),
            uploads=GroupedCalls(batches.grants, threads.reads, every_s=_TOGETHER_S),
            reports=GroupedCalls(batches.reports, threads.reports, every_s=_TOGETHER_S),
            closes=GroupedCalls(batches.close, threads.reports, every_s=_TOGETHER_S),
            deliveries=GroupedCalls(ingest.deliveries, threads.reports, every_s=_TOGETHER_S),
            verdicts=GroupedCalls(ingest.verdicts, threads.reports, every_s=_TOGETHER_S),
        )
