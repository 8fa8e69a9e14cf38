"""`{file: NAME}` inside a manifest: the list that the file holds, and where each of its values came from."""

from __future__ import annotations

from common.manifest import nodes
from common.manifest.files import UnusableFileError
from common.manifest.lists import listed
from common.manifest.nodes import Node, Place, Scalar
from common.manifest.parsed import Origin
from common.manifest.reading import Reading
from common.manifest.wording import described, shortened


def read_file_list(node: nodes.Mapping, path: str, reading: Reading) -> nodes.Sequence | None:
    """The values of the file that `node` refers to; None after reporting why there are none."""
    reference = node.entries["file"][1]
    if not isinstance(reference, Scalar) or not reference.text:
        reading.wrong(reference.place, f"{path}.file", f"must be a file name, not {described(reference)}")
        return None
    return load(reference.text, reference.place, path, reading)


def load(name: str, place: Place, path: str, reading: Reading) -> nodes.Sequence | None:
    """The values of a file referred to at `place`, kept under `path` for later findings and inlining."""
    if reading.files is None:
        message = f"`file: {shortened(name)}` cannot be read here; `farm submit` sends the contents instead"
        reading.wrong(place, path, message)
        return None
    try:
        values = listed(name, reading.files.read(name))
    except UnusableFileError as error:
        reading.wrong(place, path, f"file `{shortened(name)}` {error}")
        return None
    lines = tuple(item.place.line for item in values.items)
    reading.text.origins[path] = Origin(name, lines, place)
    reading.contents[path] = _at_reference(values, place)
    return reading.contents[path]


def _at_reference(values: nodes.Sequence, place: Place) -> nodes.Sequence:
    """The values with the reference's place, which is where a reader of the manifest must look."""
    return nodes.Sequence(place, [_moved(item, place) for item in values.items])


def _moved(node: Node, place: Place) -> Node:
    match node:
        case nodes.Scalar():
            return Scalar(place, node.text, node.style)
        case nodes.Sequence():
            return nodes.Sequence(place, [_moved(item, place) for item in node.items])
    return nodes.Mapping(
        place, {key: (place, _moved(value, place)) for key, (_, value) in node.entries.items()}
    )
