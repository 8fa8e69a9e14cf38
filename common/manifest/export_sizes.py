"""Parses `output.sizes`: the files in which each image is delivered."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from common.document import tree
from common.document.tree import Scalar, YamlNode, described, flow
from common.exports import BORDER, Export
from common.manifest import value_remedies
from common.manifest.plain_values import Choice, Name
from common.manifest.reading import Key, Reading, read_keys
from common.manifest.shot_values import SIDE, mapping_schema
from common.wording import shortened

ORIGINAL = "original"
#: More are a mistake rather than a wish.
MOST_SIZES = 20

_SIDES = re.compile(r"([0-9]{1,9})\s*[xX×]\s*([0-9]{1,9})")
_FACTOR = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,4})?)\s*[xX×]")
_FACTORS = 0.05, 8.0
_HEX = re.compile(r"#?([0-9a-fA-F]{6}|[0-9a-fA-F]{3})")
_COLOURS = {"white": "#ffffff", "black": "#000000", "grey": "#808080", "gray": "#808080"}


def _crop_habit(text: str) -> str:
    meant = {"cover": "center", "centre": "center", "middle": "center", "auto": "smart", "attention": "smart"}
    meant |= dict.fromkeys(("contain", "fit", "letterbox", "fill"), "pad")
    return value_remedies.write("", meant.get(text.lower()))


CROP = Choice(("smart", "center", "pad"), habit=_crop_habit)


@dataclass(frozen=True, slots=True)
class Background:
    """`border`, or a colour as `#rrggbb` or `#rgb`."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> str | None:
        text = node.text.strip() if isinstance(node, Scalar) else ""
        if text == BORDER:
            return text
        if (found := _HEX.fullmatch(text)) is not None:
            digits = found[1].lower()
            return digits if len(digits) == 6 else "".join(digit * 2 for digit in digits)
        named = _COLOURS.get(text.lower())
        hint = value_remedies.write("", named and f'"{named}"')
        message = f'must be `border` or a colour such as `"#ffffff"`, not {described(node)}{hint}'
        reading.wrong(node.place, path, message)
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "integer"], "pattern": rf"^({BORDER}|{_HEX.pattern})$"}


@dataclass(frozen=True, slots=True)
class ExportSize:
    """`512x512`, `2x` or `original`, as an unnamed export."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> Export | None:
        text = node.text.strip() if isinstance(node, Scalar) else ""
        if text == ORIGINAL:
            return Export(name=ORIGINAL)
        if sides := _SIDES.fullmatch(text):
            width, height = (SIDE.read(Scalar(node.place, side), path, reading) for side in sides.groups())
            if width is None or height is None:
                return None
            return Export(name=f"{int(width)}x{int(height)}", width=int(width), height=int(height))
        factor = _FACTOR.fullmatch(text)
        if factor and _FACTORS[0] <= float(factor[1]) <= _FACTORS[1]:
            return Export(name=f"{float(factor[1]):g}x", scale=float(factor[1]))
        message = f"must be a size such as `512x512`, `2x` (up to 8x) or `original`, not {described(node)}"
        meant = value_remedies.size(text)
        hint = value_remedies.write(text, meant if meant and _SIDES.fullmatch(meant) else None)
        reading.wrong(node.place, path, message + hint)
        return None

    def schema(self) -> dict[str, Any]:
        return {
            "type": "string",
            "pattern": rf"^\s*({ORIGINAL}|\d+\s*[xX×]\s*\d+|\d+(\.\d+)?\s*[xX×])\s*$",
        }


_EXPORT_KEYS = {
    "name": Key(Name(), "Part of the file name. Default: the size."),
    "size": Key(ExportSize(), "`512x512`, `2x` or `original`."),
    "crop": Key(CROP, "How images of another aspect fill the size. Default: `output.crop`."),
    "background": Key(Background(), "What `crop: pad` adds. Default: `output.background`."),
}


@dataclass(frozen=True, slots=True)
class ExportSizes:
    """A list of sizes or of mappings with a size; or a single size."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> tuple[Export, ...] | None:
        if isinstance(node, tree.Mapping) and not node.entries.keys() & _EXPORT_KEYS.keys():
            hint = value_remedies.write("", _by_name(node))
            reading.wrong(node.place, path, f"must be a list of sizes, not {described(node)}{hint}")
            return None
        if not isinstance(node, tree.Sequence):
            one = self._one(node, path, reading)
            return None if one is None else (one,)
        if not node.items or len(node.items) > MOST_SIZES:
            reading.wrong(node.place, path, f"must list 1 to {MOST_SIZES} sizes, not {len(node.items)}")
            return None
        read = [self._one(item, f"{path}[{number}]", reading) for number, item in enumerate(node.items)]
        first: dict[str, int] = {}
        for number, export in enumerate(read):
            if export is not None and first.setdefault(export.name.lower(), number) != number:
                message = f"`{shortened(export.name)}` is listed twice; give one of them a `name`"
                reading.wrong(node.items[number].place, f"{path}[{number}]", message)
        return tuple(export for export in read if export is not None)

    @staticmethod
    def _one(node: YamlNode, path: str, reading: Reading) -> Export | None:
        if not isinstance(node, tree.Mapping):
            return ExportSize().read(node, path, reading)
        values = read_keys(node, path, _EXPORT_KEYS, reading)
        if "size" not in node.entries:
            reading.wrong(node.place, path, "has no `size`; write one such as `size: 512x512`")
        size = values.pop("size", None)
        return None if size is None else size.model_copy(update=values)

    def schema(self) -> dict[str, Any]:
        one = {"anyOf": [ExportSize().schema(), mapping_schema(_EXPORT_KEYS, required=("size",))]}
        listed = {"type": "array", "items": one, "minItems": 1, "maxItems": MOST_SIZES}
        return {"anyOf": [*one["anyOf"], listed]}


def _by_name(node: tree.Mapping) -> str | None:
    """Converts a mapping of names to sizes, `{thumb: 512x512}`, to a list of exports."""
    sizes = [(name, value) for name, _, value in node.items() if isinstance(value, Scalar)]
    if not sizes or len(sizes) < len(node.entries):
        return None
    entries = [
        tree.Mapping(
            node.place,
            {"name": (node.place, Scalar(node.place, name)), "size": (node.place, value)},
        )
        for name, value in sizes
    ]
    return flow(tree.Sequence(node.place, list(entries)))
