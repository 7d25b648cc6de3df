r"""Where the answer is in a completion: what follows the reasoning, and the last balanced `\boxed{...}` in it.

Pure text, one pass, linear in the length whatever a model writes.
"""

import re
from typing import Literal

from led_rl.tasks.problem import Grade

Thinking = Literal["required", "optional"]

THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"

# `\\` (a LaTeX line break) is consumed as a unit, unless it is a doubly escaped `\\boxed`; `\{` and `\}` print a brace
# and do not group.
_TOKEN = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*\{)|\\\\(?!boxed|fbox)|\\[{}]|(?P<open>\{)|(?P<close>\})")


def response(completion: str, thinking: Thinking = "optional") -> str | None:
    """What a completion answers, its reasoning cut off; None if the reasoning never ends.

    The answer is what follows the last `</think>`, and None if a `<think>` opens after that. Without any `</think>` the
    reasoning is unfinished when `thinking` is "required"; when it is "optional", the whole text is the answer unless
    it opens a `<think>`.
    """
    _, close, tail = completion.rpartition(THINK_CLOSE)
    if not close and thinking == "required":
        return None
    return None if THINK_OPEN in tail else tail


def boxed_answer(completion: str, thinking: Thinking = "optional") -> str | Grade:
    """What the last box after the reasoning holds, never empty; where there is no such answer, the verdict on that."""
    return box(completion, thinking) or Grade("no_answer")


def box(completion: str, thinking: Thinking) -> str | Grade:
    """As `boxed_answer`, but for a task whose own reader says what an empty box is."""
    text = response(completion, thinking)
    if text is None:
        return Grade("unclosed_think")
    answer = last_boxed(text)
    return Grade("no_answer") if answer is None else answer


def last_boxed(text: str) -> str | None:
    r"""Content, stripped, of the last balanced `\boxed{...}` (or `\fbox{...}`) to close; None if there is none.

    A box that never closes is not an answer, and neither hides nor extends the ones before it. Boxes directly inside
    one another, `\boxed{\boxed{5}}`, count as one.
    """
    opened: list[tuple[int, int] | None] = []  # per open group: where its box and its content start, None if no box
    whole = content = (0, 0)
    found = False
    for token in _TOKEN.finditer(text):
        if token["box"] is not None:
            opened.append(token.span())
        elif token["open"] is not None:
            opened.append(None)
        elif token["close"] is not None and opened:
            box = opened.pop()
            if box is None:
                continue
            left, right = box[1], token.start()
            nested = found and left <= whole[0] and _blank(text, left, whole[0]) and _blank(text, whole[1], right)
            whole = (box[0], token.end())
            content = content if nested else (left, right)
            found = True
    return text[slice(*content)].strip() if found else None


def _blank(text: str, start: int, end: int) -> bool:
    return not text[start:end].strip()
