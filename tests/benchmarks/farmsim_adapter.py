"""The farm's planner in farmsim, a discrete-event simulator of a farm, which must be on the import path.

`PlannerPolicy` tells `coordinator.scheduling.driver` what happens in the simulator, and makes work orders of
what that decides. It knows what a farm knows: the profile of a card type, and what passes took.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from math import ceil
from typing import Any

from farmsim import Assign, Policy
from profiles import GPUS, MODELS

from common.fit import Seen
from common.nodes import Card
from common.shot import Shot
from common.states import NodeState
from common.units import GIB
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.changes import JobOpened, ShotsWaiting, SpeedMeasured
from coordinator.scheduling.driver import Assignment, Decisions, Driver
from coordinator.scheduling.member import Member
from coordinator.scheduling.placing import Placement
from coordinator.scheduling.work import Line, OpenJob, WorkSample

BATCH_S = 120.0
#: Seconds between two looks ahead.
_EVERY_S = 1.0
_LANE = "public"


class PlannerPolicy(Policy):
    name, latency, detect_s, stream, tick_every = "planner", 0.5, 22.0, True, 0.5
    cancel_losers = True

    def __init__(self, eco: bool = True) -> None:
        self.eco = eco

    def start(self, farm: Any) -> None:
        super().start(farm)
        groups = [group for job in farm.jobs for group in job.groups]
        self.loras = frozenset(group.lora for group in groups if group.lora)
        #: Model to the images of a text.
        self.seeds = {group.model: group.k for group in groups}
        self.groups: dict[str, Any] = {}
        self.waiting: dict[str, deque[int]] = {}
        #: Batch to its order, and busy node to its own.
        self.orders: dict[str, Any] = {}
        self.busy: dict[int, Any] = {}
        #: What was duplicated, and what was delivered, by group.
        self.copied = defaultdict[int, set[int]](set)
        self.delivered = defaultdict[int, set[int]](set)
        #: Node and model to the images of its last passes, with which it is measured.
        self.sizes: dict[tuple[int, str], int] = {}
        #: Node to the seconds that its passes took, as a share of those of its card type.
        self.pace: dict[int, float] = {}
        self.driver = Driver(
            Backlog(place), batch_s=BATCH_S, patience_s=10.0, eco=self.eco, rarely_s=_EVERY_S
        )

    def job_submitted(self, t: float, job: Any) -> tuple[()]:
        self.driver.tell(JobOpened(str(job.jid), OpenJob(str(job.jid), _LANE, 50, t, None, 0.0, {})))
        for group in job.groups:
            self.groups[str(group.gid)] = group
            self.waiting[str(group.gid)] = deque()
            self._wait(group, range(group.n) if group.stage == 0 else ())
        return ()

    def items_ready(self, t: float, group: Any, items: list[int]) -> tuple[()]:
        self._wait(group, items)
        return ()

    def _wait(self, group: Any, items: Iterable[int]) -> None:
        line, items = Line(str(group.job.jid), str(group.gid), 6), list(items)
        self.waiting[line.work_key].extend(items)
        shot = Shot(group.model, "", "", "", group.k, 1024, 1024, 1, 0.0, "")
        sample = WorkSample(group.model, (group.lora,) if group.lora else (), 1.0, 1, shot)
        if items:
            self.driver.tell(ShotsWaiting({line: len(items)}, {line.work_key: sample}))

    def node_joined(self, t: float, node: Any) -> tuple[()]:
        self.pace.setdefault(node.nid, 1.0)
        size = node.vram * GIB
        self.driver.join(
            Member(
                id=str(node.nid),
                state=NodeState.READY,
                card=Card(name=node.gpu, backend="cuda", vram_bytes=size, usable_bytes=size, ram_bytes=size),
                terms="owned" if node.owned else "volunteer",
                vram_class=6,
                lanes=frozenset({_LANE}),
                models=frozenset(MODELS),
                loras=self.loras,
                missing_recipes={},
                aside={},
                loaded=(None, frozenset()),
                speeds=self._speeds(node.nid, node.gpu),
                loads={model: facts["load"] * node.disk_load for model, facts in MODELS.items()},
            )
        )
        return ()

    def _speeds(self, nid: int, gpu: str) -> dict[str, float]:
        """Seconds of an image by model, by the profile of the card type and the pace of the node."""
        models = self.seeds.keys() & GPUS[gpu].perf.keys()
        return {model: self._image_s(nid, gpu, model) * self.pace[nid] for model in sorted(models)}

    def _image_s(self, nid: int, gpu: str, model: str) -> float:
        return image_s(gpu, model, self.seeds[model], self.sizes.get((nid, model)))

    def node_lost(self, t: float, nid: int) -> tuple[()]:
        order = self.busy.pop(nid, None)
        self.driver.lose(str(nid), order.spent if order else 0.0)
        return ()

    def pass_done(self, t: float, nid: int, order: Any, new: list[int], secs: float) -> tuple[()]:
        gpu, model, k = self.farm.nodes[nid].info.gpu, order.group.model, order.group.k
        perf = GPUS[gpu].perf[model]
        usual = order.setup + perf.o_pass + ceil(len(new) / k) * perf.t_text + len(new) * perf.c
        self.pace[nid] += 0.5 * (secs / usual - self.pace[nid])
        delivered = self.delivered[order.group.gid]
        # What another node delivered first is no longer this one's.
        self.driver.advance(str(nid), len(set(new) - delivered), t)
        delivered.update(new)
        self.driver.tell(*(SpeedMeasured(str(nid), *known) for known in self._speeds(nid, gpu).items()))
        return ()

    def batch_done(self, t: float, nid: int, order: Any, secs: float) -> Iterator[Any]:
        del self.busy[nid]
        self.driver.end(str(nid), secs)
        return self._follow(self.driver.claim(str(nid), t))

    def tick(self, t: float) -> Iterator[Any]:
        return self._follow(self.driver.tick(t))

    def _follow(self, decisions: Decisions) -> Iterator[Any]:
        for decision in decisions:
            nid = int(decision.node_id)
            if isinstance(decision, Assignment):
                yield self._order(nid, decision)
            else:
                order = self.busy[nid]
                back = self.farm.trim(order, decision.images)
                self.waiting[str(order.group.gid)].extendleft(reversed(back))
                self.driver.take_back(decision.node_id, len(back))

    def _order(self, nid: int, assigned: Assignment) -> Any:
        batch, group = assigned.batch, self.groups[assigned.batch.work_key]
        twin = self.orders[batch.duplicates] if batch.duplicates else None
        if twin is None:
            items = [self.waiting[batch.work_key].popleft() for _ in range(batch.left)]
        else:
            once = self.copied[group.gid]
            items = [item for item in twin.running if item not in once][: batch.left]
            once.update(items)
        order = Assign(nid, group, items, batch.pass_size, backup=twin is not None, twin=twin)
        self.orders[batch.id] = self.busy[nid] = order
        if twin is None:
            self.sizes[nid, group.model] = batch.pass_size
        return order


def place(shot: Shot, card: Card, seen: Seen) -> Placement | str:
    """How a card takes images of a model, `shot.seed` of each text."""
    model, k = shot.model, shot.seed
    gpu = GPUS[card.name]
    if model not in gpu.perf or gpu.vram < MODELS[model]["vram"]:
        return "no room"
    return Placement(
        recipe="",
        pass_size=most_at_once(card.name, model, k),
        pace_s=image_s(card.name, model, k),
        load_s=MODELS[model]["load"],
        start_s=gpu.perf[model].o_chunk,
        joules=gpu.watts * gpu.perf[model].rate_cost(k),
    )


def image_s(gpu: str, model: str, k: int, size: int | None = None) -> float:
    """Seconds of an image in passes of so many, or of the most that fit."""
    perf = GPUS[gpu].perf[model]
    size = size or most_at_once(gpu, model, k)
    return float(perf.c + perf.o_pass / size + perf.t_text * ceil(size / k) / size)


def most_at_once(gpu: str, model: str, k: int) -> int:
    """Images of a pass that fit, of whole texts if there is room for one."""
    most = int(GPUS[gpu].perf[model].bmax)
    return most // k * k or most
