r"""The prompt language, parsed once into a tree.

    {axis}  {axis.field}                  a reference
    {a|b}  {0.5::a|b}  {a|}               a variant: one of them, with weights, or nothing
    {2$$a|b|c}  {1-2$$ and $$a|b|c}       several in the order written, joined by ", " or the text given
    {2$$__name__}                         several different lines of a wildcard
    __name__  __folder/name__             a line of a wildcard; `\` separates folders too
    \{ \} \|                              the characters themselves; any other backslash is text

Variants nest and may hold references and wildcards. Parsing takes time in proportion to the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import accumulate

from common.errors import Invalid

#: Maximum nesting of braces.
MAX_DEPTH = 32

#: Maximum number of alternatives chosen by `2$$`.
MAX_PICKED = 100

#: A character in the name of a wildcard; backslashes separate folders.
_LETTER = r"(?:[^\s_{}|\\,\0]|_(?!_)|\\(?![{}|]))"
#: Names may contain spaces between words, unless the `__` are inside words as in `snake__case of two__words`.
_SPACED = rf"(?<!\w)__(?P<spaced>{_LETTER}{{1,60}}(?: {{1,9}}{_LETTER}{{1,60}}){{1,9}})__(?!\w)"
_WILDCARD = rf"__(?P<wildcard>{_LETTER}+)__|{_SPACED}"
WILDCARD_NAME = rf"{_LETTER}+(?: +{_LETTER}+)*"

_TOKEN = re.compile(rf"\\[{{}}|]|[{{}}|\0]|{_WILDCARD}")
#: A letter of any script with its marks, a digit, `_` or `-`: any character except whitespace, control
#: characters and other ASCII symbols.
NAME_CHARACTER = r"[^\x00-,./:-@\[-^`{-\xa0\s]"
_QUOTED_FIELD = r"""\[\s*(?:"(?P<double>[^"\n]*)"|'(?P<single>[^'\n]*)')\s*\]"""
_REFERENCE = re.compile(
    rf"\{{\s*(?:(?P<path>(?:{NAME_CHARACTER}|\.)+)|(?P<axis>{NAME_CHARACTER}+)\s*{_QUOTED_FIELD})\s*\}}"
)
#: `{p[Variant SKU]}` and `{p.Variant SKU}`, which should be written as `{p["Variant SKU"]}`.
_UNQUOTED = re.compile(
    rf"\{{\s*(?P<axis>{NAME_CHARACTER}+)\s*(?:\[(?P<inside>[^\[\]{{}}|]+)\]|\.(?P<behind>[^\[\]{{}}|]+))\s*\}}"
)
#: Maximum length of a reference for which a message contains the correct form.
_LONGEST_REFERENCE = 100
#: The field of a column named `index`, as in `{p["index"]}`, unlike the position of a value.
COLUMN_INDEX = '"index"'
_COUNT = re.compile(r"(?P<count>[^|{}\\$]*)\$\$")
_RANGE = re.compile(r"\s*(?P<low>\d{1,4})\s*(?:-\s*(?P<high>\d{1,4})\s*)?")
_SEPARATOR = re.compile(r"(?P<separator>(?:\\[{}|]|[^|{}\\$])*)\$\$")
_WEIGHT = re.compile(r"\s*(?P<weight>\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})::")
_WEIGHT_BEHIND = re.compile(r"(?P<text>[^|{}:]{1,200})::\s*(?P<weight>\d{1,9}(?:\.\d{1,9})?)\s*(?=[|}])")
_NO_WEIGHT = re.compile(r"[^|{}\\:]*::")
#: Matches syntax whose underscores are not left over.
_TAKEN = re.compile(rf"{_WILDCARD}|{_REFERENCE.pattern}|\Z")
_UNDERSCORES = re.compile(r"__+")
#: An invalid weight at the start of a line; other words before `::` are text.
_BAD_WEIGHT = re.compile(r"[-+.,\d%\s]{1,40}::")
_DOUBLED = re.compile(r"\{(?P<inner>\{\s*[\w.\-]+[^{}]*\})\}")
_ASSIGNED = re.compile(r"\{\s*(?P<name>\w+)\s*=")
_ESCAPED = re.compile(r"\\([{}|])")


class PromptError(Invalid):
    """The template has a syntax error; `offset` counts characters from its start."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Reference:
    """`{name}`, `{name.field}` or `{name["any heading"]}`; `field` is empty for the value itself."""

    name: str
    field: str
    offset: int

    def __str__(self) -> str:
        if not self.field or re.fullmatch(f"{NAME_CHARACTER}+", self.field):
            return f"{{{self.name}.{self.field}}}" if self.field else f"{{{self.name}}}"
        inside = self.field.strip('"') if self.field == COLUMN_INDEX else self.field
        return f"{{{self.name}['{inside}']}}" if '"' in inside else f'{{{self.name}["{inside}"]}}'


@dataclass(frozen=True, slots=True)
class Wildcard:
    """`__name__` as written; `prompt_wildcards` replaces the name with that of a known wildcard."""

    name: str
    offset: int


@dataclass(frozen=True, slots=True)
class Alternative:
    """One alternative of a variant."""

    body: Template
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Alternatives:
    """A variant: `low` to `high` of the options, in the order written, joined by `separator`."""

    options: tuple[Alternative, ...]
    offset: int
    low: int = 1
    high: int = 1
    separator: str = ", "
    #: Cumulative weights of the options.
    ends: tuple[float, ...] = field(init=False)
    #: Whether any option contains a reference.
    refers: bool = field(init=False)
    #: The wildcard whose lines are the options, if it is the only alternative and several are chosen.
    lines_of: Wildcard | None = None

    def __post_init__(self) -> None:
        ends = tuple(accumulate(option.weight for option in self.options))
        refers = any(isinstance(node, Reference) for option in self.options for node in nodes(option.body))
        object.__setattr__(self, "ends", ends)
        object.__setattr__(self, "refers", refers)


#: A string is literal text.
Part = str | Reference | Wildcard | Alternatives
Template = tuple[Part, ...]


def parse(text: str) -> Template:
    """Parses a template. Raises PromptError with the position of the first error."""
    return _Parser(text).template()


def parse_line(text: str) -> Alternative:
    """Parses a line of a wildcard, which may begin with its weight: `20::hat`. Raises PromptError."""
    parser = _Parser(text)
    weight = parser.weight()
    if weight is None and (bad := _BAD_WEIGHT.match(text)):
        raise PromptError(f"`{_short(bad[0])}` is not a weight; write a number above 0 such as `0.5::`", 0)
    body = parser.template()
    return Alternative(body) if weight is None else Alternative(_stripped(body), weight)


def normal_name(name: str) -> str:
    """Normalises the name of a wildcard for look-up: `a\\b` becomes `a/b`."""
    return unicodedata.normalize("NFC", name.replace("\\", "/")).strip("/")


def leftovers(text: str) -> list[int]:
    """Returns the offsets of words that contain a `__` outside any wildcard.

    Ignores a `__` inside a word (`snake__case`) and a single separate one (`fill in the __`).
    """
    found: list[int] = []
    alone: list[int] = []
    at = 0
    for taken in _TAKEN.finditer(text) if "__" in text else ():
        for run in _UNDERSCORES.finditer(text, at, taken.start()):
            before, after = text[run.start() - 1 : run.start()], text[run.end() : run.end() + 1]
            if not before.strip() and not after.strip():
                alone.append(run.start())
            elif not (before.isalnum() and after.isalnum()):
                found.append(run.start() - len(text[at : run.start()].rpartition(" ")[2]))
            at = run.end()
        at = taken.end()
    return sorted(found + alone) if found or len(alone) > 1 else []


def nodes(template: Template) -> Iterator[Reference | Wildcard]:
    """Yields all references and wildcards of a template in order, including those inside variants."""
    for node in template:
        match node:
            case Reference() | Wildcard():
                yield node
            case Alternatives():
                for option in node.options:
                    yield from nodes(option.body)
            case str():
                pass


def bind(template: Template, value_of: Callable[[Reference], str]) -> Template:
    """Returns the template with every reference replaced by its text."""
    return tuple([node if isinstance(node, str) else _bound(node, value_of) for node in template])


def linked(template: Template, name_of: Callable[[str], str]) -> Template:
    """Returns the template with the name of every wildcard replaced."""
    if not any(isinstance(node, Wildcard) for node in nodes(template)):
        return template
    return tuple([_linked(node, name_of) for node in template])


def _linked(node: Part, name_of: Callable[[str], str]) -> Part:
    if isinstance(node, Wildcard):
        return Wildcard(name_of(node.name), node.offset)
    if not isinstance(node, Alternatives):
        return node
    options = tuple(Alternative(linked(each.body, name_of), each.weight) for each in node.options)
    lines_of = Wildcard(name_of(node.lines_of.name), node.lines_of.offset) if node.lines_of else None
    return Alternatives(options, node.offset, node.low, node.high, node.separator, lines_of)


def put_around(template: Template, name: str, inner: Template, apart: int) -> Template:
    """Returns the template with `inner` in place of each `{name}`.

    Offsets of other nodes are shifted by `apart` characters, so that their random choices differ from those
    of `inner`.
    """
    found: list[Part] = []
    for node in template:
        match node:
            case Reference() if node.name == name and not node.field:
                found += inner
            case Alternatives():
                found.append(_choice_around(node, name, inner, apart))
            case str():
                found.append(node)
            case _:
                found.append(replace(node, offset=node.offset + apart))
    return joined(found)


def _choice_around(choice: Alternatives, name: str, inner: Template, apart: int) -> Alternatives:
    options = tuple(
        Alternative(put_around(each.body, name, inner, apart), each.weight) for each in choice.options
    )
    lines_of = replace(choice.lines_of, offset=choice.lines_of.offset + apart) if choice.lines_of else None
    return Alternatives(options, choice.offset + apart, choice.low, choice.high, choice.separator, lines_of)


def choices(template: Template) -> Iterator[Alternatives]:
    """Yields all variants of a template, including nested ones."""
    for node in template:
        if isinstance(node, Alternatives):
            yield node
            for option in node.options:
                yield from choices(option.body)


def _bound(node: Part, value_of: Callable[[Reference], str]) -> Part:
    if isinstance(node, Reference):
        return value_of(node)
    if isinstance(node, Alternatives) and node.refers:
        options = tuple(Alternative(bind(each.body, value_of), each.weight) for each in node.options)
        return Alternatives(options, node.offset, node.low, node.high, node.separator)
    return node


def _referred(match: re.Match[str], start: int) -> Reference:
    if match["path"] is None:
        heading = " ".join(normal(match["double"] or match["single"] or "").split())
        return Reference(normal(match["axis"]), COLUMN_INDEX if heading == "index" else heading, start)
    path = normal(match["path"])
    # Names of LoRAs may contain dots, names of axes may not.
    name, _, field = path.rpartition(".") if path.endswith(".trigger") else path.partition(".")
    return Reference(name, field, start)


def normal(name: str) -> str:
    """Normalises the encoding of accents in a name for look-up."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


class _Parser:
    """A recursive descent parser; `pos` is the next character to read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0
        self.open: list[int] = []

    def template(self) -> Template:
        """Reads to the end of the text or, inside braces, to the `|` or `}` that ends an alternative."""
        found: list[Part] = []
        while token := _TOKEN.search(self.text, self.pos):
            found.append(self.text[self.pos : token.start()])
            self.pos = token.start()
            mark = token.group()
            if mark in "|}" and self.open:
                return joined(found)
            if mark == "{":
                found.append(self.brace())
                continue
            self.pos = token.end()
            found.append(self._plain(token))
        if self.open:
            raise PromptError("this brace is never closed; write `\\{` for the character", self.open[-1])
        found.append(self.text[self.pos :])
        return joined(found)

    def _plain(self, token: re.Match[str]) -> Part:
        """Handles a token that does not open a construct."""
        mark = token.group()
        if name := token["wildcard"] or token["spaced"]:
            return Wildcard(normal_name(name), token.start())
        if mark == "}":
            raise PromptError("this `}` has no opening brace; write `\\}` for the character", token.start())
        if mark == "\0":
            raise PromptError("contains a NUL character, which is not allowed in a prompt", token.start())
        return mark.removeprefix("\\")

    def brace(self) -> Part:
        start = self.pos
        if reference := _REFERENCE.match(self.text, start):
            self.pos = reference.end()
            return _referred(reference, start)
        if len(self.open) == MAX_DEPTH:
            raise PromptError(f"braces nest deeper than {MAX_DEPTH} levels", start)
        self.open.append(start)
        self.pos += 1
        header = self._header()
        options = self._options()
        self.open.pop()
        if header is None and len(options) == 1:
            raise PromptError(self._no_variant(start), start)
        if self.text.startswith("{%", start):
            raise PromptError(self._no_variant(start), start)
        if not any(option.body for option in options):
            raise PromptError("this variant is empty", start)
        low, high, separator = header or (1, 1, ", ")
        if len(options) == 1 and len(options[0].body) == 1 and isinstance(options[0].body[0], Wildcard):
            return Alternatives(options, start, low, high, separator, options[0].body[0])
        if high > len(options):
            most = len(options)
            raise PromptError(f"requests {high} of {most} alternatives; the maximum here is {most}", start)
        return Alternatives(options, start, low, high, separator)

    def _no_variant(self, start: int) -> str:
        """Suggests what to write instead of braces that are not valid syntax."""
        content = self.text[start : self.pos]
        is_short = len(content) <= _LONGEST_REFERENCE and "$$" not in content
        if is_short and (unquoted := _UNQUOTED.fullmatch(content)):
            heading = (unquoted["inside"] or unquoted["behind"]).strip(" \"'“”‘’")
            return (
                f"`{_short(content)}` is not a reference; write `{Reference(unquoted['axis'], heading, 0)}`"
            )
        if content.startswith("{%"):
            return (
                f"`{_short(content)}` is syntax of another program; write variants such as {{a|b}}, or axes"
            )
        if doubled := _DOUBLED.fullmatch(content):
            return f"`{_short(content)}` has an extra pair of braces; write `{_short(doubled['inner'])}`"
        if self.text[:start].endswith("$") and (assigned := _ASSIGNED.match(content)):
            name = assigned["name"]
            return f"`${_short(content)}` sets nothing; make `{name}` an axis and refer to it as `{{{name}}}`"
        return (
            f"`{_short(content)}` is neither a reference like {{axis}} nor a variant like {{a|b}}; "
            "write `\\{` for the character"
        )

    def _header(self) -> tuple[int, int, str] | None:
        """Reads `2$$` or `1-2$$ and $$` at the start of a variant: lowest and highest count, separator."""
        count = _COUNT.match(self.text, self.pos)
        if count is None:
            return None
        bounds = _RANGE.fullmatch(count["count"])
        low = int(bounds["low"]) if bounds else 1
        high = int(bounds["high"] or low) if bounds else 0
        if not 0 < high >= low:
            wrong = f"{count['count']}$$"
            raise PromptError(f"`{_short(wrong)}` is not a count; write `2$$` or `1-3$$`", self.pos)
        if high > MAX_PICKED:
            raise PromptError(f"requests {high} alternatives; the maximum is {MAX_PICKED}", self.pos)
        self.pos = count.end()
        separator = _SEPARATOR.match(self.text, self.pos)
        if separator is None:
            return low, high, ", "
        self.pos = separator.end()
        return low, high, _ESCAPED.sub(r"\1", separator["separator"])

    def weight(self) -> float | None:
        """Reads the `0.5::` before an alternative."""
        weight = _WEIGHT.match(self.text, self.pos)
        if weight is None:
            return None
        if float(weight["weight"]) == 0:
            raise PromptError("a weight must be above 0; leave the alternative out", self.pos)
        self.pos = weight.end()
        return float(weight["weight"])

    def _options(self) -> tuple[Alternative, ...]:
        """Reads the alternatives up to the closing brace."""
        options = []
        while True:
            weight = self.weight()
            if weight is None and (behind := _WEIGHT_BEHIND.match(self.text, self.pos)):
                meant = f"{behind['weight']}::{_short(behind['text'].strip())}"
                raise PromptError(f"the weight must come first; write `{meant}`", self.pos)
            if weight is None and (head := _NO_WEIGHT.match(self.text, self.pos)):
                message = f"`{_short(head[0])}` is not a weight; write a number above 0 such as `0.5::`"
                raise PromptError(message, self.pos)
            options.append(Alternative(_stripped(self.template()), 1.0 if weight is None else weight))
            self.pos += 1
            if self.text[self.pos - 1] == "}":
                return tuple(options)


def joined(found: Iterable[Part]) -> Template:
    """Merges adjacent texts and drops empty ones."""
    result: list[Part] = []
    texts: list[str] = []
    for node in found:
        if isinstance(node, str):
            texts.append(node)
            continue
        if text := "".join(texts):
            result.append(text)
        texts.clear()
        result.append(node)
    if text := "".join(texts):
        result.append(text)
    return tuple(result)


def _stripped(template: Template) -> Template:
    """Removes the spaces around an alternative: `{ a | b }` means `{a|b}`."""
    found = list(template)
    if found and isinstance(first := found[0], str):
        found[0] = first.lstrip()
    if found and isinstance(last := found[-1], str):
        found[-1] = last.rstrip()
    return joined(found)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
