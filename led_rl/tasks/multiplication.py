"""Long multiplication on a scratchpad: traces that are long by nature, and in which nothing has to be found.

    multiply 4 7 by 3 6 <think> ones : 6 * 7 = 4 2 , 6 * 4 + 4 = 2 8 gives 0 2 8 2 so 0 2 8 2 ;
    tens : 3 * 7 = 2 1 , 3 * 4 + 2 = 1 4 gives 1 4 1 0 add 2 + 0 = 0 2 , 8 + 1 = 0 9 , 2 + 4 = 0 6 , 0 + 1 = 0 1
    so 1 6 9 2 </think> \\boxed{ 1 6 9 2 }

The digits of the second factor are taken in any order: the only choice, and every order is right. All other words
follow from it. So heat has nothing to free here, and can only break what is forced: what is left of a temperature's
effect where a task needs care and no exploration. `places` and `follows` are the grammar, as
`led_rl.tasks.countdown_trace` is for countdown.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from led_rl.errors import UserError
from led_rl.tasks.answers import box
from led_rl.tasks.countdown import split_of
from led_rl.tasks.countdown_trace import Place
from led_rl.tasks.problem import Grade, Problem, Split, drawn

PLACES = ("ones", "tens", "hundreds", "thousands")
_QUESTION = re.compile(r"multiply ((?:\d )+)by ((?:\d )+)<think>")
_SIGNS = ("multiply", "by", "<think>", "</think>", "\\boxed{", "}", "*", "+", "=", ":", ",", ";", "gives", "add", "so")


@dataclass(frozen=True)
class MultiplicationConfig:
    """The space of problems.

    Args:
        digits: of the first factor
        by_digits: of the second factor, whose digits are taken one by one
    """

    digits: int = 3
    by_digits: int = 3

    def __post_init__(self) -> None:
        for name in ("digits", "by_digits"):
            if not 1 <= getattr(self, name) <= len(PLACES):
                raise UserError(f"multiplication.{name}={getattr(self, name)}: 1 to {len(PLACES)} digits can be named")
        if self.digits + self.by_digits < 4:
            raise UserError(
                f"multiplication.digits={self.digits}, by_digits={self.by_digits}: at least 4 together, or there are "
                "too few problems to split"
            )


class Multiplication:
    """The task: `Task` of `led_rl.tasks.problem`, the traces of a base, and their grammar."""

    name = "multiplication"

    def __init__(self, config: MultiplicationConfig | None = None) -> None:
        self.config = config or MultiplicationConfig()
        self.width = self.config.digits + self.config.by_digits  # digits of a product

    def problems(self, split: Split, count: int, seed: int = 0) -> list[Problem]:
        rng = random.Random(f"multiplication/{split}/{seed}")
        remedy = "ask for fewer, or for more digits"
        # One in twenty is of the test split, so there is more patience than where a draw is of the split asked for.
        return drawn(split, count, lambda: self._draw(rng, split), 20_000, 200, remedy)

    def prompt(self, problem: Problem) -> str:
        return problem.question

    def reference(self, problem: Problem) -> str:
        order = list(range(self.config.by_digits))
        random.Random(f"multiplication/reference/{problem.id}").shuffle(order)
        return self.render(problem, order)

    def grade(self, problem: Problem, completion: str) -> Grade:
        answer = box(completion, "required")
        if isinstance(answer, Grade):
            return answer
        digits = "".join(answer.split())
        if not (digits.isascii() and digits.isdecimal()) or len(digits) > 100:
            return Grade("unparsable", answer[:200])
        return Grade("correct" if digits.lstrip("0") == problem.answer else "wrong", digits)

    def vocabulary(self) -> list[str]:
        """Every word of prompts and traces, for a tokenizer with one token per word."""
        return [*_SIGNS, *PLACES[: self.config.by_digits], *"0123456789"]

    def documents(self, split: Split, seed: int) -> Iterator[tuple[str, str]]:
        """Endless (prompt, completion) pairs to pretrain on, the order of the digits drawn at random."""
        rng = random.Random(f"multiplication/documents/{split}/{seed}")
        while True:
            problem = self._draw(rng, split)
            if problem is None:
                continue
            order = list(range(self.config.by_digits))
            rng.shuffle(order)
            yield problem.question, self.render(problem, order)

    def asked(self, problem_id: str, prompt: str) -> Problem | None:
        """The problem that a prompt asks, as records have it; None if it is no prompt of this task."""
        found = _QUESTION.fullmatch(prompt)
        return found and self._problem(*(int(digits.replace(" ", "")) for digits in found.groups()))

    def longest(self) -> tuple[int, int]:
        """Words of a prompt and of a completion; all are equally long."""
        problem = self._problem(10 ** (self.config.digits - 1), 10 ** (self.config.by_digits - 1))
        return len(problem.question.split()), len(self.reference(problem).split())

    def render(self, problem: Problem, order: Sequence[int]) -> str:
        """The completion that takes the places in this order, 0 for the ones."""
        words: list[str] = []
        for done, place in enumerate(order):
            words += [PLACES[place], *self._row(problem, order[: done + 1])]
        return " ".join([*words, *self._close(problem)])

    def places(self, problem: Problem, words: Sequence[str]) -> list[Place]:
        """The place of each of these words, and of the one that would follow. After a slip nothing can be told."""
        found, order, tail = [self._next([])], list[int](), list[str]()
        for word in words:
            if word not in found[-1].legal:
                return [*found, *[Place("off", ())] * (len(words) + 1 - len(found))]
            if found[-1].kind == "order":
                order.append(PLACES.index(word))
                tail = self._row(problem, order)
                if len(order) == self.config.by_digits:
                    tail += self._close(problem)
            else:
                tail = tail[1:]
            if tail:
                found.append(Place("written", (tail[0],)))
            else:
                found.append(Place("end", ()) if len(order) == self.config.by_digits else self._next(order))
        return found

    def follows(self, problem: Problem, words: Sequence[str]) -> bool:
        """Whether these words are a whole completion of the grammar."""
        order = [PLACES.index(word) for word in words if word in PLACES]
        every = sorted(order) == list(range(self.config.by_digits))
        return every and list(words) == self.render(problem, order).split()

    def _next(self, order: Sequence[int]) -> Place:
        left = (PLACES[place] for place in range(self.config.by_digits) if place not in order)
        return Place("order", tuple(left))

    def _draw(self, rng: random.Random, split: Split) -> Problem | None:
        """A problem; None if it is of another split."""
        bounds = ((10 ** (digits - 1), 10**digits - 1) for digits in (self.config.digits, self.config.by_digits))
        a, b = (rng.randint(low, high) for low, high in bounds)
        problem = self._problem(a, b)
        return problem if split_of(problem.id) == split else None

    def _problem(self, a: int, b: int) -> Problem:
        return Problem(
            id=f"multiplication:{a}x{b}",
            question=f"multiply {' '.join(str(a))} by {' '.join(str(b))} <think>",
            answer=str(a * b),
            data=MappingProxyType({"a": a, "b": b}),
        )

    def _row(self, problem: Problem, order: Sequence[int]) -> list[str]:
        """What follows the name of the last of these places: its product, and the sum up to here."""
        a, b = problem.data["a"], problem.data["b"]
        place, carry, parts = order[-1], 0, list[str]()
        digit = b // 10**place % 10
        for other in reversed(str(a)):
            product = digit * int(other) + carry
            carried = ["+", str(carry)] if parts else []
            parts += [*([","] if parts else []), str(digit), "*", other, *carried, "=", *f"{product:02d}"]
            carry = product // 10
        row = digit * a * 10**place
        before = sum(b // 10**done % 10 * a * 10**done for done in order[:-1])
        words = [":", *parts, "gives", *self._digits(row)]
        if len(order) > 1:
            words += ["add", *self._sum(before, row)]
        last = len(order) == self.config.by_digits
        return [*words, "so", *self._digits(before + row), *([] if last else [";"])]

    def _sum(self, a: int, b: int) -> list[str]:
        """Column by column from the ones: both digits, the carry where there is one, and carry and digit of the sum."""
        words, carry = list[str](), 0
        for one, other in zip(reversed(self._digits(a)), reversed(self._digits(b)), strict=True):
            total = int(one) + int(other) + carry
            words += [*([","] if words else []), one, "+", other, "+", str(carry), "=", *f"{total:02d}"]
            carry = total // 10
        return words

    def _close(self, problem: Problem) -> list[str]:
        return ["</think>", "\\boxed{", *self._digits(int(problem.answer)), "}"]

    def _digits(self, number: int) -> str:
        return str(number).zfill(self.width)
