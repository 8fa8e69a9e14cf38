"""Converts prompts of other programs: tags that set something are removed, other text is unchanged."""

from __future__ import annotations

import re

from common.manifest.foreign_syntax import EMPHASIS, foreign
from common.manifest.prompt_texts import PromptText
from common.wording import shortened
from coordinator.importing.imported import Account, TheirLora

_LORA = re.compile(
    r"<(?P<kind>lora|lyco|hypernet):(?P<name>[^:<>]*)(?P<weights>(?::[^:<>]*)*)>", re.IGNORECASE
)
_NUMBER = re.compile(r"[-+]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})")
_HALF = re.compile("[\ud800-\udfff]")
#: Characters with a meaning in manifests.
_MARK = re.compile(r"[{}]|(?<=\\)\|")
_VARIANT = re.compile(r"\{[^{}|]{0,500}\|[^{}]{0,500}\}|\{\d{1,4}(?:-\d{1,4})?\$\$")


def whole(text: str, account: Account, place: str) -> str:
    """The text without characters that a manifest cannot contain."""
    if "\0" in text:
        account.leave("a NUL character", "prompts cannot contain it", place)
        text = text.replace("\0", "")
    if _HALF.search(text):
        account.leave("a lone surrogate", "not a character; replaced by �", place)
        text = _HALF.sub("\ufffd", text)
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def without_loras(text: str, account: Account, place: str) -> tuple[str, list[TheirLora]]:
    """The text without its LoRA tags, and the LoRAs with their weights."""
    if "<" not in text:
        return text, []
    found: list[TheirLora] = []
    parts: list[str] = []
    at = 0
    for tag in _LORA.finditer(text):
        before = text[at : tag.start()]
        parts.append(before[:-1] if before.endswith(" ") else before)
        at = tag.end()
        weights = [part.strip() for part in tag["weights"].split(":")[1:]]
        if tag["kind"].lower() == "hypernet":
            account.leave(shortened(tag[0]), "the farm does not support hypernetworks", place, "hypernet")
            continue
        found.append(_weighted(tag["name"].strip(), weights))
    parts.append(text[at:])
    return _tidied(parts) if found or at else text, found


def _weighted(name: str, weights: list[str]) -> TheirLora:
    """A tag of the web UI has the weight for the text encoder first: `<lora:ana:0.5:0.8>`."""
    numbers = [float(each) for each in weights if _NUMBER.fullmatch(each)][:2]
    text, denoiser = (numbers[0], numbers[-1]) if numbers else (1.0, 1.0)
    return TheirLora(name, denoiser, None if text == denoiser else text)


def named_loras(text: str) -> list[TheirLora]:
    """The LoRAs of a cell such as `ana@0.8 + ink@0.5`, `ana:0.8, ink` or `<lora:ana:0.8>`."""
    found: list[TheirLora] = []
    for part in re.split(r"[,;+|\n]", text.replace("<lora:", " ").replace(">", ",")):
        name, _, weight = re.sub(r"[@:](?=[^@:]*$)", "\0", part.strip(), count=1).partition("\0")
        weights = [each.strip() for each in weight.split("/")]
        if name.strip():
            # The tables of this farm have the weight for the denoiser first.
            found.append(_weighted(name.strip(), weights[::-1]))
    return found


def _tidied(parts: list[str]) -> str:
    """Joins the parts of a text, with a single comma where a tag was removed."""
    text = parts[0]
    for part in parts[1:]:
        if part.lstrip().startswith(",") and (not text.strip() or text.rstrip().endswith(",")):
            part = part.lstrip()[1:]
        text += part
    return text.strip()


def tell_kept(text: str, account: Account, place: str, *, is_template: bool, reads_emphasis: bool) -> None:
    """Reports syntax of other programs that is kept as plain text."""
    for kind, _, word, remedy in foreign(PromptText("", text, "template" if is_template else "value")):
        if kind != "unexpanded" and not (reads_emphasis and kind in EMPHASIS):
            account.leave(f"`{shortened(word, 40)}`", f"kept as text: {remedy}", place, kind)


def escaped(text: str, account: Account, place: str) -> str:
    """Plain text, escaped for a manifest template."""
    if found := _VARIANT.search(text):
        why = "braces are plain text in this format; for a variant, remove the backslashes before them"
        account.leave(f"`{shortened(found[0], 40)}`", why, place, "variant")
    return literal(text)


def literal(text: str) -> str:
    """A text that a manifest shows as it is: nothing in it is a reference or a variant."""
    return _MARK.sub(lambda mark: f"\\{mark[0]}", text)


def is_dynamic(text: str) -> bool:
    """Whether a text has variants or wildcards, as dynamic prompts do."""
    return bool(_VARIANT.search(text) or re.search(r"__[\w/*\\. -]{1,100}__", text))
