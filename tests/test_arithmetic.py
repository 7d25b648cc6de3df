"""The parser of arithmetic against two independent readers: the tree a text was written from, and Python's own parser
with exact fractions (`ast.parse` reads, and never runs, the text)."""

import ast
import re
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from led_rl.tasks.arithmetic import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_DIGITS,
    NotArithmeticError,
    parse_arithmetic,
)

SPELLINGS = {"+": ["+"], "-": ["-", "−"], "*": ["*", "×", "·", "\\times", "\\cdot"], "/": ["/", "÷", "\\div"]}


@dataclass(frozen=True)
class Leaf:
    number: int


@dataclass(frozen=True)
class Negative:
    inner: object


@dataclass(frozen=True)
class Binary:
    sign: str
    left: object
    right: object


def value_of(tree):
    """ZeroDivisionError where the tree divides by zero."""
    match tree:
        case Leaf(number):
            return Fraction(number)
        case Negative(inner):
            return -value_of(inner)
        case Binary(sign, left, right):
            a, b = value_of(left), value_of(right)
            return a + b if sign == "+" else a - b if sign == "-" else a * b if sign == "*" else a / b


def numbers_of(tree):
    match tree:
        case Leaf(number):
            return (number,)
        case Negative(inner):
            return numbers_of(inner)
        case Binary(_, left, right):
            return numbers_of(left) + numbers_of(right)


def steps_of(tree):
    match tree:
        case Leaf(_):
            return ()
        case Negative(inner):
            return steps_of(inner)
        case Binary(sign, left, right):
            step = f"{value_of(left)} {sign} {value_of(right)} = {value_of(tree)}"
            return (*steps_of(left), *steps_of(right), step)


def write(tree, draw, loosest=0):
    """Text of a tree with the parentheses its meaning needs, and now and then some it does not need.

    `loosest` is the loosest sign allowed without parentheses: 0 sums, 1 products, 2 factors.
    """
    match tree:
        case Leaf(number):
            text, level = str(number), 2
        case Negative(inner):
            text, level = f"-{write(inner, draw, 2)}", 2
        case Binary(sign, left, right):
            level = 0 if sign in "+-" else 1
            gap = draw(st.sampled_from(["", " "]))
            spelt = draw(st.sampled_from(SPELLINGS[sign]))
            text = f"{write(left, draw, level)}{gap}{spelt} {write(right, draw, level + 1)}"
    if level < loosest or draw(st.integers(0, 5)) == 0:
        opening, closing = draw(st.sampled_from([("(", ")"), ("( ", " )"), ("\\left(", "\\right)")]))
        return f"{opening}{text}{closing}"
    return text


TREES = st.recursive(
    st.integers(0, 60).map(Leaf),
    lambda inner: st.one_of(
        inner.map(Negative), st.builds(Binary, st.sampled_from("+-*/"), inner, inner)
    ),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(tree=TREES, data=st.data())
def test_value_numbers_and_steps_equal_those_of_the_tree(tree, data):
    text = write(tree, data.draw)
    if len(text) > MAX_CHARACTERS:
        return
    try:
        expected = value_of(tree)
    except ZeroDivisionError:
        with pytest.raises(NotArithmeticError, match="division by zero"):
            parse_arithmetic(text)
        return
    parsed = parse_arithmetic(text)
    assert parsed.value == expected
    assert parsed.numbers == numbers_of(tree)
    assert parsed.steps == steps_of(tree)


class Foreign(Exception):
    """Python reads it, our grammar does not."""


def python_value(node):
    """Value of a Python expression of + - * / and unary minus on whole numbers."""
    match node:
        case ast.Expression(body):
            return python_value(body)
        case ast.Constant(value) if type(value) is int:
            return Fraction(value)
        case ast.UnaryOp(ast.USub(), operand):
            return -python_value(operand)
        case ast.BinOp(left, op, right) if isinstance(op, ast.Add | ast.Sub | ast.Mult | ast.Div):
            a, b = python_value(left), python_value(right)
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case _:
                    return a / b
    raise Foreign


@pytest.mark.filterwarnings("ignore::SyntaxWarning")  # Python warns of `2(3)`
@settings(max_examples=800, deadline=None)
@given(st.lists(st.sampled_from(["1", "2", "30", "0", "+", "-", "-", "*", "/", "(", ")", " "]), max_size=12)
       .map("".join).filter(lambda text: not re.search(rf"\d{{{MAX_DIGITS + 1}}}", text)))  # fmt: skip
def test_any_string_of_signs_is_read_as_python_reads_it(text):
    """Neither more nor less: what is no expression for Python is none for us, and the other way round."""
    plain = re.sub(r"\b0+(?=\d)", "", text).strip()  # Python refuses leading zeros
    try:
        expected = python_value(ast.parse(plain, mode="eval"))
    except (SyntaxError, Foreign, ZeroDivisionError):
        with pytest.raises(NotArithmeticError):
            parse_arithmetic(text)
        return
    assert parse_arithmetic(text).value == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10 - 4 - 3", 3),  # from the left
        ("24 / 4 / 2", 3),
        ("2 + 3 * 4", 14),
        ("- 2 * 3", -6),
        ("2 - -3", 5),
        ("1 / 3 * 3", 1),  # exact, not 0.999
        ("((7))", 7),
        ("3 × 4 ÷ 6 − 1 · 1", 1),
        ("\\left( 13 + 6 \\right) - 4", 15),
        ("007", 7),
        ("\t2 +\n3 ", 5),
    ],
)
def test_by_hand(text, value):
    assert parse_arithmetic(text).value == value


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "()", "(", ")", "1 2", "2(3)", "(2)(3)", "+3", "2 +", "* 2", "2 ** 3", "9**9**9", "7 // 2", "7 % 2",
        "1.5", "1,000", "1e3", "1_000", "0x10", "x", "2 = 2", "__import__('os')", "\\frac{1}{2}", "\\sqrt{4}", "√4",
        "２", "٣", "²", "1\x002", "\ud800", "{1}", "[1]", "\\times", "1 \\timesx 2",
    ],
)  # fmt: skip
def test_what_is_not_arithmetic(text):
    with pytest.raises(NotArithmeticError):
        parse_arithmetic(text)


@pytest.mark.parametrize("text", ["1\\left2", "1\\right2", "1\\left\\right2"])
def test_a_sign_that_says_nothing_still_separates(text):
    """`1 2` is two numbers, and so is this: else a model could write a 12 that is not one token of its text."""
    with pytest.raises(NotArithmeticError):
        parse_arithmetic(text)


def test_division_by_what_comes_to_zero():
    for text in ("1 / 0", "1 / (2 - 2)", "0 / 0", "1 / (0 * 5)", "3 + 1 / -0"):
        with pytest.raises(NotArithmeticError, match="division by zero"):
            parse_arithmetic(text)


def test_cap_on_characters():
    longest = "1" + "+1" * ((MAX_CHARACTERS - 1) // 2)
    assert len(longest) <= MAX_CHARACTERS
    assert parse_arithmetic(longest).value == len(parse_arithmetic(longest).numbers)
    with pytest.raises(NotArithmeticError, match=rf"{MAX_CHARACTERS} *$"):
        parse_arithmetic(longest + "+1")


def test_cap_on_digits():
    assert parse_arithmetic("9" * MAX_DIGITS).value == int("9" * MAX_DIGITS)
    with pytest.raises(NotArithmeticError, match=f"{MAX_DIGITS} are allowed"):
        parse_arithmetic("9" * (MAX_DIGITS + 1))


@pytest.mark.parametrize(("before", "after"), [("(", ")"), ("-", ""), ("-(", ")")])
def test_cap_on_depth(before, after):
    """A limit of our own, so that no text reaches Python's recursion limit."""
    fits = MAX_DEPTH // len(before)
    assert abs(parse_arithmetic(before * fits + "1" + after * fits).value) == 1
    with pytest.raises(NotArithmeticError, match=f"nested deeper than {MAX_DEPTH}"):
        parse_arithmetic(before * (fits + 1) + "1" + after * (fits + 1))


def test_the_largest_value_within_the_caps_is_exact():
    factor = "9" * MAX_DIGITS
    count = (MAX_CHARACTERS + 1) // (MAX_DIGITS + 1)
    assert parse_arithmetic("*".join([factor] * count)).value == int(factor) ** count


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    with suppress(NotArithmeticError):
        parse_arithmetic(text)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("2 + 3 - 4", ("2 + 3 = 5", "5 - 4 = 1")),
        ("1 - 8 * -9", ("8 * -9 = -72", "1 - -72 = 73")),
        ("-( 32 / 8 ) - 15", ("32 / 8 = 4", "-4 - 15 = -19")),
        ("( 2 + 3 ) * ( 4 - 1 )", ("2 + 3 = 5", "4 - 1 = 3", "5 * 3 = 15")),
        ("1 / 3 + 1", ("1 / 3 = 1/3", "1/3 + 1 = 4/3")),
        ("-7", ()),
    ],
)
def test_steps_are_written_in_order_of_evaluation(text, steps):
    assert parse_arithmetic(text).steps == steps
