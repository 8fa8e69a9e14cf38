"""LoRAs: their layers, and the families that these can belong to, by names and shapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from common.weights.header import Tensor

#: The tensor of a layer that tells its inputs. One such key a layer.
_LAYER = re.compile(
    r"^(?P<module>.+?)\.(?:(?P<down>lora_A|lora_down|lora\.down)(?:\.[\w-]+)?\.weight|(?P<loha>hada_w1_b)"
    r"|(?P<lokr>lokr_w1(?:_b)?))$"
)
_Z_IMAGE = re.compile(r"(?:^|_)(?:context_refiner|noise_refiner|layers)_\d+_(?:attention|feed_forward|adaLN)")
_FLUX = re.compile(r"(?:^|_)(?:double_blocks|single_blocks|single_transformer_blocks)_(\d+)_")
#: Each block of FLUX.1 has such a layer; those of Chroma, alike in all else, have none.
_MODULATION = re.compile(r"_(?:img_mod_lin|txt_mod_lin|modulation_lin|norm1?_linear|norm1_context_linear)$")
_PLAIN_MLP = re.compile(r"_proj_mlp$")
_FLUX2 = re.compile(r"_(?:to_qkv_mlp_proj|ff_linear_in|ff_context_linear_in)$|stream_modulation")
_BLOCK = re.compile(r"(?:^|_)transformer_blocks_(\d+)_")
_QWEN = re.compile(r"_transformer_blocks_\d+_(?:img_mlp|txt_mlp|img_mod|txt_mod)_")
_UNET = re.compile(r"(?:^|_)(?:input_blocks|output_blocks|middle_block|down_blocks|up_blocks|mid_block)_")
#: Width of the text that a U-Net's cross attention listens to.
_CROSS_ATTENTION = {768: "sd15", 1024: "sd2", 2048: "sdxl"}
#: Width of a family's models to the parameters of the denoiser.
_DENOISERS = {
    "flux2-klein": {3072: 3_876_000_000, 4096: 9_079_000_000},
    "flux2-dev": {6144: 32_223_000_000},
    "z-image": {3840: 6_155_000_000},
}
#: Words of `ss_base_model_version` or `modelspec.architecture` to the family.
_SAID = {
    "sdxl": "sdxl",
    "stable-diffusion-xl": "sdxl",
    "sd_v1": "sd15",
    "stable-diffusion-v1": "sd15",
    "sd_v2": "sd2",
    "stable-diffusion-v2": "sd2",
    "flux2_klein": "flux2-klein",
    "flux-2-klein": "flux2-klein",
    "chroma": "chroma",
    "flux1": "flux1",
    "flux-1": "flux1",
    "zimage": "z-image",
    "z-image": "z-image",
    "z_image": "z-image",
    "qwen": "qwen-image",
    "lumina2": "lumina2",
}


@dataclass(frozen=True, slots=True)
class LoraLayer:
    #: Name of the layer with `_` for each dot, as kohya's trainer writes it.
    name: str
    inputs: int
    #: 0 where the file does not tell.
    outputs: int


def lora_layers(tensors: Mapping[str, Tensor]) -> list[LoraLayer]:
    """The layers that a LoRA file changes; none if it is no LoRA."""
    found = []
    for key, tensor in tensors.items():
        if (match := _LAYER.match(key)) and tensor.shape:
            inputs = tensor.shape[1] if len(tensor.shape) > 1 else tensor.shape[0]
            if match["lokr"]:
                inputs *= _lokr_inputs(tensors, match["module"])
            found.append(LoraLayer(match["module"].replace(".", "_"), inputs, _outputs(tensors, key, match)))
    return found


def _lokr_inputs(tensors: Mapping[str, Tensor], module: str) -> int:
    second = tensors.get(f"{module}.lokr_w2") or tensors.get(f"{module}.lokr_w2_b")
    return second.shape[1] if second and len(second.shape) > 1 else 1


def _outputs(tensors: Mapping[str, Tensor], key: str, match: re.Match[str]) -> int:
    if match["loha"]:
        up = tensors.get(f"{match['module']}.hada_w1_a")
    else:
        up = tensors.get(
            key.replace("lora_A", "lora_B").replace("lora_down", "lora_up").replace("lora.down", "lora.up")
        )
    return up.shape[0] if up and up.shape and not match["lokr"] else 0


def lora_format(tensors: Iterable[str]) -> str:
    """`loha`, `lokr`, `kohya` (lora_down, lora_up) or `peft` (lora_A, lora_B)."""
    keys = " ".join(tensors)
    words = {"hada_w": "loha", "lokr_w": "lokr", "lora_down": "kohya"}
    return next((name for word, name in words.items() if word in keys), "peft")


def lora_families(layers: list[LoraLayer], metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Families that the layers can belong to; where they leave several, the metadata decides among them."""
    found = _by_layers(layers)
    if len(found) == 1:
        return found
    said = f"{metadata.get('ss_base_model_version', '')} {metadata.get('modelspec.architecture', '')}".lower()
    named = next((family for word, family in _SAID.items() if word in said), None)
    return (named,) if named and (not found or named in found) else found


def lora_denoiser(layers: list[LoraLayer], families: Sequence[str]) -> int:
    """Parameters of the denoiser that the layers are of, where the width tells; 0: unknown."""
    sizes = [_DENOISERS.get(family, {}).get(_width(layers), 0) for family in families]
    return max(sizes, default=0)


def _by_layers(layers: list[LoraLayer]) -> tuple[str, ...]:
    names = [layer.name for layer in layers]
    if any(_Z_IMAGE.search(name) for name in names):
        return ("lumina2",) if _width(layers) == 2304 else ("z-image",)
    if any(_FLUX.search(name) for name in names):
        return _flux(layers)
    if any(_UNET.search(name) for name in names):
        return _unet(layers)
    blocks = [int(found[1]) for name in names if (found := _BLOCK.search(name))]
    if any(_QWEN.search(f"_{name}") for name in names) or (blocks and max(blocks) >= 19):
        return ("qwen-image",)
    if blocks:
        return ("flux1", "chroma", "flux2-klein", "qwen-image")
    if any(name.startswith("lora_te") for name in names):
        return ("sdxl",) if any(name.startswith("lora_te2") for name in names) else ("sd15", "sdxl")
    return ()


def _flux(layers: list[LoraLayer]) -> tuple[str, ...]:
    """FLUX.1 modulates each block by a layer of its own and has a plain MLP; FLUX.2 shares the modulation and
    has a gated MLP, and its models have other widths or fewer blocks."""
    width, names = _width(layers), [layer.name for layer in layers]
    dev = "flux2-dev" if width == 6144 else "flux2-klein"
    if width in (4096, 6144) or any(_FLUX2.search(name) for name in names):
        return (dev,)
    for layer in layers:
        if layer.name.endswith("_linear1") and layer.outputs:
            return _flux1(names) if layer.outputs == 7 * layer.inputs else (dev,)
        if layer.name.endswith("_img_mlp_0") and layer.outputs:
            return _flux1(names) if layer.outputs == 4 * layer.inputs else (dev,)
    blocks = [(name, int(found[1])) for name in names if (found := _FLUX.search(name))]
    many = any(number >= (8 if "double" in name else 24) for name, number in blocks)
    if many or any(_MODULATION.search(name) or _PLAIN_MLP.search(name) for name in names):
        return _flux1(names)
    return ("flux1", "chroma", "flux2-klein")


def _flux1(names: Sequence[str]) -> tuple[str, ...]:
    return ("flux1",) if any(map(_MODULATION.search, names)) else ("flux1", "chroma")


def _unet(layers: list[LoraLayer]) -> tuple[str, ...]:
    for layer in layers:
        if re.search(r"attn2_to_[kv]$", layer.name):
            family = _CROSS_ATTENTION.get(layer.inputs)
            return (family,) if family else ("sd15", "sdxl")
    deep = any(re.search(r"transformer_blocks_[1-9]", layer.name) for layer in layers)
    return ("sdxl",) if deep else ("sd15", "sdxl")


def _width(layers: list[LoraLayer]) -> int:
    """Inputs that most layers of the denoiser have."""
    counts: dict[int, int] = {}
    for layer in layers:
        if not layer.name.startswith(("lora_te", "text_encoder")):
            counts[layer.inputs] = counts.get(layer.inputs, 0) + 1
    return max(counts, key=counts.__getitem__, default=0)
