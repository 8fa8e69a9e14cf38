"""What a simulation says, as `farm simulate --json` prints it. Seconds, joules; money in `currency`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from common.cost import NOTHING, Cost, attempt_cost, estimated_joules
from common.settings import Money
from coordinator.simulate.fleet import FleetNode
from coordinator.simulate.simulation import Stint


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class StintView(_View):
    """A batch on a node, in seconds since the start."""

    node: str
    model: str
    loras: tuple[str, ...]
    begin: float
    #: When the node had the files of the model, and when that was loaded; `begin` if it was.
    fetched: float
    loaded: float
    end: float
    images: int


class CardUse(_View):
    """What the cards of one kind did."""

    card: str
    vram_class: int
    nodes: int
    images: int
    #: Of all of them together; loading includes fetching, which costs nothing.
    rendering_s: float
    loading_s: float
    #: Share of the time until the end of the job in which they rendered or loaded.
    busy: float
    loads: int
    #: Of cards and machines at work.
    joules: float
    cost: Decimal
    volunteered: Decimal


class Simulated(_View):
    #: Rendered.
    images: int
    nodes: int
    #: Until the last image.
    seconds: float
    #: No order of the work on these nodes takes less.
    bound_s: float
    batches: int
    #: Model loads.
    loads: int
    joules: float
    #: The farm's bill.
    cost: Decimal
    #: Electricity that volunteers pay.
    volunteered: Decimal
    currency: str
    #: The largest class first.
    cards: tuple[CardUse, ...]
    #: In the order of their ends.
    stints: tuple[StintView, ...]


def simulated(stints: Sequence[Stint], nodes: Sequence[FleetNode], bound_s: float, rates: Money) -> Simulated:
    """Times, energy and money of what the nodes did. Idle nodes cost nothing here."""
    seconds = max((stint.end for stint in stints), default=0.0)
    by_node: defaultdict[str, list[Stint]] = defaultdict(list)
    for stint in stints:
        by_node[stint.node_id].append(stint)
    kinds: defaultdict[tuple[int, str], list[FleetNode]] = defaultdict(list)
    for node in nodes:
        kinds[-node.card.vram_class, node.card.name].append(node)
    cards = [_use(kinds[kind], by_node, seconds, rates) for kind in sorted(kinds)]
    return Simulated(
        images=sum(card.images for card in cards),
        nodes=len(nodes),
        seconds=seconds,
        bound_s=bound_s,
        batches=len(stints),
        loads=sum(card.loads for card in cards),
        joules=sum(card.joules for card in cards),
        cost=sum((card.cost for card in cards), NOTHING),
        volunteered=sum((card.volunteered for card in cards), NOTHING),
        currency=rates.currency,
        cards=tuple(cards),
        stints=tuple(map(_stint_view, stints)),
    )


def _use(
    nodes: Sequence[FleetNode], by_node: Mapping[str, Sequence[Stint]], seconds: float, rates: Money
) -> CardUse:
    """What nodes with one card did."""
    card = nodes[0].card
    stints = [stint for node in nodes for stint in by_node.get(node.name, ())]
    loads = [stint.loaded - stint.begin for stint in stints if stint.loaded > stint.begin]
    worked_s = sum(stint.end - stint.begin for stint in stints)
    bills = [_bill(node, by_node.get(node.name, ()), rates) for node in nodes]
    return CardUse(
        card=card.name,
        vram_class=card.vram_class,
        nodes=len(nodes),
        images=sum(stint.images for stint in stints),
        rendering_s=worked_s - sum(loads),
        loading_s=sum(loads),
        busy=worked_s / (seconds * len(nodes)) if seconds else 0.0,
        loads=len(loads),
        joules=sum(joules for joules, _ in bills),
        cost=sum((bill.farm for _, bill in bills), NOTHING),
        volunteered=sum((bill.volunteered for _, bill in bills), NOTHING),
    )


def _bill(node: FleetNode, stints: Sequence[Stint], rates: Money) -> tuple[float, Cost]:
    """The joules of a node at work with its machine, and what they and its hours cost."""
    vram, seconds = node.card.vram_class, sum(stint.end - stint.fetched for stint in stints)
    if node.per_hour is not None:
        own = {vram: node.per_hour}
        rates = rates.model_copy(update={"card_per_hour": own, "rent_per_hour": own, "card_prices": {}})
    joules = estimated_joules(seconds, vram, rates, node.card.watts)
    bill = attempt_cost(seconds=seconds, joules=joules, vram_class=vram, terms=node.terms, rates=rates)
    return joules + rates.host_watts * seconds, bill


def _stint_view(stint: Stint) -> StintView:
    """Leaves out its job and work key."""
    return StintView(node=stint.node_id, **stint._asdict())
