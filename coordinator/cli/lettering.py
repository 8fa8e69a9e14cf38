"""Lettering of pictures: fonts that stand in for one another, so that no character is drawn as a box."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from common.wording import visible

#: DejaVu Sans: Latin, Greek, Cyrillic, Arabic, Hebrew, Georgian, Armenian, symbols, some emoji in black.
_SHIPPED = Path(__file__).parent / "web" / "fonts" / "DejaVuSans.ttf"
#: Files that systems have for the other scripts: Linux, macOS, Windows. Pillow knows the folders.
SYSTEM_FONTS = (
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "SourceHanSansSC-Regular.otf"),
    *("wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf", "DroidSansFallback.ttf"),
    *("NotoColorEmoji.ttf", "NotoEmoji-Regular.ttf", "Symbola.ttf", "Symbola_hint.ttf"),
    *("NotoSansDevanagari-Regular.ttf", "NotoSansBengali-Regular.ttf", "NotoSansTamil-Regular.ttf"),
    *("NotoSansTelugu-Regular.ttf", "NotoSansThai-Regular.ttf", "NotoSansEthiopic-Regular.ttf"),
    *("NotoSansKhmer-Regular.ttf", "NotoSansMyanmar-Regular.ttf", "NotoSansSymbols2-Regular.ttf"),
    *("PingFang.ttc", "Hiragino Sans GB.ttc", "STHeiti Light.ttc", "AppleSDGothicNeo.ttc"),
    *("Apple Color Emoji.ttc", "Arial Unicode.ttf", "Kohinoor.ttc", "Thonburi.ttc"),
    *("msyh.ttc", "YuGothM.ttc", "malgun.ttf", "seguiemj.ttf", "seguisym.ttf", "Nirmala.ttf", "LeelawUI.ttf"),
    *("unifont.otf", "unifont.ttf"),
)
#: Pixels in which fonts of emoji hold their pictures.
_PICTURE_SIZES = (109, 160, 136, 96, 64)
#: Joins and variants of emoji, which need no glyph of their own.
_JOINS = re.compile("[\u200d\ufe00-\ufe0f]")
#: No font has it.
_NOTHING = "\U0010ffff"

#: What to install, by what is drawn with it.
_PACKAGES = {
    "Noto Sans CJK (Debian: fonts-noto-cjk)": re.compile(
        "[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]"
    ),
    "Noto Color Emoji (Debian: fonts-noto-color-emoji)": re.compile("[\u2600-\u27bf\U0001f000-\U0001faff]"),
    "Noto Sans (Debian: fonts-noto-core)": re.compile("."),
}


class Lettering:
    """Text of one size, each character in the first font that has it."""

    def __init__(self, size: int, others: Sequence[str] = SYSTEM_FONTS) -> None:
        """`size` in pixels; `others` are files to look for where the shipped font is not enough."""
        self._size = size
        self._faces = [_Face(_SHIPPED, size, size)]
        self._others = iter(others)
        self._found: dict[str, _Face | None] = {}

    @property
    def missing(self) -> str:
        """The characters that no font had, in the order in which they were met."""
        return "".join(char for char, face in self._found.items() if face is None)

    def spelled(self, text: str) -> str:
        """The text on one line, with what cannot be drawn written as its escape."""
        plain = _JOINS.sub("", visible(text))
        return "".join(char if self._face(char) else ascii(char)[1:-1] for char in plain)

    def fitting(self, text: str, width: float) -> int:
        """How many of the first characters of a spelled text fit into `width` pixels."""
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._length(text[:middle]) <= width else (low, middle - 1)
        return low

    def draw(self, picture: Image.Image, place: tuple[int, int], text: str, ink: str) -> None:
        """Draw a spelled text with its upper left corner at `place`."""
        left, baseline = float(place[0]), place[1] + self._faces[0].ascent
        for face, run in self._runs(text):
            face.draw(picture, (round(left), baseline), run, ink)
            left += face.length(run)

    def _length(self, text: str) -> float:
        return sum(face.length(run) for face, run in self._runs(text))

    def _runs(self, text: str) -> Iterator[tuple[_Face, str]]:
        for face, chars in groupby(text, key=self._face):
            yield face or self._faces[0], "".join(chars)

    def _face(self, char: str) -> _Face | None:
        if char not in self._found:
            self._found[char] = next((face for face in self._all_faces() if face.has(char)), None)
        return self._found[char]

    def _all_faces(self) -> Iterator[_Face]:
        """Those that are open, then one after the other those that the system has."""
        yield from self._faces
        for name in self._others:
            face = _opened(name, self._size)
            if face is not None:
                self._faces.append(face)
                yield face


def remedy(missing: str) -> str:
    """Which fonts to install for characters that none has."""
    wanted = []
    for package, chars in _PACKAGES.items():
        if chars.search(missing):
            wanted.append(package)
            missing = chars.sub("", missing)
    return " and ".join(wanted)


class _Face:
    """One font; `scale` where its pictures have another size than the text."""

    def __init__(self, file: str | Path, pixels: int, size: int) -> None:
        """Raises OSError where there is no such file, or the font has no such size."""
        self._font = ImageFont.truetype(file, pixels)
        # Raqm would add a circle to a mark that stands alone.
        self._bare = ImageFont.truetype(file, pixels, layout_engine=ImageFont.Layout.BASIC)
        self._scale = size / pixels
        self.ascent, self._descent = self._font.getmetrics()
        self._box = self._drawn(_NOTHING)

    def has(self, char: str) -> bool:
        return self._drawn(char) != self._box

    def length(self, text: str) -> float:
        return self._font.getlength(text) * self._scale

    def draw(self, picture: Image.Image, place: tuple[int, int], text: str, ink: str) -> None:
        """`place` is the left end of the base line."""
        if self._scale == 1:
            pen = ImageDraw.Draw(picture)
            pen.text(place, text, ink, self._font, anchor="ls", embedded_color=True)
            return
        drawn = Image.new("RGBA", (max(1, round(self._font.getlength(text))), self.ascent + self._descent))
        ImageDraw.Draw(drawn).text((0, self.ascent), text, ink, self._font, anchor="ls", embedded_color=True)
        size = [max(1, round(side * self._scale)) for side in drawn.size]
        small = drawn.resize((size[0], size[1]), Image.Resampling.LANCZOS)
        picture.paste(small, (place[0], place[1] - round(self.ascent * self._scale)), small)

    def _drawn(self, char: str) -> bytes:
        side = 2 * (self.ascent + self._descent)
        drawn = Image.new("RGBA", (side, side))
        place = side // 4, side // 2
        ImageDraw.Draw(drawn).text(place, char, "black", self._bare, anchor="ls", embedded_color=True)
        return drawn.tobytes()


@cache
def _opened(name: str, size: int) -> _Face | None:
    """A font of the system; None where it has none of this name."""
    for pixels in (size, *_PICTURE_SIZES):
        try:
            return _Face(name, pixels, size)
        except OSError as error:
            if "pixel size" not in str(error):
                return None
    return None
