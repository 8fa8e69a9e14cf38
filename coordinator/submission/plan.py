"""Plans: a manifest expanded and estimated, before anything is rendered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from common.cards import REFERENCE_CARDS
from common.catalog import Catalog
from common.catalog.licenses import EffectiveLicense
from common.errors import FarmError, FitsNothing, Invalid, OverBudget
from common.exports import Export
from common.lanes import Content, Lanes, Privacy
from common.manifest.export_sizes import ORIGINAL
from common.manifest.parse import ParsedManifest
from common.nodes import Card, is_own
from common.settings import Money
from common.units import Amount, counted, format_money, format_seconds
from common.views import EstimateView, NodeView
from coordinator.estimate import Plan, PlanLine, Station, estimate
from coordinator.expand import Expansion, GroupExpansion, expand
from coordinator.explain.wording import misfits
from coordinator.simulate.deadline import DoneForecast
from coordinator.submission.shot_checks import ShotChecks
from coordinator.submission.tokens import Tokenizers

#: Number of sample prompts in a plan, spread over the manifest.
_SAMPLES = 3

REFERENCE_STATIONS = tuple(Station(card=card) for card in REFERENCE_CARDS.values())


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class GroupView(_View):
    """The factors of a group in the manifest, including duplicates."""

    name: str
    combinations: int
    #: The maximum, if combinations differ.
    variants: int
    seeds: int
    shots: int
    #: The files of each image, such as `thumb 512x512`; empty for the image as it is rendered.
    files: tuple[str, ...] = ()

    @classmethod
    def of(cls, group: GroupExpansion) -> GroupView:
        return cls(
            name=group.name,
            combinations=group.combinations,
            variants=group.variants,
            seeds=group.seeds,
            shots=len(group),
            files=tuple(_export_words(export) for export in group.naming.exports),
        )


def _export_words(export: Export) -> str:
    """Name and size of an export, and how other aspects fill it."""
    size = f"{export.width}x{export.height}" if export.width else f"{export.scale:g}x"
    named = export.name if export.name in (size, ORIGINAL) else f"{export.name} {size}"
    return f"{named} ({export.crop})" if export.width else named


class Sample(_View):
    name: str
    prompt: str


class Readers(_View):
    """Who may see the prompts of a manifest."""

    lane: str
    privacy: Privacy
    #: What the lane promises of its images; None: nothing.
    content: Content | None = None
    #: In words.
    may: str
    #: Nodes in service that may take its shots; None: of no running farm.
    nodes: tuple[str, ...] | None = None
    #: Those of volunteers among them.
    volunteers: int = 0


class PlanReport(_View):
    """What a plan says: `farm plan --json`, and POST /v1/plan."""

    manifest: str
    name: str
    groups: tuple[GroupView, ...]
    plan: Plan
    money: Money
    max_cost: Amount | None
    random_seed: int
    warnings: tuple[str, ...]
    #: Models and LoRAs whose files the catalog does not specify; they can be planned but not submitted.
    unidentified: tuple[str, ...]
    samples: tuple[Sample, ...]
    readers: Readers
    #: What the licences of all that the images are made with allow together.
    license: EffectiveLicense
    #: On the running farm; None for other cards, and where the farm or the catalog does not tell enough.
    forecast: DoneForecast | None = None
    #: Why there is none for the running farm.
    no_forecast: str = ""

    def unsubmittable(self) -> Invalid | None:
        """Returns why the manifest can be planned but not submitted, or None."""
        if not self.unidentified:
            return None
        return Invalid(
            f"the catalog has no identity for {', '.join(self.unidentified)}: the manifest can be planned "
            "but not submitted. Run `farm models add` with the name of each model and the file of each "
            "LoRA"
        )

    def estimate(self) -> EstimateView | None:
        """Returns what it says of the farm; None if it is for alternative cards, or says nothing."""
        plan = self.plan
        if not plan.together or plan.seconds is None or plan.cost is None:
            return None
        stored = 0 if self.forecast is None else self.forecast.stored
        images = plan.images - plan.unfit - stored
        return EstimateView(seconds=plan.seconds.low, images=max(0, images), cost=float(plan.cost.low))

    def refusal(self) -> FarmError | None:
        """Returns why the manifest cannot be rendered as it is, or None."""
        plan = self.plan
        if plan.unfit:
            images: Counter[str] = Counter()
            for line in plan.lines:
                if not line.vram_class:
                    images[misfit_words(line.model, line.reason)] += line.images
            reasons = [f"{counted(misfit.shots, 'image')}: {misfit.reason}" for misfit in misfits(images)]
            return FitsNothing("\n".join([f"{counted(plan.unfit, 'image')} fit no card:", *reasons]))
        if self.max_cost is not None and plan.cost is not None and plan.cost.low > self.max_cost:
            cost = format_money(plan.cost.low, plan.currency)
            limit = format_money(self.max_cost, plan.currency)
            return OverBudget(
                f"{self.manifest}: {cost} exceeds limits.max_cost ({limit}); "
                "raise it, or request fewer or smaller images"
            )
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A valid manifest with the data for planning it."""

    parsed: ParsedManifest
    catalog: Catalog
    money: Money
    #: Count the tokens of prompts.
    tokenizers: Tokenizers
    #: Say who may see prompts, and what these must not say.
    lanes: Lanes


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedManifest:
    """A plan with its sources."""

    draft: Draft
    expansion: Expansion
    report: PlanReport


def make_plan(
    draft: Draft,
    *,
    stations: Sequence[Station] = REFERENCE_STATIONS,
    together: bool = False,
    random_seed: int | None = None,
) -> PlannedManifest:
    """Plans `draft` for `stations`: cards of one farm if `together`, otherwise alternatives.

    Raises InvalidDocument if expansion finds problems. `report.refusal()` returns why the result cannot be
    rendered or exceeds the budget.
    """
    expansion = expand(draft.parsed, draft.catalog, random_seed=random_seed)
    manifest = draft.parsed.manifest
    rules = draft.lanes.rules_of(manifest.lane)
    checks = ShotChecks(expansion, draft.tokenizers, rules, use=manifest.use)
    rates = draft.money
    plan = estimate(checks.passing(), draft.catalog, stations, rates, together=together)
    checks.raise_any()
    report = _report(draft, expansion, plan, checks.license)
    return PlannedManifest(draft=draft, expansion=expansion, report=report)


def _readers(name: str, lanes: Lanes) -> Readers:
    lane = lanes.of(name)
    return Readers(lane=name, privacy=lane.privacy, content=lane.content, may=lane.seen_by)


def with_readers(planned: PlannedManifest, nodes: Iterable[NodeView]) -> PlannedManifest:
    """Returns the plan with those of the nodes in service that may see its prompts."""
    readers = planned.report.readers
    seeing = [node for node in nodes if readers.lane in node.lanes]
    told = {
        "nodes": tuple(node.name for node in seeing),
        "volunteers": sum(not is_own(node.terms) for node in seeing),
    }
    report = planned.report.model_copy(update={"readers": readers.model_copy(update=told)})
    return replace(planned, report=report)


def misfit_words(model: str, reason: str) -> str:
    """Returns why cards cannot render a model's images, with the name of the model if `reason` lacks it."""
    return reason if reason.startswith(f"{model} ") else f"{model}: {reason}"


def station_of(node: NodeView) -> Station:
    """Returns a node of a running farm with its measured speeds."""
    return Station(card=Card(**node.facts.model_dump()), terms=node.terms, speeds=node.speeds)


def _report(draft: Draft, expansion: Expansion, plan: Plan, allowed: EffectiveLicense) -> PlanReport:
    source, manifest = draft.parsed.source, draft.parsed.manifest
    max_cost = manifest.limits.max_cost
    warnings = [problem.at(source) for problem in (*draft.parsed.warnings, *expansion.warnings)]
    return PlanReport(
        manifest=source,
        name=manifest.name or Path(source).stem,
        groups=tuple(map(GroupView.of, expansion.groups)),
        plan=plan,
        money=draft.money,
        max_cost=max_cost,
        random_seed=expansion.random_seed,
        warnings=(*warnings, *_guidance_warnings(plan, draft.catalog), *_budget_warning(plan, max_cost)),
        unidentified=tuple(sorted({name for line in plan.lines for name in line.unidentified})),
        samples=tuple(_samples(expansion)),
        readers=_readers(manifest.lane, draft.lanes),
        license=allowed,
    )


def _guidance_warnings(plan: Plan, catalog: Catalog) -> Iterator[str]:
    """Warns of each distilled model whose guidance doubles its time, with both times."""
    doubled: dict[str, list[PlanLine]] = {}
    for line in plan.lines:
        model = catalog.models[line.model]
        doubles = model.family.is_doubled_by
        if model.distilled and doubles(line.guidance_low) and not doubles(model.guidance):
            doubled.setdefault(model.name, []).append(line)
    for name, lines in doubled.items():
        most = max(lines, key=lambda line: line.images)
        known = ((take.card, take.seconds) for take in most.takes if take.seconds is not None)
        times = [
            f", on {card} from {format_seconds(s / 2)} to {format_seconds(s)} each" for card, s in known
        ][:1]
        yield (
            f"`{name}` is distilled for guidance {catalog.models[name].guidance:g}: guidance {_span(lines)} "
            f"doubles the time and cost of {counted(sum(line.images for line in lines), 'image')}"
            f"{''.join(times)}; omit `guidance`"
        )


def _span(lines: Sequence[PlanLine]) -> str:
    low, high = min(line.guidance_low for line in lines), max(line.guidance_high for line in lines)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _budget_warning(plan: Plan, max_cost: Decimal | None) -> list[str]:
    if max_cost is None or plan.cost is None or not plan.cost.low <= max_cost < plan.cost.high:
        return []
    worst, limit = format_money(plan.cost.high, plan.currency), format_money(max_cost, plan.currency)
    return [
        f"on the most expensive of these cards the cost is {worst}, which exceeds limits.max_cost ({limit})"
    ]


def _samples(expansion: Expansion) -> Iterator[Sample]:
    last = len(expansion) - 1
    for number in sorted({last * part // (_SAMPLES - 1) for part in range(_SAMPLES)} if last >= 0 else ()):
        planned = expansion[number]
        yield Sample(name=planned.name, prompt=planned.shot.prompt)
