"""Draws text with fallback fonts, so that no character appears as an empty box."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from common.wording import visible

#: DejaVu Sans: Latin, Greek, Cyrillic, Arabic, Hebrew, Georgian, Armenian, symbols, some monochrome emoji.
_SHIPPED = Path(__file__).parent / "web" / "fonts" / "DejaVuSans.ttf"
#: Font files for other scripts on Linux, macOS and Windows. Pillow searches the system folders.
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
#: Sizes in pixels of the bitmaps in emoji fonts.
_PICTURE_SIZES = (109, 160, 136, 96, 64)
#: Joiners and variation selectors of emoji, which need no glyph.
_JOINS = re.compile("[\u200d\ufe00-\ufe0f]")
#: A character without a glyph in any font.
_NOTHING = "\U0010ffff"

#: Font packages to install, by the characters that they contain.
_PACKAGES = {
    "Noto Sans CJK (Debian: fonts-noto-cjk)": re.compile(
        "[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]"
    ),
    "Noto Color Emoji (Debian: fonts-noto-color-emoji)": re.compile("[\u2600-\u27bf\U0001f000-\U0001faff]"),
    "Noto Sans (Debian: fonts-noto-core)": re.compile("."),
}


class Lettering:
    """Text of one size; each character is drawn in the first font that has it."""

    def __init__(self, size: int, others: Sequence[str] = SYSTEM_FONTS) -> None:
        """`size` is in pixels; `others` are fonts to try if the shipped font lacks a character."""
        self._size = size
        self._faces = [_Face(_SHIPPED, size, size)]
        self._others = iter(others)
        self._found: dict[str, _Face | None] = {}

    @property
    def missing(self) -> str:
        """Characters without a font, in order of their first occurrence."""
        return "".join(char for char, face in self._found.items() if face is None)

    def spelled(self, text: str) -> str:
        """Returns the text on one line, with characters that cannot be drawn as escapes."""
        plain = _JOINS.sub("", visible(text))
        return "".join(char if self._face(char) else ascii(char)[1:-1] for char in plain)

    def fitting(self, text: str, width: float) -> int:
        """Returns how many leading characters of a text from `spelled` fit into `width` pixels."""
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._length(text[:middle]) <= width else (low, middle - 1)
        return low

    def draw(self, picture: Image.Image, place: tuple[int, int], text: str, ink: str) -> None:
        """Draw a text from `spelled` with its upper left corner at `place`."""
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
        """Yields the open fonts, then opens and yields further fonts of the system."""
        yield from self._faces
        for name in self._others:
            face = _opened(name, self._size)
            if face is not None:
                self._faces.append(face)
                yield face


def remedy(missing: str) -> str:
    """Returns the fonts to install for missing characters."""
    wanted = []
    for package, chars in _PACKAGES.items():
        if chars.search(missing):
            wanted.append(package)
            missing = chars.sub("", missing)
    return " and ".join(wanted)


class _Face:
    """One font. It is scaled if it contains only bitmaps of another size."""

    def __init__(self, file: str | Path, pixels: int, size: int) -> None:
        """Raises OSError if the file does not exist, or the font lacks the size."""
        self._font = ImageFont.truetype(file, pixels)
        # Raqm would add a dotted circle to a separate combining mark.
        self._bare = ImageFont.truetype(file, pixels, layout_engine=ImageFont.Layout.BASIC)
        self._scale = size / pixels
        self.ascent, self._descent = self._font.getmetrics()
        self._box = self._drawn(_NOTHING)

    def has(self, char: str) -> bool:
        return self._drawn(char) != self._box

    def length(self, text: str) -> float:
        return self._font.getlength(text) * self._scale

    def draw(self, picture: Image.Image, place: tuple[int, int], text: str, ink: str) -> None:
        """`place` is the left end of the baseline."""
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
    """Returns a font of the system, or None if there is none with this name."""
    for pixels in (size, *_PICTURE_SIZES):
        try:
            return _Face(name, pixels, size)
        except OSError as error:
            if "pixel size" not in str(error):
                return None
    return None
