r"""The parts of an answer, from its text: items of a list, sides of an equation, names, intervals, rows of a matrix."""

import re
from collections.abc import Collection, Sequence

from led_rl.tasks.latex import enclosed, split_top
from led_rl.tasks.numerals import THOUSANDS, number

_GREEK = "alpha|beta|gamma|delta|epsilon|theta|lambda|mu|phi|psi|omega|rho|sigma|tau|eta|xi|zeta|ell"
_ATOM = rf"(?:\\(?:{_GREEK})|\\(?:text|mathrm|mbox|overline|vec|mathbf)\{{[^{{}}]*\}}|(?!pi)[A-Za-z])(?:_\{{\w+\}})?'*"
_NAME = re.compile(
    rf"(?:m?\s*\\angle\s*|\\triangle\s*)?(?:{_ATOM}\s*){{1,12}}(?:\((?:{_ATOM})(?:,{_ATOM})*\))?|\((?:{_ATOM})(?:,{_ATOM})*\)"
    r"|[fghpqFGHPQ]\(-?[0-9]+\)"
)
# No name: `\text{twice }x=10` says of x, and `\text{not }x=10` denies, what a name would be given.
_SAYS_MORE = re.compile(
    r"\\(?:text|mathrm|mbox)\{[^{}]*[A-Za-z]{2}[^{}]*\}\s*[A-Za-z\\]"
    r"|\b(?:not|isn't|never|half|halves|thirds?|quarters?|twice|thrice|doubled?|tripled?|times|squared|cubed|plus|minus|"
    r"less|more|over|negative|reciprocal|inverse|opposite|(?:square|cube|root|power|multiple)s? of)\b",
    re.IGNORECASE,
)
_POLAR = ("r", r"\rho", r"\theta", r"\phi", "z")
_ORDER = {r"\leqslant": "<=", r"\leq": "<=", r"\le": "<=", "<=": "<=", "<": "<", r"\lt": "<"}
_ORDER |= {r"\geqslant": ">=", r"\geq": ">=", r"\ge": ">=", ">=": ">=", ">": ">", r"\gt": ">"}
_ORDER_SIGN = r"\\(?:leqslant|geqslant|leq|geq|le|ge|lt|gt)(?![a-zA-Z])|<=|>=|<|>"
# A number with thousands, and a name before it or a unit after it.
_ONE_NUMBER = re.compile(rf"(?:[^,;=]*=)?\s*-?(?:\\\$)?-?{THOUSANDS.pattern}(?![0-9,])[^,;]*")


def _connective(words: str) -> str:
    return rf",?\s*(?:\\(?:text|mbox|textrm|mathrm)\{{\s*,?\s*(?:{words})\s*\}}|(?<![A-Za-z\\])(?:{words})(?![A-Za-z]))"


_OR = rf"{_connective('or')}|\\(?:lor|vee)(?![a-zA-Z])"
_AND = rf"{_connective('and')}|\\(?:land|wedge)(?![a-zA-Z])"


def items(text: str, bracketed: bool = False) -> list[str]:
    r"""Top-level items of a list, split at commas, ";", "and", "or"; `a \pm b` is two.

    `2,125` is one number, and in brackets two: `(2,125)` is a point.
    """
    if not bracketed and (number(text) is not None or _ONE_NUMBER.fullmatch(text)):
        return [text]
    parts = split_top(text, rf"{_connective('and|or')}|,(?!\s*$)|;")
    return [choice for part in parts for choice in _plus_minus(part)]


def _plus_minus(text: str) -> list[str]:
    if not re.search(r"\\(?:pm|mp)(?![a-zA-Z])", text) or enclosed(text) is not None:
        return [text]
    return [
        re.sub(
            r"\\(pm|mp)(?![a-zA-Z])\s*",
            lambda found, plus=plus: "+" if (found[1] == "pm") == plus else "-",  # type: ignore[misc]
            text,
        )
        for plus in (True, False)
    ]


def sides(text: str) -> list[str]:
    """What stands between the equals signs."""
    return split_top(text, r"(?<![<>!:\\])=(?!=)")


def is_name(text: str) -> bool:
    r"""Whether a text names a quantity: `x`, `x_1`, `f(x)`, `\text{area}`, `(r,s)`; e and i are numbers.

    `\text{half of }x` and `\text{the answer is not}` are no names, though they are letters.
    """
    return text not in ("e", "i") and _NAME.fullmatch(text) is not None and _SAYS_MORE.search(text) is None


def is_wrapper(pair: tuple[str, str, str]) -> bool:
    r"""Whether one item in these brackets is that item: `(5)` and `\{5\}`, but not `[5]`, `(5]`."""
    return (pair[0], pair[2]) in (("(", ")"), (r"\{", r"\}"))


def assignments(parts: Sequence[str]) -> dict[str, str] | None:
    """The values of two or more names, `x=2` and `y=3`; None if these are not that.

    `x=1` and `x=-2`, or `x_1=1` and `x_2=-2`, are two values of one name, whose order does not count.
    """
    values: dict[str, str] = {}
    parts = _coordinates(parts[0]) if len(parts) == 1 else parts
    for part in parts:
        two = sides(part)
        if len(two) != 2 or not is_name(two[0]):
            return None
        values[two[0]] = two[1]
    different = {re.sub(r"_\{\w+\}", "", name) for name in values}
    return values if len(different) == len(parts) > 1 else None


def coordinate_order(names: Collection[str]) -> list[str]:
    r"""Names as a point has them: by the alphabet, Greek last; those of polar coordinates as `(r,\theta)`."""
    if set(names) <= set(_POLAR):
        return sorted(names, key=_POLAR.index)
    return sorted(names, key=lambda name: (name.startswith("\\"), name.lower(), name))


def _coordinates(text: str) -> list[str]:
    """`(x,y)=(1,2)` as `x=1` and `y=2`."""
    pairs = [enclosed(side) for side in sides(text)]
    if len(pairs) != 2 or pairs[0] is None or pairs[1] is None:
        return [text]
    names, values = (items(pair[1], bracketed=True) for pair in pairs if pair is not None)
    return (
        [f"{name}={value}" for name, value in zip(names, values, strict=True)] if len(names) == len(values) else [text]
    )


def solution_set(text: str) -> tuple[str | None, str]:
    r"""(name, set) of `x \in S`, of an inequality in one name or several joined by "or" or "and"; else (None, text).

    `x<2 or x>3` is (x, `(-\infty,2)\cup(3,\infty)`), and `x>2 and x<5` is (x, `(2,5)`).
    """
    membership = split_top(text, r"\\in(?![a-zA-Z])")
    if len(membership) == 2 and is_name(membership[0]):
        return membership[0], membership[1]
    for joint in (_OR, _AND):
        parts = [_interval(part) for part in split_top(text, joint)]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts) or len({name for name, _ in found}) != 1:
            continue
        name, sets = found[0][0], [interval for _, interval in found]
        if len(sets) == 1 or joint is _OR:
            return name, r"\cup".join(sets)
        if (both := _intersection(sets)) is not None:
            return name, both
    return None, text


def _interval(text: str) -> tuple[str, str] | None:
    r"""(name, interval) of a one-variable inequality, `-2 \le x < 7` as `[-2,7)`; None if the text is not one."""
    signs = [_ORDER[found[0]] for found in re.finditer(_ORDER_SIGN, text)]
    parts = split_top(text, _ORDER_SIGN)
    if not signs or len(parts) != len(signs) + 1 or len({sign[0] for sign in signs}) != 1:
        return None
    if any(len(items(part, bracketed=True)) > 1 for part in parts):
        return None
    if signs[0][0] == ">":
        signs = [sign.replace(">", "<") for sign in reversed(signs)]
        parts.reverse()
    match parts:
        case [low, name, high] if is_name(name):
            return name, f"{'[' if signs[0] == '<=' else '('}{low},{high}{']' if signs[1] == '<=' else ')'}"
        case [name, high] if is_name(name) and not is_name(high):
            return name, f"(-\\infty,{high}{']' if signs[0] == '<=' else ')'}"
        case [low, name] if is_name(name) and not is_name(low):
            return name, f"{'[' if signs[0] == '<=' else '('}{low},\\infty)"
    return None


def _intersection(sets: Sequence[str]) -> str | None:
    r"""One bound from below and one from above: `(2,\infty)` and `(-\infty,5]` are `(2,5]`."""
    below = [one.removesuffix(r",\infty)") for one in sets if one.endswith(r",\infty)")]
    above = [one.removeprefix(r"(-\infty,") for one in sets if one.startswith(r"(-\infty,")]
    return f"{below[0]},{above[0]}" if len(sets) == 2 and len(below) == len(above) == 1 else None


def unions(text: str) -> list[str]:
    r"""The sets a union joins: `(0,1)\cup(2,3)`, also with the letter U."""
    return split_top(text, r"\\(?:big)?cup(?![a-zA-Z])|(?<=[)\]])\s*U\s*(?=[(\[])")


def matrix(text: str) -> list[list[str]] | None:
    r"""Rows of cells of a `\begin{pmatrix}...` (also bmatrix, Bmatrix, matrix); None if the text is not one."""
    found = re.fullmatch(r"\\begin\{([pbB]?matrix)\}(.*)\\end\{\1\}", text)
    if found is None or r"\begin" in found[2]:
        return None
    rows = re.split(r"\\\\", found[2].strip().removesuffix(r"\\"))
    return [[cell.strip() for cell in row.split("&")] for row in rows]
