"""ComfyUI text-to-image workflows, traced from the saved image back to its inputs.

A workflow that needs unsupported features (input images, ControlNet, a second pass) is rejected, because the
result would be a different image; steps that only post-process the image are left out and reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from common.catalog.samplers import SCHEDULES
from common.wording import shortened
from coordinator.importing import comfygraph
from coordinator.importing.comfygraph import Graph, GraphNode, Link
from coordinator.importing.imported import Account, TheirLora, UnusableSource, Wish, Wishes
from coordinator.importing.texts import is_dynamic

_SAVES = ("SaveImage", "PreviewImage", "SaveImageWebsocket", "Image Save", "SaveImageExtended")
_DECODES = ("VAEDecode", "VAEDecodeTiled")
_SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
_CHECKPOINTS = {
    "CheckpointLoaderSimple": "ckpt_name",
    "CheckpointLoader": "ckpt_name",
    "UNETLoader": "unet_name",
    "UnetLoaderGGUF": "unet_name",
}
_SHIFTS = ("ModelSamplingAuraFlow", "ModelSamplingSD3")
_ENLARGES = (
    *("ImageUpscaleWithModel", "ImageScale", "ImageScaleBy", "ImageScaleToTotalPixels", "UltimateSDUpscale"),
    *("ImageSharpen", "ImageBlur", "FaceDetailer", "ImageScaleToMaxDimension"),
)
#: Schedules that are equivalent to the sampler's own.
_PLAIN_SCHEDULES = ("normal", "simple", "sgm_uniform", "")
_TEXT_ONLY = "the farm supports only text-to-image"
#: Maximum number of links in a chain; a longer chain is a cycle.
_MAX_STEPS = 200

is_workflow = comfygraph.is_graph


def workflow(data: Any, account: Account) -> Wishes:
    """The images that a workflow saves. Raises UnusableSource if the farm cannot render them."""
    graph = comfygraph.graph(data)
    reader = _Reader(graph, account)
    samplers: dict[str, GraphNode] = {}
    for node in graph.values():
        if node.type in _SAVES and not node.is_muted and (sampler := reader.sampler(node)):
            samplers[sampler.id] = sampler
    if not samplers:
        raise UnusableSource("is a ComfyUI workflow that saves no image generated from text")
    wishes = [reader.wish(sampler) for sampler in samplers.values()]
    is_drawn = comfygraph.is_editors(data) and any(is_dynamic(wish.text("prompt")) for wish in wishes)
    return Wishes("ComfyUI workflow", wishes, is_template=is_drawn)


class _Reader:
    def __init__(self, graph: Graph, account: Account) -> None:
        self.graph = graph
        self.account = account

    def source(self, link: Any) -> GraphNode | None:
        """The node that a link leads to, skipping nodes that only forward their input."""
        for _ in range(_MAX_STEPS):
            node = self.graph.get(link.node) if isinstance(link, Link) else None
            if node is None or node.is_muted or not node.passes:
                return None if node is None or node.is_muted else node
            assert isinstance(link, Link)
            link = node.passes.get(link.slot)
        raise UnusableSource("is a ComfyUI workflow with a cycle")

    def value(self, node: GraphNode, name: str) -> Any:
        """The value of an input, read from the linked value node if it is a link."""
        found = node.inputs.get(name)
        for _ in range(_MAX_STEPS):
            if not isinstance(found, Link):
                return found
            holder = self.source(found)
            plain = (
                [each for each in holder.inputs.values() if isinstance(each, str | int | float | Link)]
                if holder
                else []
            )
            if holder is None or len(plain) != 1:
                where = f"from {holder}" if holder else "without a source"
                raise UnusableSource(
                    f"takes `{name}` of {node} {where}, which is not supported; enter the value in the node"
                )
            found = plain[0]
        raise UnusableSource("is a ComfyUI workflow with a cycle")

    def sampler(self, saved: GraphNode) -> GraphNode | None:
        """The sampler of a saved image; None if it does not come from one."""
        node = self.source(saved.inputs.get("images") or saved.inputs.get("image"))
        for _ in range(_MAX_STEPS):
            if node is None or node.type == "LoadImage":
                return None
            if node.type in _DECODES:
                found = self.source(node.inputs.get("samples"))
                if found is None or found.type not in _SAMPLERS:
                    raise UnusableSource(
                        f"creates its image with {found or node}; {_TEXT_ONLY} with one sampler"
                    )
                return found
            if node.type not in _ENLARGES:
                raise UnusableSource(f"changes the image with {node}, which the farm does not support")
            self.account.leave(str(node), "the farm renders the image without this step")
            node = self.source(node.inputs.get("image") or node.inputs.get("upscale_image"))
        return None

    def wish(self, sampler: GraphNode) -> Wish:
        wish = Wish()
        guider, noise, chosen, sigmas = (
            self.source(sampler.inputs.get(name)) or sampler
            for name in ("guider", "noise", "sampler", "sigmas")
        )
        self._latent(sampler, wish)
        positive = guider.inputs.get("positive") or guider.inputs.get("conditioning")
        wish.say("prompt", "positive prompt", self.text(positive, "positive", wish))
        if negative := self.text(guider.inputs.get("negative"), "negative", wish):
            wish.say("negative", "negative prompt", negative)
        for ours, node, name in (
            ("seed", noise, "noise_seed" if "noise_seed" in noise.inputs else "seed"),
            ("steps", sigmas, "steps"),
            ("guidance", guider, "cfg"),
        ):
            if ours not in wish.fields and (value := self.value(node, name)) is not None:
                wish.say(ours, f"{node.type}.{name}", f"{value}")
        self._schedule(wish, sampler, chosen, sigmas)
        self._model(guider.inputs.get("model"), wish)
        return wish

    def _schedule(self, wish: Wish, sampler: GraphNode, chosen: GraphNode, sigmas: GraphNode) -> None:
        name, schedule = self.value(chosen, "sampler_name"), str(self.value(sigmas, "scheduler") or "")
        if name is not None:
            full_name = f"{name} {schedule}" if schedule in SCHEDULES else str(name)
            wish.say("sampler", f"{chosen.type}.sampler_name", full_name)
        if schedule not in (*_PLAIN_SCHEDULES, *SCHEDULES):
            self.account.leave(f"scheduler: {schedule}", "the farm has the schedules simple, karras and beta")
        first, last = self.value(sampler, "start_at_step"), self.value(sampler, "end_at_step")
        steps = self.value(sampler, "steps")
        if first or (isinstance(last, int) and isinstance(steps, int) and last < steps):
            raise UnusableSource(
                f"samples only part of the steps with {sampler}, which the farm does not support"
            )

    def _latent(self, sampler: GraphNode, wish: Wish) -> None:
        latent = self.source(sampler.inputs.get("latent_image"))
        if latent is None:
            return
        if latent.type in _SAMPLERS or "Upscale" in latent.type:
            raise UnusableSource(
                f"has a second sampling pass, {sampler} after {latent}; the farm supports one pass"
            )
        if not (latent.type.startswith("Empty") and "width" in latent.inputs):
            raise UnusableSource(f"starts from {latent}; {_TEXT_ONLY}")
        for side in ("width", "height"):
            wish.say(side, f"{latent.type}.{side}", f"{self.value(latent, side)}")
        batch = self.value(latent, "batch_size")
        if isinstance(batch, int) and batch > 1:
            wish.say("count", f"{latent.type}.batch_size", str(batch))
            self.account.leave(
                f"batch_size: {batch}",
                "each image of a batch gets its own seed here, so all but the first differ",
            )
        denoise = self.value(sampler, "denoise")
        if isinstance(denoise, int | float) and denoise < 1:
            self.account.leave(f"denoise: {denoise:g}", "the farm always denoises completely")

    def text(self, link: Any, which: str, wish: Wish) -> str:
        """The prompt text of a conditioning."""
        node = self.source(link)
        for _ in range(_MAX_STEPS):
            if node is None or node.type == "ConditioningZeroOut":
                return ""
            match node.type:
                case "CLIPTextEncode":
                    self._clip(node, wish)
                    return self._words(node, "text")
                case "CLIPTextEncodeSDXL":
                    return self._words(node, "text_g")
                case "CLIPTextEncodeFlux":
                    return self._words(node, "t5xxl")
                case "FluxGuidance":
                    wish.say("guidance", "FluxGuidance.guidance", f"{self.value(node, 'guidance')}")
                    node = self.source(node.inputs.get("conditioning"))
                case _:
                    raise UnusableSource(
                        f"builds the {which} prompt with {node}, which the farm does not support"
                    )
        return ""

    def _words(self, node: GraphNode, name: str) -> str:
        words = self.value(node, name)
        return words if isinstance(words, str) else ""

    def _clip(self, node: GraphNode, wish: Wish) -> None:
        clip = self.source(node.inputs.get("clip"))
        if clip is not None and clip.type == "CLIPSetLastLayer":
            name = "stop_at_clip_layer"
            wish.say("clip_skip", f"{clip.type}.{name}", str(self.value(clip, name)).removeprefix("-"))

    def _model(self, link: Any, wish: Wish) -> None:
        for node in self._chain(link):
            if node.type in _CHECKPOINTS:
                wish.say("model", f"{node.type}", str(self.value(node, _CHECKPOINTS[node.type])))
            elif node.type in ("LoraLoader", "LoraLoaderModelOnly"):
                weight = self.value(node, "strength_model")
                clip = self.value(node, "strength_clip")
                text_weight = None if clip in (None, weight) else _number(clip)
                name = str(self.value(node, "lora_name"))
                wish.loras.insert(0, TheirLora(name, _number(weight), text_weight))
            elif node.type in _SHIFTS:
                wish.say("shift", f"{node.type}.shift", f"{self.value(node, 'shift')}")
            elif any("image" in name.lower() or "control" in name.lower() for name in node.inputs):
                raise UnusableSource(f"changes the model with {node}; {_TEXT_ONLY}")
            else:
                self.account.leave(str(node), "the farm does not support this model patch")

    def _chain(self, link: Any) -> Iterator[GraphNode]:
        """The nodes that the model passes through, last first."""
        for _ in range(_MAX_STEPS):
            node = self.source(link)
            if node is None:
                return
            yield node
            link = node.inputs.get("model")
        raise UnusableSource(f"is a ComfyUI workflow with a cycle at {shortened(str(link))}")


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 1.0
