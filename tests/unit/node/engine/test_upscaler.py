"""Upscalers of every architecture, told by their headers and run in tiles as a plain call runs them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from common.catalog.check import UPSCALER_ARCHITECTURES
from common.weights import read_header
from common.weights.recognition import recognise
from common.weights.upscaler import ARCHITECTURES, UpscalerForm
from gpu_node.engine.upscaler import LARGEST_TILE, MARGIN, SMALLEST_TILE, LoadedUpscaler, load_upscaler, tiles
from gpu_node.errors import RenderError
from gpu_node.protocol import EngineUpscaler
from tests.tiny_upscalers import UPSCALERS, enlarged, save_upscaler

#: Those of which each pixel depends only on pixels near it.
LOCAL = ("esrgan-4x", "esrgan-2x", "compact-2x", "swinir-2x", "span-2x")


@pytest.fixture(autouse=True)
def single_thread() -> Iterator[None]:
    """Threads of many workers would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("upscalers")
    return {name: save_upscaler(folder / f"{name}.safetensors", name) for name in UPSCALERS}


def form_of(file: Path) -> UpscalerForm:
    found = recognise(read_header(file), file.name)
    assert (found.kind, found.families) == ("upscaler", ())
    assert found.upscaler is not None
    return found.upscaler


def upscaler(file: Path, name: str, model: Any = None) -> LoadedUpscaler:
    scale = UPSCALERS[name][2]
    told = EngineUpscaler(name=name, file=file, identity="sha256:" + "0" * 64, scale=scale)
    return LoadedUpscaler(told, model or load_upscaler(name, file, scale), "cpu", torch.float32)


def noise(width: int, height: int) -> Image.Image:
    levels = numpy.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=numpy.uint8)
    return Image.fromarray(levels)


def made(one: LoadedUpscaler, picture: Image.Image) -> numpy.ndarray:
    found = one.enlarged(picture, lambda: None)
    assert isinstance(found, Image.Image)
    return numpy.asarray(found)


def test_the_catalog_lists_the_architectures_that_headers_tell() -> None:
    assert sorted(ARCHITECTURES) == list(UPSCALER_ARCHITECTURES)
    assert {architecture for _, architecture, _ in UPSCALERS.values()} == set(ARCHITECTURES)


@pytest.mark.parametrize("name", UPSCALERS)
def test_a_header_tells_architecture_factor_and_operations(name: str, files: dict[str, Path]) -> None:
    _, architecture, scale = UPSCALERS[name]
    form = form_of(files[name])
    assert (form.architecture, form.scale) == (architecture, scale)
    model = load_upscaler(name, files[name], scale)
    pixels = torch.zeros(1, 3, 64, 64)
    with warnings.catch_warnings(), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        warnings.simplefilter("ignore")
        model(pixels)
    counted = counter.get_total_flops() / pixels[0, 0].numel() / 1e6
    # Attention between pixels is left out.
    assert form.tflop_per_mp == pytest.approx(counted, rel=0.1)


@pytest.mark.parametrize("prefix", ["params_ema.", "params.", "module.", "module.params_ema."])
def test_beginnings_that_training_programs_leave_do_not_matter(
    prefix: str, files: dict[str, Path], tmp_path: Path
) -> None:
    file = save_upscaler(tmp_path / "a.safetensors", "compact-2x", prefix=prefix)
    assert form_of(file) == form_of(files["compact-2x"])
    picture = noise(20, 16)
    assert (
        made(upscaler(file, "compact-2x"), picture)
        == made(upscaler(files["compact-2x"], "compact-2x"), picture)
    ).all()


@pytest.mark.parametrize("name", [name for name in UPSCALERS if UPSCALERS[name][2] > 1])
def test_a_picture_of_one_tile_is_that_of_a_plain_call(name: str, files: dict[str, Path]) -> None:
    one, picture = upscaler(files[name], name), noise(72, 40)
    assert (
        made(one, picture)
        == enlarged(load_upscaler(name, files[name], one.told.scale), numpy.asarray(picture))
    ).all()


@pytest.mark.parametrize("name", LOCAL)
def test_tiles_leave_no_seams(name: str, files: dict[str, Path]) -> None:
    one, picture = upscaler(files[name], name), noise(136, 140)
    one.tile = SMALLEST_TILE
    whole = enlarged(load_upscaler(name, files[name], one.told.scale), numpy.asarray(picture))
    difference = abs(made(one, picture).astype(int) - whole)
    # Sums in another order.
    assert difference.max() <= 1
    assert whole.std() > 1


class Small:
    """An upscaler on a card that has no room for more than so many pixels."""

    def __init__(self, model: Any, most: int) -> None:
        self.model, self.most = model, most
        self.seen: list[int] = []

    def to(self, *_: object) -> None:
        pass

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        side = max(pixels.shape[-2:])
        if side > self.most:
            raise torch.OutOfMemoryError(f"CUDA out of memory: {side}")
        self.seen.append(side)
        result: torch.Tensor = self.model(pixels)
        return result


def test_a_tile_that_is_too_large_is_halved_for_good(files: dict[str, Path]) -> None:
    name = "compact-2x"
    model = load_upscaler(name, files[name], 2)
    small = Small(model, 200)
    one, picture = upscaler(files[name], name, small), noise(300, 90)
    assert one.tile == LARGEST_TILE
    whole = enlarged(model, numpy.asarray(picture))
    assert abs(made(one, picture).astype(int) - whole).max() <= 1
    assert one.tile == 128
    tried = len(small.seen)
    made(one, picture)
    # At once in tiles that fit.
    assert len(small.seen) == 2 * tried

    tiny = upscaler(files[name], name, Small(model, 100))
    with pytest.raises(torch.OutOfMemoryError):
        made(tiny, picture)


def test_nan_is_a_failure_of_the_picture(files: dict[str, Path]) -> None:
    name = "compact-2x"
    model = load_upscaler(name, files[name], 2)
    with torch.no_grad():
        next(model.model.parameters()).fill_(torch.nan)
    failed = upscaler(files[name], name, model).enlarged(noise(20, 20), lambda: None)
    assert isinstance(failed, RenderError)
    assert failed.kind == "not_a_number"


def test_what_is_called_after_each_tile_can_end_the_work(files: dict[str, Path]) -> None:
    one = upscaler(files["compact-2x"], "compact-2x")
    one.tile, called = SMALLEST_TILE, []

    def stop() -> None:
        called.append(1)
        raise RenderError("cancelled", "nobody wants it")

    with pytest.raises(RenderError, match="nobody wants it"):
        one.enlarged(noise(300, 300), stop)
    assert called == [1]


def test_a_file_that_is_not_what_the_entry_says_is_rejected(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(RenderError, match="enlarges 2 times with 3 channels") as refused:
        load_upscaler("mine", files["compact-2x"], 4)
    assert refused.value.kind == "upscaler_rejected"
    from safetensors.torch import save_file

    save_file({"conv_first.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "a.safetensors")
    with pytest.raises(RenderError, match="upscaler mine cannot be loaded") as refused:
        load_upscaler("mine", tmp_path / "a.safetensors", 4)
    assert refused.value.kind == "upscaler_rejected"


@given(
    width=st.integers(1, 1500), height=st.integers(1, 1500), side=st.sampled_from([128, 256, LARGEST_TILE])
)
def test_tiles_cover_each_pixel_once(width: int, height: int, side: int) -> None:
    found = list(tiles((width, height), side))
    columns = sorted({(tile.kept[0], tile.kept[2], tile.seen[0], tile.seen[2]) for tile in found})
    rows = sorted({(tile.kept[1], tile.kept[3], tile.seen[1], tile.seen[3]) for tile in found})
    assert len(found) == len(columns) * len(rows)
    assert {(tile.kept, tile.seen) for tile in found} == {
        ((c[0], r[0], c[1], r[1]), (c[2], r[2], c[3], r[3])) for c, r in product(columns, rows)
    }
    for spans, length in ((columns, width), (rows, height)):
        assert (spans[0][0], spans[-1][1]) == (0, length)
        assert all(one[1] == other[0] for one, other in pairwise(spans))
        for kept_from, kept_to, seen_from, seen_to in spans:
            assert 0 < seen_to - seen_from <= side
            assert seen_from % MARGIN == 0
            assert kept_from - seen_from == (MARGIN if seen_from else 0)
            assert seen_to - kept_to == (MARGIN if kept_to < length else 0)
