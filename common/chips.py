"""Chips: the published rates of graphics cards (`cards.yaml`), found by the name that the driver reports."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from common.cards import REFERENCE_CARDS
from common.document.typed import plain, read_document, validated
from common.errors import InvalidDocument
from common.nodes import Card, vram_class
from common.units import GIB

_FILE = Path(__file__).parent / "cards.yaml"
#: Names of cards whose chip is remembered: nodes report any name.
_NAMES = 4096
#: GiB, and fraction of the memory, that a desktop and the driver take of a card.
_TAKEN_GIB, _TAKEN = 0.5, 0.02
#: Host memory for weights of a machine with 32 GiB.
_MODERN_RAM_BYTES = 24 * GIB

#: Words in names that say nothing about the rates.
_NOISE = frozenset(
    {"nvidia", "geforce", "gtx", "rtx", "tesla", "quadro", "graphics", "gpu", "generation", "edition"}
    | {"workstation", "server", "blackwell"}
)
#: Words that distinguish cards of one name, in addition to the memory; a name may omit them.
_FORMS = frozenset(["pcie", "sxm2", "sxm4", "sxm5", "hbm2", "hbm2e", "hbm3", "hbm3e"])
_MEMORY = re.compile(r"(\d+)(?:gb|g)")
_JOINED = re.compile(r"\b([rg]tx)(?=\d)|(?<=\d)(ti|super|laptop)\b|(?<=\d)\s+(?=gb\b)")

_Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chip:
    """A graphics card as its maker describes it."""

    name: str
    compute_capability: tuple[int, int]
    vram_gib: float
    watts: float
    #: Of the memory, in GB/s.
    bandwidth: float
    #: TFLOPS without tensor units.
    fp32: float
    #: TFLOPS of dense matrices; None: no units faster than those for float32.
    fp16: float | None = None
    bf16: float | None = None
    #: TOPS of dense matrices; None: none.
    int8: float | None = None
    #: Torch dtypes in which pictures come out black.
    fails: tuple[str, ...] = ()
    #: Names that NVML and torch report.
    reported: tuple[str, ...]

    @property
    def vram_class(self) -> int:
        return vram_class(round(self.vram_gib * GIB))

    def rate(self, dtype: str) -> float:
        """TFLOPS of matrices in a torch dtype; types without units of their own are computed in float32."""
        rates = {"float16": self.fp16, "bfloat16": self.bf16}
        return rates.get(dtype) or self.fp32

    def card(self) -> Card:
        """A card with this chip for planning.

        Its machine is that of the reference card of its class; from Ampere on it has 32 GiB at least.
        """
        ram_bytes = REFERENCE_CARDS[self.vram_class].ram_bytes
        if self.compute_capability >= (8, 0):
            ram_bytes = max(ram_bytes, _MODERN_RAM_BYTES)
        return Card(
            name=self.name,
            backend="cuda",
            vram_bytes=round(self.vram_gib * GIB),
            usable_bytes=round((self.vram_gib * (1 - _TAKEN) - _TAKEN_GIB) * GIB),
            ram_bytes=ram_bytes,
            compute_capability=self.compute_capability,
            watts=self.watts,
        )


class _ChipEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    capability: Annotated[str, Field(pattern=r"^\d+\.\d+$")]
    vram: _Positive
    watts: _Positive
    bandwidth: _Positive
    fp32: _Positive
    fp16: _Positive | None = None
    bf16: _Positive | None = None
    int8: _Positive | None = None
    fails: tuple[Literal["float16", "bfloat16"], ...] = ()
    reported: tuple[str, ...] = ()


class _ChipFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    cards: dict[str, _ChipEntry]


@cache
def known_chips(path: Path = _FILE) -> Mapping[str, Chip]:
    """Returns all chips by name. Raises InvalidDocument if the file is wrong."""
    text, problems = read_document(path)
    file = validated(_ChipFile, plain(text.root), "", text, problems)
    if file is None or problems:
        raise InvalidDocument(str(path), problems)
    return MappingProxyType({name: _chip(name, entry) for name, entry in file.cards.items()})


def _chip(name: str, entry: _ChipEntry) -> Chip:
    major, minor = entry.capability.split(".")
    return Chip(
        name=name,
        compute_capability=(int(major), int(minor)),
        vram_gib=entry.vram,
        **entry.model_dump(exclude={"capability", "vram", "reported"}),
        reported=entry.reported or (f"NVIDIA GeForce {re.sub(r' [0-9]+GB$', '', name)}",),
    )


@lru_cache(_NAMES)
def find_chip(name: str, vram_gib: float | None = None) -> Chip | None:
    """Returns the chip that a name of NVML, of torch or of a person means; None if it is unknown.

    Chips of one name (RTX 3060 with 12 and with 8 GB) are told apart by memory, in the name or as `vram_gib`.
    A laptop card or a form (PCIe, SXM) that is not listed is found as the card that it is derived from.

    >>> find_chip("NVIDIA GeForce RTX 3060", 7.9).name, find_chip("rtx3060ti").name
    ('RTX 3060 8GB', 'RTX 3060 Ti')
    """
    words, forms, memory = _parts(name)
    wanted = memory or vram_gib
    for core in (words, words - {"laptop"}):
        alike = [chip for chip in known_chips().values() if core == _parts(chip.name)[0]]
        if alike and core:
            return min(alike, key=lambda chip: _distance(chip, forms, wanted))
    return None


def chip_of(card: Card) -> Chip:
    """Returns the chip of a card; of an unknown card, the most similar chip that is not faster, if any."""
    return _chip_of(card.name, round(card.vram_bytes / GIB, 1), card.compute_capability)


def is_known(card: Card) -> bool:
    """Whether the name of the card is in `cards.yaml`."""
    return find_chip(card.name, round(card.vram_bytes / GIB, 1)) is not None


def watt_limit(card: Card) -> float:
    """Returns the watts of a card by its published power limit; of an unknown card, the most of its class."""
    known = find_chip(card.name, round(card.vram_bytes / GIB, 1))
    return _most_watts(card.vram_class) if known is None else known.watts


@cache
def _most_watts(size: int) -> float:
    return max(chip.watts for chip in known_chips().values() if chip.vram_class == size)


@lru_cache(_NAMES)
def _chip_of(name: str, vram_gib: float, capability: tuple[int, int] | None) -> Chip:
    known = find_chip(name, vram_gib)
    if known is not None:
        return known
    chips = known_chips().values()
    older = {
        chip.compute_capability for chip in chips if capability and chip.compute_capability <= capability
    }
    if not older:
        reference = REFERENCE_CARDS[vram_class(round(vram_gib * GIB))].name
        chip = find_chip(reference)
        assert chip is not None, reference
        return chip
    alike = [chip for chip in chips if chip.compute_capability == max(older)]
    return min(alike, key=lambda chip: (abs(chip.vram_gib - vram_gib), chip.fp32))


def _distance(chip: Chip, forms: Collection[str], vram_gib: float | None) -> tuple[float, ...]:
    """Sorts chips of one name: other forms last, then by memory, then the slower one first."""
    _, own, named_gib = _parts(chip.name)
    memory = float(named_gib is not None) if vram_gib is None else abs(chip.vram_gib - vram_gib)
    return (len(own - set(forms)), round(memory), -len(own & set(forms)), chip.fp32)


@lru_cache(_NAMES)
def _parts(name: str) -> tuple[frozenset[str], frozenset[str], float | None]:
    """Returns the words of a name that identify a chip, those of its form, and the GB that it mentions."""
    text = name.lower().replace("max-q", "laptop").replace("mobile", "laptop")
    text = _JOINED.sub(lambda found: f"{found[1]} " if found[1] else f" {found[2]}" if found[2] else "", text)
    words = set(re.findall(r"[a-z0-9]+", text)) - _NOISE - {"with", "design", "gb"}
    memory = next((float(found[1]) for word in words if (found := _MEMORY.fullmatch(word))), None)
    words = {word for word in words if not _MEMORY.fullmatch(word)}
    return frozenset(words - _FORMS), frozenset(words & _FORMS), memory


def page() -> str:
    """Returns docs/reference/cards.md."""
    rows = (
        f"| {chip.name} | {chip.compute_capability[0]}.{chip.compute_capability[1]} | {chip.vram_gib:g} "
        f"| {chip.fp32:g} | {_cell(chip, 'float16', chip.fp16)} | {_cell(chip, 'bfloat16', chip.bf16)} "
        f"| {_or_dash(chip.int8)} | {chip.bandwidth:g} | {chip.watts:g} |"
        for chip in known_chips().values()
    )
    return "\n".join([_PAGE_HEAD, *rows])


def _cell(chip: Chip, dtype: str, rate: float | None) -> str:
    return "fails" if dtype in chip.fails else _or_dash(rate)


def _or_dash(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:g}"


_PAGE_HEAD = """\
# Cards

Generated from `common/cards.yaml` by `python -m common.chips > docs/reference/cards.md`.

Estimates of time use the published rates of these cards ([what fits which card](../explanation/fit.md)). A
card is found by the name that its driver reports, with or without "NVIDIA GeForce"; cards of one name are
told apart by their memory. An unknown card is planned like the most similar card of its compute capability
or, without one, like the reference card of its VRAM class. `farm plan M --card NAME` plans for a card of
this list, for example `--card rtx-3080`.

Rates are those of dense matrices, accumulated in float32: TFLOPS, for int8 TOPS. `-`: the card has no units
that are faster than those for float32. `fails`: pictures come out black in this type, so the farm uses no
recipe that computes in it (predicted: the list is ComfyUI's, no such card was tried). Source: NVIDIA's
published specifications; laptops at the highest clock and power limit.

| card | compute capability | VRAM, GiB | fp32 | fp16 | bf16 | int8 | memory, GB/s | watts |
|---|---|---|---|---|---|---|---|---|"""


if __name__ == "__main__":
    print(page())
