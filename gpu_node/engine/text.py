"""Text becomes embeddings once per distinct prompt; each family has its own way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from common.prompt_chunks import count_tokens
from common.shot import Shot
from gpu_node.engine.clip_text import clip_chunks, encode_sd15, encode_sdxl, repeated
from gpu_node.engine.placement import DevicePlacement
from gpu_node.errors import RenderError
from gpu_node.protocol import Encode, Load

#: Pipeline argument to embedding of one text.
Embeddings = dict[str, torch.Tensor]

#: Where the padding is stripped again, a text is padded to a multiple of so many tokens.
_PAD_TOKENS = 64


class Side(NamedTuple):
    """A text and all that decides its embeddings, besides the encoders and their LoRAs."""

    text: str
    negative: bool = False
    #: As counted by people: 1 is the last layer of the text encoder; 0: as the family has it.
    clip_skip: int = 0


class Texts:
    """The texts of a batch, encoded for one pipeline."""

    def __init__(self, pipe: Any, load: Load, placement: DevicePlacement) -> None:
        if load.pipeline not in TEXTS:
            raise RenderError("load_error", f"this node cannot encode text for {load.pipeline}")
        self._pipe = pipe
        self._family = TEXTS[load.pipeline]
        self._load = load
        self._placement = placement
        #: A text that cannot be encoded is the reason why.
        self._known: dict[Side, Embeddings | RenderError] = {}

    def forget(self) -> None:
        self._known = {}

    def encode(self, command: Encode, on_text: Callable[[], None]) -> None:
        """Know the texts of the command and forget all others; those already known are not encoded again.

        `on_text` is called after each.
        """
        wanted = _sides(command)
        if self._known.keys() >= wanted.keys():
            return
        with self._placement.encoding(), torch.no_grad():
            known, self._known = self._known, {}
            for side in wanted:
                self._known[side] = known.get(side) or self._encode(side)
                on_text()

    def arguments(self, shots: Sequence[Shot]) -> dict[str, Any]:
        """Texts and guidance as arguments of a pipeline call, for a pass whose shots share their guidance.

        Raises the RenderError of a text that could not be encoded.
        """
        family, count = self._family, len(shots)
        sides = [Side(shot.prompt, clip_skip=_clip_skip(shot)) for shot in shots]
        above = self._load.guided_above
        if above is not None and shots[0].guidance > above:
            sides += [Side(shot.negative, True, _clip_skip(shot)) for shot in shots]
        given = [self._embeddings(side) for side in sides]
        found: dict[str, Any] = {family.guidance: shots[0].guidance}
        for name in given[0]:
            texts = family.level([one[name] for one in given])
            found[name] = family.join(texts[:count])
            if texts[count:]:
                found[f"negative_{name}"] = family.join(texts[count:])
        return found

    def blind(self, shots: Sequence[Shot]) -> Any:
        """Embeddings of the empty prompt for each shot, where the family can change its text while denoising.

        Raises RenderError `invalid_spec` where it cannot.
        """
        if "prompt_embeds" not in self._pipe._callback_tensor_inputs:
            raise RenderError("invalid_spec", "this model does not support blind_steps")
        empty = self._embeddings(Side(""))["prompt_embeds"]
        return self._family.join([empty] * len(shots))

    def _embeddings(self, side: Side) -> Embeddings:
        found = self._known[side]
        if isinstance(found, RenderError):
            raise found
        return found

    def _encode(self, side: Side) -> Embeddings | RenderError:
        tokenizer = getattr(self._pipe, self._load.tokenizer)
        plain = side._replace(text=_without_special_tokens(tokenizer, side.text))
        tokens = self._family.count(tokenizer, self._family.written(self._pipe, plain.text))
        longest = self._load.max_tokens
        if tokens > longest:
            which = "negative prompt" if side.negative else "prompt"
            message = f"the {which} has {tokens} tokens, the model reads {longest}; shorten it"
            return RenderError("prompt_too_long", message)
        short = min(longest, -(-tokens // _PAD_TOKENS) * _PAD_TOKENS)
        length = longest if self._family.keeps_padding else short
        found = self._family.encode(self._pipe, plain, self._placement.text_device, length)
        dtype = getattr(torch, self._load.compute_dtype)
        return {
            name: tensor.to(self._placement.device, dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in found.items()
        }


def _tokens(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text).input_ids)


def _clip_tokens(tokenizer: Any, text: str) -> int:
    return count_tokens(clip_chunks(tokenizer, text))


@dataclass(frozen=True, kw_only=True)
class TextFamily:
    """How one pipeline class takes its text."""

    #: (pipe, text, device, padded length) to embeddings by argument name.
    encode: Callable[[Any, Side, str, int], Embeddings]
    #: Embeddings of several texts as one argument.
    join: Callable[[list[Any]], Any]
    #: (pipe, text) to the text as the encoder reads it, template included.
    written: Callable[[Any, str], str] = lambda _pipe, text: text
    #: (tokenizer, written text) to its length in tokens.
    count: Callable[[Any, str], int] = _tokens
    #: Embeddings of all texts of a pass, prompts and negatives, to those that fit beside each other.
    level: Callable[[list[Any]], list[Any]] = list
    #: Whether padding enters the picture: a text is always padded to the longest that the model reads.
    keeps_padding: bool = False
    #: Argument of the pipeline that takes a shot's guidance.
    guidance: str = "guidance_scale"


def _sides(command: Encode) -> dict[Side, None]:
    texts = [(text, False) for text in command.prompts] + [(text, True) for text in command.negatives]
    return dict.fromkeys(Side(*text, clip_skip) for text in texts for clip_skip in command.clip_skips)


def _clip_skip(shot: Shot) -> int:
    return int(dict(shot.knobs).get("clip_skip", 0))


def _without_special_tokens(tokenizer: Any, text: str) -> str:
    """A prompt is plain text: `<|im_end|>` in it must not end the prompt."""
    for token in tokenizer.all_special_tokens:
        if token.startswith("<"):
            text = text.replace(token, "")
    return text


def _in_chat(pipe: Any, text: str) -> str:
    turn = [{"role": "user", "content": text}]
    return str(
        pipe.tokenizer.apply_chat_template(
            turn, tokenize=False, add_generation_prompt=True, enable_thinking=True
        )
    )


def _in_template(pipe: Any, text: str) -> str:
    return str(pipe.prompt_template_encode.format(text))


def _padded(texts: list[Any]) -> Any:
    """As one tensor, shorter ones with zeros behind them."""
    longest = max(text.shape[1] for text in texts)
    return torch.cat(
        [torch.cat([text, text.new_zeros(1, longest - text.shape[1], *text.shape[2:])], 1) for text in texts]
    )


def _z_image(pipe: Any, side: Side, device: str, length: int) -> Embeddings:
    found, _ = pipe.encode_prompt(
        [side.text], device=device, do_classifier_free_guidance=False, max_sequence_length=length
    )
    return {"prompt_embeds": found[0]}


def _klein(pipe: Any, side: Side, device: str, length: int) -> Embeddings:
    found, _ = pipe.encode_prompt([side.text], device=device, max_sequence_length=length)
    return {"prompt_embeds": found}


def _flux1(pipe: Any, side: Side, device: str, length: int) -> Embeddings:
    # CLIP reads the beginning, T5 everything.
    first = _without_special_tokens(pipe.tokenizer, side.text)
    found, pooled, _ = pipe.encode_prompt([first], [side.text], device=device, max_sequence_length=length)
    return {"prompt_embeds": found, "pooled_prompt_embeds": pooled}


def _chroma(pipe: Any, side: Side, device: str, length: int) -> Embeddings:
    found, _, mask, *_ = pipe.encode_prompt(
        [side.text], device=device, do_classifier_free_guidance=False, max_sequence_length=length
    )
    return {"prompt_embeds": found, "prompt_attention_mask": mask}


def _qwen(pipe: Any, side: Side, device: str, _length: int) -> Embeddings:
    found, _ = pipe.encode_prompt([side.text], device=device)
    return {"prompt_embeds": found, "prompt_embeds_mask": torch.ones_like(found[..., 0], dtype=torch.long)}


def _sd15(pipe: Any, side: Side, device: str, _length: int) -> Embeddings:
    return {"prompt_embeds": encode_sd15(pipe, side.text, device, side.clip_skip)}


def _sdxl(pipe: Any, side: Side, device: str, _length: int) -> Embeddings:
    found, pooled = encode_sdxl(pipe, side.text, device, side.clip_skip)
    if side.negative and not side.text and pipe.config.force_zeros_for_empty_prompt:
        found, pooled = torch.zeros_like(found), torch.zeros_like(pooled)
    return {"prompt_embeds": found, "pooled_prompt_embeds": pooled}


#: By pipeline class; `common.catalog.check.PIPELINES` lists them for those who have no torch.
TEXTS = {
    "ChromaPipeline": TextFamily(encode=_chroma, join=torch.cat, keeps_padding=True),
    "ZImagePipeline": TextFamily(encode=_z_image, join=list, written=_in_chat),
    "FluxPipeline": TextFamily(encode=_flux1, join=torch.cat, keeps_padding=True),
    "Flux2KleinPipeline": TextFamily(encode=_klein, join=torch.cat, written=_in_chat, keeps_padding=True),
    "QwenImagePipeline": TextFamily(
        encode=_qwen, join=_padded, written=_in_template, guidance="true_cfg_scale"
    ),
    "StableDiffusionPipeline": TextFamily(encode=_sd15, join=torch.cat, count=_clip_tokens, level=repeated),
    "StableDiffusionXLPipeline": TextFamily(encode=_sdxl, join=torch.cat, count=_clip_tokens, level=repeated),
}
