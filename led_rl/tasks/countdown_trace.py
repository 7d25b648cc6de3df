"""The grammar of countdown traces: which words may stand at a place of a trace, and which of them are choices.

The writer (`Countdown.documents`, `Countdown.reference`) chooses operands and operators, and whether to try again after
a `no`; every other word follows from those before it. So a place with several legal words is where a trace can go
another way, and a place with one is where a word that differs is a mistake: a slip.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import takewhile
from typing import Literal

from led_rl.tasks.countdown import OPERATORS, CountdownConfig, operations, pairs
from led_rl.tasks.countdown_writing import Step, Trace, Writing, expression_of, remaining
from led_rl.tasks.problem import Problem

Kind = Literal[
    "operand1",
    "operator",
    "operand2",
    "equals",
    "result",
    "written",
    "separator",
    "verdict",
    "again",
    "order",
    "close",
    "box",
    "end",
    "off",
]
COMPUTATION: tuple[Kind, ...] = ("operand1", "operator", "operand2")  # the choices that decide what is computed


@dataclass(frozen=True)
class Place:
    """A place of a trace.

    Attributes:
        kind: what stands there. `written`: what a verbosity writes out; `order`: a choice of multiplication; `off`: the
            words before it are not of the grammar; `end`: the completion is over.
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

    Where the steps stand alone (verbosity 0), a wrong result is a mistake where it stands, and the trace goes on with
    the number it wrote. An attempt that breaks the rules otherwise (a number that is not there, a division with a
    remainder, any slip in what is written out) is off the grammar up to its verdict; the next attempt begins anew. The
    box repeats the last attempt, in the writer's own spelling.
    """
    return places(problem, words, config)[-1]


def places(problem: Problem, words: Sequence[str], config: CountdownConfig) -> list[Place]:
    """The place of each of these words, and of the one that would follow: what `legal_next` says of every prefix."""
    numbers, target = problem.data["numbers"], problem.data["target"]
    writing = Writing(config.verbosity, config.max_value)
    rules = _Rules(target, config, writing, tuple(writing.opening(numbers, target)))
    attempt = fresh = _Attempt(rules, (), tuple(numbers))
    found = [fresh.place]
    boxed: list[str] | None = None  # the words after `</think>`
    for word in words:
        if boxed is not None:
            boxed.append(word)
        elif word == "</think>":
            boxed = []
        elif word == ";":
            attempt = fresh
        elif word not in ("yes", "no"):
            attempt = attempt.after(word)
        if boxed is not None:
            found.append(_boxed(attempt, boxed))
        elif word in ("yes", "no"):
            found.append(Place("close", ("</think>",)) if word == "yes" else Place("again", (";", "</think>")))
        else:
            found.append(attempt.place)
    return found


def follows(problem: Problem, words: Sequence[str], config: CountdownConfig) -> bool:
    """Whether these words are a whole completion of the grammar: `legal_next` has each of them after those before it,
    and `end` after the last. One pass, linear in the length whatever a model writes.

    Only operands and operators are read; the writer then writes these attempts down, and the words must be the same.
    """
    numbers, target = problem.data["numbers"], problem.data["target"]
    writing = Writing(config.verbosity, config.max_value)
    thinking = list(takewhile(lambda word: word != "</think>", words))
    attempts: list[Trace] = []
    begin = 0
    while begin < len(thinking):
        if attempts and attempts[-1][-1][3] == target:  # nothing is tried after a `yes`
            return False
        steps, left = list[Step](), tuple(numbers)
        begin += len(writing.opening(left, target))
        while len(left) > 1:
            step = _step_of(left, thinking[begin : begin + len(COMPUTATION)], config)
            if step is None:
                return False
            begin += len(COMPUTATION) + len(writing.after(left, step, target))
            steps.append(step)
            left = remaining(left, step)
        attempts.append(tuple(steps))
        begin += 1  # a `;` follows each attempt but the last
    return bool(attempts) and list(words) == writing.render(numbers, attempts, target).split()


@dataclass(frozen=True)
class _Rules:
    """What does not change within a completion; `opening` is what each of its attempts opens with."""

    target: int
    config: CountdownConfig
    writing: Writing
    opening: tuple[str, ...]


@dataclass(frozen=True)
class _Attempt:
    """The last attempt of a trace: the steps done, the numbers left, and the step under way.

    Attributes:
        opened: words of its opening that are there.
        chosen: operands and operator of the step under way, as far as they are there.
        tail: what has to follow them, empty until all three are there; `told` words of it are there.
        broken: a word of it is neither legal nor a wrong result that the trace can go on with.
    """

    rules: _Rules
    steps: Trace
    left: tuple[int, ...]
    opened: int = 0
    chosen: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()
    told: int = 0
    broken: bool = False

    @cached_property
    def place(self) -> Place:
        """The place after its words."""
        if self.broken:
            return Place("off", ())
        if self.opened < len(self.rules.opening):
            return Place("written", (self.rules.opening[self.opened],))
        if not self.tail:
            kind = COMPUTATION[len(self.chosen)]
            steps = (tuple(map(str, step)) for step in _steps(self.left, self.rules.config))
            found = {step[len(self.chosen)] for step in steps if step[: len(self.chosen)] == self.chosen}
            return Place(kind, tuple(sorted(found, key=OPERATORS.index if kind == "operator" else int)))
        return Place(self._kind, (self.tail[self.told],))

    @property
    def _kind(self) -> Kind:
        """What stands at the next word of the tail."""
        if self.told == len(self.tail) - 1:
            return "separator" if len(self.left) > 1 else "verdict"
        if self.told == 0:
            return "equals"
        return "result" if self.told == self.rules.writing.result_at else "written"

    def after(self, word: str) -> "_Attempt":
        """The attempt with one word more."""
        place = self.place
        goes_on = (
            place.kind == "result"
            and not self.rules.writing.verbosity
            and word.isdecimal()
            and 1 <= int(word) <= self.rules.config.max_value
        )
        if not (word in place.legal or goes_on):
            return replace(self, broken=True)
        if place.kind == "separator":
            return _Attempt(self.rules, self.steps, self.left, self.opened)
        if place.kind in COMPUTATION:
            chosen = (*self.chosen, word)
            if len(chosen) < len(COMPUTATION):
                return replace(self, chosen=chosen)
            step = _step_of(self.left, chosen, self.rules.config)
            assert step is not None, chosen
            return replace(self, chosen=chosen, tail=self._after(step))
        if not self.tail:
            return replace(self, opened=self.opened + 1)
        if goes_on:
            a, operator, b = self.chosen
            self = replace(self, tail=self._after((int(a), operator, int(b), int(word))))
        told = self.told + 1
        if told < len(self.tail) - 1:
            return replace(self, told=told)
        a, operator, b = self.chosen
        step = int(a), operator, int(b), int(self.tail[self.rules.writing.result_at])
        return replace(self, told=told, steps=(*self.steps, step), left=remaining(self.left, step))

    def _after(self, step: Step) -> tuple[str, ...]:
        return tuple(self.rules.writing.after(self.left, step, self.rules.target))


def _boxed(attempt: _Attempt, after: Sequence[str]) -> Place:
    """What follows `</think>` and these words, after this last attempt."""
    if attempt.broken or len(attempt.left) > 1:
        return Place("off", ())
    expected = f"\\boxed{{ {expression_of(attempt.steps)} }}".split()
    if list(after) != expected[: len(after)]:
        return Place("off", ())
    return Place("box", (expected[len(after)],)) if len(after) < len(expected) else Place("end", ())


def _step_of(left: Sequence[int], chosen: Sequence[str], config: CountdownConfig) -> Step | None:
    """The step on these numbers with this operand, operator and operand; None if there is none."""
    possible = (step for i, j in pairs(len(left)) for step in operations(left[i], left[j], config))
    return next((step for step in possible if tuple(map(str, step[:3])) == tuple(chosen)), None)


@lru_cache(maxsize=65_536)
def _steps(values: tuple[int, ...], config: CountdownConfig) -> tuple[Step, ...]:
    """The steps that can be taken on these numbers without ending in a dead end."""
    return tuple(
        step
        for i, j in pairs(len(values))
        for step in operations(values[i], values[j], config)
        if _completes(remaining(values, step), config)
    )


def _completes(values: Sequence[int], config: CountdownConfig) -> bool:
    """Whether some chain of steps uses all of these numbers up."""
    return len(values) == 1 or any(
        _completes(remaining(values, step), config)
        for i, j in pairs(len(values))
        for step in operations(values[i], values[j], config)
    )
