"""LoRA files of every kind for every family, and what the farm says of each on the family's tiny model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

Shapes = dict[str, tuple[int, ...]]

Z_IMAGE, KLEIN, QWEN = "ZImagePipeline", "Flux2KleinPipeline", "QwenImagePipeline"
SD15, SDXL = "StableDiffusionPipeline", "StableDiffusionXLPipeline"
FLUX1, CHROMA = "FluxPipeline", "ChromaPipeline"


def _layers(places: str, *shape: int) -> Shapes:
    """Layers of one shape: `block to_q to_k` are `block_to_q` and `block_to_k`."""
    block, _, names = places.partition(" ")
    return {f"{block}_{name}": shape for name in names.split()}


def _text_encoder(width: int) -> Shapes:
    return _layers("encoder_layers_0_self_attn q_proj out_proj", width, width)


def _unet(width: int) -> Shapes:
    """Of a UNet whose text has this width."""
    block = "down_blocks_1_attentions_0_transformer_blocks_0"
    return (
        _layers("down_blocks_0_resnets_0 conv1", 16, 16, 3, 3)
        | _layers(f"{block} attn1_to_q attn1_to_out_0", 32, 32)
        | _layers(f"{block} attn2_to_k", 32, width)
    )


def _flux() -> Shapes:
    """Of the transformers of FLUX.1 and Chroma."""
    return (
        _layers("transformer_blocks_0_attn to_q to_k to_v", 32, 32)
        | _layers("transformer_blocks_0_ff net_2", 32, 128)
        | _layers("single_transformer_blocks_0_attn to_q to_k to_v", 32, 32)
        | _layers("single_transformer_blocks_0 proj_mlp", 128, 32)
    )


#: Some layers of the tiny models: component to name to the shape of the weight.
MODULES: dict[str, dict[str, Shapes]] = {
    Z_IMAGE: {
        "transformer": _layers("layers_0_attention to_q to_k to_v to_out_0", 64, 64)
        | _layers("layers_0 feed_forward_w1", 170, 64)
        | _layers("context_refiner_0 attention_to_q", 64, 64)
    },
    KLEIN: {
        "transformer": _layers("transformer_blocks_0_attn to_q to_k to_v to_out_0", 32, 32)
        | _layers("single_transformer_blocks_0 attn_to_qkv_mlp_proj", 288, 32)
        | _layers("single_stream modulation_linear", 96, 32)
    },
    QWEN: {
        "transformer": _layers("transformer_blocks_0_attn to_q to_k add_k_proj", 32, 32)
        | _layers("transformer_blocks_0 img_mlp_net_2", 32, 128)
    },
    SD15: {"unet": _unet(32), "text_encoder": _text_encoder(32)},
    SDXL: {"unet": _unet(96), "text_encoder": _text_encoder(32), "text_encoder_2": _text_encoder(64)},
    FLUX1: {
        "transformer": _flux(),
        "text_encoder": _layers("encoder_layers_0_self_attn q_proj", 32, 32),
    },
    CHROMA: {"transformer": _flux()},
}


@dataclass(frozen=True, slots=True)
class Case:
    pipeline: str
    name: str
    shapes: Mapping[str, tuple[int, ...]]
    #: Pattern of a part of what is said; empty: it fits.
    said: str = ""

    def __str__(self) -> str:
        return f"{self.pipeline}-{self.name}"


def peft(name: str, outputs: int, inputs: int, *, rank: int = 2, up_rank: int | None = None) -> Shapes:
    return _two(name, ("lora_A", "lora_B"), outputs, inputs, rank, up_rank)


def kohya(name: str, outputs: int, inputs: int, *, rank: int = 2, alpha: bool = True) -> Shapes:
    return _two(name, ("lora_down", "lora_up"), outputs, inputs, rank) | (
        {f"{name}.alpha": ()} if alpha else {}
    )


def dotted(name: str, outputs: int, inputs: int) -> Shapes:
    return _two(name, ("lora.down", "lora.up"), outputs, inputs, 2)


def conv(name: str, outputs: int, inputs: int, size: int) -> Shapes:
    return {
        f"{name}.lora_down.weight": (2, inputs, size, size),
        f"{name}.lora_up.weight": (outputs, 2, 1, 1),
        f"{name}.alpha": (),
    }


def loha(name: str, outputs: int, inputs: int, *, rank: int = 2) -> Shapes:
    """`rank` is that of `w2_a`; of all others it is 2."""
    shapes: Shapes = {f"{name}.hada_w1_a": (outputs, 2), f"{name}.hada_w2_a": (outputs, rank)}
    return shapes | {f"{name}.hada_w{n}_b": (2, inputs) for n in (1, 2)} | {f"{name}.alpha": ()}


def tucker(name: str, outputs: int, inputs: int, size: int) -> Shapes:
    """A LoHa of a convolution."""
    shapes: Shapes = {f"{name}.hada_t{n}": (2, 2, size, size) for n in (1, 2)}
    shapes |= {f"{name}.hada_w{n}_a": (2, outputs) for n in (1, 2)}
    return shapes | {f"{name}.hada_w{n}_b": (2, inputs) for n in (1, 2)}


def low(name: str, outputs: int, inputs: int, *, rank: int = 2) -> Shapes:
    """A LoKr whose second matrix is a product of `rank`."""
    second: Shapes = {f"{name}.lokr_w2_a": (outputs // 4, rank), f"{name}.lokr_w2_b": (2, inputs // 4)}
    return {f"{name}.lokr_w1": (4, 4)} | second | {f"{name}.alpha": ()}


def lokr(name: str, outputs: int, inputs: int, *, alpha: bool = False) -> Shapes:
    shapes: Shapes = {f"{name}.lokr_w1": (4, 4), f"{name}.lokr_w2": (outputs // 4, inputs // 4)}
    return shapes | ({f"{name}.alpha": ()} if alpha else {})


def dora(name: str, outputs: int, inputs: int, *, of_inputs: bool = False) -> Shapes:
    """A LoRA with the scales of a DoRA, as kohya's trainer and LyCORIS write them."""
    scales = (1, inputs) if of_inputs else (outputs, 1)
    return kohya(name, outputs, inputs) | {f"{name}.dora_scale": scales}


def _two(
    name: str, halves: tuple[str, str], outputs: int, inputs: int, rank: int, up_rank: int | None = None
) -> Shapes:
    return {
        f"{name}.{halves[0]}.weight": (rank, inputs),
        f"{name}.{halves[1]}.weight": (outputs, up_rank or rank),
    }


CONVERT = "convert it to a plain LoRA"
ANOTHER = "use a LoRA that was made for this model"
_Z = "layers.0.attention"
_SINGLE = "single_blocks.0.linear1"
_UNET = "down_blocks.1.attentions.0.transformer_blocks.0"
_KOHYA_UNET = "lora_unet_" + _UNET.replace(".", "_")
_CONVOLUTION = "down_blocks_0_resnets_0_conv1"
_SGM = "lora_unet_input_blocks_3_1_transformer_blocks_0"


def _text(prefix: str, width: int) -> Shapes:
    layer = f"{prefix}text_model_encoder_layers_0_self_attn"
    return kohya(f"{layer}_q_proj", width, width) | kohya(f"{layer}_out_proj", width, width)


_FOR_SDXL = peft(f"unet.{_UNET}.attn2.to_k", 32, 2048)
_FOR_Z_IMAGE = peft(f"transformer.{_Z}.to_q", 64, 64)
_FOR_KLEIN = peft("transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj", 288, 32)


def _both(pipeline: str, prefix: str, layer: str, second: str, outputs: int, inputs: int) -> list[Case]:
    """What is wrong in the same way in every family."""
    good = peft(f"{prefix}{layer}", outputs, inputs)
    unknown = layer.replace("0", "90", 1)
    return [
        Case(pipeline, "peft", good),
        Case(pipeline, "ranks that vary", good | peft(f"{prefix}{second}", outputs, inputs, rank=3)),
        Case(pipeline, "no prefix", peft(layer, outputs, inputs), f"lack the prefix `{prefix}`"),
        Case(
            pipeline,
            "half unknown",
            good | peft(f"{prefix}{unknown}", outputs, inputs),
            re.escape(f"only 1 of its 2 layers (`{prefix}{unknown}` is unknown); {ANOTHER}"),
        ),
        Case(
            pipeline, "other width", peft(f"{prefix}{layer}", outputs, 7), f"{outputs}×7, that of the model"
        ),
        Case(pipeline, "wrong rank", peft(f"{prefix}{layer}", outputs, inputs, up_rank=5), "ranks, 2 and 5"),
        Case(
            pipeline,
            "one tensor of two",
            {key: shape for key, shape in good.items() if "lora_A" in key},
            "lacks one of its two tensors",
        ),
        Case(pipeline, "dora of peft", good | {f"{prefix}{layer}.lora_magnitude_vector": (outputs,)}),
        *_doras(pipeline, f"{prefix}{layer}", good, outputs, inputs),
        *_factored(pipeline, f"{prefix}{layer}", f"{prefix}{unknown}", outputs, inputs),
        Case(pipeline, "lora and loha", good | loha(f"{prefix}{second}", outputs, inputs)),
        Case(
            pipeline,
            "kohya and lokr",
            kohya(f"{prefix}{layer}", outputs, inputs) | lokr(f"{prefix}{second}", outputs, inputs),
        ),
        Case(
            pipeline,
            "lora and loha in one layer",
            good | loha(f"{prefix}{layer}", outputs, inputs),
            f"has tensors of a LoRA and of a LoHa or LoKr; {CONVERT}",
        ),
        Case(
            pipeline,
            "loha, and half a lora",
            loha(f"{prefix}{second}", outputs, inputs) | dict([*good.items()][:1]),
            "lacks one of its two tensors",
        ),
        Case(pipeline, "other tensors", good | {f"{prefix}{layer}.diff_b": (4,)}, "not of a LoRA, such as"),
    ]


def _doras(pipeline: str, layer: str, good: Shapes, outputs: int, inputs: int) -> list[Case]:
    scales = f"{layer}.dora_scale"
    return [
        Case(pipeline, "dora of kohya", dora(layer, outputs, inputs)),
        Case(pipeline, "dora of inputs", good | {scales: (1, inputs)}),
        Case(pipeline, "dora, lokr", lokr(layer, outputs, inputs) | {scales: (outputs, 1)}),
        Case(
            pipeline, "dora of another width", good | {scales: (7, 1)}, f"`dora_scale` .* is 7×1, .*{ANOTHER}"
        ),
        Case(pipeline, "scales alone", {scales: (outputs, 1)}, "lacks one of its two tensors"),
        Case(
            pipeline,
            "doras of peft and of kohya",
            good | {scales: (outputs, 1), f"{layer}.lora_magnitude_vector": (outputs,)},
            f"it has `lora_magnitude_vector`, which the engine cannot load beside.*{CONVERT}",
        ),
    ]


def _factored(pipeline: str, layer: str, unknown: str, outputs: int, inputs: int) -> list[Case]:
    """LoHas and LoKrs."""
    cases = []
    for kind in (loha, lokr, low):
        name, good = kind.__name__, kind(layer, outputs, inputs)
        cases += [
            Case(pipeline, name, good),
            Case(
                pipeline,
                f"{name} half unknown",
                good | kind(unknown, outputs, inputs),
                re.escape(f"only 1 of its 2 layers (`{unknown}` is unknown); {ANOTHER}"),
            ),
            Case(pipeline, f"{name} of another width", kind(layer, 16, 16), "16×16, that of the model"),
            Case(pipeline, f"{name} in part", dict([*good.items()][1:2]), "lacks a tensor"),
        ]
        if kind is not lokr:
            other = kind(layer, outputs, inputs, rank=5)
            cases.append(Case(pipeline, f"{name} of wrong rank", other, "different ranks, 5 and 2"))
    return cases


CASES = [
    *_both(Z_IMAGE, "transformer.", f"{_Z}.to_q", f"{_Z}.to_k", 64, 64),
    Case(
        Z_IMAGE,
        "peft with alpha",
        peft(f"transformer.{_Z}.to_q", 64, 64) | {f"transformer.{_Z}.to_q.alpha": ()},
    ),
    Case(Z_IMAGE, "ai-toolkit", peft(f"diffusion_model.{_Z}.to_q", 64, 64)),
    Case(Z_IMAGE, "comfyui", kohya(f"diffusion_model.{_Z}.to_out.0", 64, 64)),
    Case(Z_IMAGE, "kohya", kohya("lora_unet_layers_0_attention_to_q", 64, 64)),
    Case(Z_IMAGE, "kohya without alpha", kohya("lora_unet_layers_0_feed_forward_w1", 170, 64, alpha=False)),
    Case(Z_IMAGE, "kohya refiner", kohya("lora_unet_context_refiner_0_attention_to_q", 64, 64)),
    Case(Z_IMAGE, "kohya fused", kohya("lora_unet_layers_0_attention_qkv", 192, 64)),
    Case(
        Z_IMAGE,
        "fused",
        peft(f"diffusion_model.{_Z}.qkv", 192, 64) | peft(f"diffusion_model.{_Z}.out", 64, 64),
    ),
    Case(Z_IMAGE, "fused with alpha", kohya(f"diffusion_model.{_Z}.qkv", 192, 64)),
    Case(Z_IMAGE, "fused peft", peft(f"transformer.{_Z}.qkv", 192, 64)),
    Case(Z_IMAGE, "fused dotted", dotted(f"diffusion_model.{_Z}.qkv", 192, 64)),
    Case(
        Z_IMAGE,
        "fused of another width",
        peft(f"diffusion_model.{_Z}.qkv", 96, 32),
        "96×32, that of the model 192×64",
    ),
    Case(
        Z_IMAGE,
        "named adapter",
        {
            key.replace("_A.", "_A.default.").replace("_B.", "_B.default."): shape
            for key, shape in _FOR_Z_IMAGE.items()
        },
    ),
    Case(Z_IMAGE, "lokr ai-toolkit", lokr(f"diffusion_model.{_Z}.to_q", 64, 64, alpha=True)),
    Case(Z_IMAGE, "dora fused", dora(f"diffusion_model.{_Z}.qkv", 192, 64)),
    Case(
        Z_IMAGE,
        "dora fused, of inputs",
        dora(f"diffusion_model.{_Z}.qkv", 192, 64, of_inputs=True),
        f"is of the inputs of 3 joined layers; {CONVERT}",
    ),
    Case(Z_IMAGE, "lokr fused", lokr(f"diffusion_model.{_Z}.qkv", 192, 64)),
    Case(Z_IMAGE, "loha fused", loha("lora_unet_layers_0_attention_qkv", 192, 64)),
    Case(
        Z_IMAGE,
        "loha fused of another width",
        loha(f"diffusion_model.{_Z}.qkv", 96, 64),
        "96×64, that of the model 192×64",
    ),
    Case(Z_IMAGE, "for sdxl", _FOR_SDXL, rf"none of its 1 layers \(they are of SDXL\); {ANOTHER}"),
    Case(Z_IMAGE, "for klein", _FOR_KLEIN, r"none of its 1 layers \(they are of FLUX\.2 klein\)"),
    *_both(KLEIN, "transformer.", "transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_k", 32, 32),
    Case(
        KLEIN,
        "peft alpha",
        _FOR_KLEIN | {"transformer.single_transformer_blocks.0.attn.alpha": ()},
        "does not read `alpha`",
    ),
    Case(
        KLEIN,
        "ai-toolkit",
        peft(f"diffusion_model.{_SINGLE}", 288, 32)
        | peft("diffusion_model.double_blocks.0.img_attn.qkv", 96, 32),
    ),
    Case(
        KLEIN,
        "ai-toolkit, names of diffusers",
        peft("diffusion_model.transformer_blocks.0.attn.to_q", 32, 32),
    ),
    Case(
        KLEIN,
        "ai-toolkit alpha",
        peft(f"diffusion_model.{_SINGLE}", 288, 32) | {f"diffusion_model.{_SINGLE}.alpha": ()},
        "does not read `alpha`",
    ),
    Case(KLEIN, "peft of the training code", peft(f"base_model.model.{_SINGLE}", 288, 32)),
    Case(KLEIN, "modulation", peft("diffusion_model.single_stream_modulation.lin", 96, 32)),
    Case(
        KLEIN,
        "kohya",
        kohya("lora_unet_single_blocks_0_linear1", 288, 32)
        | kohya("lora_unet_double_blocks_0_img_attn_qkv", 96, 32),
    ),
    Case(
        KLEIN,
        "kohya modulation",
        kohya("lora_unet_single_stream_modulation_lin", 96, 32),
        "none of its 1 layers",
    ),
    Case(
        KLEIN,
        "lora_down below the wrong prefix",
        kohya(f"diffusion_model.{_SINGLE}", 288, 32),
        "none of its 1 layers",
    ),
    Case(KLEIN, "lokr ai-toolkit", lokr(f"diffusion_model.{_SINGLE}", 288, 32)),
    Case(KLEIN, "lokr lycoris", lokr("lycoris_transformer_blocks_0_attn_to_q", 32, 32, alpha=True)),
    Case(KLEIN, "lokr bare", lokr("transformer_blocks.0.attn.to_q", 32, 32)),
    Case(KLEIN, "lokr fused", lokr("diffusion_model.double_blocks.0.img_attn.qkv", 96, 32)),
    Case(KLEIN, "dora fused", dora("lora_unet_double_blocks_0_img_attn_qkv", 96, 32)),
    Case(KLEIN, "loha fused", loha("lora_unet_double_blocks_0_img_attn_qkv", 96, 32)),
    Case(KLEIN, "for z-image", _FOR_Z_IMAGE, r"none of its 1 layers \(they are of Z-Image\)"),
    Case(KLEIN, "for sdxl", _FOR_SDXL, r"none of its 1 layers \(they are of SDXL\)"),
    *_both(QWEN, "transformer.", "transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_k", 32, 32),
    Case(
        QWEN,
        "peft with alpha",
        peft("transformer.transformer_blocks.0.attn.to_q", 32, 32)
        | {"transformer.transformer_blocks.0.attn.to_q.alpha": ()},
    ),
    Case(QWEN, "ai-toolkit", peft("diffusion_model.transformer_blocks.0.attn.to_q", 32, 32)),
    Case(QWEN, "comfyui", kohya("diffusion_model.transformer_blocks.0.img_mlp.net.2", 32, 128)),
    Case(QWEN, "kohya", kohya("lora_unet_transformer_blocks_0_attn_add_k_proj", 32, 32)),
    Case(QWEN, "kohya without alpha", kohya("lora_unet_transformer_blocks_0_attn_to_q", 32, 32, alpha=False)),
    Case(
        QWEN,
        "other prefix",
        kohya("lora_transformer_transformer_blocks_0_attn_to_q", 32, 32),
        "none of its 1 layers",
    ),
    Case(
        QWEN,
        "down below the names of diffusers",
        kohya("transformer.transformer_blocks.0.attn.to_q", 32, 32, alpha=False),
        "none of its 1 layers",
    ),
    Case(QWEN, "dotted", dotted("transformer.transformer_blocks.0.attn.to_q", 32, 32)),
    Case(
        QWEN,
        "dotted, written by others",
        dotted("diffusion_model.transformer_blocks.0.attn.to_q", 32, 32),
        "none of its 1 layers",
    ),
    Case(QWEN, "loha kohya", loha("lora_unet_transformer_blocks_0_attn_add_k_proj", 32, 32)),
    Case(QWEN, "for sdxl", _FOR_SDXL, r"none of its 1 layers \(they are of SDXL\)"),
    *_both(SD15, "unet.", f"{_UNET}.attn1.to_q", f"{_UNET}.attn1.to_out.0", 32, 32),
    Case(SD15, "dotted", dotted(f"unet.{_UNET}.attn1.to_q", 32, 32)),
    Case(
        SD15,
        "peft with alpha",
        peft(f"unet.{_UNET}.attn1.to_q", 32, 32) | {f"unet.{_UNET}.attn1.to_q.alpha": ()},
        "does not read `alpha`",
    ),
    Case(SD15, "kohya", kohya(f"{_KOHYA_UNET}_attn1_to_out_0", 32, 32) | _text("lora_te_", 32)),
    Case(SD15, "kohya without alpha", kohya(f"{_KOHYA_UNET}_attn1_to_q", 32, 32, alpha=False)),
    Case(SD15, "kohya convolution", conv("lora_unet_down_blocks_0_resnets_0_conv1", 16, 16, 3)),
    Case(
        SD15,
        "kohya with another prefix",
        kohya(f"{_KOHYA_UNET}_attn1_to_q", 32, 32) | kohya("lora_x", 4, 4),
        "the engine does not read `alpha`",
    ),
    Case(SD15, "names of the training code", kohya(f"{_SGM}_attn1_to_q", 32, 32), "none of its 1 layers"),
    Case(
        SD15,
        "two text encoders",
        kohya(f"{_KOHYA_UNET}_attn1_to_q", 32, 32) | _text("lora_te2_", 64),
        "only 1 of its 3 layers",
    ),
    Case(
        SD15,
        "lokr kohya",
        lokr(f"{_KOHYA_UNET}_attn1_to_q", 32, 32)
        | loha("lora_te_text_model_encoder_layers_0_self_attn_q_proj", 32, 32),
    ),
    Case(SD15, "dora, text", dora("lora_te_text_model_encoder_layers_0_self_attn_q_proj", 32, 32)),
    Case(
        SD15,
        "dora convolution",
        conv(f"lora_unet_{_CONVOLUTION}", 16, 16, 3)
        | {f"lora_unet_{_CONVOLUTION}.dora_scale": (16, 1, 1, 1)},
    ),
    Case(
        SD15,
        "dora convolution of inputs",
        conv(f"lora_unet_{_CONVOLUTION}", 16, 16, 3)
        | {f"lora_unet_{_CONVOLUTION}.dora_scale": (1, 16, 1, 1)},
    ),
    Case(SD15, "loha convolution", loha(f"lora_unet_{_CONVOLUTION}", 16, 16 * 9)),
    Case(SD15, "loha tucker", tucker(f"lora_unet_{_CONVOLUTION}", 16, 16, 3)),
    Case(
        SD15,
        "lokr convolution",
        {
            f"lora_unet_{_CONVOLUTION}.lokr_w1": (4, 4),
            f"lora_unet_{_CONVOLUTION}.lokr_w2": (4, 4, 3, 3),
        },
    ),
    Case(
        SD15,
        "loha of another window",
        tucker(f"lora_unet_{_CONVOLUTION}", 16, 16, 1),
        "16×16×1×1, that of the model 16×16×3×3",
    ),
    Case(SD15, "for z-image", _FOR_Z_IMAGE, r"none of its 1 layers \(they are of Z-Image\)"),
    *_both(SDXL, "unet.", f"{_UNET}.attn1.to_q", f"{_UNET}.attn1.to_out.0", 32, 32),
    Case(
        SDXL,
        "kohya",
        kohya(f"{_KOHYA_UNET}_attn2_to_k", 32, 96) | _text("lora_te1_", 32) | _text("lora_te2_", 64),
    ),
    Case(
        SDXL,
        "kohya, names of the training code",
        kohya(f"{_SGM}_attn2_to_k", 32, 96) | _text("lora_te2_", 64),
    ),
    Case(
        SDXL,
        "kohya convolution of the training code",
        conv("lora_unet_input_blocks_1_0_in_layers_2", 16, 16, 3),
    ),
    Case(SDXL, "for sd15", kohya(f"{_KOHYA_UNET}_attn2_to_k", 32, 32), "32×32, that of the model 32×96"),
    Case(SDXL, "dora of the training code", dora(f"{_SGM}_attn2_to_k", 32, 96)),
    Case(SDXL, "lokr of the training code", lokr(f"{_SGM}_attn2_to_k", 32, 96, alpha=True)),
    Case(SDXL, "loha, text", loha("lora_te2_text_model_encoder_layers_0_self_attn_q_proj", 64, 64)),
    Case(SDXL, "lokr for sd15", lokr(f"{_SGM}_attn2_to_k", 32, 32), "32×32, that of the model 32×96"),
    Case(SDXL, "for klein", _FOR_KLEIN, r"none of its 1 layers \(they are of FLUX\.2 klein\)"),
    *_factored(
        FLUX1,
        "transformer.transformer_blocks.0.attn.to_q",
        "transformer.transformer_blocks.90.attn.to_q",
        32,
        32,
    ),
    *_doras(
        FLUX1,
        "transformer.transformer_blocks.0.attn.to_q",
        peft("transformer.transformer_blocks.0.attn.to_q", 32, 32),
        32,
        32,
    ),
    Case(FLUX1, "loha kohya", loha("lora_unet_double_blocks_0_img_attn_qkv", 96, 32)),
    Case(FLUX1, "lokr fused", lokr(f"diffusion_model.{_SINGLE}", 224, 32)),
    Case(FLUX1, "lokr, text", lokr("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", 32, 32)),
    Case(CHROMA, "lokr", lokr("lycoris_transformer_blocks_0_ff_net_2", 32, 128)),
    Case(CHROMA, "dora", dora("lora_unet_double_blocks_0_img_attn_qkv", 96, 32)),
    Case(CHROMA, "lokr fused", lokr(f"diffusion_model.{_SINGLE}", 224, 32)),
    Case(
        CHROMA,
        "lokr, text",
        lokr("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", 32, 32),
        "none of its 1 layers",
    ),
]
