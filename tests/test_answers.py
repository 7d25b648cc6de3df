"""Where the answer is: reasoning cut off, last balanced box."""

import random

import pytest

from led_rl.tasks.answers import last_boxed, response


@pytest.mark.parametrize(
    ("completion", "thinking", "expected"),
    [
        ("5", "optional", "5"),
        ("5", "required", None),
        ("<think>2+3</think> 5", "optional", " 5"),
        ("2+3</think> 5", "required", " 5"),  # the chat template may have opened the reasoning itself
        ("<think>2+3", "optional", None),
        ("<think>a</think>b<think>c</think>d", "optional", "d"),
        ("<think>a</think>b<think>c", "optional", None),
        ("a</think>b<think>c", "required", None),
        ("", "optional", ""),
    ],
)
def test_response_is_what_follows_the_reasoning(completion, thinking, expected):
    assert response(completion, thinking) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"so \boxed{5}.", "5"),
        (r"\boxed{ ( 13 + 6 ) - 4 }", "( 13 + 6 ) - 4"),
        (r"\boxed {5}", "5"),
        (r"\boxed" + "\n" + "{5}", "5"),
        (r"\fbox{5}", "5"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{1} then \boxed{2", "1"),
        (r"\boxed{ open \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ 1 \right.}", r"\left\{ 1 \right."),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{ \boxed { \boxed{5} } }", "5"),
        (r"\boxed{1 + \boxed{2}}", r"1 + \boxed{2}"),
        (r"\\boxed{5}", "5"),
        (r"} } \boxed{5} {", "5"),
        (r"\boxed{}", ""),
        (r"\boxedx{5}", None),
        ("boxed{5}", None),
        ("", None),
        ("5", None),
    ],
)
def test_last_boxed(text, expected):
    assert last_boxed(text) == expected


def slow_last_boxed(text: str) -> str | None:
    """The twin: of all balanced boxes, found one by one, the one that closes last (quadratic)."""
    best: tuple[int, str] | None = None
    for start in range(len(text)):
        if not text.startswith(r"\boxed{", start):
            continue
        level = 0
        for position in range(start + 6, len(text)):
            level += (text[position] == "{") - (text[position] == "}")
            if level == 0:
                if best is None or position > best[0]:
                    best = (position, text[start + 7 : position])
                break
    return None if best is None else best[1]


def test_last_boxed_equals_its_slow_twin():
    draw = random.Random(0)
    pieces = [r"\boxed{", "{", "}", "}", "1", "+"]
    for _ in range(2000):
        text = "x".join(draw.choice(pieces) for _ in range(draw.randrange(25)))  # the x: no box directly inside another
        expected = slow_last_boxed(text)
        assert last_boxed(text) == expected, text


@pytest.mark.timeout(10)  # each takes about 20 ms; a quadratic scan of 100,000 characters takes minutes
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{" * 100_000, None),
        ("}" * 100_000, None),
        ("\\" * 100_000, None),
        (r"\boxed{" * 20_000, None),
        (r"\boxed{" * 20_000 + "5" + "}" * 20_000, "5"),
        (r"\boxed{1}" * 10_000, "1"),
        (r"\boxed" * 5_000 + " " * 70_000, None),
        ((r"\boxed" + " " * 20) * 4_000, None),
        ("<think>" * 14_000 + "</think>" + r"\boxed{5}" + "(" * 100_000, "5"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_hostile_text_takes_linear_time(text, expected):
    assert last_boxed(text) == expected
    nested = last_boxed(r"\boxed{x" * 14_000 + "}" * 14_000)
    assert nested is not None and nested.startswith("x")
    assert response(text) in (None, text, text.rpartition("</think>")[2])
