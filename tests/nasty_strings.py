"""Texts that people, files and other machines may send, which no screen or page may obey, change or lose."""

from __future__ import annotations

ESC = "\x1b"

_MARKUP = (
    "a mug [/b]",
    "[b]SALE[/b] and [/i]",
    "[white:red:0.5] table",
    "[low emphasis]",
    "[link=http://x.test]here[/link]",
    "[/]",
    "[[",
    "[",
    "]",
    "[]",
    "[b",
    "[@click=app.quit]",
    "[bold red on blue]",
    "[#ff5733]",
    r"\[b]",
    r"\\[b]\\",
    "ends in a backslash\\",
    "[/nope]",
    "[b] name",
)
_EMOJI = ("girl:dragon:0.5 and :smile:", ":warning:", ":heart-emoji:", "10:30:45", "::")
_SCREEN = (
    f"{ESC}]8;;http://x.test{ESC}\\click{ESC}]8;;{ESC}\\",
    f"{ESC}]0;title\x07",
    f"{ESC}[2J{ESC}[H",
    f"{ESC}[31mred",
    f"{ESC}c",
    "\x9b31m C1",
    "\x90 device control \x9c",
    "over\rwritten",
    "bell \x07 rings",
    "back\b\b\bspace",
    "form\x0cfeed\x0btab",
    "tab\there",
    "del\x7fete",
    "shift\x0eout\x0f",
    "next\x85line",
)
_DIRECTION = (
    "invoice\u202egnp.exe",
    "\u2066isolated\u2069",
    "left\u200eright\u200f",
    "zero\u200bwidth\ufeff",
    "soft\u00adhyphen",
    "line\u2028and\u2029paragraph",
    "tag\U000e0041\U000e0042",
)
_SCRIPTS = (
    "naïve café Größe",
    "Название артикул",
    "年龄 名字 日本語",
    "ملف العربية",
    "می\u200cخواهم",
    "👨\u200d👩\u200d👧 🏳️\u200d🌈 😀",
    "z" + "\u0321\u0322\u0334\u0337" * 20,
    "fullwidth ｆｕｌｌ",
)
_OTHER_LANGUAGES = (
    "{{7*7}}",
    "{% raw %}",
    "${HOME} $(id) `id`",
    "<script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    "&amp; &lt;",
    "\"double\" 'single'",
    "%s %d %(name)s %",
    "{} {0} {name!r}",
    "a, b; c\t|",
    "--help",
    "'; DROP TABLE jobs; --",
)
_LONG = ("very long " * 400 + "end", "unbroken" * 500)

#: What any farm, file or person may say in UTF-8.
NASTY = (*_MARKUP, *_EMOJI, *_SCREEN, *_DIRECTION, *_SCRIPTS, *_OTHER_LANGUAGES, *_LONG)
#: Those of several lines, or that UTF-8 or a database cannot say: names of files, and what JSON escapes.
UNSAYABLE = ("two\nlines", "half \ud83d", "bytes \udcff\udcfe", "a\x00b")
#: One of each kind, for what is tried with everything.
WORST = ("[/b]", ":smile:", f"{ESC}[2J", "a\rb", "\u202etxt", "年 😀", "<b>{{7*7}}%s", "x\udcff", "a\nb")
