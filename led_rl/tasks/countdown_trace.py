"""The grammar of countdown traces: which words may stand at a place of a trace, and which of them are choices.

The writer (`Countdown.documents`, `Countdown.reference`) chooses operands and operators, and whether to try again after
a `no`; every other word follows from those before it. So a place with several legal words is where a trace can go
another way, and a place with one is where a word that differs is a mistake.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from led_rl.tasks.countdown import OPERATORS, CountdownConfig, Step, Trace, expression_of, operations, pairs, render
from led_rl.tasks.problem import Problem

Kind = Literal[
    "operand1",
    "operator",
    "operand2",
    "equals",
    "result",
    "separator",
    "verdict",
    "again",
    "close",
    "box",
    "end",
    "off",
]
COMPUTATION: tuple[Kind, ...] = ("operand1", "operator", "operand2")  # the choices that decide what is computed
_STEP: tuple[Kind, ...] = ("operand1", "operator", "operand2", "equals", "result")
_STRIDE = len(_STEP) + 1  # a separator or a verdict follows each step


@dataclass(frozen=True)
class Place:
    """A place of a trace.

    Attributes:
        kind: what stands there. `off`: the words before it are not of the grammar; `end`: the completion is over.
        legal: the words that may stand there, in a fixed order; none at `off` and `end`.
    """

    kind: Kind
    legal: tuple[str, ...]

    @property
    def decides(self) -> bool:
        """Whether what is computed next is a choice here."""
        return self.kind in COMPUTATION and len(self.legal) > 1


def legal_next(problem: Problem, words: Sequence[str], config: CountdownConfig) -> Place:
    """What may follow these words of a completion.

    A wrong result is a mistake where it stands; the trace goes on with the number it wrote. An attempt that breaks the
    rules otherwise (a number that is not there, a division with a remainder) is off the grammar up to its verdict; the
    next attempt begins anew. The box repeats the last attempt, in the writer's own spelling.
    """
    numbers, target = problem.data["numbers"], problem.data["target"]
    if "</think>" in words:
        cut = list(words).index("</think>")
        return _boxed(_Attempt.of(words[:cut], numbers, config), words[cut + 1 :])
    if words and words[-1] == "yes":
        return Place("close", ("</think>",))
    if words and words[-1] == "no":
        return Place("again", (";", "</think>"))
    return _Attempt.of(words, numbers, config).place(target)


def follows(problem: Problem, words: Sequence[str], config: CountdownConfig) -> bool:
    """Whether these words are a whole completion of the grammar: `legal_next` has each of them after those before it,
    and `end` after the last. One pass, linear in the length whatever a model writes.

    Only operands and operators are read; the writer then writes these attempts down, and the words must be the same.
    """
    numbers, target = problem.data["numbers"], problem.data["target"]
    thinking = list(takewhile(lambda word: word != "</think>", words))
    length = _STRIDE * (len(numbers) - 1)
    attempts: list[Trace] = []
    for begin in range(0, len(thinking), length + 1):  # a `;` follows each attempt but the last
        if attempts and attempts[-1][-1][3] == target:  # nothing is tried after a `yes`
            return False
        attempt = _written(thinking[begin : begin + length], numbers, config)
        if attempt is None:
            return False
        attempts.append(attempt)
    return bool(attempts) and list(words) == render(attempts, target).split()


@dataclass(frozen=True)
class _Attempt:
    """The last attempt of a trace: the steps done, the numbers left, and the words of the step under way. `broken` if
    a word of it is neither legal nor a wrong result."""

    steps: Trace
    left: tuple[int, ...]
    under_way: tuple[str, ...]
    config: CountdownConfig
    broken: bool = False

    @classmethod
    def of(cls, words: Sequence[str], numbers: Sequence[int], config: CountdownConfig) -> "_Attempt":
        begin = len(words) - list(reversed(words)).index(";") if ";" in words else 0
        attempt = cls((), tuple(numbers), (), config)
        for word in words[begin:]:
            if word not in ("yes", "no"):
                attempt = attempt.after(word)
        return attempt

    def after(self, word: str) -> "_Attempt":
        """The attempt with one word more."""
        place = self.place(None)
        mistaken = place.kind == "result" and word.isdecimal() and 1 <= int(word) <= self.config.max_value
        if self.broken or not (word in place.legal or mistaken):
            return _Attempt(self.steps, self.left, self.under_way, self.config, broken=True)
        if word == ",":
            return _Attempt(self.steps, self.left, (), self.config)
        under_way = (*self.under_way, word)
        if len(under_way) < len(_STEP):
            return _Attempt(self.steps, self.left, under_way, self.config)
        a, operator, b, _, result = under_way
        step = int(a), operator, int(b), int(result)
        return _Attempt((*self.steps, step), _without(self.left, step), under_way, self.config)

    def place(self, target: int | None) -> Place:
        """The place after its words; without a target any verdict."""
        if self.broken:
            return Place("off", ())
        done = len(self.under_way)
        if done == len(_STEP):
            if len(self.left) > 1:
                return Place("separator", (",",))
            reached = target is None or self.left[0] == target
            return Place("verdict", ("yes" if reached else "no",))
        if done == _STEP.index("equals"):
            return Place("equals", ("=",))
        column = done if done < 3 else 3
        words = [tuple(str(part) for part in step) for step in _steps(self.left, self.config)]
        chosen = self.under_way[:3]
        found = {word[column] for word in words if word[: len(chosen)] == chosen}
        ordered = sorted(found, key=OPERATORS.index if _STEP[done] == "operator" else int)
        return Place(_STEP[done], tuple(ordered))


def _written(words: Sequence[str], numbers: Sequence[int], config: CountdownConfig) -> Trace | None:
    """The attempt with the operands and operators of these words; None if it is not of these numbers to the last."""
    steps, left = list[Step](), tuple(numbers)
    for begin in range(0, _STRIDE * (len(numbers) - 1), _STRIDE):
        chosen = tuple(words[begin : begin + len(COMPUTATION)])
        possible = (step for i, j in pairs(len(left)) for step in operations(left[i], left[j], config))
        step = next((step for step in possible if tuple(map(str, step[:3])) == chosen), None)
        if step is None:
            return None
        steps.append(step)
        left = _without(left, step)
    return tuple(steps)


def _boxed(attempt: _Attempt, after: Sequence[str]) -> Place:
    """What follows `</think>` and these words, after this last attempt."""
    if attempt.broken or len(attempt.left) > 1:
        return Place("off", ())
    expected = f"\\boxed{{ {expression_of(attempt.steps)} }}".split()
    if list(after) != expected[: len(after)]:
        return Place("off", ())
    return Place("box", (expected[len(after)],)) if len(after) < len(expected) else Place("end", ())


def _steps(values: Sequence[int], config: CountdownConfig) -> list[Step]:
    """The steps that can be taken on these numbers without ending in a dead end."""
    return [
        step
        for i, j in pairs(len(values))
        for step in operations(values[i], values[j], config)
        if _completes(_without(values, step), config)
    ]


def _completes(values: Sequence[int], config: CountdownConfig) -> bool:
    """Whether some chain of steps uses all of these numbers up."""
    return len(values) == 1 or any(
        _completes(_without(values, step), config)
        for i, j in pairs(len(values))
        for step in operations(values[i], values[j], config)
    )


def _without(values: Sequence[int], step: Step) -> tuple[int, ...]:
    """The numbers after a step: its operands gone, its result there."""
    left = list(values)
    left.remove(step[0])
    left.remove(step[2])
    return (*left, step[3])
