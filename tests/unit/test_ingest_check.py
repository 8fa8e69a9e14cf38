import hashlib
import io
import struct
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from common.failures import FAILURES
from common.infotext import SHOT_TAG
from common.shot import Shot, UpscalerUse
from coordinator.ingest.check import BadUpload, checked

SHOT = Shot(
    model="m", model_identity="sha256:00", prompt="p", negative="", seed=1, width=64, height=48,
    steps=1, guidance=0.0, sampler="euler",
)  # fmt: skip


def picture(size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.radial_gradient("L").resize(size).convert("RGB")


def saved(image: Image.Image, image_format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, image_format, **options)
    return out.getvalue()


def png(image: Image.Image, **options: object) -> bytes:
    return saved(image, "PNG", **options)


def check(data: bytes, shot: Shot = SHOT) -> Image.Image | BadUpload:
    return checked(data, shot, sha256=hashlib.sha256(data).hexdigest())


def declaring(width: int, height: int) -> bytes:
    """A PNG whose header promises a size that its data does not have."""
    data = bytearray(png(picture()))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def animation() -> bytes:
    out = io.BytesIO()
    frames = [picture(), picture().transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(45)]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:])
    return out.getvalue()


def gif() -> bytes:
    return saved(picture(), "GIF")


def named(shot_id: str) -> Image.Exif:
    exif = Image.Exif()
    exif[SHOT_TAG] = shot_id
    return exif


#: One file of every kind that may come, by its format.
FILES = {
    "png": png(picture()),
    "webp": saved(picture(), "WEBP", quality=90),
    "webp, lossless": saved(picture(), "WEBP", lossless=True),
    "jpeg": saved(picture(), "JPEG", quality=90),
    "jpeg, progressive": saved(picture(), "JPEG", progressive=True, restart_marker_blocks=2),
}


#: Bytes from before the last pixel of a PNG to its end: two checksums, an empty chunk, and some of the data.
_BEHIND_PIXELS = 40


def test_a_good_picture_passes_with_its_pixels():
    answer = check(png(picture()))
    assert isinstance(answer, Image.Image)
    assert answer.tobytes() == picture().tobytes()


def test_nothing_but_pixels_passes():
    info = PngInfo()
    info.add_text("parameters", "a secret")
    answer = check(png(picture().convert("RGBA"), pnginfo=info, icc_profile=b"x" * 100))
    assert isinstance(answer, Image.Image)
    assert (answer.mode, answer.info) == ("RGB", {})


def test_an_upscaled_image_has_the_final_size() -> None:
    large = SHOT._replace(upscaler=UpscalerUse("sharp", "sha256:00", 2, 1.0))
    answer = check(png(picture((128, 96))), large)
    assert isinstance(answer, Image.Image)
    assert answer.size == (128, 96)
    for size in ((64, 48), (256, 192)):
        refused = check(png(picture(size)), large)
        assert isinstance(refused, BadUpload)
        assert refused.failure == "wrong_size"
        assert "128x96" in refused.message


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (png(picture())[:-200], "not_an_image"),
        (b"", "not_an_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
        (gif(), "not_an_image"),
        (animation(), "not_an_image"),
        (png(picture((48, 64))), "wrong_size"),
        (declaring(60_000, 60_000), "wrong_size"),
        (declaring(65, 48), "wrong_size"),
        (png(Image.new("RGB", (64, 48))), "black_image"),
        (png(Image.new("RGB", (64, 48), (200, 30, 30))), "flat_image"),
    ],
    ids=["truncated", "empty", "svg", "gif", "animated", "turned", "bomb", "a pixel more", "black", "flat"],
)
def test_what_is_not_the_picture_is_refused_by_kind(data: bytes, failure: str):
    answer = check(data)
    assert isinstance(answer, BadUpload)
    assert answer.failure == failure
    assert answer.failure in FAILURES
    assert answer.message


def test_other_bytes_than_reported_are_refused():
    answer = checked(png(picture()), SHOT, sha256="0" * 64)
    assert answer == BadUpload("wrong_checksum", "SHA-256 mismatch between the upload and the report")


def pixels(data: bytes, shot: Shot) -> bytes | None:
    """None where the upload is refused."""
    answer = check(data, shot)
    return None if isinstance(answer, BadUpload) else answer.tobytes()


@pytest.mark.parametrize("behind", [b"\0", b"PK\x03\x04" + b"an archive" * 20, *FILES.values()])
@pytest.mark.parametrize("kind", FILES)
def test_what_lies_behind_the_end_of_a_file_changes_no_pixel(kind: str, behind: bytes):
    shot = SHOT._replace(format=kind.partition(",")[0])
    whole = pixels(FILES[kind], shot)
    assert whole is not None
    assert pixels(FILES[kind] + behind, shot) == whole


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_breaks_off_passes_only_with_all_its_pixels(kind: str):
    shot, data = SHOT._replace(format=kind.partition(",")[0]), FILES[kind]
    left = {pixels(data[:length], shot) for length in range(0, len(data) - 1, 7)}
    assert left <= {None, pixels(data, shot)}
    assert pixels(data[:-_BEHIND_PIXELS], shot) is None


def test_a_file_of_another_format_is_refused_but_for_png_which_loses_nothing():
    answer = check(FILES["jpeg"])
    assert answer == BadUpload("wrong_format", "the upload is a JPEG file, but the shot requests png")
    assert isinstance(check(FILES["png"], SHOT._replace(format="webp")), Image.Image)


@pytest.mark.parametrize("image_format", ["png", "webp", "jpeg"])
def test_a_file_that_names_another_shot_is_refused(image_format: str):
    shot = SHOT._replace(format=image_format)
    other = shot._replace(seed=2)
    assert isinstance(check(saved(picture(), image_format, exif=named(shot.id)), shot), Image.Image)
    answer = check(saved(picture(), image_format, exif=named(other.id)), shot)
    assert isinstance(answer, BadUpload)
    assert answer.failure == "wrong_shot"
    assert other.id[:12] in answer.message


def bomb_of_text() -> bytes:
    """A PNG whose text chunk would take 64 MiB."""
    chunk = b"zTXt" + b"x\0\0" + zlib.compress(bytes(2**26), 9)
    framed = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = FILES["png"]
    return data[:33] + framed + data[33:]


def chunks(kind: bytes, number: int) -> bytes:
    """A PNG with so many empty chunks of a kind before its pixels."""
    empty = struct.pack(">I", 0) + kind + struct.pack(">I", zlib.crc32(kind))
    return FILES["png"][:33] + empty * number + FILES["png"][33:]


def segments(*between: bytes) -> bytes:
    """A JPEG with these bytes before its first segment."""
    return FILES["jpeg"][:2] + b"".join(between) + FILES["jpeg"][2:]


def scans(number: int) -> bytes:
    """A progressive JPEG that paints its last scan again and again."""
    data = FILES["jpeg, progressive"]
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * number + data[-2:]


MANY = 2**21


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (segments(b"\xff" * 24 * 2**20), "other bytes between its segments"),
        (segments(b"\xff\0" * MANY), "other bytes between its segments"),
        (segments(b"\xff\xd0" * MANY), "other bytes between its segments"),
        (segments(b"\xff\xfe\0\2" * MANY), "more segments"),
        (segments(b"\xff\xfe\0\6\xff\xda\0\0", b"\xff" * MANY), "other bytes between its segments"),
        (scans(10_000), "more scans"),
        (chunks(b"teSt", MANY), "more chunks"),
        (chunks(b"IDAT", MANY), "more chunks"),
    ],
    ids=["fill", "junk", "restarts", "comments", "hidden fill", "scans", "chunks", "pixel chunks"],
)
def test_a_file_that_keeps_a_decoder_busy_is_refused_before_one_reads_it(
    data: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "open", None)
    answer = check(data, SHOT._replace(format="jpeg"))
    assert isinstance(answer, BadUpload)
    assert answer.failure == "not_an_image"
    assert words in answer.message
    assert len(answer.message) < 100


def test_files_of_usual_encoders_with_everything_in_them_pass() -> None:
    exif = named(SHOT._replace(format="jpeg").id)
    more = {"exif": exif, "icc_profile": b"x" * 300_000, "comment": b"c" * 999}
    full = saved(picture(), "JPEG", progressive=True, **more)
    assert isinstance(check(full, SHOT._replace(format="jpeg")), Image.Image)
    large = Image.effect_noise((1024, 768), 80).convert("RGB")
    shot = SHOT._replace(width=1024, height=768)
    info = PngInfo()
    for number in range(20):
        info.add_text(f"key {number}", "text")
    assert isinstance(check(png(large, pnginfo=info, compress_level=0), shot), Image.Image)


@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from(sorted(FILES)),
    at=st.integers(0, 2000),
    gone=st.integers(0, 40),
    put=st.binary(max_size=40),
)
@example(kind="png", at=33, gone=0, put=bomb_of_text()[33 : -len(FILES["png"]) + 33])
def test_whatever_comes_is_a_picture_or_refused(kind: str, at: int, gone: int, put: bytes):
    data = FILES[kind]
    answer = check(data[:at] + put + data[at + gone :], SHOT._replace(format=kind.partition(",")[0]))
    if isinstance(answer, BadUpload):
        assert answer.failure in FAILURES
        assert len(answer.message) < 400
    else:
        assert (answer.size, answer.mode) == ((SHOT.width, SHOT.height), "RGB")
