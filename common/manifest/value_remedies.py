"""Suggests the intended value for an invalid one, based on its spelling."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from itertools import islice, product

from common import lookalikes
from common.catalog.samplers import samplers_akin
from common.document import tree
from common.document.tree import Scalar, YamlNode, flow

#: Longer texts are not misspelled values, and longer suggestions are hard to read.
LONGEST = 200


def write(text: str, meant: str | None) -> str:
    """Returns the end of a message: what to write instead, or which character is a lookalike."""
    if meant is None or len(meant) > LONGEST:
        return ""
    odd = lookalikes.odd_character(text)
    if odd and lookalikes.plain(text).strip() == meant:
        return f": {odd}; write `{lookalikes.meant_instead(text)}`"
    return f"; write `{meant}`"


_GROUPED = re.compile(r"\d{1,3}(?:[_,' ]\d{3}){1,4}(?:\.\d{1,9})?")
_DECIMAL_COMMA = re.compile(r"([-+]?\d{1,9}),(\d{1,9})")
_WITH_UNIT = re.compile(r"[^\d.,+-]{0,4}([-+]?\d[\d.,_']{0,20}) ?([^\d]{0,20})")


def number(text: str, fits: Callable[[str], bool]) -> str | None:
    """Returns the number in `20 000`, `7,5`, `$3`, `90%`, `20 steps` or `10k` if it `fits`, or None."""
    text = lookalikes.plain(text[:LONGEST]).strip()
    candidates = [text, *_regrouped(text)]
    if re.fullmatch(r"[0-9OoIl]{2,9}", text) and re.search("[0-9]", text):
        candidates.append(re.sub("[Il]", "1", re.sub("[Oo]", "0", text)))
    elif unit := _WITH_UNIT.fullmatch(text):
        thousand = unit[2].strip().lower() == "k"
        found = [unit[1], *_regrouped(unit[1])]
        candidates += [f"{_times_thousand(each)}" for each in found] if thousand else found
    return next((each for each in candidates if fits(each)), None)


def _regrouped(text: str) -> list[str]:
    """Removes thousands separators, and replaces a decimal comma with a point."""
    found = [re.sub("[_,' ]", "", text)] if _GROUPED.fullmatch(text) else []
    comma = _DECIMAL_COMMA.fullmatch(text)
    return [*found, f"{comma[1]}.{comma[2]}"] if comma else found


def _times_thousand(text: str) -> str:
    try:
        return f"{(Decimal(text) * 1000).normalize():f}"
    except InvalidOperation:
        return text


_NUMBER = r"[-+]?\d{1,12}(?:\.\d{1,9})?"
_SPAN = re.compile(
    rf"({_NUMBER})\s*(-|–|\.\.\.?|…|:|\bto\b|\bbis\b)\s*({_NUMBER})"
    rf"(?:\s*(?::|/|,|\bstep\b|\bby\b|\bin steps of\b)\s*=?\s*({_NUMBER}))?",
    re.IGNORECASE,
)
_RANGE_CALL = re.compile(rf"range\(\s*({_NUMBER})\s*(?:,\s*({_NUMBER})\s*)?(?:,\s*({_NUMBER})\s*)?\)")


def span(text: str) -> tuple[str, str, str] | None:
    """Returns first, last and step of `1-10:3`, `1..10`, `10-30 step 10` or `range(1, 10)`, or None."""
    text = lookalikes.plain(text[:LONGEST]).strip().strip("[]()") if "range" not in text else text.strip()
    if match := _SPAN.fullmatch(text):
        return match[1], match[3], match[4] or "1"
    call = _RANGE_CALL.fullmatch(text)
    if call is None or "." in call[0]:
        return None
    first, end = (int(call[1]), int(call[2])) if call[2] else (0, int(call[1]))
    step = int(call[3] or 1)
    return str(first), str(end - (1 if step > 0 else -1)), str(step)


def spelled_range(text: str) -> str | None:
    """Returns a range in the form of a manifest: `{from: 1, to: 10, step: 3}`."""
    found = span(text)
    if found is None:
        return None
    first, last, step = found
    if Decimal(first) > Decimal(last) and Decimal(step) > 0:
        step = f"-{step}"
    if Decimal(step) == 0:
        return None
    return f"{{from: {first}, to: {last}}}" if step == "1" else f"{{from: {first}, to: {last}, step: {step}}}"


def is_written_as_range(text: str) -> bool:
    """Returns whether a text is certainly a range: `1-10:3` and `1..10` are, `18-25` may be one."""
    found = span(text)
    return found is not None and ("range" in text or ".." in text or found[2] != "1")


_PRIORITIES = {
    **dict.fromkeys(("low", "lowest", "min", "background", "idle"), "20"),
    **dict.fromkeys(("normal", "medium", "default", "mid"), "50"),
    **dict.fromkeys(("high", "higher", "important"), "80"),
    **dict.fromkeys(("highest", "max", "urgent", "critical", "top", "asap"), "100"),
}


def priority(text: str) -> str:
    """Returns the end of the message about an invalid priority: `; write `80`` for `high`."""
    meant = _PRIORITIES.get(text.strip().lower())
    if meant is None and re.fullmatch(r"-?\d{1,9}", text):
        meant = "0" if text.startswith("-") else "100"
    return f"; write `{meant}`" if meant else ""


def random_seed(text: str) -> str:
    """Returns the end of the message about a `random_seed` that asks for a different one each time."""
    if text.strip().lower() not in RANDOM:
        return ""
    return "; remove it, and submit with `--reroll` for new draws each time"


def use(text: str) -> str:
    """Returns the end of the message about `use`, for common synonyms."""
    private = ("personal", "private", "hobby", "free", "home", "research")
    public = ("business", "client", "paid", "sale")
    meant = "noncommercial" if text.lower() in private else "commercial" if text.lower() in public else None
    return f"; write `{meant}`" if meant else ""


def variants(text: str) -> str:
    """Returns the end of the message about `variants`, for a number of images and for synonyms of "all"."""
    if re.fullmatch(r"[1-9]\d{0,5}", text):
        return f"; for {text} images of each combination write `seeds: {text}` instead"
    return "; write `combinatorial`" if text.lower() in ("all", "every", "each", "exhaustive") else ""


def listed(text: str) -> str:
    """Converts `white, oak`, or one value per line, to `[white, oak]`."""
    place = tree.Place(1, 1)
    between = "\n" if "\n" in text.strip() else ","
    parts = [part.strip() for part in lookalikes.plain(text.strip()).strip("[]").split(between)]
    return flow(tree.Sequence(place, [Scalar(place, part) for part in parts if part]))


_SIDES = re.compile(
    r"(\d{2,5})\s*(?:px)?\s*(?:[x*,;/:\s-]|by|\bpx\b)\s*(\d{2,5})\s*(?:px|pixels?)?", re.IGNORECASE
)
_ONE_SIDE = re.compile(r"(\d{2,5})\s*(?:px|pixels?|x)?", re.IGNORECASE)
_ASPECT = re.compile(r"(\d{1,2}(?:\.\d{1,3})?)\s*(?:[:/x*-]|by|to)\s*(\d{1,2}(?:\.\d{1,3})?)", re.IGNORECASE)
_AREA = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)\s*(?:mp|mpx|megapixels?)", re.IGNORECASE)
_SHAPES = {
    "square": "{aspect: 1:1}",
    "portrait": "{aspect: 2:3}",
    "landscape": "{aspect: 3:2}",
    "wide": "{aspect: 16:9}",
    "hd": "1280x720",
    "720p": "1280x720",
    "full hd": "1920x1080",
    "1080p": "1920x1080",
    "2k": "2560x1440",
    "4k": "3840x2160",
    "vertical": "{aspect: 2:3}",
    "horizontal": "{aspect: 3:2}",
}
_PAPER = re.compile(r"a\d(?: (portrait|landscape))?", re.IGNORECASE)
_LENGTH = r"(\d{1,4}(?:[.,]\d{1,3})?)\s*(?:cm|mm|in|inch|inches|\")?"
_PRINT = re.compile(rf"{_LENGTH}\s*[x*×]\s*{_LENGTH}(?<![\d.,])", re.IGNORECASE)


def size(text: str) -> str | None:
    """Returns the size in `1024`, `1024*768`, `16:9`, `1 MP` or `portrait`, or None."""
    text = lookalikes.plain(text[:LONGEST]).strip()
    if text.lower() in _SHAPES:
        return _SHAPES[text.lower()]
    if paper := _PAPER.fullmatch(text):
        return "{aspect: 297:210}" if (paper[1] or "").lower() == "landscape" else "{aspect: 210:297}"
    if lengths := _PRINT.fullmatch(text):
        width, height = (length.replace(",", ".") for length in lengths.groups())
        return f"{{aspect: {width}:{height}}}"
    if aspect := _ASPECT.fullmatch(text):
        return f"{{aspect: {aspect[1]}:{aspect[2]}}}"
    if area := _AREA.fullmatch(text):
        return f"{{megapixels: {area[1]}}}"
    if re.search("[x*×]", text):
        text = re.sub(r"(?<=\d)[,.' ](?=\d{3}(?!\d))", "", text)
    if sides := _SIDES.fullmatch(text):
        return f"{sides[1]}x{sides[2]}"
    if side := _ONE_SIDE.fullmatch(text):
        return f"{side[1]}x{side[1]}"
    return None


#: Words by which other programs request random seeds.
RANDOM = ("-1", "random", "rand", "rnd", "randomize", "auto", "?")


def seeds(text: str, most: int) -> str | None:
    """Returns `seeds` for `-1`, `random`, `1-4`, `1, 2` or a single seed; `most` is the largest count."""
    text = lookalikes.plain(text[:LONGEST]).strip()
    if text.lower() in RANDOM:
        return "{mode: random, count: 1}"
    if re.fullmatch(r"\d{1,19}", text):
        return f"[{int(text)}]" if int(text) > most or int(text) == 0 else text
    found = span(text)
    if found and all(re.fullmatch(r"\d{1,18}", each) for each in found) and found[2] == "1":
        count = int(found[1]) - int(found[0]) + 1
        return f"{{start: {found[0]}, count: {count}}}" if count > 0 else None
    if re.fullmatch(r"\d{1,19}(?:\s*[,;]\s*\d{1,19})+", text):
        return f"[{', '.join(re.findall(r'[0-9]+', text))}]"
    return number(text, lambda each: re.fullmatch(r"[1-9]\d{0,5}", each) is not None)


def aspect(text: str) -> str | None:
    """Returns the ratio in `2x3` or `portrait`, or None."""
    text = lookalikes.plain(text[:LONGEST]).strip()
    shape = re.fullmatch(r"\{aspect: (.*)\}", _SHAPES.get(text.lower(), ""))
    ratio = re.sub(r"\s*(?:[x*,-]|to|by)\s*", ":", text)
    return shape[1] if shape else ratio if re.fullmatch(r"[0-9.]{1,9}[:/][0-9.]{1,9}", ratio) else None


_LORA_TAG = re.compile(r"<(?:lora|lyco|hypernet):([^:<>]+)(?::([^<>:]*))?[^<>]*>", re.IGNORECASE)
_WEIGHTED = re.compile(r"(.+?)\s*(?:[:=@*]|\s)\s*\(?([-+]?\d{0,2}[.,]?\d{1,4})\s*(%?)\)?")


def lora(text: str) -> str | None:
    """Returns the LoRA in `blueprint:0.8`, `<lora:blueprint:0.8>` or `blueprint@80%`, or None."""
    text = lookalikes.plain(text[:LONGEST]).strip()
    if tag := _LORA_TAG.fullmatch(text):
        return f"{slug(tag[1])}@{tag[2]}" if tag[2] else slug(tag[1])
    if "," in text.replace("@0,", "") or "+" in text or text.count("@") > 1:
        return None
    if match := _WEIGHTED.fullmatch(text):
        weight = match[2].replace(",", ".")
        if match[3]:
            weight = f"{Decimal(weight) / 100:f}"
        return f"{slug(match[1])}@{weight}"
    return slug(text) if "@" not in text else None


def sampler(text: str) -> str | None:
    """Returns `dpmpp_2m_karras` for `DPM++ 2M Karras`, `euler` for `LMS`."""
    akin = samplers_akin(text[:LONGEST])
    return akin[0] if akin else slug(text.replace(" ", "_"))


def slug(text: str) -> str | None:
    """Converts a text to a name: removes accents, replaces other characters with `-`; None if empty."""
    plain = unicodedata.normalize("NFKD", lookalikes.plain(text[:LONGEST]))
    plain = plain.encode("ascii", "ignore").decode().replace("\\", "/")
    stem = re.sub(
        r"\.(?:safetensors|ckpt|pt|pth|bin|gguf)$", "", plain.rpartition("/")[2], flags=re.IGNORECASE
    )
    name = re.sub(r"[^A-Za-z0-9._-]+(?:-+[^A-Za-z0-9._-]+)*", "-", stem).strip("._-")[:63]
    return name or None


def is_list_file(text: str) -> bool:
    """Returns whether a text is the file name of a table or list."""
    endings = "txt|csv|tsv|tab|xlsx|jsonl?|ndjson|ya?ml"
    return bool(re.fullmatch(rf"[^\n{{}}|]{{1,{LONGEST}}}\.(?:{endings})", text, re.IGNORECASE))


_SWITCHES = {
    **dict.fromkeys(("yes", "y", "on", "1", "true"), "true"),
    **dict.fromkeys(("no", "n", "off", "0", "false", "none", "never"), "false"),
}


def switch(text: str) -> str | None:
    """Returns `true` or `false` for synonyms in other programs, or None."""
    return _SWITCHES.get(lookalikes.plain(text).strip().lower())


def one_entry_each(entry: tree.Mapping) -> str:
    """Expands an entry with lists to single entries: `{a: x, b: p}`, `{a: y, b: p}`."""
    choices = [
        [(key, item) for item in (value.items if isinstance(value, tree.Sequence) else [value])]
        for key, _, value in entry.items()
    ]
    count = 1
    for each in choices:
        count *= len(each)
    entries = [f"`{flow(_mapping(each))}`" for each in islice(product(*choices), 7)]
    shown = ", ".join(entries)
    return (
        f"write one entry for each: {shown}"
        if count < 7 and len(shown) <= LONGEST
        else "write one entry for each"
    )


def _mapping(entries: tuple[tuple[str, YamlNode], ...]) -> tree.Mapping:
    place = tree.Place(1, 1)
    return tree.Mapping(place, {key: (place, value) for key, value in entries})
