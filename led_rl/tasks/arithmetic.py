"""A parser of arithmetic, so that an expression a model wrote is read and never executed.

Grammar: sums of products of integers, with parentheses and a unary minus; exact rational values. LaTeX's `\\times`,
`\\cdot`, `\\div` and the signs x, / in Unicode are read as their ASCII twins.
"""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

MAX_CHARACTERS = 400
MAX_DIGITS = 9
MAX_DEPTH = 40

_SPELLINGS = {
    "\\times": "*",
    "\\cdot": "*",
    "\\div": "/",
    "×": "*",
    "·": "*",
    "÷": "/",
    "−": "-",
    "\\left": " ",
    "\\right": " ",
}
_TOKEN = re.compile(r"\s*(?:([0-9]+)|([-+*/()]))")
_OPERATIONS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


class NotArithmeticError(ValueError):
    """The text is not arithmetic of this grammar, or divides by zero, or is beyond the caps."""


@dataclass(frozen=True)
class Expression:
    """Exact `value`, the integers written in it in order of appearance, and each operation on two numbers in order of
    evaluation, such as `2 + 3 = 5`."""

    value: Fraction
    numbers: tuple[int, ...]
    steps: tuple[str, ...]


def parse_arithmetic(text: str) -> Expression:
    """Read one expression. NotArithmeticError if it is none."""
    if len(text) > MAX_CHARACTERS:
        raise NotArithmeticError(f"{len(text)} characters: an expression may have {MAX_CHARACTERS}")
    for spelling, sign in _SPELLINGS.items():
        text = text.replace(spelling, sign)
    return _Parser(_tokens(text)).parse()


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise NotArithmeticError(f"{text[position : position + 20]!r} is not arithmetic")
        token = match.group(1) or match.group(2)
        if len(token) > MAX_DIGITS:
            raise NotArithmeticError(f"a number of {len(token)} digits: {MAX_DIGITS} are allowed")
        tokens.append(token)
        position = match.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.position = 0
        self.numbers: list[int] = []
        self.steps: list[str] = []

    def parse(self) -> Expression:
        value = self.sum(0)
        if self.peek() is not None:
            raise NotArithmeticError(f"unexpected {self.peek()!r} after the expression")
        return Expression(value, tuple(self.numbers), tuple(self.steps))

    def peek(self) -> str | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def take(self) -> str:
        token = self.peek()
        if token is None:
            raise NotArithmeticError("the expression ends too early")
        self.position += 1
        return token

    def sum(self, depth: int) -> Fraction:
        value = self.product(depth)
        while self.peek() in ("+", "-"):
            value = self.step(value, self.take(), self.product(depth))
        return value

    def product(self, depth: int) -> Fraction:
        value = self.factor(depth)
        while self.peek() in ("*", "/"):
            value = self.step(value, self.take(), self.factor(depth))
        return value

    def step(self, left: Fraction, sign: str, right: Fraction) -> Fraction:
        if sign == "/" and right == 0:
            raise NotArithmeticError("division by zero")
        value = _OPERATIONS[sign](left, right)
        self.steps.append(f"{left} {sign} {right} = {value}")
        return value

    def factor(self, depth: int) -> Fraction:
        if depth > MAX_DEPTH:
            raise NotArithmeticError(f"nested deeper than {MAX_DEPTH}")
        token = self.take()
        if token == "-":
            return -self.factor(depth + 1)
        if token == "(":
            value = self.sum(depth + 1)
            if self.take() != ")":
                raise NotArithmeticError("a parenthesis is not closed")
            return value
        if token.isdigit():
            self.numbers.append(int(token))
            return Fraction(int(token))
        raise NotArithmeticError(f"unexpected {token!r}")
