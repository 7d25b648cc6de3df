r"""The smallest parts of an answer: words, times of day, numbers in another base, quantities with a unit."""

import re
from dataclasses import dataclass
from fractions import Fraction

from led_rl.tasks.latex import STYLE
from led_rl.tasks.numerals import number
from led_rl.tasks.sympy_input import has_trigonometry
from led_rl.tasks.units import leading_scale, parse_unit

_SHORT_WORDS = {"yes", "no", "odd", "all", "any"}
_STYLED = rf"{STYLE}\{{((?:[^{{}}]|\{{[^{{}}]*\}})*)\}}"
_POWER = r"\^\{-?[0-9]\}"
# What a unit is written with, at the end of a text.
_TAIL_PIECE = re.compile(
    rf"\\frac\{{{_STYLED}(?:{_POWER})?\}}\{{{_STYLED}(?:{_POWER})?\}}|{_STYLED}|{_POWER}|\^\{{\\circ\}}|\\?[%$]|[€£¥₹¢]"
    r"|/|\\cdot(?![a-z])|(?<![\\A-Za-z])[A-Za-z]+(?:-[A-Za-z]+)*\.?| "
)
_CURRENCY = re.compile(r"(-?)\s*(US\s*\\?\$|\\?\$|[€£¥₹]|\\pounds|\\euro|Rs\.?)\s*(?=[-0-9.\\(])")
_MATH_WORDS = {
    "sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "sqrt", "max", "min", "gcd", "lcm", "mod", "inf", "and",
}  # fmt: skip
# Words that make another number of the one before them.
_CHANGES_NUMBER = re.compile(
    r"\b(?:half|halves|thirds?|quarters?|[a-z]+ths?|squared|cubed|plus|minus|less|more|times|over|pairs?|tens|hundreds|"
    r"thousands|millions|billions|bn|mn|m|k|[ap]\.? ?m)\b"
)


@dataclass(frozen=True)
class Quantity:
    """A value with its unit: `value` is LaTeX, `number` its exact value if it is one number.

    `unknown`: words stand after the value that are no unit. The value is without them unless they make another number
    of it, as `tenths` do.
    """

    value: str
    number: Fraction | None
    unit: str
    unknown: bool = False


def quantity(text: str, written: str | None = None) -> Quantity:
    r"""Value and unit of a normalised text: `\$5\text{ million}` is 5000000 dollars, `15\text{ cm}^{2}` is 15 cm^2.

    A unit of one letter without markup, `5m`, is read as one only if the other side, `written`, has that unit; alone it
    is the product of 5 and m.
    """
    theirs = "" if written is None else written
    prefix = _CURRENCY.match(text)
    currency = "" if prefix is None else prefix[2].replace("\\", "").replace("pounds", "£").replace("euro", "€")
    rest = text if prefix is None else prefix[1] + text[prefix.end() :]
    starts = _tail_starts(rest)
    for start in starts:
        tail, value = rest[start:].strip(), rest[:start].strip()
        plain = _plain(tail)
        factor, after = leading_scale(plain)
        unit = "" if not after and factor > 1 else parse_unit(after)
        if unit is None or not _may_be_unit(tail, plain, value, unit, theirs):
            continue
        if currency:
            unit = parse_unit(f"{currency} {after}") or ""
        return _scaled(value, factor, unit)
    if currency:
        return _scaled(rest, 1, parse_unit(currency) or "")
    if starts and _has_unknown_words(tail := rest[starts[0] :]):
        value = text if _CHANGES_NUMBER.search(_plain(tail).lower()) else rest[: starts[0]].strip()
        return Quantity(value, number(value), "", unknown=True)
    return Quantity(text, number(text), "")


def same_tail(gold: str, answer: str) -> tuple[str, str] | None:
    """Both texts without the words that end them, if these are the same words, known or not: (gold, answer)."""
    for start in _tail_starts(gold):
        tail = _plain(gold[start:])
        for other in _tail_starts(answer):
            if re.search("[A-Za-z]{2}", tail) and _plain(answer[other:]).lower() == tail.lower():
                return gold[:start].strip(), answer[:other].strip()
    return None


def has_words(text: str) -> bool:
    """Whether words that are no mathematics stand anywhere in a text."""
    plain = re.sub(rf"{STYLE}\{{", " ", text)
    found = re.findall(r"(?<![\\A-Za-z])[A-Za-z]{3,}", plain)
    return any(word.lower() not in _MATH_WORDS for word in found)


def word(text: str, loose: bool = False) -> str | None:
    r"""Letters of a word answer, lower case: `\text{East}`, `\text{(C)}`, `even`. `loose` also takes bare letters."""
    found = re.fullmatch(_STYLED, text)
    inner = (found[1] if found else text).strip().strip(".").strip()
    if (found or loose) and (choice := re.fullmatch(r"\(?([A-Za-z])\)?", inner)):
        return choice[1].lower()
    if loose and (choice := re.fullmatch(rf"\({_STYLED}\)", inner)):
        return choice[1].strip().lower()
    if re.fullmatch(r"[A-Za-z][A-Za-z' -]*" if found or loose else r"[A-Za-z]{4,}(?:[ -][A-Za-z]+)*", inner):
        return " ".join(inner.lower().split())
    return inner.lower() if inner.lower() in _SHORT_WORDS else None


def clock(text: str) -> str | None:
    r"""A time of day with its half: `3:45\text{ p.m.}` is `3:45 p`, and `10 AM` is `10:00 a`."""
    found = re.fullmatch(r"([0-9]{1,2})(?::([0-9]{2}))?\s*([ap])\.?\s*m\.?", _plain(text).lower())
    return f"{int(found[1])}:{found[2] or '00'} {found[3]}" if found else None


def based(text: str) -> tuple[str, str] | None:
    r"""(digits, base) of `52_8`, whose base must be written: 52 is another number."""
    found = re.fullmatch(r"\(?([0-9A-Fa-f]+)\)?_\{\s*(?:\\text\{)?\s*([0-9]+|[a-z]+)\s*\}?\s*\}", text)
    return (found[1].upper().lstrip("0"), found[2]) if found and re.search("[0-9]", found[1]) else None


def _tail_starts(text: str) -> list[int]:
    """Where a unit may begin, the longest first: all that follows is of the pieces that units are written with."""
    pieces = list(_TAIL_PIECE.finditer(text))
    starts: list[int] = []
    end = len(text)
    for piece in reversed(pieces):
        if piece.end() != end:
            break
        end = piece.start()
        starts.append(end)
    return [start for start in reversed(starts) if start > 0 and not text[:start].rstrip().endswith(("_", "^", "\\"))]


def _plain(tail: str) -> str:
    r"""A unit's text without markup: `\frac{\text{m}}{\text{s}^{2}}` is `m / s ^{2}`."""
    tail = re.sub(rf"\\frac\{{({_STYLED}(?:{_POWER})?)\}}\{{({_STYLED}(?:{_POWER})?)\}}", _divided, tail)
    tail = re.sub(_STYLED, r" \1 ", tail)
    tail = tail.replace(r"^{\circ}", "°").replace(r"\%", "%").replace(r"\$", "$").replace(r"\cdot", "*")
    return " ".join(tail.split())


def _divided(found: re.Match[str]) -> str:
    above, below = found[0].removeprefix(r"\frac{").removesuffix("}").split("}{", 1)
    return f"{above} / {below}"


def _may_be_unit(tail: str, plain: str, value: str, unit: str, theirs: str) -> bool:
    """Whether what ends a text is its unit, though it could be mathematics: `3 m`, `2^{3}`, `\\sin 45^{\\circ}`."""
    if not value or re.search(r"[-+*/^_(,]$", value) or not re.search(r"[0-9)}]|\\pi|[A-Za-z]$", value):
        return False
    if "°" in plain and has_trigonometry(value):
        return False
    if re.search(STYLE, tail) or re.search(r"[%$€£¥₹¢°]", plain):
        return not re.match(r"[/*^]", plain)
    if re.search(r"[A-Za-z]$", value) and not tail.startswith(" ") and not re.search(r"[0-9})]$", value):
        return False
    if re.search("[A-Za-z]{2}", plain):
        return True
    return bool(unit) and bool(theirs) and quantity(theirs).unit == unit


def _scaled(value: str, factor: int, unit: str) -> Quantity:
    exact = number(value)
    if factor == 1:
        return Quantity(value, exact, unit)
    return Quantity(rf"({value})\cdot {factor}", None if exact is None else exact * factor, unit)


def _has_unknown_words(tail: str) -> bool:
    r"""Whether a tail that is no unit has words: `\text{ tenths}`, `\text{M}`; letters in bold or roman are symbols."""
    words = re.findall(
        r"\\(?:text|textbf|textit|textrm|mbox)\s*\{[^{}]*[A-Za-z][^{}]*\}|\\[a-z]+\{[^{}]*[A-Za-z]{2}", tail
    )
    return bool(words)
