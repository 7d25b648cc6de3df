"""Whether a problem was seen in training: equal after normalisation, or a run of n words in common.

n = 13 is GPT-3's (arXiv 2005.14165, appendix C) and lm-evaluation-harness's. Numbers and operators are part of a text,
so two word problems that differ only in a number are not equal; a copy with another number is still caught when 13
words in a row are the same. Texts of fewer than n words are compared for equality alone. It errs towards finding an
overlap: thirteen words of boilerplate count too, and brackets do not.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from led_rl.errors import UserError
from led_rl.tasks.problem import Problem

NGRAM_WORDS = 13

_TOKEN = re.compile(
    r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?"  # 1,234.5
    r"|\d*\.?\d+"
    r"|[^\W\d_]+"
    r"|(?<![^\W\d_]{2})-|-(?![^\W\d_]{2})"  # a minus, not the hyphen of two words
    r"|[^\w\s-]"
)
_SUPERSCRIPT = re.compile("[⁰¹²³⁴-⁹]+")
_OPERATORS = frozenset("-*/^%")


def normalise(text: str) -> str:
    """Words, numbers and operators, with one space between them; case, punctuation and Unicode variants set aside.

    Thousands separators go: `1,234` is `1234`. A superscript is a power: `3²` is `3^2`, not 32. Idempotent.
    """
    plain = unicodedata.normalize("NFKC", _SUPERSCRIPT.sub(r"^\g<0>", text.casefold())).casefold()
    tokens = _TOKEN.findall(plain)
    return " ".join(token.replace(",", "") for token in tokens if _is_word(token) or _is_operator(token))


def overlapping(train: Sequence[str], test: Sequence[str], n: int | None = NGRAM_WORDS) -> set[int]:
    """Indices of the training texts that equal a test text or share n words in a row with one.

    Operators are no words here. `n` None compares for equality alone. Time and memory are linear in the text. Raises
    ValueError if n < 1.
    """
    if n is not None and n < 1:
        raise UserError(f"n={n}: a run of at least 1 word, or None to compare for equality alone")
    wholes, runs = set[str](), set[str]()
    for text in map(normalise, test):
        wholes.add(text)
        runs.update(_runs(text, n))
    found = set[int]()
    for index, text in enumerate(map(normalise, train)):
        if text in wholes or any(run in runs for run in _runs(text, n)):
            found.add(index)
    return found


def seen_in_training(
    trained: Sequence[Problem], evaluated: Sequence[Problem], n: int | None = NGRAM_WORDS
) -> list[Problem]:
    """The evaluated problems that a run trained on: of equal id, or whose question overlaps with a trained one's.

    Where all questions of a task share a template of n words or more, as in reasoning-gym, give None for n.
    """
    ids = {problem.id for problem in trained}
    seen = overlapping([problem.question for problem in evaluated], [problem.question for problem in trained], n)
    return [problem for index, problem in enumerate(evaluated) if problem.id in ids or index in seen]


def _runs(text: str, n: int | None) -> Iterator[str]:
    words = [token for token in text.split() if _is_word(token)]
    if n is not None:
        for start in range(len(words) - n + 1):
            yield " ".join(words[start : start + n])


def _is_word(token: str) -> bool:
    return token[-1].isalnum()


def _is_operator(token: str) -> bool:
    return token in _OPERATORS or unicodedata.category(token) == "Sm"
