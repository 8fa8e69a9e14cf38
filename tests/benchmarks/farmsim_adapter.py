"""The farm's planner in farmsim, a discrete-event simulator of a farm, which must be on the import path.

`PlannerPolicy` translates the events of the simulator into `coordinator.scheduling` and the choices into its
work orders. It knows what a farm knows: the profile of a card type, and what passes took.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from math import ceil
from typing import Any

from farmsim import Assign, Policy
from profiles import GPUS, MODELS

from coordinator.scheduling.fairness import RecentUsage
from coordinator.scheduling.horizon import Horizon, NodeKind, Patience, Seat, WaitingWork, look_ahead
from coordinator.scheduling.planner import Option, choose
from coordinator.scheduling.running import (
    Copy,
    RunningBatch,
    RunningPass,
    Tail,
    Turns,
    duplicates,
    take_turns,
    trims,
)
from coordinator.scheduling.work import OpenJob

BATCH_S = 120.0
#: Seconds of a pass at most; the farm itself takes the largest pass that fits the card.
_PASS_S = 90.0
#: Seconds to change a LoRA.
_LORA_S = 3.0
#: Seconds between two horizons.
_EVERY_S = 1.0


class PlannerPolicy(Policy):
    name, latency, detect_s, stream, tick_every = "planner", 0.5, 22.0, True, 0.5
    cancel_losers = True

    def __init__(self, eco: bool = True) -> None:
        self.eco = eco

    def start(self, farm: Any) -> None:
        super().start(farm)
        self.nodes: dict[int, Any] = {}
        self.groups: dict[int, Any] = {}
        self.waiting: dict[int, deque[int]] = {}
        self.busy: dict[int, tuple[Any, RunningBatch]] = {}
        self.idle: set[int] = set()
        self.batches = 0
        #: Idle node to what it should duplicate; and what was duplicated, by group.
        self.copies: dict[str, Copy] = {}
        self.copied: dict[int, set[int]] = {}
        #: Node to the seconds that its passes took, as a share of those of its card type.
        self.pace: dict[int, float] = {}
        self.usage, self.jobs = RecentUsage(), dict[int, OpenJob]()
        self.horizon, self.looked_at, self.changed = Horizon(), -_EVERY_S, True
        self.patience = Patience(10.0)

    def job_submitted(self, t: float, job: Any) -> tuple[()]:
        least_s = min((other.service_s for other in self.jobs.values()), default=0.0)
        self.jobs[job.jid] = OpenJob(str(job.jid), "", 50, t, None, 0.0, {}, service_s=least_s)
        self.changed = True
        for group in job.groups:
            self.groups[group.gid] = group
            self.waiting[group.gid] = deque(range(group.n) if group.stage == 0 else ())
        return ()

    def items_ready(self, t: float, group: Any, items: list[int]) -> tuple[()]:
        if group.stage:
            self.waiting[group.gid].extend(items)
        else:
            self.waiting[group.gid].extendleft(reversed(items))
        self.changed = True
        return ()

    def node_joined(self, t: float, node: Any) -> tuple[()]:
        self.nodes[node.nid] = node
        self.busy.pop(node.nid, None)
        self.pace.setdefault(node.nid, 1.0)
        self.idle.add(node.nid)
        self.changed = True
        return ()

    def node_lost(self, t: float, nid: int) -> tuple[()]:
        self.idle.discard(nid)
        self.busy.pop(nid, None)
        self.changed = True
        return ()

    def pass_done(self, t: float, nid: int, order: Any, new: list[int], secs: float) -> tuple[()]:
        perf = GPUS[self.nodes[nid].gpu].perf[order.group.model]
        k, images = order.group.k, len(new)
        usual = order.setup + perf.o_pass + ceil(images / k) * perf.t_text + images * perf.c
        self.pace[nid] += 0.5 * (secs / usual - self.pace[nid])
        if order.twin:
            self._beat(order.twin, len(new))
        held = self.busy[nid][1].without(images, t)
        self.busy[nid] = order, replace(held, image_s=self._image_s(nid, order.group))
        return ()

    def _beat(self, order: Any, images: int) -> None:
        """Another node has rendered images of a batch: its node stops if it has no others in its pass."""
        current, held = self.busy.get(order.node, (None, None))
        if held is not None and current is order:
            self.busy[order.node] = order, held.without(images)

    def batch_done(self, t: float, nid: int, order: Any, secs: float) -> Iterator[Any]:
        _, held = self.busy.pop(nid)
        job = self.jobs[order.group.job.jid]
        if job.duplicates.pop(held.id, None) is not None:
            job.duplicate_s += secs
        self.idle.add(nid)
        return self._claim(t, nid)

    def tick(self, t: float) -> Iterator[Any]:
        """As the farm's loop: a new horizon if there is reason for one, then parked nodes look for work."""
        if self._look(t):
            for nid in sorted(self.idle, key=self._nearness):
                if self.nodes[nid].alive:
                    yield from self._claim(t, nid)
            yield from self._duplicate(t)

    def _duplicate(self, t: float) -> Iterator[Any]:
        """Idle nodes render what others render, too."""
        orders = {held.id: order for order, held in self.busy.values()}
        for node, copy in self.copies.items():
            nid, twin = int(node), orders[copy.batch_id]
            once = self.copied.setdefault(twin.group.gid, set())
            items = [item for item in twin.running if item not in once][: copy.images]
            if nid in self.idle and items:
                once.update(items)
                size = self._pass_size(nid, twin.group)
                order = Assign(nid, twin.group, items, pass_size=size, backup=True, twin=twin)
                load_s = self._load_s(self.nodes[nid], twin.group)
                self._hold(t, order, load_s, self._image_s(nid, twin.group), copy.batch_id)
                yield order
        self.copies = {}

    def _hold(
        self, t: float, order: Any, load_s: float, image_s: float, duplicates: str | None = None
    ) -> None:
        """A node begins a batch."""
        job_id, images = order.group.job.jid, len(order.items)
        self.batches += 1
        held = RunningBatch(
            id=str(self.batches),
            job_id=str(job_id),
            work_key=str(order.group.gid),
            min_class=8,
            left=images,
            pass_size=order.pass_size,
            since=t + load_s,
            image_s=image_s,
            duplicates=duplicates,
        )
        self.busy[order.node] = order, held
        self.idle.discard(order.node)
        job, secs = self.jobs[job_id], load_s + image_s * images
        self.usage.add(job.owner, secs, t)
        job.service_s += secs
        job.worked_s += secs
        if duplicates is not None:
            job.duplicates[held.id] = secs

    def _nearness(self, nid: int) -> tuple[float, int]:
        return min(perf.c for perf in GPUS[self.nodes[nid].gpu].perf.values()) * self.pace[nid], nid

    def _look(self, t: float) -> bool:
        if self.looked_at + _EVERY_S <= t or self.changed:
            works = self._works(t)
            turns = self._turns(t, works)
            horizon = look_ahead(t, works, known=turns.ends)
            if late := self.patience.exhausted(t, works, horizon):
                horizon = look_ahead(t, works, late, known=turns.ends)
            self.horizon, self.looked_at, self.changed = horizon, t, False
            idle = {str(nid) for nid in self.idle if self.nodes[nid].alive} - horizon.useful
            less = trims(t, self._tails(t), idle, BATCH_S) if idle else {}
            self._trim(t, less | turns.trims)
            self.copies = {} if less or not idle else self._copies(t, idle)
        return self.looked_at == t

    def _copies(self, t: float, idle: set[str]) -> dict[str, Copy]:
        duplicated = {held.duplicates for _, held in self.busy.values()}
        known: dict[int, dict[str, Seat]] = {}
        passes = []
        for order, held in self.busy.values():
            group, end = order.group, held.end(t)
            if not held.duplicates and held.id not in duplicated and held.left and end is not None:
                if group.gid not in known:
                    known[group.gid] = self._takers(t, group)
                end -= (held.left - held.in_pass) * (held.image_s or 0.0)
                passes.append(RunningPass(held.id, held.job_id, held.in_pass, end, known[group.gid]))
        allowed = {str(jid): job.for_duplicates_s for jid, job in self.jobs.items()}
        return duplicates(t, passes, idle, BATCH_S, allowed)

    def _turns(self, t: float, works: list[WaitingWork]) -> Turns:
        running = {str(nid): held for nid, (_, held) in self.busy.items()}
        used = {work.job_id: self.usage.of(work.job_id, t) for work in works}

        def goes_before(job: str, other: str) -> bool:
            return used[job] + BATCH_S / 4 < self.usage.of(other, t)

        works = sorted(works, key=lambda work: (used[work.job_id], work.job_id))
        return take_turns(t, works, running, goes_before, BATCH_S)

    def _trim(self, t: float, less: dict[str, int]) -> None:
        orders = {held.id: (nid, order) for nid, (order, held) in self.busy.items()}
        for batch, images in less.items():
            nid, order = orders[batch]
            back = self.farm.trim(order, images)
            self.waiting[order.group.gid].extendleft(reversed(back))
            self.busy[nid] = order, self.busy[nid][1].without(len(back))
            self.changed = True

    def _tails(self, t: float) -> list[Tail]:
        known: dict[int, dict[str, Seat]] = {}
        found = []
        for order, held in self.busy.values():
            group, images, end = order.group, held.not_begun(t), held.end(t)
            if not images or end is None:
                continue
            if held.duplicates:
                continue
            if group.gid not in known:
                known[group.gid] = self._takers(t, group)
            found.append(Tail(held.id, images, end, held.image_s or 0.0, known[group.gid]))
        return found

    def _takers(self, t: float, group: Any) -> dict[str, Seat]:
        work = WaitingWork("", group.model, 1, self._seats(t, group), eco=self.eco)
        return {seat.node_id: seat for seat in work.without(work.wasteful).seats}

    def _works(self, t: float) -> list[WaitingWork]:
        found: dict[tuple[int, str], list[Any]] = {}
        for gid, items in self.waiting.items():
            if items:
                group = self.groups[gid]
                found.setdefault((group.job.jid, group.model), []).append(group)
        return [
            WaitingWork(
                str(job),
                model,
                sum(len(self.waiting[g.gid]) for g in groups),
                self._seats(t, groups[0]),
                eco=self.eco,
            )
            for (job, model), groups in sorted(found.items())
        ]

    def _seats(self, t: float, group: Any) -> tuple[Seat, ...]:
        return tuple(
            Seat(
                str(nid),
                self._kind(node),
                (self.busy[nid][1].end(t) or t) if nid in self.busy else t,
                self._load_s(node, group) + _LORA_S,
                self._image_s(nid, group),
                GPUS[node.gpu].watts * GPUS[node.gpu].perf[group.model].rate_cost(group.k),
            )
            for nid, node in sorted(self.nodes.items())
            if node.alive and self._takes(node, group)
        )

    def _kind(self, node: Any) -> NodeKind:
        return NodeKind(node.gpu, node.model)

    def _takes(self, node: Any, group: Any) -> bool:
        return group.model in GPUS[node.gpu].perf and node.vram >= MODELS[group.model]["vram"]

    def _load_s(self, node: Any, group: Any) -> float:
        load_s = 0.0 if node.model == group.model else MODELS[group.model]["load"] * node.disk_load
        return float(load_s + GPUS[node.gpu].perf[group.model].o_chunk)

    def _image_s(self, nid: int, group: Any) -> float:
        perf = GPUS[self.nodes[nid].gpu].perf[group.model]
        size = self._pass_size(nid, group)
        per_image = perf.c + perf.o_pass / size + perf.t_text * ceil(size / group.k) / size
        return float(per_image * self.pace[nid])

    def _pass_size(self, nid: int, group: Any) -> int:
        perf = GPUS[self.nodes[nid].gpu].perf[group.model]
        most = max(1, min(perf.bmax, int(_PASS_S / perf.c)))
        return most // group.k * group.k or most

    def _claim(self, t: float, nid: int) -> Iterator[Any]:
        node = self.nodes[nid]
        options = [self._option(t, nid, gid) for gid, items in self.waiting.items() if items]
        options = [option for option in options if option is not None]
        choice = choose(options, batch_s=BATCH_S, outlook=self.horizon.outlook(t, self._kind(node)))
        if choice is None:
            return
        group = self.groups[int(choice.option.work_key)]
        items = [self.waiting[group.gid].popleft() for _ in range(choice.images)]
        if node.model != group.model:
            self.horizon.give(self._kind(node), group.model, t)
        order = Assign(nid, group, items, pass_size=choice.option.pass_size)
        self._hold(t, order, choice.option.load_s, choice.option.expected_s or 0.0)
        yield order

    def _option(self, t: float, nid: int, gid: int) -> Option | None:
        node, group = self.nodes[nid], self.groups[gid]
        if not self._takes(node, group):
            return None
        takers = sum(other.alive and self._takes(other, group) for other in self.nodes.values())
        return Option(
            job_id=str(group.job.jid),
            work_key=str(gid),
            model=group.model,
            amount=1.0,
            owner=str(group.job.jid),
            priority=50,
            owner_s=self.usage.of(str(group.job.jid), t),
            service_s=self.jobs[group.job.jid].service_s,
            submitted_at=group.job.t,
            images=len(self.waiting[gid]),
            image_s=self._image_s(nid, group),
            pass_size=self._pass_size(nid, group),
            loaded=node.model == group.model and node.lora == group.lora,
            model_loaded=node.model == group.model,
            takers=takers,
            expected_s=self._image_s(nid, group),
            load_s=self._load_s(node, group),
        )
