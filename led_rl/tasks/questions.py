"""What the grader asks of the child process about one completion, with a bound on how much and for how long."""

import os
import threading
from collections.abc import Sequence

from led_rl.tasks.grader_process import MATH
from led_rl.tasks.sympy_input import angles_as_radians, for_sympy, letter_case_differs, letters_apart, refusal

MAX_QUESTIONS = 60
BUDGET_S = 1.0  # of the child's CPU time, for all questions together
LEAST_S = 0.05


class UnreadableError(Exception):
    """One side cannot be read; the message says why."""


class ExhaustedError(Exception):
    """The child was killed, or there was too much to compare."""


class Questions:
    """The questions about one completion. Every method raises UnreadableError and ExhaustedError.

    Args:
        remember: the texts are gold answers, which will be asked for again: the child may keep them parsed, as it never
            keeps what a model wrote.
    """

    def __init__(self, remember: bool = False) -> None:
        self._remember = remember
        self._asked = 0
        self._spent_s = 0.0

    def values_equal(self, gold: str, answer: str) -> bool:
        """Whether two normalised expressions are equal."""
        return self._equal("value", [gold], [answer])

    def equations_equal(self, gold: Sequence[str], answer: Sequence[str]) -> bool:
        """Whether two equations, each as its two sides, say the same."""
        return self._equal("equation", list(gold), list(answer))

    def _equal(self, kind: str, gold: list[str], answer: list[str]) -> bool:
        self._asked += 1
        if self._asked > MAX_QUESTIONS:
            raise ExhaustedError(f"more than {MAX_QUESTIONS} comparisons")
        texts = [angles_as_radians(text) for text in (*gold, *answer)]
        for text in texts:
            if (reason := refusal(text) if text else "empty") is not None:
                raise UnreadableError(reason)
        if letter_case_differs("".join(texts[: len(gold)]), "".join(texts[len(gold) :])):
            return False
        texts = [for_sympy(text) for text in letters_apart(*texts)]
        left, right = texts[: len(gold)], texts[len(gold) :]
        single = kind == "value"
        reply = self._ask({"kind": kind, "gold": left[0] if single else left, "answer": right[0] if single else right})
        if reply is None or reply["verdict"] == "exhausted":
            raise ExhaustedError("ran out of time or memory")
        if reply["verdict"] == "unparsable":
            raise UnreadableError(reply["error"])
        if self._remember and reply["verdict"] == "equal":
            self._ask({"kind": "load", "gold": left[0] if single else left})
        return reply["verdict"] == "equal"

    def _ask(self, request: dict[str, object]) -> dict[str, object] | None:
        """The child's reply in what is left of the time. Waiting, for threads or the machine, uses up none."""
        with _TURN.lock:
            MATH.start()
            reply = MATH.ask(request, wall_s=max(LEAST_S, BUDGET_S - self._spent_s))
            self._spent_s += BUDGET_S if reply is None else reply["spent_s"]
        return reply


class _Turn:
    """The lock that gives one thread at a time the child's clock; new in a fork, whose parent may hold the old one."""

    def __init__(self) -> None:
        self.renew()
        os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.lock = threading.Lock()


_TURN = _Turn()
