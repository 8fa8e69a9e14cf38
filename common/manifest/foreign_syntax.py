"""Prompt syntax of other programs that models of the farm do not read, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from common.manifest.prompt import Alternatives, PromptError, Template, choices, leftovers, parse, parse_line
from common.manifest.prompt_texts import PromptText
from common.wording import shortened

_NUMBER = r"[-+]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})"
#: The `:` before a number, unless it is part of a time or ratio such as `12:30` or `3:2`.
_COLON = r"(?:(?<=[^\d\s]):|:(?=\s{0,9}[-+]?\d?\.\d))\s{0,9}"
_TAGS = {
    "random": "write `{a|b}`",
    "alternate": "write `{a|b}`, which draws one of them",
    "fromto": "write the intended text",
    "wildcard": "write `__name__`",
    "wc": "write `__name__`",
    "repeat": "write the text as many times as you need it",
    "embed": "for a textual inversion write `embedding:NAME`",
    "embedding": "for a textual inversion write `embedding:NAME`",
    "segment": "the farm does not support inpainting",
    "region": "the farm does not support regions",
    "object": "the farm does not support regions",
    "preset": "write its text",
    "comment": "leave it out",
    "param": "write the key of the manifest, such as `steps`",
    "setvar": "write an axis and refer to it as `{axis}`",
    "var": "write an axis and refer to it as `{axis}`",
}
_FLAGS = {
    **dict.fromkeys(("n", "no", "negative", "negative_prompt"), "`negative:`"),
    **dict.fromkeys(("w", "h", "ar", "aspect", "width", "height", "size", "ow", "oh"), "`size:`"),
    **dict.fromkeys(("s", "steps"), "`steps:`"),
    **dict.fromkeys(("l", "g", "cfg_scale", "cfg", "scale", "guidance", "guidance_scale"), "`guidance:`"),
    **dict.fromkeys(("d", "seed", "sameseed"), "`seeds:`"),
    **dict.fromkeys(("sampler", "sampler_name", "ss"), "`sampler:`"),
    "clip_skip": "`clip_skip:`",
    **dict.fromkeys(("fs", "flow_shift", "shift"), "`shift:`"),
    **dict.fromkeys(("prompt", "p"), "`prompt:`"),
    **dict.fromkeys(("am", "lora", "loras"), "`loras:`"),
    **dict.fromkeys(("b", "batch_size", "n_iter", "repeat", "r"), "`seeds:`, the number of images,"),
}
_OTHER_FLAGS = (
    "style",
    "tile",
    "niji",
    "v",
    "raw",
    "stylize",
    "chaos",
    "q",
    "iw",
    "cref",
    "sref",
    "oref",
    "nt",
)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A kind of syntax; warnings of one kind are reported once per manifest."""

    kind: str
    pattern: re.Pattern[str]
    #: Continues the message "`(x:1.2)` is plain text for `sdxl`: ".
    remedy: str | Callable[[re.Match[str]], str | None]
    #: Kinds of text in which it can occur.
    where: tuple[str, ...] = ("template", "value", "line")

    def found(self, text: str) -> Iterator[tuple[int, str, str]]:
        """Yields offset, matched text and remedy of each occurrence."""
        for match in self.pattern.finditer(text):
            remedy = self.remedy if isinstance(self.remedy, str) else self.remedy(match)
            if remedy is not None:
                yield match.start(), match[0].strip(), remedy


def _flag(match: re.Match[str]) -> str | None:
    """Returns None for a word between dashes that is not a flag."""
    flag = match["flag"].lower().replace("-", "_")
    if key := _FLAGS.get(flag):
        return f"prompts have no flags; write {key} in the manifest"
    is_one = flag in _OTHER_FLAGS or (match["value"] or "").strip(" =")[:1].isdigit()
    return "prompts have no flags; leave it out" if is_one else None


def _tag(match: re.Match[str]) -> str:
    remedy = _TAGS.get(match["tag"].lower())
    if remedy is None and (weight := re.fullmatch(rf"\s*({_NUMBER})\s*", match["rest"])):
        remedy = f"for a LoRA write `loras: [{match['tag']}@{weight[1]}]`"
    return remedy or "the farm does not support tags; leave it out"


TABLE = (
    Foreign(
        "weight",
        re.compile(rf"\([^()]{{1,200}}{_COLON}{_NUMBER}\s{{0,9}}\)"),
        "it does not support weights; describe in words what matters most",
    ),
    Foreign(
        "weight behind brackets",
        re.compile(
            r"\([^()\n]{1,100}\)(?:\d\.\d{1,2}(?!\d)|\+{1,9}|-{2,9})(?=[\s,.]|$)"
            r"|\w::-?\d{1,3}(?:\.\d{1,9})?(?=[\s,]|$)"
        ),
        "only Stable Diffusion supports weights, in the form `(x:1.2)`; describe in words what matters most",
    ),
    Foreign(
        "line weight",
        re.compile(r"\A\s{0,9}\d{1,9}(?:\.\d{1,9})?::(?=\s{0,9}\w)"),
        "only lines of wildcards and variants have weights; leave it out, or write a wildcard",
        ("template", "value"),
    ),
    Foreign(
        "break",
        re.compile(r"\bBREAK\b"),
        "it does not support BREAK; leave it out",
    ),
    Foreign(
        "regions",
        re.compile(r"\b(?:ADDCOMM|ADDBASE|ADDROW|ADDCOL)\b"),
        "the farm does not support regions; leave it out",
    ),
    Foreign(
        "emphasis",
        re.compile(r"\(\([^()\n]{1,200}\)\)|\[\[[^\[\]\n]{1,200}\]\]"),
        "it does not support weights; remove the brackets",
    ),
    Foreign(
        "schedule",
        re.compile(rf"\[[^\[\]]{{0,200}}{_COLON}{_NUMBER}\s{{0,9}}\]"),
        "it does not change words between steps; write the intended text",
    ),
    Foreign(
        "alternation",
        re.compile(r"\[[^\[\]{}\n|]{1,100}\|[^\[\]{}\n]{1,100}\]"),
        "it does not alternate words; `{a|b}` draws one of them",
    ),
    Foreign(
        "composition",
        re.compile(r"(?<=\s)AND(?=\s{1,9}\S{0,40}[^\W\d_A-Z])|(?<=[^\W\d_A-Z]\s)AND(?=\s)"),
        "it does not combine prompts; join them with a comma",
    ),
    Foreign(
        "tag",
        re.compile(
            r"<(?!(?:lora|lyco|hypernet):)(?P<tag>[^\W\d_][\w.-]{0,60})(?:\[[^\[\]<>]{0,60}\])?"
            r":(?P<rest>[^<>\n]{0,300})>",
            re.IGNORECASE,
        ),
        _tag,
    ),
    Foreign(
        "embedding",
        re.compile(r"\bembedding:[\w.-]{1,100}"),
        "it takes no textual inversions; leave it out",
    ),
    Foreign(
        "flag",
        re.compile(
            r"(?<!\S)(?:--|\u2014)(?P<flag>[A-Za-z][\w-]{0,30})(?=[\s=]|$)"
            r"(?P<value>[\s=]\s{0,9}[^\s-]\S{0,40})?"
        ),
        _flag,
    ),
    Foreign(
        "variable",
        re.compile(r"\$\{[^{}\n]{0,100}\}"),
        lambda match: f"the `$` stays in the text; write `{match[0][1:]}`",
        ("template", "line"),
    ),
    Foreign(
        "escape",
        re.compile(r"\\[()\[\]]"),
        "brackets need no backslash, and it stays in the text; remove it",
    ),
    Foreign(
        "comment",
        re.compile(
            r"(?<!\S)(?:#|//)(?=\s[^\n]{0,60}|$)"
            r"|(?:(?<=\n)|(?<=\A))[ \t]{0,9}//\S{0,40}"
            r"|(?<=\n)[ \t]{0,9}#(?!(?:[0-9a-fA-F]{3}){1,2}\b|\d)\w\S{0,40}"
        ),
        "comments are not supported here; remove it",
    ),
    Foreign(
        "parameters",
        re.compile(r"(?:^|(?<=\n))Negative prompt:|\bSteps: \d{1,4}, Sampler:"),
        "settings have separate keys, such as `negative:` and `steps:`",
    ),
    Foreign(
        "unexpanded",
        re.compile(
            r"\{\{[^{}\n]{0,100}\}\}|\{%[^{}\n]{0,100}%\}|\$?\{[^{}\n]{0,200}\|[^{}\n]{0,200}\}"
            r"|\$?\{\s{0,9}[\w.-]{1,100}\s{0,9}\}|(?<!\w)__[^\s_](?:[^\n_]|_(?!_)){0,100}__(?!\w)"
        ),
        "in axis values, `{a|b}` and `__wildcard__` need `expand: true`, and references do not work",
        ("value",),
    ),
)
#: Kinds that families with `reads_emphasis` read.
EMPHASIS = frozenset({"weight", "break", "emphasis", "escape", "embedding"})
#: Every foreign syntax matches this, so other texts need no further checks.
_SUSPECT = re.compile(r"[<(\[{$\\#:_\u2014]|//|--|BREAK|AND|ADD")
_BEHIND = re.compile(rf"(?<=[^\d\s]):\s{{0,9}}({_NUMBER})\s*$")
_MAYBE_BEHIND = re.compile(r":\s{0,9}[\d.]{1,12}\s{0,9}[|}]")


def foreign(text: PromptText) -> Iterator[tuple[str, int, str, str]]:
    """Yields kind, offset, text and remedy of each occurrence of unsupported syntax."""
    if not _SUSPECT.search(text.text):
        return
    for each in TABLE:
        if text.kind in each.where:
            yield from ((each.kind, *found) for found in each.found(text.text))
    if text.kind == "value":
        return
    for offset in leftovers(text.text):
        word = text.text[offset:].split(maxsplit=1)[0]
        yield "underscores", offset, word, "this `__` has no counterpart; write `__name__` for a wildcard"
    if _MAYBE_BEHIND.search(text.text):
        yield from _weights_behind(text)


def _weights_behind(text: PromptText) -> Iterator[tuple[str, int, str, str]]:
    """Finds variants such as `{a:0.3|b:0.7}`."""
    try:
        template: Template = parse_line(text.text).body if text.kind == "line" else parse(text.text)
    except PromptError:
        # The check of wildcards reports this.
        return
    for choice in choices(template):
        weights = [_weight(choice, number) for number in range(len(choice.options))]
        if any(weight and "." in weight for weight in weights) or all(weights):
            texts = [str(option.body[-1]) for option in choice.options if len(option.body) == 1]
            written = "|".join(texts) if len(texts) == len(weights) else "…"
            parts = [
                f"{weight or 1}::{_BEHIND.sub('', body)}"
                for weight, body in zip(weights, texts, strict=False)
            ]
            remedy = f"the weight must come first: `{{{shortened('|'.join(parts))}}}`"
            yield "weight behind", choice.offset, f"{{{written}}}", remedy


def _weight(choice: Alternatives, number: int) -> str | None:
    body = choice.options[number].body
    found = _BEHIND.search(body[-1]) if body and isinstance(body[-1], str) else None
    return found[1] if found else None
