"""ComfyUI graphs: the editor format and the API format, read into one representation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from coordinator.importing.imported import UnusableSource

#: Widget names by node type, in the order in which the editor saves their values.
_WIDGETS = {
    "CheckpointLoaderSimple": ("ckpt_name",),
    "CheckpointLoader": ("config_name", "ckpt_name"),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "UnetLoaderGGUF": ("unet_name",),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeSDXL": (
        *("width", "height", "crop_w", "crop_h", "target_width", "target_height"),
        *("text_g", "text_l"),
    ),
    "CLIPTextEncodeFlux": ("clip_l", "t5xxl", "guidance"),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "EmptyFlux2LatentImage": ("width", "height", "batch_size"),
    "KSampler": ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        *("add_noise", "noise_seed", "steps", "cfg", "sampler_name", "scheduler"),
        *("start_at_step", "end_at_step", "return_with_leftover_noise"),
    ),
    "SamplerCustom": ("add_noise", "noise_seed", "cfg"),
    "RandomNoise": ("noise_seed",),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "Flux2Scheduler": ("steps", "width", "height"),
    "CFGGuider": ("cfg",),
    "FluxGuidance": ("guidance",),
    "ModelSamplingAuraFlow": ("shift",),
    "ModelSamplingSD3": ("shift",),
    "PrimitiveNode": ("value",),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
    "PrimitiveInt": ("value",),
    "PrimitiveFloat": ("value",),
}
#: Saved after a seed but not an input: how the editor changes the seed after each run.
_CONTROLS = ("fixed", "randomize", "increment", "decrement")
_SEEDS = ("seed", "noise_seed")
_MUTED, _BYPASSED = 2, 4
#: IDs that the editor uses for the inputs and outputs of a subgraph.
_INPUT_ID, _OUTPUT_ID = -10, -20
_MAX_NODES = 5000
_MAX_DEPTH = 8


class Link(NamedTuple):
    """An output of a node, used as an input of another."""

    node: str
    slot: int


@dataclass(slots=True)
class GraphNode:
    id: str
    type: str
    #: Values and links by input name.
    inputs: dict[str, Any] = field(default_factory=dict)
    #: For a node that only forwards its inputs: the source of each output.
    passes: dict[int, Link] = field(default_factory=dict)
    is_muted: bool = False

    def __str__(self) -> str:
        return f"`{self.type}` (node {self.id.rpartition('/')[2]})"


Graph = dict[str, GraphNode]


def is_graph(data: Any) -> bool:
    return _is_api(data) or _is_editor(data)


def is_editors(data: Any) -> bool:
    """Whether the data is in the editor format, whose dynamic texts are drawn at each run."""
    return _is_editor(data)


def graph(data: Any) -> Graph:
    """The nodes of a workflow. Raises UnusableSource if the graph is malformed."""
    try:
        found = _of_api(data) if _is_api(data) else _Editor(data).graph()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise UnusableSource("is a malformed ComfyUI workflow; export it again") from None
    if len(found) > _MAX_NODES:
        raise UnusableSource(f"has more than {_MAX_NODES:,} nodes")
    return found


def _is_api(data: Any) -> bool:
    return (
        isinstance(data, Mapping)
        and bool(data)
        and all(isinstance(node, Mapping) for node in data.values())
        and any("class_type" in node for node in data.values())
    )


def _is_editor(data: Any) -> bool:
    return isinstance(data, Mapping) and isinstance(data.get("nodes"), list) and "links" in data


def _of_api(data: Mapping[str, Any]) -> Graph:
    found: Graph = {}
    for name, node in data.items():
        if "class_type" not in node:
            continue
        inputs = {
            key: Link(str(value[0]), int(value[1])) if _is_link(value) else value
            for key, value in (node.get("inputs") or {}).items()
        }
        found[str(name)] = GraphNode(str(name), str(node["class_type"]), inputs)
    return found


def _is_link(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[1], int)
        and not isinstance(value[1], bool)
    )


class _Editor:
    """Reads the editor format, including subgraphs."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        self.inner = {
            str(each["id"]): each for each in (data.get("definitions") or {}).get("subgraphs") or []
        }
        self.found: Graph = {}

    def graph(self) -> Graph:
        self._add(self.data, "", {}, 0)
        return self.found

    def _add(
        self, data: Mapping[str, Any], prefix: str, outside: Mapping[int, Any], depth: int
    ) -> dict[int, Link]:
        """Adds the nodes of a graph with the inputs `outside`; returns the sources of its outputs."""
        if depth > _MAX_DEPTH:
            raise UnusableSource(f"nests subgraphs deeper than {_MAX_DEPTH} levels")
        sources: dict[int, Any] = {}
        outputs: dict[int, Link] = {}
        for number, origin, slot, target, target_slot in _links(data):
            sources[number] = (
                outside.get(slot) if origin == _INPUT_ID else Link(f"{prefix}{origin}", int(slot))
            )
            if target == _OUTPUT_ID and isinstance(sources[number], Link):
                outputs[int(target_slot)] = sources[number]
        for node in data["nodes"]:
            self._add_node(node, prefix, sources, depth)
        return outputs

    def _add_node(self, node: Mapping[str, Any], prefix: str, sources: Mapping[int, Any], depth: int) -> None:
        name, kind = f"{prefix}{node['id']}", str(node["type"])
        made = GraphNode(name, kind, _widgets(node, kind), is_muted=node.get("mode") == _MUTED)
        linked: dict[int, Any] = {}
        for slot, each in enumerate(node.get("inputs") or []):
            source = sources.get(each.get("link")) if each.get("link") is not None else None
            if source is not None:
                made.inputs[each["name"]] = linked[slot] = source
        if kind == "Reroute":
            made.passes = dict(enumerate(each for each in linked.values() if isinstance(each, Link)))
        elif node.get("mode") == _BYPASSED:
            made.passes = _bypass(node, linked)
        elif kind in self.inner:
            inner = self.inner[kind]
            values = {
                slot: linked.get(slot, made.inputs.get(each.get("name")))
                for slot, each in enumerate(inner.get("inputs") or [])
            }
            made.passes = self._add(inner, f"{name}/", values, depth + 1)
        self.found[name] = made


def _links(data: Mapping[str, Any]) -> Iterator[tuple[int, Any, Any, Any, Any]]:
    for link in data.get("links") or []:
        if isinstance(link, Mapping):
            yield link["id"], link["origin_id"], link["origin_slot"], link["target_id"], link["target_slot"]
        elif link:
            yield link[0], link[1], link[2], link[3], link[4]


def _bypass(node: Mapping[str, Any], linked: Mapping[int, Any]) -> dict[int, Link]:
    """Maps each output of a bypassed node to its first input of the same type."""
    inputs = node.get("inputs") or []
    found = {}
    for slot, output in enumerate(node.get("outputs") or []):
        for number, source in linked.items():
            if isinstance(source, Link) and inputs[number].get("type") == output.get("type"):
                found[slot] = source
                break
    return found


def _widgets(node: Mapping[str, Any], kind: str) -> dict[str, Any]:
    values = node.get("widgets_values")
    if isinstance(values, Mapping):
        return dict(values)
    names = [each["name"] for each in node.get("inputs") or [] if isinstance(each.get("widget"), Mapping)]
    found: dict[str, Any] = {}
    left = list(values or [])
    for name in _WIDGETS.get(kind) or names:
        if not left:
            break
        found[name] = left.pop(0)
        if name in _SEEDS and left and left[0] in _CONTROLS:
            left.pop(0)
    if not found and len(left) == 1:
        found["value"] = left[0]
    return found
