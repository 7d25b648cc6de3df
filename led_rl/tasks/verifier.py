"""The far end of `led_rl.tasks.sandbox`: a process that answers JSON lines, one at a time, and may be killed any time.

Run as `python -m led_rl.tasks.verifier`, never imported by the trainer. It imports sympy, math-verify and, when first
asked to, reasoning-gym, whose scorers hand a model's text to sympy's `parse_expr`: hence the audit hook, which forbids
processes, sockets and writing files here. That hook is a seat belt, not a wall: run hostile models in a container.
"""

import base64
import json
import logging
import os
import pickle
import resource
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from led_rl.tasks.equality import compare_equations, compare_values

ADDRESS_SPACE_BYTES = 1 << 30

_FORBIDDEN = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.kill", "os.remove",
    "os.rename", "os.rmdir", "os.truncate", "os.chmod", "os.link", "os.symlink", "shutil.", "socket.", "pty.spawn",
)  # fmt: skip


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
