"""Weight files: what they hold and what they are for, told by their headers alone."""

from common.weights.header import Header, Tensor, parse_header, read_header, refuse_other_files
from common.weights.metadata import Described, described
from common.weights.recognition import COMPONENT_PREFIXES, Kind, Recognition, component_prefixes, recognise

__all__ = [
    "COMPONENT_PREFIXES",
    "Described",
    "Header",
    "Kind",
    "Recognition",
    "Tensor",
    "component_prefixes",
    "described",
    "parse_header",
    "read_header",
    "recognise",
    "refuse_other_files",
]
