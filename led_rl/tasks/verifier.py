"""What `led_rl.tasks.grader_process` asks about mathematics, answered by `led_rl.tasks.equality`.

Never called in the trainer: sympy can hang or blow up on what a model wrote, so this runs in a child of
`led_rl.tasks.grader_server`, a fresh one for every question.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from led_rl.tasks.equality import compare_equations, compare_values, parse
from led_rl.tasks.sympy_input import for_sympy

# Compared while there is nothing to do: the parser learns the grammar by use, and a child forgets what it learnt. Forms
# as they occur in answers to MATH and its like.
_PRACTICE = (
    ("1+x", "x+1"), (r"\frac{1}{2}", "0.5"), (r"2\sqrt{2}", r"\sqrt{8}"), (r"x^{2}-2x+1", r"(x-1)^{2}"),
    (r"\frac{\pi}{3}", r"\frac{2\pi}{6}"), (r"\frac{1+\sqrt{5}}{2}", r"\frac{1}{2}+\frac{\sqrt{5}}{2}"),
    (r"-\frac{\sqrt{3}}{2}+1", r"1-\frac{\sqrt{3}}{2}"), ("n(n+1)", "n^{2}+n"), ("10^{-3}", "0.001"),
    (r"\frac{x+1}{x-1}", r"\frac{(x+1)^{2}}{(x-1)(x+1)}"), ("2^{10}", "1024"), ("2 x y", r"2 \cdot x y"),
    (r"2\pi-\frac{3\sqrt{3}}{4}", r"-\frac{3\sqrt{3}}{4}+2\pi"), (r"\sqrt[3]{8}", "2"), ("3+4i", "4i+3"),
    (r"\sin(x)+\cos(x)", r"\cos x+\sin x"), ("e^{2x}", "(e^{x})^{2}"), (r"\tan^{2}(x)", r"\tan^{2} x"),
    (r"\log_{2}(8)", "3"), (r"\ln(2)", r"\ln 2"), ("-3", r"-\frac{6}{2}"), ("|x|", "|-x|"), ("5!", "120"),
    (r"\binom{4}{2}", "6"), ("a_{1}+b", "b+a_{1}"), (r"\frac{\sqrt{a^{2}+b^{2}}}{2}", r"0.5\sqrt{a^2+b^2}"),
    ("3x^{3}-4x^{2}+2x-7", "-7+2x-4x^{2}+3x^{3}"), (r"\frac{3}{4}x+\frac{1}{2}", r"0.75x+\frac{2}{4}"),
    ("(2x+1)(x-3)", "2x^2-5x-3"), (r"\frac{a}{b+c}", r"\frac{-a}{-b-c}"),
    (r"\cot x", r"\frac{\cos x}{\sin x}"), (r"\sqrt{2}+\sqrt{3}", r"\sqrt{3}+\sqrt{2}"), ("x/2+y", "y+0.5x"),
    (r"\frac{1}{2}\left(x+1\right)", r"\frac{x+1}{2}"), (r"1-\frac{1}{e}", r"\frac{e-1}{e}"), (r"\infty", r"\infty"),
    (r"e^{i\pi/3}", r"\frac{1}{2}+\frac{\sqrt{3}}{2}i"), (r"\sec^2 x", r"\frac{1}{\cos^2 x}"), ("(-8)^{3}", "-512"),
    (r"\arctan(1)", r"\frac{\pi}{4}"), (r"\log 100", "2"), (r"12\times 5", "60"), (r"18\div 3", "6"),
)  # fmt: skip


class MathHandler:
    """Of `grader_server.Handler`: requests {"kind": "value" or "equation", "gold", "answer"}, results {"verdict": equal
    or different}; {"kind": "load", "gold"} makes later ones with that gold faster."""

    _practice: Iterator[tuple[str, str]]

    def prepare(self) -> None:
        logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its timeouts are off, as meant
        compare_values(*map(for_sympy, _PRACTICE[0]))
        self._practice = iter(_PRACTICE[1:])

    def learn(self) -> bool:
        if (pair := next(self._practice, None)) is None:
            return False
        compare_values(*map(for_sympy, pair))
        return True

    def load(self, request: Mapping[str, Any]) -> None:
        """Parse a gold answer here, once, for all children; only one that is known to end, and never an answer."""
        gold = request["gold"]
        for text in [gold] if isinstance(gold, str) else gold:
            parse(text)

    def unpack(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return dict(request)

    def grade(self, request: Mapping[str, Any]) -> dict[str, Any]:
        gold, answer = request["gold"], request["answer"]
        same = compare_equations(gold, answer) if request["kind"] == "equation" else compare_values(gold, answer)
        return {"verdict": "equal" if same else "different"}


HANDLER = MathHandler()
