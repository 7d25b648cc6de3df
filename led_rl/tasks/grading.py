r"""THE grader of numeric and LaTeX answers, for reward and evaluation alike.

An answer is the content of the last balanced `\boxed{...}` after the reasoning. Without a box there is no answer: a
number somewhere in the text is not one, or a policy would be paid for rambling.

Equality is decided in this order, each step exact:

1. structure, from the text: lists and sets (any order), tuples and intervals (order and brackets count), unions,
   matrices, `x = ...`, `x \in ...` and one-variable inequalities are taken apart and compared part by part;
2. words by letters; numbers as fractions (`0.15` is `\frac{3}{20}`, `0.33` is not `\frac{1}{3}`);
3. two expressions, by math-verify in a process of its own, on a clock (`led_rl.tasks.grader_process`), and only as long
   as both also agree to 30 digits at test points, which math-verify alone does not ask for; two equations by those
   points alone (one must be a constant multiple of the other).

Units (`\text{cm}`, `^\circ`, `\$`, words such as `dollars`) may be written or left out, never converted: two known
units that differ are wrong, and so is a scale the gold lacks (`5 \text{ million}` for 5). `p\%` equals p/100; against
an integer it may also equal p, as where a question asks for a percentage.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import TypeVar

from led_rl.errors import UserError
from led_rl.tasks.answers import Thinking, boxed_answer, last_boxed
from led_rl.tasks.grader_process import MATH
from led_rl.tasks.latex import (
    MAX_CHARS,
    MAX_ITEMS,
    enclosed,
    for_sympy,
    items,
    matrix,
    normalise,
    number,
    refusal,
    split_top,
)
from led_rl.tasks.problem import Grade

T = TypeVar("T")

_MAX_QUESTIONS = 60  # to the child, per completion
_MAX_DEPTH = 6

_UNIT_ALIASES = {
    "\\circ": "degree", "deg": "degree", "inch": "in", "inche": "in", "inches": "in", "feet": "ft", "foot": "ft",
    "meter": "m", "metre": "m", "centimeter": "cm", "centimetre": "cm", "kilometer": "km", "kilometre": "km",
    "mile": "mi", "second": "s", "sec": "s", "minute": "min", "hour": "h", "hr": "h", "$": "dollar", "usd": "dollar", 
    "percent": "%", "gram": "g", "kilogram": "kg", "pound": "lb", "ounce": "oz", "liter": "l", "litre": "l",
}  # fmt: skip
_SCALES = {"hundred", "thousand", "million", "billion", "trillion", "dozen", "cent", "k"}
_UNITS = {*_UNIT_ALIASES.values(), *_SCALES, "day", "week", "month", "year", "unit", "radian"}

_GREEK = "alpha|beta|gamma|delta|epsilon|theta|lambda|mu|phi|psi|omega|rho|sigma|tau|eta|xi|zeta|ell"
_ATOM = rf"(?:\\(?:{_GREEK})|\\(?:text|mathrm|mbox|overline|vec|mathbf)\{{[^{{}}]*\}}|(?!pi)[A-Za-z])(?:_\{{\w+\}})?'*"
_NAME = re.compile(
    rf"(?:m?\s*\\angle\s*|\\triangle\s*)?(?:{_ATOM}\s*){{1,12}}(?:\((?:{_ATOM})(?:,{_ATOM})*\))?|\((?:{_ATOM})(?:,{_ATOM})*\)"
)
_WORDS = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|mathit)\{([^{}]*)\}")
_ORDER = {r"\leqslant": "<=", r"\leq": "<=", r"\le": "<=", "<=": "<=", "<": "<", r"\lt": "<"}
_ORDER |= {r"\geqslant": ">=", r"\geq": ">=", r"\ge": ">=", ">=": ">=", ">": ">", r"\gt": ">"}
_ORDER_SIGN = r"\\(?:leqslant|geqslant|leq|geq|le|ge|lt|gt)(?![a-zA-Z])|<=|>=|<|>"


class _UnreadableError(Exception):
    """One side cannot be read; the message says why."""


class _ExhaustedError(Exception):
    """The child was killed, or there was too much to compare."""


def grade(gold: str, completion: str, thinking: Thinking = "optional") -> bool:
    """Whether a completion's answer equals the gold answer. Never raises on text; usable from any thread."""
    return judge(gold, completion, thinking).correct


def judge(gold: str, completion: str, thinking: Thinking = "optional") -> Grade:
    r"""Verdict on a completion, with the answer found and the reason.

    "no_answer": no balanced, non-empty box. "unclosed_think": the reasoning never ends (see `answers.response`).
    "unparsable": the box, or a gold that `check_gold` would refuse, cannot be read, or is beyond the caps of
    `latex.refusal`. "timeout": the child process ran out of time, CPU or memory. Raises RuntimeError only if the child
    process cannot start.
    """
    answer = boxed_answer(completion, thinking)
    if isinstance(answer, Grade):
        return answer
    if len(answer) > 4 * MAX_CHARS:
        return Grade("unparsable", answer)
    try:
        return Grade("correct" if _Comparison().same(normalise(gold), normalise(answer)) else "wrong", answer)
    except _UnreadableError:
        return Grade("unparsable", answer)
    except _ExhaustedError:
        return Grade("timeout", answer)


def check_gold(gold: str) -> None:
    r"""Check, once at load, that a gold answer can be graded: it equals its own `\boxed{}` form.

    Equality of text does not count here, so a gold that only identical text could match is refused. Raises ValueError.
    """
    boxed = last_boxed(rf"\boxed{{{gold}}}")
    if boxed is None or boxed != gold.strip() or not boxed:
        raise UserError(
            f"gold answer {gold!r}: not balanced, it does not survive a \\boxed{{}}; mend or exclude the problem"
        )
    text = normalise(gold)
    try:
        same, reason = _Comparison(textual=False).same(text, text), "does not equal itself"
    except (_UnreadableError, _ExhaustedError) as error:
        same, reason = False, str(error)
    if not same:
        raise UserError(f"gold answer {gold!r}: cannot be graded ({reason}); exclude the problem and count it")


class _Comparison:
    """One gold against one answer, with a bound on what may be asked of the child."""

    def __init__(self, textual: bool = True) -> None:
        self._textual = textual
        self._questions = 0

    def same(self, gold: str, answer: str, depth: int = 0) -> bool:
        """Whether two normalised texts say the same. Raises _UnreadableError, _ExhaustedError."""
        if depth > _MAX_DEPTH:
            raise _UnreadableError("nested too deep")
        if self._textual and gold == answer:
            return True
        gold, answer = _without_membership(gold), _without_membership(answer)
        if (numbers := _both(number(gold), number(answer))) is not None:
            return numbers[0] == numbers[1]
        if len(answer) > MAX_CHARS or len(gold) > MAX_CHARS:
            raise _UnreadableError(f"longer than {MAX_CHARS} characters")
        gold_items, answer_items = items(gold), items(answer)
        if len(gold_items) > 1 or len(answer_items) > 1:
            return self._lists(gold, answer, gold_items, answer_items, depth)
        gold_sides, answer_sides = _sides(gold), _sides(answer)
        if len(gold_sides) > 1 or len(answer_sides) > 1:
            return self._equations(gold_sides, answer_sides, depth)
        return self._structures(gold, answer, depth)

    def _lists(
        self, gold: str, answer: str, gold_items: Sequence[str], answer_items: Sequence[str], depth: int
    ) -> bool:
        for one, other in ((gold, answer_items), (answer, gold_items)):
            pair = enclosed(one)
            if pair is None or len(items(one)) > 1 or len(other) < 2:
                continue
            inside = items(pair[1])
            if pair[0] == r"\{":
                return self._unordered(inside, other, depth)
            # A point without its brackets keeps its order; an interval without them is none.
            return (pair[0], pair[2]) == ("(", ")") and one is gold and self._ordered(inside, other, depth)
        return self._unordered(gold_items, answer_items, depth)

    def _ordered(self, gold: Sequence[str], answer: Sequence[str], depth: int) -> bool:
        return len(gold) == len(answer) and all(self.same(*pair, depth + 1) for pair in zip(gold, answer, strict=True))

    def _unordered(self, gold: Sequence[str], answer: Sequence[str], depth: int) -> bool:
        if len(gold) != len(answer):
            return False
        if len(gold) > MAX_ITEMS:
            raise _ExhaustedError(f"more than {MAX_ITEMS} items")
        left = list(answer)
        for item in gold:
            match = next((place for place, other in enumerate(left) if self.same(item, other, depth + 1)), None)
            if match is None:
                return False
            del left[match]
        return True

    def _equations(self, gold: Sequence[str], answer: Sequence[str], depth: int) -> bool:
        r"""`x = 5` is the value 5, and 5 is `x = 5`; every side that is no name must be equal, so `0 = 5` is not 5."""
        if len(gold) > 1 and len(answer) == 1:
            named = [side for side in gold if not _is_name(side)]
            return len(named) == 1 and len(gold) == 2 and self.same(named[0], answer[0], depth + 1)
        if len(gold) == 1:
            values = [side for side in answer if not _is_name(side)] or [answer[-1]]
            return len(answer) <= 4 and all(self.same(gold[0], value, depth + 1) for value in values)
        if len(gold) > 2 or len(answer) > 2:
            return self._textual is False and gold == answer
        for one, value in (gold, reversed(gold)):
            for other, other_value in (answer, reversed(answer)):
                if _is_name(one) and one == other and self.same(value, other_value, depth + 1):
                    return True
        return self._ask("equation", list(gold), list(answer))

    def _structures(self, gold: str, answer: str, depth: int) -> bool:
        rows = _both(matrix(gold), matrix(answer))
        if rows is not None:
            return len(rows[0]) == len(rows[1]) and all(self._ordered(*pair, depth) for pair in zip(*rows, strict=True))
        gold, answer = _interval(gold) or gold, _interval(answer) or answer
        unions = split_top(gold, r"\\cup(?![a-zA-Z])"), split_top(answer, r"\\cup(?![a-zA-Z])")
        if len(unions[0]) > 1 or len(unions[1]) > 1:
            return self._unordered(*unions, depth)
        gold_pair, answer_pair = enclosed(gold), enclosed(answer)
        gold_inside = items(gold_pair[1]) if gold_pair else [gold]
        answer_inside = items(answer_pair[1]) if answer_pair else [answer]
        if len(gold_inside) == 1 and len(answer_inside) == 1:
            inner_gold = gold_inside[0] if gold_pair and _is_wrapper(gold_pair) else gold
            inner_answer = answer_inside[0] if answer_pair and _is_wrapper(answer_pair) else answer
            if (inner_gold, inner_answer) != (gold, answer):
                return self.same(inner_gold, inner_answer, depth + 1)
            return self._leaves(gold, answer)
        if gold_pair is None or answer_pair is None:
            return False
        if (gold_pair[0], gold_pair[2]) != (answer_pair[0], answer_pair[2]):
            return False
        compare = self._unordered if gold_pair[0] == r"\{" else self._ordered
        return compare(gold_inside, answer_inside, depth)

    def _leaves(self, gold: str, answer: str) -> bool:
        words = _word(gold)
        if words is not None:
            return words == (_word(answer, loose=True))
        based = _based(gold), _based(answer)
        if based[0] or based[1]:
            return based[0] == based[1]
        (gold, gold_unit), (answer, answer_unit) = _unit(gold), _unit(answer)
        values = _both(number(gold), number(answer))
        if "%" in (gold_unit, answer_unit):
            return values is not None and _percent_equal(values[0], gold_unit, values[1], answer_unit)
        if gold_unit and answer_unit and gold_unit != answer_unit and {gold_unit, answer_unit} <= _UNITS:
            return False
        if answer_unit in _SCALES and gold_unit != answer_unit:
            return False
        if values is not None:
            return values[0] == values[1]
        if self._textual and gold == answer:
            return True
        return self._ask("value", gold, answer)

    def _ask(self, kind: str, gold: str | list[str], answer: str | list[str]) -> bool:
        self._questions += 1
        if self._questions > _MAX_QUESTIONS:
            raise _ExhaustedError(f"more than {_MAX_QUESTIONS} comparisons")
        for side in (gold, answer):
            for text in [side] if isinstance(side, str) else side:
                if (reason := refusal(text) if text else "empty") is not None:
                    raise _UnreadableError(reason)
        if _letter_case_differs("".join(gold), "".join(answer)):
            return False
        reply = MATH.ask({"kind": kind, "gold": _spelt(gold), "answer": _spelt(answer)})
        if reply is None or reply["verdict"] == "exhausted":
            raise _ExhaustedError("ran out of time or memory")
        if reply["verdict"] == "unparsable":
            raise _UnreadableError(reply["error"])
        if not self._textual and reply["verdict"] == "equal":  # a gold that was checked: it will be asked for again
            MATH.ask({"kind": "load", "gold": _spelt(gold)})
        return bool(reply["verdict"] == "equal")


def _both(left: T | None, right: T | None) -> tuple[T, T] | None:
    return None if left is None or right is None else (left, right)


def _spelt(side: str | list[str]) -> str | list[str]:
    return for_sympy(side) if isinstance(side, str) else [for_sympy(text) for text in side]


def _sides(text: str) -> list[str]:
    return split_top(text, r"(?<![<>!:\\])=(?!=)")


def _is_name(text: str) -> bool:
    return text not in ("e", "i") and _NAME.fullmatch(text) is not None


def _is_wrapper(pair: tuple[str, str, str]) -> bool:
    r"""Whether one item in these brackets is that item: `(5)` and `\{5\}`, but not `[5]`, `(5]`."""
    return (pair[0], pair[2]) in (("(", ")"), (r"\{", r"\}"))


def _without_membership(text: str) -> str:
    parts = split_top(text, r"\\in(?![a-zA-Z])")
    return parts[1] if len(parts) == 2 and _is_name(parts[0]) else text


def _interval(text: str) -> str | None:
    r"""The interval of a one-variable inequality, `-2 \le x < 7` as `[-2,7)`; None if the text is not one."""
    signs = [_ORDER[found[0]] for found in re.finditer(_ORDER_SIGN, text)]
    parts = split_top(text, _ORDER_SIGN)
    if not signs or len(parts) != len(signs) + 1 or len({sign[0] for sign in signs}) != 1:
        return None
    if signs[0][0] == ">":
        signs = [sign.replace(">", "<") for sign in reversed(signs)]
        parts.reverse()
    match parts:
        case [low, name, high] if _is_name(name):
            return f"{'[' if signs[0] == '<=' else '('}{low},{high}{']' if signs[1] == '<=' else ')'}"
        case [name, high] if _is_name(name) and not _is_name(high):
            return f"(-\\infty,{high}{']' if signs[0] == '<=' else ')'}"
        case [low, name] if _is_name(name) and not _is_name(low):
            return f"{'[' if signs[0] == '<=' else '('}{low},\\infty)"
    return None


def _word(text: str, loose: bool = False) -> str | None:
    r"""Letters of a word answer, lower case: `\text{East}`, `\text{(C)}`, `even`. `loose` also takes a bare letter."""
    found = _WORDS.fullmatch(text)
    inner = (found[1] if found else text).strip().strip(".").strip()
    if (found or loose) and (choice := re.fullmatch(r"\(?([A-Za-z])\)?", inner)):
        return choice[1].lower()
    if loose and (choice := re.fullmatch(rf"\({_WORDS.pattern}\)", inner)):
        return choice[1].strip().lower()
    if re.fullmatch(r"[A-Za-z][A-Za-z' -]*" if found else r"[A-Za-z]{4,}(?:[ -][A-Za-z]+)*", inner):
        return " ".join(inner.lower().split())
    return None


def _based(text: str) -> tuple[str, str] | None:
    r"""(digits, base) of `52_8`, whose base must be written: 52 is another number."""
    found = re.fullmatch(r"\(?([0-9A-Fa-f]+)\)?_\{\s*(?:\\text\{)?\s*([0-9]+|[a-z]+)\s*\}?\s*\}", text)
    return (found[1].upper().lstrip("0"), found[2]) if found and re.search("[0-9]", found[1]) else None


def _unit(text: str) -> tuple[str, str]:
    r"""A quantity without its unit, and the unit under one name ("" if none): `15\text{ cm}^2` is ("15", "cm^2")."""
    if text.startswith((r"\$", r"-\$")):
        return text.replace(r"\$", "", 1), "dollar"
    if found := re.fullmatch(r"(.*?)\\?%", text):
        return found[1].strip(), "%"
    if found := re.fullmatch(r"(.*?)\^\{\\circ\}", text):
        return found[1].strip(), "degree"
    found = re.fullmatch(r"(.*?[0-9}).])\s*\\(?:text|mbox|textrm|mathrm)\{([^{}0-9]*)\}\s*(\^\{[0-9]\})?", text)
    if found is None:
        found = re.fullmatch(r"(.*?[0-9}).])\s*([A-Za-z]{2,}(?: [A-Za-z]+)*)()", text)
        if found is None or _unit_name(found[2]) not in _UNITS:
            return text, ""
    name = _unit_name(found[2])
    if name == "i" or not re.search(r"[0-9]|\\pi", found[1]) or re.search(r"\b(?:or|and|not|to)\b", name):
        return text, ""
    return found[1].strip(), name if not found[3] else f"{name}{found[3].replace('{', '').replace('}', '')}"


def _unit_name(text: str) -> str:
    name = text.strip().strip(".").lower()
    for candidate in (name, name.removesuffix("s")):
        if candidate in _UNIT_ALIASES:
            return _UNIT_ALIASES[candidate]
        if candidate in _UNITS:
            return candidate
    return name


def _percent_equal(gold: Fraction, gold_unit: str, answer: Fraction, answer_unit: str) -> bool:
    """p% against q%: p = q. p% against a plain q: q = p/100, or both are the same integer."""
    if gold_unit == answer_unit:
        return gold == answer
    if {gold_unit, answer_unit} != {"%", ""}:
        return False
    percent, plain = (gold, answer) if gold_unit == "%" else (answer, gold)
    return plain == percent / 100 or (plain == percent and (gold_unit == "%" or plain.denominator == 1))


def _letter_case_differs(gold: str, answer: str) -> bool:
    """latex2sympy may fold the case of letters; a symbol that only occurs in the other case is another symbol."""
    first, second = (set(re.sub(r"\\[a-zA-Z]+", " ", text)) for text in (gold, answer))
    missing = {letter.swapcase() for letter in first - second if letter.isalpha()}
    return bool(missing & second - first)
