"""Countdown: use each number once, with + - * /, to reach the target.

The traces that the small base model learns from are a search written down: attempts, each a chain of operations that
uses up the numbers, judged `no` or `yes`, then the last attempt as one expression in a box:

    numbers 6 4 13 target 15 <think> 13 + 6 = 19 , 19 - 4 = 15 yes </think> \\boxed{ ( 13 + 6 ) - 4 }

How fully a trace is written out is `countdown.verbosity` (`led_rl.tasks.countdown_writing`); problems, splits and
choices do not depend on it.

A problem's identity is (sorted numbers, target); its split is a hash of that identity, so pretraining, RL and
evaluation can never share a problem, whatever their seeds.
"""

import hashlib
import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from led_rl.errors import UserError
from led_rl.tasks.answers import box
from led_rl.tasks.arithmetic import NotArithmeticError, parse_arithmetic
from led_rl.tasks.countdown_writing import Step, Trace, Writing, expression_of
from led_rl.tasks.problem import Grade, Problem, Split, drawn

OPERATORS = "+-*/"
TEST_PERCENT = 5
VALIDATION_PERCENT = 5
_QUESTION = re.compile(r"numbers (?P<numbers>\d+(?: \d+)+) target (?P<target>\d+) <think>")


@dataclass(frozen=True)
class CountdownConfig:
    """The space of problems.

    Args:
        numbers: how many numbers a problem has
        min_number: smallest number
        max_number: largest number
        min_target: smallest target
        max_target: largest target
        max_value: largest intermediate result a trace may hold; it bounds the vocabulary of the small base model
        operators: the operators allowed, of + - * /
        verbosity: how fully a trace is written out, 0 (the steps alone) to 3: about 14, 55, 140 or 400 forced words a
            trace at the same choices
    """

    numbers: int = 3
    min_number: int = 1
    max_number: int = 50
    min_target: int = 10
    max_target: int = 100
    max_value: int = 120
    operators: str = OPERATORS
    verbosity: int = 0

    def __post_init__(self) -> None:
        Writing(self.verbosity, self.max_value)
        if not 2 <= self.numbers <= 6:
            raise UserError(f"countdown.numbers={self.numbers}: 2 to 6 numbers make a puzzle that can be enumerated")
        if not 1 <= self.min_number <= self.max_number <= self.max_value:
            raise UserError(
                f"countdown.min_number={self.min_number}, max_number={self.max_number}, max_value={self.max_value}: "
                "need 1 <= min_number <= max_number <= max_value"
            )
        if not 1 <= self.min_target <= self.max_target <= self.max_value:
            raise UserError(
                f"countdown.min_target={self.min_target}, max_target={self.max_target}, max_value={self.max_value}: "
                "need 1 <= min_target <= max_target <= max_value"
            )
        if (
            not self.operators
            or set(self.operators) - set(OPERATORS)
            or len(set(self.operators)) != len(self.operators)
        ):
            raise UserError(f"countdown.operators={self.operators!r}: distinct operators of {OPERATORS!r} are needed")


def identity(numbers: Sequence[int], target: int) -> str:
    """The identity of a problem, order of the numbers set aside."""
    return f"countdown:{'-'.join(map(str, sorted(numbers)))}:{target}"


def split_of(problem_id: str) -> Split:
    """The split a problem belongs to, from a hash of its identity."""
    bucket = int.from_bytes(hashlib.sha256(problem_id.encode()).digest()[:8], "big") % 100
    if bucket < TEST_PERCENT:
        return "test"
    return "validation" if bucket < TEST_PERCENT + VALIDATION_PERCENT else "train"


class Countdown:
    """The task: `Task` of `led_rl.tasks.problem`, and the traces the base model is pretrained on."""

    name = "countdown"

    def __init__(self, config: CountdownConfig | None = None) -> None:
        self.config = config or CountdownConfig()
        self.writing = Writing(self.config.verbosity, self.config.max_value)

    def problems(self, split: Split, count: int, seed: int = 0) -> list[Problem]:
        rng = random.Random(f"countdown/{split}/{seed}")
        remedy = "ask for fewer, or widen countdown.max_number or the targets"
        return drawn(split, count, lambda: self._draw(rng, split), 2_000, 20, remedy)

    def asked(self, problem_id: str, prompt: str) -> Problem | None:
        """The problem that a prompt asks, as records have it, without its answer; None if it is no prompt of ours."""
        found = _QUESTION.fullmatch(prompt)
        if found is None:
            return None
        numbers = tuple(map(int, found["numbers"].split()))
        return Problem(problem_id, prompt, "", MappingProxyType({"numbers": numbers, "target": int(found["target"])}))

    def prompt(self, problem: Problem) -> str:
        return problem.question

    def reference(self, problem: Problem) -> str:
        rng = random.Random(f"countdown/reference/{problem.id}")
        numbers, target = problem.data["numbers"], problem.data["target"]
        solutions = solve(numbers, self.config)[target]
        attempts = [self._random_attempt(numbers, rng) for _ in range(rng.randrange(3))]
        wrong = [attempt for attempt in attempts if attempt[-1][3] != target]
        return self.writing.render(numbers, [*wrong, rng.choice(solutions)], target)

    def grade(self, problem: Problem, completion: str) -> Grade:
        answer = box(completion, "required")
        if isinstance(answer, Grade):
            return answer
        try:
            expression = parse_arithmetic(answer)
        except NotArithmeticError:
            return Grade("unparsable", answer[:200])
        uses_each_once = sorted(expression.numbers) == sorted(problem.data["numbers"])
        right = uses_each_once and expression.value == Fraction(problem.data["target"])
        return Grade("correct" if right else "wrong", answer)

    def vocabulary(self) -> list[str]:
        """Every word of prompts and traces, for a tokenizer with one token per word."""
        signs = ["numbers", "target", "<think>", "</think>", "yes", "no", "=", ",", ";", "(", ")", "\\boxed{", "}"]
        numbers = (str(value) for value in range(1, self.config.max_value + 1))
        return [*signs, *self.config.operators, *numbers, *self.writing.words()]

    def longest(self, attempts: int) -> tuple[int, int]:
        """Words of a prompt, and of the longest completion of so many attempts."""
        count = self.config.numbers
        left = [1] * count
        words = len(self.writing.opening(left, 1))
        for _ in range(count - 1):  # any step will do: a number is as long as another
            words += 3 + len(self.writing.after(left, (1, "*", 1, 1), 1))
            left = left[1:]
        box = 2 + count + (count - 1) + 2 * (count - 2)
        return len(question(left, 1).split()) + count - 1, attempts * (words + 1) + box

    def documents(
        self, split: Split, seed: int, max_attempts: int, solution_rate: float, habit: float = 0.0
    ) -> Iterator[tuple[str, str]]:
        """Endless (prompt, completion) pairs to pretrain on, problems drawn with replacement from a split.

        Each of up to `max_attempts` attempts is one of the solutions with probability `solution_rate`, else random; the
        trace ends with the first that reaches the target. So a perfect imitator solves about
        1 - (1 - solution_rate) ** max_attempts of the problems in one sample, and all of them in many.

        With `habit` h the writer prefers sums to differences, those to products, and those to quotients: in a random
        attempt each is exp(-h) times as likely as the one before, and a solution is seen with probability exp(-h) for
        each place that its operators stand down that list, else it is passed over for a random attempt. So some
        problems are solved often and some hardly ever: exploration that is narrower than the problems need.
        """
        rng = random.Random(f"countdown/documents/{split}/{seed}")
        while True:
            drawn = self._draw_numbers(rng, split)
            if drawn is None:
                continue
            numbers, target, solutions = drawn
            rng.shuffle(numbers)
            attempts: list[Trace] = []
            while len(attempts) < max_attempts and not (attempts and attempts[-1][-1][3] == target):
                solution = rng.choice(solutions) if rng.random() < solution_rate else None
                if solution and habit and rng.random() >= math.exp(-habit * unfamiliarity(solution)):
                    solution = None
                attempts.append(solution or self._random_attempt(numbers, rng, habit))
            yield question(numbers, target), self.writing.render(numbers, attempts, target)

    def _draw(self, rng: random.Random, split: Split) -> Problem | None:
        drawn = self._draw_numbers(rng, split)
        if drawn is None:
            return None
        numbers, target, solutions = drawn
        problem_id = identity(numbers, target)
        # The order shown comes from the identity, so that an id stands for one prompt under every seed.
        random.Random(problem_id).shuffle(numbers)
        return Problem(
            id=problem_id,
            question=question(numbers, target),
            answer=expression_of(solutions[0]),
            data=MappingProxyType({"numbers": tuple(numbers), "target": target}),
        )

    def _draw_numbers(self, rng: random.Random, split: Split) -> tuple[list[int], int, list[Trace]] | None:
        config = self.config
        numbers = sorted(rng.randint(config.min_number, config.max_number) for _ in range(config.numbers))
        traces = solve(numbers, config)
        targets = [target for target in sorted(traces) if split_of(identity(numbers, target)) == split]
        if not targets:
            return None
        target = rng.choice(targets)
        return numbers, target, traces[target]

    def _random_attempt(self, numbers: Sequence[int], rng: random.Random, habit: float = 0.0) -> Trace:
        """A random chain to the end. The problem is solvable, so a chain without a dead end exists."""
        values, steps = list(numbers), list[Step]()
        while len(values) > 1:
            choices = [step for i, j in pairs(len(values)) for step in operations(values[i], values[j], self.config)]
            if not choices:
                values, steps = list(numbers), []
                continue
            if habit:
                step = rng.choices(choices, [math.exp(-habit * unfamiliarity([one])) for one in choices])[0]
            else:
                step = rng.choice(choices)
            values.remove(step[0])
            values.remove(step[2])
            values.append(step[3])
            steps.append(step)
        return tuple(steps)


def question(numbers: Sequence[int], target: int) -> str:
    """The prompt, which opens the thinking."""
    return f"numbers {' '.join(map(str, numbers))} target {target} <think>"


def unfamiliarity(steps: Sequence[Step]) -> int:
    """How far down the list of operators these steps go, added up: 0 for sums alone."""
    return sum(OPERATORS.index(operator) for _, operator, _, _ in steps)


def solve(numbers: Sequence[int], config: CountdownConfig) -> dict[int, list[Trace]]:
    """All reachable targets in range, each with every trace that reaches it (sorted, distinct)."""
    found: dict[int, set[Trace]] = {}

    def extend(values: tuple[int, ...], steps: Trace) -> None:
        if len(values) == 1:
            if config.min_target <= values[0] <= config.max_target:
                found.setdefault(values[0], set()).add(steps)
            return
        for i, j in pairs(len(values)):
            rest = values[:i] + values[i + 1 : j] + values[j + 1 :]
            for step in operations(values[i], values[j], config):
                extend((*rest, step[3]), (*steps, step))

    extend(tuple(numbers), ())
    return {target: sorted(traces) for target, traces in found.items()}


def pairs(count: int) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(count) for j in range(i + 1, count))


def operations(a: int, b: int, config: CountdownConfig) -> list[Step]:
    """Operations on two values, the larger first, with a result in 1..max_value."""
    if a < b:
        a, b = b, a
    steps: list[Step] = []
    if "+" in config.operators and a + b <= config.max_value:
        steps.append((a, "+", b, a + b))
    if "-" in config.operators and a > b:
        steps.append((a, "-", b, a - b))
    if "*" in config.operators and a * b <= config.max_value:
        steps.append((a, "*", b, a * b))
    if "/" in config.operators and a % b == 0:
        steps.append((a, "/", b, a // b))
    return steps
