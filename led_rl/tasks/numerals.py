r"""Numbers as they are written, exactly: `2,125`, `0.1\overline{6}`, `\frac{4}{3}`, `2 1/2`, `6.72\times 10^{-5}`."""

import re
from fractions import Fraction

from led_rl.tasks.latex import MAX_CHARS

_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
THOUSANDS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_SPACED = re.compile(r"[1-9][0-9]{0,2}(?: [0-9]{3})+(?:\.[0-9]+)?")  # 12 000, as ISO 80000 groups digits
_SIGN = r"(?P<sign>[+-]?)\s*"
_PLAIN = re.compile(rf"{_SIGN}(?P<a>{_NUMBER})(?:\s*/\s*(?P<b>{_NUMBER}))?")
_FRACTION = re.compile(
    rf"{_SIGN}\\frac\{{\s*(?P<s>[+-]?)\s*(?P<a>{_NUMBER})\s*\}}\{{\s*(?P<t>[+-]?)\s*(?P<b>{_NUMBER})\s*\}}"
)
_MIXED = re.compile(rf"{_SIGN}(?P<whole>[0-9]+)\s*(?:\\frac\{{([0-9]+)\}}\{{([0-9]+)\}}|\s([0-9]+)\s*/\s*([0-9]+))")
_SCIENTIFIC = re.compile(
    rf"{_SIGN}(?P<a>{_NUMBER})\s*"
    r"(?:[eE](?P<e>[+-]?[0-9]+)|(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*\{?\s*(?P<x>[+-]?[0-9]+)\s*\}?)"
)
_REPEATING = re.compile(
    rf"{_SIGN}(?P<whole>[0-9]*)\.(?P<once>[0-9]*)"
    r"(?:\\(?:overline|bar)\s*\{?(?P<again>[0-9]+)\}?"
    r"|\\dot\s*\{?(?P<first>[0-9])\}?(?:(?P<middle>[0-9]*)\\dot\s*\{?(?P<last>[0-9])\}?)?"
    r"|(?<=\.)\((?P<bracketed>[0-9]+)\))"
)


def number(text: str) -> Fraction | None:
    """Exact value of a normalised text that is one number; None for the rest."""
    if len(text) > MAX_CHARS:
        return None
    unsigned = text.lstrip("+-")
    if THOUSANDS.fullmatch(unsigned) or _SPACED.fullmatch(unsigned):
        text = text[: len(text) - len(unsigned)] + re.sub("[, ]", "", unsigned)
    if found := _PLAIN.fullmatch(text):
        return _ratio(found["sign"], decimal(found["a"]), decimal(found["b"] or "1"))
    if found := _FRACTION.fullmatch(text):
        sign = "-" if [found["sign"], found["s"], found["t"]].count("-") % 2 else "+"
        return _ratio(sign, decimal(found["a"]), decimal(found["b"]))
    if found := _MIXED.fullmatch(text):
        whole, above, below = (int(part) for part in found.groups()[1:] if part is not None)
        return _ratio(found["sign"], Fraction(whole * below + above), Fraction(below)) if above < below else None
    if found := _SCIENTIFIC.fullmatch(text):
        exponent = found["e"] or found["x"]
        if len(exponent) <= 4:
            return _ratio(found["sign"], decimal(found["a"]) * Fraction(10) ** int(exponent), Fraction(1))
    if found := _REPEATING.fullmatch(text):
        return _repeating(found)
    return None


def decimal(text: str) -> Fraction:
    """Value of digits with or without a point."""
    whole, _, decimals = text.partition(".")
    return Fraction(int(whole + decimals or "0"), 10 ** len(decimals))


def _ratio(sign: str, above: Fraction, below: Fraction) -> Fraction | None:
    if not below:
        return None
    return -above / below if sign == "-" else above / below


def _repeating(found: re.Match[str]) -> Fraction | None:
    r"""`0.1\overline{6}` is 1/10 + 6/90."""
    parts = found.groupdict(default="")
    again = parts["again"] or parts["bracketed"] or parts["first"] + parts["middle"] + parts["last"]
    once = decimal(f"{parts['whole']}.{parts['once']}")
    return _ratio(
        parts["sign"], once + Fraction(int(again), (10 ** len(again) - 1) * 10 ** len(parts["once"])), Fraction(1)
    )
