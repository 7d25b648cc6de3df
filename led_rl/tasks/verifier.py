"""The far end of `led_rl.tasks.sandbox`: a process that answers JSON lines, one at a time, and may be killed any time.

Run as `python -m led_rl.tasks.verifier`, never imported by the trainer. It imports sympy, math-verify and, when first
asked to, reasoning-gym, whose scorers hand a model's text to sympy's `parse_expr`: hence the audit hook, which forbids
processes, sockets and writing files here. That hook is a seat belt, not a wall: run hostile models in a container.
"""

import base64
import hashlib
import json
import logging
import os
import pickle
import resource
import sys
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sympy import Expr

ADDRESS_SPACE_BYTES = 1 << 30
DIGITS = 50
TOLERANCE = 1e-30  # relative; what is left of DIGITS after cancellation
POINTS = 4

_FORBIDDEN = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.kill", "os.remove",
    "os.rename", "os.rmdir", "os.truncate", "os.chmod", "os.link", "os.symlink", "shutil.", "socket.", "pty.spawn",
)  # fmt: skip


class UnparsableError(ValueError):
    """Text that is not mathematics latex2sympy can read."""


def main() -> None:
    """Serve requests from stdin until it closes."""
    # A private copy of stdout: nothing a library prints can get in between the replies.
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    for limit, value in (
        (resource.RLIMIT_AS, ADDRESS_SPACE_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its timeouts are off, as meant
    compare_values("1+x", "x+1")
    print(json.dumps({"ready": True}), file=replies, flush=True)
    os.dup2(null, 2)  # only now, so that a failed import shows in the parent's stderr
    sys.addaudithook(_forbid)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=replies, flush=True)


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Reply to one request: {"verdict": equal | different | unparsable | exhausted} or {"score": float}."""
    _allow_cpu(request.get("cpu_s", 60))
    try:
        match request["kind"]:
            case "value":
                return {"verdict": "equal" if compare_values(request["gold"], request["answer"]) else "different"}
            case "equation":
                same = compare_equations(request["gold"], request["answer"])
                return {"verdict": "equal" if same else "different"}
            case "gym":
                dataset = _gym_dataset(request["dataset"], request["options"])
                if "answer" not in request:
                    return {"verdict": "loaded"}
                entry = pickle.loads(base64.b64decode(request["entry"]))
                return {"score": float(dataset.score_answer(request["answer"], entry))}
    except (MemoryError, RecursionError):
        return {"verdict": "exhausted"}
    except Exception as error:
        # Third-party parsers and scorers raise anything on hostile text; the caller reports it as unparsable.
        return {"verdict": "unparsable", "error": f"{type(error).__name__}: {error}"[:300]}
    raise ValueError(f"request kind {request['kind']!r}: not one of value, equation, gym")


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


@lru_cache(maxsize=256)
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


@cache
def _gym_dataset_cached(name: str, options: str) -> Any:
    import reasoning_gym

    return reasoning_gym.create_dataset(name, **json.loads(options))


def _gym_dataset(name: str, options: Mapping[str, Any]) -> Any:
    return _gym_dataset_cached(name, json.dumps(options, sort_keys=True))


def _allow_cpu(seconds: float) -> None:
    """Let this process use that much more CPU time; then the kernel kills it, should the parent no longer be there."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(usage.ru_utime + usage.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _forbid(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(_FORBIDDEN):
        raise PermissionError(f"{event} is not allowed while grading")
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        writes = isinstance(mode, str) and any(letter in mode for letter in "wax+")
        if writes or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            raise PermissionError("writing files is not allowed while grading")


if __name__ == "__main__":
    main()
