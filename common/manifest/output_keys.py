"""Parses `output` of the manifest and of groups: encoding and names of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from common.document import tree
from common.document.tree import Scalar, YamlNode, described
from common.manifest.aliases import spelled
from common.manifest.export_sizes import CROP, Background, ExportSizes
from common.manifest.key_remedies import renamed
from common.manifest.model import Group, Output
from common.manifest.plain_values import Choice, Number, Switch, Text
from common.manifest.reading import Key, Reading, read_keys
from common.manifest.shot_values import mapping_schema
from common.wording import quoted

_RENAMED = renamed(
    {
        **dict.fromkeys(("filename", "file", "pattern", "path", "template", "filenamepattern"), "name"),
        **dict.fromkeys(("type", "extension", "ext", "fileformat"), "format"),
        **dict.fromkeys(("size", "resize", "exports", "export", "resolutions", "scale"), "sizes"),
        **dict.fromkeys(("fit", "cropping", "cropmode", "resizemode"), "crop"),
        **dict.fromkeys(("color", "colour", "fill", "padcolor", "padcolour", "bg"), "background"),
        **dict.fromkeys(("images", "maxshots", "shots", "max"), "max_images"),
        **dict.fromkeys(("budget", "cost", "maxprice", "maxbudget"), "max_cost"),
    }
)


_FOLDERS = ("dir", "directory", "folder", "outdir", "outputdir", "out")


def _remedy(key: str, mapping: tree.Mapping) -> str | None:
    """Suggests what to write for a key: folders are part of the name, other keys have different names."""
    folder, name = mapping.get(key), mapping.get("name")
    if spelled(key) not in _FOLDERS or not isinstance(folder, Scalar):
        return _RENAMED(key, mapping)
    pattern = name.text if isinstance(name, Scalar) else "{group}-{index}"
    line = f"`name: {quoted(_in_folder(folder.text, pattern))}`"
    return f"; remove it, and write {line}" if name else f"; write {line}"


def _in_folder(folder: str, pattern: str) -> str:
    return f"{folder.rstrip('/')}/{pattern}"


@dataclass(frozen=True, slots=True)
class SectionKey:
    """A mapping that becomes a separate model."""

    model: type[BaseModel]
    keys: dict[str, Key]

    def read(self, node: YamlNode, path: str, reading: Reading) -> BaseModel:
        if isinstance(node, Scalar) and node.text and (meant := self._suggested(node)):
            reading.wrong(node.place, path, f"must be a mapping, not {described(node)}; write `{meant}`")
            return self.model()
        return self.model(**read_keys(node, path, self.keys, reading, remedy=_remedy))

    def _suggested(self, node: Scalar) -> str | None:
        """Interprets a single value: a number of images, a format, otherwise a name."""
        if "format" not in self.keys:
            return f"{{max_images: {node.text}}}" if node.kind == "int" else None
        if node.text.lower().lstrip(".") in ("png", "webp", "jpeg"):
            return f"{{format: {node.text.lower().lstrip('.')}}}"
        if "/" in node.text and "{" not in node.text:
            return f"{{name: {quoted(_in_folder(node.text, '{group}-{index}'))}}}"
        return f"{{name: {quoted(node.text)}}}" if "{" in node.text else None

    def schema(self) -> dict[str, Any]:
        return mapping_schema(self.keys)


_NO_QUALITY = "png has no quality setting; leave it out, or choose webp or jpeg"

OUTPUT_KEYS = {
    "format": Key(Choice(("png", "webp", "jpeg")), "File format. Default: `png`."),
    "quality": Key(Number(1, 100, whole=True), "Quality of webp (default 90) and jpeg (default 92)."),
    "name": Key(
        Text(), "File name pattern with `{axis}`, `{seed}` and similar references; `/` separates folders."
    ),
    "metadata": Key(Switch(), "Whether images contain their settings as metadata. Default: `true`."),
    "sizes": Key(
        ExportSizes(),
        "Files of each image: `512x512`, `2x`, `original` or `{name: thumb, size: 512x512, crop: center}`. "
        "Default: the image as it was rendered.",
    ),
    "crop": Key(CROP, "How images of another aspect fill the sizes. Default: `smart`."),
    "background": Key(
        Background(), 'What `crop: pad` adds: a colour such as `"#ffffff"`, or `border`. Default: `border`.'
    ),
}


def check_exports(output: Output, groups: tuple[Group, ...], reading: Reading) -> None:
    """Warns of keys that say how to fill sizes where there are none."""
    for path, own in (("output", output), *((f"shots[{n}].output", g.output) for n, g in enumerate(groups))):
        used = output.sizes or any(group.output and group.output.sizes for group in groups)
        for key in ("crop", "background"):
            if own and key in own.model_fields_set and not used:
                reading.warn_at(f"{path}.{key}", "has no effect without `sizes`; list them, or remove it")


def check_quality(output: Output, groups: tuple[Group, ...], reading: Reading) -> None:
    """Warns of a quality for png files, which have none."""
    formats = {_own_format(group) or output.format for group in groups} or {output.format}
    if output.quality is not None and formats == {"png"}:
        reading.warn_at("output.quality", _NO_QUALITY)
    for number, group in enumerate(groups):
        if group.output and group.output.quality and (_own_format(group) or output.format) == "png":
            reading.warn_at(f"shots[{number}].output.quality", _NO_QUALITY)


def _own_format(group: Group) -> str | None:
    own = group.output
    return own.format if own and "format" in own.model_fields_set else None
