"""The panels of the dashboards: titles, queries, units and thresholds. `build.py` makes JSON of them.

Queries name metrics with the labels that matter; `build.py` adds those of the variables.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

STORED = 'farm_images_total{outcome="stored"}'
#: A series of a ratio begins with its first image, so that there is no NaN.
FAILED = 'farm_attempts_total{failure!~"|cancelled"}'

RATE, RANGE = "[$__rate_interval]", "[$__range]"


@dataclass(frozen=True, kw_only=True)
class Panel:
    title: str
    #: Shown as the tooltip of the panel.
    description: str
    #: (PromQL, legend) pairs.
    queries: tuple[tuple[str, str], ...]
    #: Unit ID of Grafana.
    unit: str
    kind: Literal["timeseries", "stat", "table"] = "timeseries"
    stacked: bool = False
    #: Width in columns; a row has 24.
    span: int = 12
    #: Values from which the colour changes; the first applies to all.
    thresholds: tuple[tuple[float | None, str], ...] = ((None, "green"),)
    #: Dashboard that tells more.
    leads_to: str | None = None


@dataclass(frozen=True, kw_only=True)
class Board:
    name: str
    description: str
    panels: tuple[Panel, ...] = field(default=())

    @property
    def uid(self) -> str:
        return f"shotfarm-{self.name.lower()}"


def _rate(metric: str, by: str = "", times: str = " * 3600") -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{RATE})){times}"


def _grown(metric: str, by: str = "") -> str:
    """How much counters grew in the selected time range."""
    return f"sum{f' by ({by})' if by else ''} (increase({metric}{RANGE}))"


def _each(cost: str, by: str = "") -> str:
    return f"{_grown(cost, by)} / ({_grown(STORED, by)} > 0)"


_COST_STEPS: tuple[tuple[float | None, str], ...] = ((None, "green"), (0.03, "yellow"), (0.25, "red"))
_WASTE_STEPS: tuple[tuple[float | None, str], ...] = ((None, "green"), (0.1, "yellow"), (0.25, "red"))
_NONE_STEPS: tuple[tuple[float | None, str], ...] = ((None, "green"), (1, "red"))

FARM = Board(
    name="Farm",
    description="Images, cost, queues and failures of a farm.",
    panels=(
        Panel(
            title="Images per hour", kind="stat", span=4, unit="short",
            description="Stored images per hour in the last minutes.",
            queries=((_rate(STORED), "images"),),
        ),
        Panel(
            title="Cost per image",
            kind="stat", span=4, unit="none", thresholds=_COST_STEPS, leads_to="Money",
            description="In the farm's currency: all costs of the time range, idle nodes included, by "
            "the images "
            "stored in it. Yellow from 3 ct, red from 25 ct, the figures that are often quoted.",
            queries=((_each("farm_cost_total"), "cost"),),
        ),
        Panel(
            title="Waiting shots", kind="stat", span=4, unit="short",
            description="Shots that wait for a node.",
            queries=(("sum(farm_queue_depth)", "waiting"),),
        ),
        Panel(
            title="Running shots", kind="stat", span=4, unit="short",
            description="Shots that nodes have leased.",
            queries=(("sum(farm_running_shots)", "running"),),
        ),
        Panel(
            title="Time to finish", kind="stat", span=4, unit="s",
            description="Waiting and running shots by the present rate of images; without a figure while "
            "none "
            "is stored. `farm watch` tells the ETA of a job more exactly.",
            queries=((f"sum(farm_demand_shots) / (sum(rate({STORED}{RATE})) > 0)", "time"),),
        ),
        Panel(
            title="Nodes in service", kind="stat", span=4, unit="short", leads_to="Nodes",
            description="Nodes that render or wait for work.", thresholds=((None, "red"), (1, "green")),
            queries=(('sum(farm_nodes{state=~"ready|busy"})', "nodes"),),
        ),
        Panel(
            title="Images per hour by model", stacked=True, unit="short",
            description="Stored images by model.",
            queries=((_rate(STORED, "model"), "{{model}}"),),
        ),
        Panel(
            title="Waiting shots by class", stacked=True, unit="short",
            description="Waiting shots by lane and the smallest VRAM class that can render them.",
            queries=(("sum by (lane, vram_class) (farm_queue_depth)", "{{lane}} {{vram_class}} GB"),),
        ),
        Panel(
            title="Failed attempts per hour", unit="short", leads_to="Reliability", span=8,
            description="Failed attempts by kind of failure; cancelled ones are none.",
            thresholds=_NONE_STEPS, queries=((_rate(FAILED, "failure"), "{{failure}}"),),
        ),
        Panel(
            title="Share of wasted time", unit="percentunit", span=8, thresholds=_WASTE_STEPS, stacked=True,
            description="Share of the cards' time that made no image, by cause, without idle time.",
            queries=((
                'sum by (use) (rate(farm_gpu_use_seconds_total{use!~"image|idle"}' + RATE + "))"
                ' / on() group_left () (sum(rate(farm_gpu_use_seconds_total{use!="idle"}' + RATE + ")) > 0)",
                "{{use}}",
            ),),
        ),
        Panel(
            title="Oldest waiting shot", unit="s", span=8,
            description="Time since the submission of the oldest job with waiting shots; 0 if none waits.",
            thresholds=((None, "green"), (6 * 3600, "red")),
            queries=(("max(time() - farm_oldest_waiting_timestamp_seconds) or vector(0)", "age"),),
        ),
        Panel(
            title="Time of the stages", unit="s",
            description="Median time of each stage of an image. `wait` begins with the submission of the "
            "job.",
            queries=((
                f"histogram_quantile(0.5, sum by (stage, le) (rate(farm_stage_seconds_bucket{RATE}))) >= 0",
                "{{stage}}",
            ),),
        ),
        Panel(
            title="Denoising time per megapixel and step", unit="s",
            description="Median by VRAM class: comparable over sizes and steps.",
            queries=((
                "histogram_quantile(0.5, sum by (vram_class, le) "
                f"(rate(farm_denoise_step_seconds_bucket{RATE}))) >= 0",
                "{{vram_class}} GB",
            ),),
        ),
    ),
)  # fmt: skip

NODES = Board(
    name="Nodes",
    description="Cards of a farm: state, use, power, temperature and speed.",
    panels=(
        Panel(
            title="Nodes", kind="table", span=24, unit="short",
            description="One line for each node: owner, card, state, watts, temperature, seconds since "
            "its last "
            "heartbeat. Columns without a figure: the node is gone.",
            queries=(
                ("farm_node_info", ""),
                ("farm_node_watts", ""),
                ("farm_node_temperature_celsius", ""),
                ("time() - farm_node_seen_timestamp_seconds", ""),
            ),
        ),
        Panel(
            title="Nodes by state", stacked=True, span=8, unit="short",
            description="Nodes by VRAM class and state.",
            queries=(("sum by (vram_class, state) (farm_nodes) > 0", "{{vram_class}} GB {{state}}"),),
        ),
        Panel(
            title="Use of the cards", unit="percentunit", span=8,
            description="Share of the cards' time with work, by VRAM class.",
            thresholds=((None, "red"), (0.5, "yellow"), (0.8, "green")),
            queries=((
                'sum by (vram_class) (rate(farm_gpu_use_seconds_total{use!="idle"}' + RATE + "))"
                f" / (sum by (vram_class) (rate(farm_gpu_use_seconds_total{RATE})) > 0)",
                "{{vram_class}} GB",
            ),),
        ),
        Panel(
            title="Time of the cards by phase", stacked=True, span=8, unit="short",
            description="Seconds per second by phase; 1 is one card in continuous use.",
            queries=((_rate("farm_gpu_seconds_total", "phase", ""), "{{phase}}"),),
        ),
        Panel(
            title="Power", unit="watt", span=8, description="Power draw of each card in its last heartbeat.",
            queries=(("farm_node_watts", "{{node}}"),),
        ),
        Panel(
            title="Temperature", unit="celsius", span=8,
            description="Temperature of each card in its last heartbeat; from about 83 °C cards slow down.",
            thresholds=((None, "green"), (83, "yellow"), (90, "red")),
            queries=(("farm_node_temperature_celsius", "{{node}}"),),
        ),
        Panel(
            title="Video memory", unit="bytes", span=8, description="Video memory that the farm can use.",
            queries=(("farm_node_vram_bytes", "{{node}}"),),
        ),
        Panel(
            title="Speed among equal cards", unit="percentunit",
            description="Speed of a node at a model, by the median of the nodes with such a card.",
            thresholds=((None, "red"), (0.5, "yellow"), (0.8, "green")),
            queries=(("farm_node_speed_ratio", "{{node}} {{model}}"),),
        ),
        Panel(
            title="Slow paths", unit="percentunit",
            description="Rate of nodes that render a model at less than half the rate of their card; 1 "
            "if none "
            "does. `farm explain NODE` names reason and remedy.",
            thresholds=((None, "red"), (0.5, "green")),
            queries=((
                "min by (node, model) (farm_node_slow_path_ratio) or vector(1)", "{{node}} {{model}}"
            ),),
        ),
    ),
)  # fmt: skip

MONEY = Board(
    name="Money",
    description="What images cost, beside what hosted services ask. Amounts are in $currency.",
    panels=(
        Panel(
            title="Cost ($currency)", kind="stat", span=6, unit="none",
            description="All costs of the farm in the time range. `farm cost` prints the bill, also by "
            "owner.",
            queries=((_grown("farm_cost_total"), "cost"),),
        ),
        Panel(
            title="Cost per image ($currency)", kind="stat", span=6, unit="none", thresholds=_COST_STEPS,
            description="All costs of the time range, idle nodes included, by the images stored in it.",
            queries=((_each("farm_cost_total"), "cost"),),
        ),
        Panel(
            title="Cost per kept image ($currency)", kind="stat", span=6, unit="none", thresholds=_COST_STEPS,
            description="The same by the images that nobody rejected.",
            queries=((
                f"{_grown('farm_cost_total')} / "
                f"({_grown(STORED)} - {_grown('farm_rejected_images_total')} > 0)", "cost"
            ),),
        ),
        Panel(
            title="Share of idle nodes", kind="stat", span=6, unit="percentunit", thresholds=_WASTE_STEPS,
            description="Share of the costs of the time range that idle nodes caused.",
            queries=((
                _grown('farm_cost_total{kind="idle"}') + f" / ({_grown('farm_cost_total')} > 0)", "idle"
            ),),
        ),
        Panel(
            title="Cost per image by model and class ($currency)", unit="none", thresholds=_COST_STEPS,
            description="Costs of the time range, with volunteers' electricity, by the images stored in "
            "it: the "
            "images of volunteers are among them, so what they paid is too.",
            queries=((
                f"({_grown('farm_cost_total', 'model, vram_class')} + "
                f"{_grown('farm_volunteer_cost_total', 'model, vram_class')})"
                f" / ({_grown(STORED, 'model, vram_class')} > 0)",
                "{{model}} on {{vram_class}} GB",
            ),),
        ),
        Panel(
            title="Here and hosted", unit="none",
            description="Cost per image here; what hosted services ask for an image (or a megapixel) of "
            "the same "
            "models, in their currency, when it was last read; and the classic figures 25 ct and 3 ct, which "
            "have no source.",
            thresholds=_COST_STEPS,
            queries=(
                (_each('farm_cost_total{model!=""}', "model"), "{{model}} here"),
                ("farm_reference_price", "{{model}} {{service}} {{date}} ({{currency}})"),
                ("vector(0.25)", "classic 25 ct"),
                ("vector(0.03)", "classic 3 ct"),
            ),
        ),
        Panel(
            title="Cost per hour by component ($currency)", unit="none", stacked=True, span=8,
            description="Electricity, cards (owned or rented) and storage.",
            queries=((_rate("farm_cost_component_total", "component"), "{{component}}"),),
        ),
        Panel(
            title="Cost per hour by use ($currency)", unit="none", stacked=True, span=8,
            description="What the time was used for: images, failed attempts, loading, idle nodes and so on.",
            queries=((_rate("farm_use_cost_total", "use"), "{{use}}"),),
        ),
        Panel(
            title="Cost per hour by lane ($currency)", unit="none", stacked=True, span=8,
            description="Costs by lane; idle nodes have none.",
            queries=((_rate("farm_cost_total", "lane"), "{{lane}}"),),
        ),
        Panel(
            title="Cost per hour by owner ($currency)", unit="none", stacked=True, span=12,
            description="Costs of the jobs of the twenty owners that cost most; idle nodes are nobody's. "
            "`farm cost --owner NAME` prints the bill.",
            queries=((f"topk(20, {_rate('farm_owner_cost_total', 'owner')})", "{{owner}}"),),
        ),
        Panel(
            title="Cost per image by owner ($currency)", unit="none", span=12, thresholds=_COST_STEPS,
            description="Costs of the jobs of each owner in the time range, by the images rendered for them.",
            queries=((
                f"{_grown('farm_owner_cost_total', 'owner')} / "
                f"({_grown('farm_owner_images_total', 'owner')} > 0)",
                "{{owner}}",
            ),),
        ),
        Panel(
            title="Power by method", unit="watt", span=6,
            description="Energy of the cards per second; `estimated` is by declared watts, not measured.",
            queries=((_rate("farm_energy_joules_total", "method", ""), "{{method}}"),),
        ),
        Panel(
            title="Energy per image", unit="watth", span=6,
            description="Energy of the cards at work in the time range, by the images stored in it.",
            queries=((
                f"{_grown('farm_energy_joules_total', 'model')} / 3600 / ({_grown(STORED, 'model')} > 0)",
                "{{model}}",
            ),),
        ),
        Panel(
            title="Volunteers' electricity per hour ($currency)", unit="none", span=6,
            description="What volunteers pay; not part of the costs of the farm. `farm thanks` names them.",
            queries=((_rate("farm_volunteer_cost_total"), "volunteers"),),
        ),
        Panel(
            title="Budgets", unit="percentunit", span=6,
            description="Share of its budget that each key has used; 0 if no key has one.",
            thresholds=((None, "green"), (0.8, "yellow"), (1, "red")),
            queries=(("farm_key_budget_ratio or vector(0)", "{{key}}"),),
        ),
    ),
)  # fmt: skip

RELIABILITY = Board(
    name="Reliability",
    description="Failures, lost work, ingest, store and the scraping itself.",
    panels=(
        Panel(
            title="Share of failed attempts", kind="stat", span=6, unit="percentunit",
            description="Failed among all settled attempts of the time range, without cancelled ones.",
            thresholds=((None, "green"), (0.05, "red")),
            queries=((
                f"{_grown(FAILED)} / "
                + "(" + _grown('farm_attempts_total{failure!="cancelled"}') + " > 0)", "failed"
            ),),
        ),
        Panel(
            title="Expired leases", kind="stat", span=6, unit="short", thresholds=_NONE_STEPS,
            description="Batches of the time range whose node fell silent or joined anew.",
            queries=((_grown('farm_batches_total{outcome=~"expired|vanished"}'), "leases"),),
        ),
        Panel(
            title="Quarantined and lost nodes", kind="stat", span=6, unit="short", thresholds=_NONE_STEPS,
            description="Nodes that failed too often, or that sent no heartbeat.",
            queries=(('sum(farm_nodes{state=~"quarantined|lost"})', "nodes"),),
        ),
        Panel(
            title="Scrapes", kind="stat", span=6, unit="short", thresholds=((None, "red"), (1, "green")),
            description="1 if the last scrape of the coordinator succeeded.",
            queries=(('max(up{job=~"$job"})', "up"),),
        ),
        Panel(
            title="Ended batches per hour", unit="short",
            description="Batches by how they ended; `expired` and `vanished` are lost work.",
            queries=((_rate("farm_batches_total", "outcome"), "{{outcome}}"),),
        ),
        Panel(
            title="Attempts per hour by outcome", unit="short",
            description="Attempts by outcome; `wasted`: another node was faster.",
            queries=((_rate("farm_images_total", "outcome"), "{{outcome}}"),),
        ),
        Panel(
            title="Failures per hour by kind", unit="short", thresholds=_NONE_STEPS,
            description="Failed attempts by kind; each shot is tried again as its kind allows.",
            queries=((_rate(FAILED, "failure"), "{{failure}}"),),
        ),
        Panel(
            title="Rejected uploads per hour", unit="short", thresholds=_NONE_STEPS,
            description="Uploads that ingest rejected: damaged, of a wrong size, or of another shot.",
            queries=((_rate('farm_images_total{outcome="rejected"}', "model"), "{{model}}"),),
        ),
        Panel(
            title="Uploads that wait for ingest",
            unit="short", span=8, thresholds=((None, "green"), (20, "red")),
            description="Delivered uploads without a verdict.",
            queries=(("farm_delivered_shots", "uploads"),),
        ),
        Panel(
            title="Time of ingest",
            unit="s", span=8, description="95 % of uploads are checked within this time.",
            queries=((
                "histogram_quantile(0.95, sum by (le) "
                '(rate(farm_stage_seconds_bucket{stage="ingest"}' + RATE + "))) >= 0",
                "ingest",
            ),),
        ),
        Panel(
            title="Failures of the store per hour", unit="short", span=8, thresholds=_NONE_STEPS,
            description="Attempts whose upload did not reach the store.",
            queries=((
                _rate(
                    'farm_attempts_total{failure=~"store_unavailable|upload_failed|upload_missing"}',
                    "failure",
                ),
                "{{failure}}",
            ),),
        ),
        Panel(
            title="Refused requests per minute", unit="short", span=8,
            description="Requests that the coordinator refused, by reason.",
            queries=((_rate("farm_refusals_total", "reason", " * 60"), "{{reason}}"),),
        ),
        Panel(
            title="Incidents", unit="short", span=8, thresholds=_NONE_STEPS,
            description="1 while the farm is disturbed (stopped, stalled, or without its store).",
            queries=(("farm_incident", "incident"),),
        ),
        Panel(
            title="Free disk", unit="percentunit", span=8, thresholds=((None, "red"), (0.1, "green")),
            description="Free share of the disk with the data of the coordinator.",
            queries=(("farm_disk_free_bytes / farm_disk_size_bytes", "free"),),
        ),
        Panel(
            title="Tickets", unit="short",
            description="Tickets on the queues of the broker; no data while it does not answer.",
            queries=(("sum by (lane, vram_class) (farm_tickets)", "{{lane}} {{vram_class}} GB"),),
        ),
        Panel(
            title="Duration of scrapes", unit="s", thresholds=((None, "green"), (0.2, "red")),
            description="Time that Prometheus takes to read the metrics of the coordinator.",
            queries=(('max(scrape_duration_seconds{job=~"$job"})', "scrape"),),
        ),
    ),
)  # fmt: skip

BOARDS = (FARM, NODES, MONEY, RELIABILITY)
