"""Whether two expressions are equal, for the child process that may be killed: the only module that asks sympy.

Three readers must agree that two expressions are equal: sympy's values at test points, to more digits than the two
answers could write between them; for equations a proof by sympy; for the rest math-verify.
"""

import hashlib
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sympy import Expr

GUARD_DIGITS = 50  # beyond what the two answers write
MAX_COMPARED_DIGITS = 3000
POINTS = 6


class UnparsableError(ValueError):
    """Text that is not mathematics latex2sympy can read, or whose comparison would take too many digits."""


def compare_values(gold: str, answer: str) -> bool:
    """Whether two LaTeX expressions are equal: math-verify says so, and they agree at `POINTS` points.

    The second half is what math-verify lacks: it rounds (1/2^99 equals 1/2^98 there). Raises UnparsableError.
    """
    from math_verify import verify

    left, right = parse(gold), parse(answer)
    # math-verify's own timeouts are SIGALRM, which cannot stop C code; this process is killed from outside instead.
    return agree(left, right) and verify([left], [right], timeout_seconds=None, raise_on_error=True)


def compare_equations(gold: list[str], answer: list[str]) -> bool:
    """Whether equations [left, right] are equal but for moved terms and a constant factor. Raises UnparsableError.

    Points alone do not decide: `y = |b|` and `y = b` agree wherever b is positive. Their quotient must be a constant.
    """
    from sympy import cancel, simplify

    first, second = ((parse(left) - parse(right)).doit() for left, right in (gold, answer))
    digits = _digits(first, second)
    for point in range(POINTS):
        values = [_at(side, point, digits) for side in (first, second)]
        if all(value is not None and abs(value) > _tolerance(digits) for value in values):
            break
    else:
        return False
    if not agree(first * values[1], second * values[0], skip=point):
        return False
    quotient = cancel(first / second)
    return not (quotient.free_symbols and simplify(quotient).free_symbols)


def agree(left: Any, right: Any, skip: int | None = None) -> bool:
    """Whether two sympy objects are the same, or two expressions are equal at every test point where both are finite.

    Exact for rationals; otherwise to `_digits`. Two expressions finite at fewer than two points do not agree.
    Raises UnparsableError if that takes too many digits.
    """
    from sympy import Expr, MatrixBase, Rational

    if left == right:
        return True
    left, right = left.doit(), right.doit()
    if isinstance(left, MatrixBase) and isinstance(right, MatrixBase):
        return left.shape == right.shape and all(agree(*pair) for pair in zip(left.flat(), right.flat(), strict=True))
    if not (isinstance(left, Expr) and isinstance(right, Expr)):
        return False
    if left == right:
        return True
    if isinstance(left, Rational) and isinstance(right, Rational):
        return False
    for side, other in ((left, right), (right, left)):
        if side.is_zero:
            return bool(other.equals(0))
    digits = _digits(left, right)
    constant = not (left.free_symbols | right.free_symbols)
    usable = 0
    for point in range(1 if constant else POINTS):
        if point == skip:
            continue
        values = _at(left, point, digits), _at(right, point, digits)
        if values[0] is None or values[1] is None:
            continue
        if abs(values[0] - values[1]) > _tolerance(digits) * max(abs(values[0]), abs(values[1])):
            return False
        usable += 1
    return usable >= (1 if constant else 2)


def _digits(*expressions: Any) -> int:
    """Digits to compare: as many as the expressions can write, so that pi + 10^-40 is not pi, and `GUARD_DIGITS`."""
    digits = GUARD_DIGITS + math.ceil(sum(_written(expression) for expression in expressions))
    if digits > MAX_COMPARED_DIGITS:
        raise UnparsableError(f"{digits} digits to compare: {MAX_COMPARED_DIGITS} are allowed")
    return digits


def _written(expression: Any) -> float:
    """About how many decimal digits the numbers and powers of an expression amount to."""
    from sympy import Integer, Pow, Rational, exp, factorial

    if isinstance(expression, Rational):
        bits: int = abs(expression.p).bit_length() + expression.q.bit_length()
        return 0.302 * bits
    if isinstance(expression, exp) and expression.args[0].is_number:
        size: float = abs(float(expression.args[0].evalf(5, chop=True).as_real_imag()[0]))
        return size + 1
    if isinstance(expression, factorial) and isinstance(expression.args[0], Integer):
        return math.lgamma(abs(int(expression.args[0])) + 1) / math.log(10) + 1
    if isinstance(expression, Pow) and isinstance(expression.exp, Rational):
        base: float = _written(expression.base) + 1
        return base * max(1.0, abs(float(expression.exp)))
    total: float = sum(_written(argument) for argument in expression.args)
    return total + 1


def _tolerance(digits: int) -> Any:
    """What may differ, relatively: the digits less what is lost to cancellation."""
    from sympy import Rational

    return Rational(1, 10 ** (digits - 20))


def _at(expression: "Expr", point: int, digits: int) -> Any:
    """The expression at a test point, to so many digits; None where it is not a finite number."""
    symbols = expression.free_symbols
    value = expression.subs({symbol: _coordinate(symbol.name, point) for symbol in symbols})
    value = value.evalf(digits, maxn=2 * digits + 100)
    if not (value.is_number and value.is_finite):
        return None
    return value if all(part.is_Number for part in value.as_real_imag()) else None


def _coordinate(name: str, point: int) -> Any:
    """A rational that depends on the symbol's name and the point only.

    All symbols are positive at point 0, negative at point 1 and of mixed signs at 2 and 3, between 1/3 and 3 in size;
    at 4 and 5 they are between 1000 and 9000 in size, positive and negative: |x - 100| is not 100 - x.
    """
    from sympy import Rational

    digest = int.from_bytes(hashlib.sha256(f"{name}/{point}".encode()).digest()[:4], "big")
    size = Rational(1, 3) + Rational(digest % 2579, 967)
    if point in (2, 3):
        return size if (digest >> 16) % 2 == point % 2 else -size
    return (-1 if point % 2 else 1) * (size if point < 4 else 3000 * size)


@lru_cache(maxsize=256)
def parse(text: str) -> Any:
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
