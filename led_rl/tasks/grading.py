r"""THE grader of numeric and LaTeX answers, for reward and evaluation alike.

An answer is the content of the last balanced `\boxed{...}` after the reasoning. Without a box there is no answer: a
number somewhere in the text is not one, or a policy would be paid for rambling.

Equality is decided in this order, each step exact:

1. structure, from the text (`led_rl.tasks.structure`): lists and sets (any order), tuples and intervals (order and
   brackets count), unions, matrices, `x = ...`, `x \in ...` and one-variable inequalities are compared part by part;
2. words by letters; numbers as fractions (`0.15` is `\frac{3}{20}`, `0.33` is not `\frac{1}{3}`);
3. two expressions or equations, by `led_rl.tasks.equality` in a child process on a clock
   (`led_rl.tasks.grader_process`).

Units (`led_rl.tasks.units`, a known list) may be written or left out, never converted: two units that differ are wrong,
and so is any word beside the number that is no unit. `p\%` equals p/100; against an integer it may also equal p, as
where a question asks for a percentage. What counts as right, in plain words: docs/grading.md.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import TypeVar

from led_rl.errors import UserError
from led_rl.tasks.answers import Thinking, boxed_answer, last_boxed
from led_rl.tasks.latex import MAX_CHARS, enclosed, normalise, unwrapped
from led_rl.tasks.leaves import Quantity, based, clock, has_words, quantity, same_tail, word
from led_rl.tasks.numerals import number
from led_rl.tasks.problem import Grade
from led_rl.tasks.questions import ExhaustedError, Questions, UnreadableError
from led_rl.tasks.structure import (
    assignments,
    coordinate_order,
    is_name,
    is_wrapper,
    items,
    matrix,
    sides,
    solution_set,
    unions,
)

T = TypeVar("T")

MAX_ITEMS = 20
_MAX_DEPTH = 6


def grade(gold: str, completion: str, thinking: Thinking = "optional") -> bool:
    """Whether a completion's answer equals the gold answer. Never raises on text; usable from any thread."""
    return judge(gold, completion, thinking).correct


def judge(gold: str, completion: str, thinking: Thinking = "optional") -> Grade:
    r"""Verdict on a completion, with the answer found and the reason.

    "no_answer": no balanced, non-empty box. "unclosed_think": the reasoning never ends (see `answers.response`).
    "unknown_word": the answer is not the gold, and words stand in it that are no unit. "unparsable": the box, or a gold
    that `check_gold` would refuse, cannot be read, or is beyond the caps of `sympy_input.refusal`. "timeout": the child
    process ran out of time, CPU or memory. Raises RuntimeError only if the child process cannot start.
    """
    answer = boxed_answer(completion, thinking)
    if isinstance(answer, Grade):
        return answer
    if len(answer) > 4 * MAX_CHARS:
        return Grade("unparsable", answer)
    comparison = _Comparison()
    try:
        if comparison.same(normalise(gold), normalise(answer)):
            return Grade("correct", answer)
    except UnreadableError:
        return Grade("unknown_word" if comparison.unknown_word else "unparsable", answer)
    except ExhaustedError:
        return Grade("timeout", answer)
    return Grade("unknown_word" if comparison.unknown_word else "wrong", answer)


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
    except (UnreadableError, ExhaustedError) as error:
        same, reason = False, str(error)
    if not same:
        raise UserError(f"gold answer {gold!r}: cannot be graded ({reason}); exclude the problem and count it")


class _Comparison:
    """One gold against one answer, with a bound on what may be asked of the child.

    `unknown_word`: words that are no unit were met in the answer.
    """

    def __init__(self, textual: bool = True) -> None:
        self._textual = textual
        self._child = Questions(remember=not textual)
        self.unknown_word = False

    def same(self, gold: str, answer: str, depth: int = 0) -> bool:
        """Whether two normalised texts say the same. Raises UnreadableError, ExhaustedError."""
        if depth > _MAX_DEPTH:
            raise UnreadableError("nested too deep")
        if self._textual and gold == answer:
            return True
        gold, answer = unwrapped(gold), unwrapped(answer)
        if (numbers := _both(number(gold), number(answer))) is not None:
            return numbers[0] == numbers[1]
        if len(answer) > MAX_CHARS or len(gold) > MAX_CHARS:
            raise UnreadableError(f"longer than {MAX_CHARS} characters")
        (gold_name, gold), (answer_name, answer) = solution_set(gold), solution_set(answer)
        if gold_name and answer_name and gold_name != answer_name:
            return False
        gold_items, answer_items = items(gold), items(answer)
        if len(gold_items) > 1 or len(answer_items) > 1:
            return self._lists(gold, answer, gold_items, answer_items, depth)
        gold_sides, answer_sides = sides(gold), sides(answer)
        if len(gold_sides) > 1 or len(answer_sides) > 1:
            return self._equations(gold_sides, answer_sides, depth)
        return self._structures(gold, answer, depth)

    def _lists(
        self, gold: str, answer: str, gold_items: Sequence[str], answer_items: Sequence[str], depth: int
    ) -> bool:
        gold_values, answer_values = assignments(gold_items), assignments(answer_items)
        if gold_values is not None or answer_values is not None:
            return self._named(gold, answer, gold_items, answer_items, depth)
        for one, other in ((gold, answer_items), (answer, gold_items)):
            pair = enclosed(one)
            if pair is None or len(items(one)) > 1 or len(other) < 2:
                continue
            inside = items(pair[1], bracketed=True)
            if pair[0] == r"\{":
                return self._unordered(inside, other, depth)
            # A point without its brackets keeps its order; an interval without them is none.
            return (pair[0], pair[2]) == ("(", ")") and one is gold and self._ordered(inside, other, depth)
        return self._unordered(gold_items, answer_items, depth)

    def _named(
        self, gold: str, answer: str, gold_items: Sequence[str], answer_items: Sequence[str], depth: int
    ) -> bool:
        """`x=2, y=3` and `y=3, x=2` against each other, or against `2,3` and `(2,3)`, which are x and then y."""
        gold_values, answer_values = assignments(gold_items), assignments(answer_items)
        if gold_values is not None and answer_values is not None:
            if gold_values.keys() != answer_values.keys():
                return self._unordered(gold_items, answer_items, depth)
            return self._ordered(list(gold_values.values()), [answer_values[name] for name in gold_values], depth)
        if gold_values is not None:
            return self._ordered(list(gold_values.values()), _point(answer, answer_items), depth)
        assert answer_values is not None
        values = [answer_values[name] for name in coordinate_order(answer_values)]
        return self._ordered(_point(gold, gold_items), values, depth)

    def _ordered(self, gold: Sequence[str], answer: Sequence[str], depth: int) -> bool:
        return len(gold) == len(answer) and all(self.same(*pair, depth + 1) for pair in zip(gold, answer, strict=True))

    def _unordered(self, gold: Sequence[str], answer: Sequence[str], depth: int) -> bool:
        if len(gold) != len(answer):
            return False
        if len(gold) > MAX_ITEMS:
            raise ExhaustedError(f"more than {MAX_ITEMS} items")
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
            named = [side for side in gold if not is_name(side)]
            return len(named) == 1 and len(gold) == 2 and self.same(named[0], answer[0], depth + 1)
        if len(gold) == 1:
            values = [side for side in answer if not is_name(side)] or [answer[-1]]
            return len(answer) <= 4 and all(self.same(gold[0], value, depth + 1) for value in values)
        if len(gold) > 2 or len(answer) > 2:
            return self._unordered(gold, answer, depth)  # `x=y=z` says the same whatever its order
        for one, value in (gold, reversed(gold)):
            for other, other_value in (answer, reversed(answer)):
                if is_name(one) and one == other and self.same(value, other_value, depth + 1):
                    return True
        return self._child.equations_equal(gold, answer)

    def _structures(self, gold: str, answer: str, depth: int) -> bool:
        rows = _both(matrix(gold), matrix(answer))
        if rows is not None:
            return len(rows[0]) == len(rows[1]) and all(self._ordered(*pair, depth) for pair in zip(*rows, strict=True))
        parts = unions(gold), unions(answer)
        if len(parts[0]) > 1 or len(parts[1]) > 1:
            return self._unordered(*parts, depth)
        gold_pair, answer_pair = enclosed(gold), enclosed(answer)
        gold_inside = items(gold_pair[1], bracketed=True) if gold_pair else [gold]
        answer_inside = items(answer_pair[1], bracketed=True) if answer_pair else [answer]
        if len(gold_inside) == 1 and len(answer_inside) == 1:
            if _brackets(gold_pair) != _brackets(answer_pair):
                return False
            inner_gold = gold_inside[0] if gold_pair and is_wrapper(gold_pair) else gold
            inner_answer = answer_inside[0] if answer_pair and is_wrapper(answer_pair) else answer
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
        if (words := word(gold)) is not None:
            return words == word(answer, loose=True)
        if (times := clock(gold)) is not None or clock(answer) is not None:
            return times == clock(answer)
        digits = based(gold), based(answer)
        if digits[0] or digits[1]:
            return digits[0] == digits[1]
        left, right = quantity(gold), quantity(answer, written=gold)
        values = same_tail(gold, answer) if left.unknown or right.unknown else None
        if values is not None:
            left, right = (Quantity(value, number(value), "") for value in values)
        elif right.unknown:
            self.unknown_word = True
            return False
        elif has_words(right.value):
            self.unknown_word = not has_words(left.value)
        return self._quantities(left, right)

    def _quantities(self, gold: Quantity, answer: Quantity) -> bool:
        numbers = _both(gold.number, answer.number)
        if "%" in (gold.unit, answer.unit):
            return numbers is not None and _percent_equal(numbers[0], gold.unit, numbers[1], answer.unit)
        if gold.unit != answer.unit and ((gold.unit and answer.unit) or answer.unit == "cent"):
            return False  # a gold amount without a unit is one of dollars
        if numbers is not None:
            return numbers[0] == numbers[1]
        if self._textual and gold.value == answer.value:
            return True
        return self._child.values_equal(gold.value, answer.value)


def _both(left: T | None, right: T | None) -> tuple[T, T] | None:
    return None if left is None or right is None else (left, right)


def _point(text: str, parts: Sequence[str]) -> Sequence[str]:
    """The coordinates of `(2,3)`; of a list without brackets its items."""
    pair = enclosed(text)
    return items(pair[1], bracketed=True) if pair is not None and (pair[0], pair[2]) == ("(", ")") else parts


def _brackets(pair: tuple[str, str, str] | None) -> tuple[str, str] | None:
    """Brackets around one item that say something, as those of the list `[5]` do; None for the others."""
    return None if pair is None or is_wrapper(pair) else (pair[0], pair[2])


def _percent_equal(gold: Fraction, gold_unit: str, answer: Fraction, answer_unit: str) -> bool:
    """p% against q%: p = q. p% against a plain q: q = p/100, or both are the same integer."""
    if gold_unit == answer_unit:
        return gold == answer
    if {gold_unit, answer_unit} != {"%", ""}:
        return False
    percent, plain = (gold, answer) if gold_unit == "%" else (answer, gold)
    return plain == percent / 100 or (plain == percent and (gold_unit == "%" or plain.denominator == 1))
