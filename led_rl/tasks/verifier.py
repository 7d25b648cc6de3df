"""Whether two pieces of mathematics are equal, by math-verify and sympy: what `led_rl.tasks.grader_process` asks.

Never called in the trainer: sympy can hang or blow up on what a model wrote, so this runs in a child of
`led_rl.tasks.grader_server`, a fresh one for every question.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sympy import Expr

DIGITS = 50
TOLERANCE = 1e-30  # relative; what is left of DIGITS after cancellation
POINTS = 4

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
    ("(2x+1)(x-3)", "2x^2-5x-3"), (r"\frac{a}{b+c}", r"\frac{-a}{-b-c}"), (r"\frac{n!}{(n-1)!}", "n"),
    (r"\cot x", r"\frac{\cos x}{\sin x}"), (r"\sqrt{2}+\sqrt{3}", r"\sqrt{3}+\sqrt{2}"), ("x/2+y", "y+0.5x"),
    (r"\frac{1}{2}\left(x+1\right)", r"\frac{x+1}{2}"), (r"1-\frac{1}{e}", r"\frac{e-1}{e}"), (r"\infty", r"\infty"),
    (r"e^{i\pi/3}", r"\frac{1}{2}+\frac{\sqrt{3}}{2}i"), (r"\sec^2 x", r"\frac{1}{\cos^2 x}"), ("(-8)^{3}", "-512"),
    (r"\arctan(1)", r"\frac{\pi}{4}"), (r"\log 100", "2"), (r"12\times 5", "60"), (r"18\div 3", "6"),
)  # fmt: skip


class UnparsableError(ValueError):
    """Text that is not mathematics latex2sympy can read."""


class MathHandler:
    """Of `grader_server.Handler`: requests {"kind": "value" or "equation", "gold", "answer"}, results {"verdict": equal
    or different}; {"kind": "load", "gold"} makes later ones with that gold faster."""

    _practice: Iterator[tuple[str, str]]

    def prepare(self) -> None:
        logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its timeouts are off, as meant
        compare_values(*_PRACTICE[0])
        self._practice = iter(_PRACTICE[1:])

    def learn(self) -> bool:
        if (pair := next(self._practice, None)) is None:
            return False
        compare_values(*pair)
        return True

    def load(self, request: Mapping[str, Any]) -> None:
        """Parse a gold answer here, once, for all children; only one that is known to end, and never an answer."""
        gold = request["gold"]
        for text in [gold] if isinstance(gold, str) else gold:
            _parse(text)

    def unpack(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return dict(request)

    def grade(self, request: Mapping[str, Any]) -> dict[str, Any]:
        gold, answer = request["gold"], request["answer"]
        same = compare_equations(gold, answer) if request["kind"] == "equation" else compare_values(gold, answer)
        return {"verdict": "equal" if same else "different"}


HANDLER = MathHandler()


def compare_values(gold: str, answer: str) -> bool:
    """Whether two LaTeX expressions are equal: math-verify says so, and they agree to 30 digits at `POINTS` points.

    The second half is what math-verify lacks: it rounds (1/2^99 equals 1/2^98 there). Raises UnparsableError.
    """
    from math_verify import verify

    left, right = _parse(gold), _parse(answer)
    # math-verify's own timeouts are SIGALRM, which cannot stop C code; this process is killed from outside instead.
    return agree(left, right) and verify([left], [right], timeout_seconds=None, raise_on_error=True)


def compare_equations(gold: list[str], answer: list[str]) -> bool:
    """Whether equations [left, right] are equal but for moved terms and a constant factor. Raises UnparsableError."""
    first, second = (_parse(left) - _parse(right) for left, right in (gold, answer))
    for point in range(POINTS):
        values = [_at(side, point) for side in (first, second)]
        if all(value is not None and abs(value) > TOLERANCE for value in values):
            return agree(first * values[1], second * values[0], skip=point)
    return False


def agree(left: Any, right: Any, skip: int | None = None) -> bool:
    """Whether two sympy objects are the same, or two expressions are equal at every test point where both are finite.

    Exact for rationals; otherwise to a relative 1e-30. Two expressions finite at fewer than two points do not agree.
    """
    from sympy import Expr, MatrixBase, Rational

    if left == right:
        return True
    if isinstance(left, MatrixBase) and isinstance(right, MatrixBase):
        return left.shape == right.shape and all(agree(*pair) for pair in zip(left.flat(), right.flat(), strict=True))
    if not (isinstance(left, Expr) and isinstance(right, Expr)):
        return False
    left, right = left.doit(), right.doit()
    if left == right:
        return True
    if isinstance(left, Rational) and isinstance(right, Rational):
        return False
    for side, other in ((left, right), (right, left)):
        if side.is_zero:
            return bool(other.equals(0))
    constant = not (left.free_symbols | right.free_symbols)
    usable = 0
    for point in range(1 if constant else POINTS):
        if point == skip:
            continue
        values = _at(left, point), _at(right, point)
        if values[0] is None or values[1] is None:
            continue
        if abs(values[0] - values[1]) > TOLERANCE * max(abs(values[0]), abs(values[1])):
            return False
        usable += 1
    return usable >= (1 if constant else 2)


def _at(expression: "Expr", point: int) -> Any:
    """The expression at a test point, to DIGITS digits; None where it is not a finite number."""
    symbols = expression.free_symbols
    value = expression.subs({symbol: _coordinate(symbol.name, point) for symbol in symbols}).evalf(DIGITS)
    if not (value.is_number and value.is_finite):
        return None
    return value if all(part.is_Number for part in value.as_real_imag()) else None


def _coordinate(name: str, point: int) -> Any:
    """A rational in +-[1/3, 3] that depends on the symbol's name and the point only; signs alternate over points."""
    from sympy import Rational

    digest = int.from_bytes(hashlib.sha256(f"{name}/{point}".encode()).digest()[:4], "big")
    size = Rational(1, 3) + Rational(digest % 2579, 967)
    return size if (digest >> 16) % 4 == 0 or point % 2 == 0 else -size


@lru_cache(maxsize=20_000)
def _parse(text: str) -> Any:
    """Sympy object of LaTeX text, unevaluated. Raises UnparsableError."""
    from latex2sympy2_extended import NormalizationConfig, latex2sympy, normalize_latex
    from sympy import Basic, I, MatrixBase

    # units=False and equations=False: dropping letters or the left side of an equation changes what was said.
    config = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
    )
    try:
        parsed = latex2sympy(
            normalize_latex(text, config=config), is_real=True, convert_degrees=False, normalization_config=None
        )
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # latex2sympy raises bare Exception
        raise UnparsableError(str(error)[:200]) from error
    if not isinstance(parsed, (Basic, MatrixBase)):
        raise UnparsableError(f"{text!r} parses to a {type(parsed).__name__}")
    return parsed.xreplace({symbol: I for symbol in parsed.free_symbols if symbol.name == "i"})
