"""How our grades differ from math-verify's on a benchmark's golds: each as it is, written otherwise, and made wrong.

The forms are systematic, so the truth of each is known. They were chosen by us, where graders are known to slip: the
counts say what a grader does with these forms, not how often models write them.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from led_rl.records import JsonObject
from led_rl.tasks.grading import grade
from led_rl.tasks.latex import normalise
from led_rl.tasks.numerals import number

EXAMPLES = 8  # kept of each kind of difference


@dataclass(frozen=True)
class Form:
    """One way to write an answer: `right` says whether it equals the gold it was made from."""

    name: str
    answer: str
    right: bool


@dataclass
class Count:
    """Verdicts of one form over a benchmark's golds."""

    answers: int = 0
    ours_wrong: int = 0
    theirs_wrong: int = 0
    examples: dict[str, list[JsonObject]] = field(default_factory=lambda: {"ours": [], "math-verify": []})


def forms(gold: str) -> Iterator[Form]:
    """The gold as it is, in other spellings that say the same, and with its value changed."""
    yield Form("as it is", gold, True)
    yield Form(r"in \text{}" if re.search("[A-Za-z]", gold) is None else r"in braces", _wrapped(gold), True)
    yield Form("with spaces", f" {gold} ", True)
    yield Form("with a full stop", f"{gold}.", True)
    yield (
        Form("as x = ...", f"x = {gold}", True)
        if _is_plain(gold)
        else Form("as it is, twice boxed", rf"\boxed{{{gold}}}", True)
    )
    value = number(normalise(gold))
    if value is not None:
        yield from _spellings(value)
        yield from _neighbours(value)
    elif _is_expression(gold):
        yield Form("expression plus zero", f"{gold}+0", True)
        yield Form("expression plus 1", f"{gold}+1", False)
        yield Form("expression negated", f"-({gold})", False)
        yield Form("expression plus 10^-40", f"{gold}+10^{{-40}}", False)
    pair = re.fullmatch(r"\s*(?:\\left)?\s*\(([^(),]+),([^(),]+?)(?:\\right)?\)\s*", gold)
    if pair is not None and normalise(pair[1]) != normalise(pair[2]):
        yield Form("pair swapped", f"({pair[2]},{pair[1]})", False)


def compare(golds: Sequence[str], theirs: Callable[[str, str], bool]) -> JsonObject:
    """Counts by form; `theirs` grades (gold, completion) as math-verify does."""
    counts: dict[tuple[str, bool], Count] = defaultdict(Count)
    for gold in golds:
        for form in forms(gold):
            count = counts[form.name, form.right]
            completion = rf"So the answer is $\boxed{{{form.answer}}}$"
            count.answers += 1
            for grader, verdict in (("ours", grade(gold, completion)), ("math-verify", theirs(gold, completion))):
                if verdict != form.right:
                    count.ours_wrong += grader == "ours"
                    count.theirs_wrong += grader == "math-verify"
                    if len(count.examples[grader]) < EXAMPLES:
                        count.examples[grader].append({"gold": gold, "answer": form.answer})
    return {
        "golds": len(golds),
        "forms": [
            {
                "form": name,
                "right": right,
                "answers": count.answers,
                "ours_wrong": count.ours_wrong,
                "math_verify_wrong": count.theirs_wrong,
                "examples": count.examples,
            }
            for (name, right), count in counts.items()
        ],
    }


def math_verify_grade(gold: str, completion: str) -> bool:
    """math-verify as its readme uses it: the gold in `$`, the completion as it is, its own extraction and timeouts."""
    from math_verify import parse, verify

    return bool(verify(parse(f"${gold}$"), parse(completion)))


def as_markdown(record: JsonObject) -> str:
    """The table of docs/grading.md: wrong verdicts of each grader by benchmark and form."""
    lines = [
        "| Benchmark | Answer | Should be | Answers | Ours wrong | math-verify wrong |",
        "|---|---|---|---:|---:|---:|",
    ]
    for name, benchmark in record["benchmarks"].items():
        for row in benchmark["forms"]:
            truth = "right" if row["right"] else "wrong"
            counts = [row["answers"], row["ours_wrong"], row["math_verify_wrong"]]
            lines.append(f"| {' | '.join(map(str, (name, row['form'], truth, *counts)))} |")
    return "\n".join(lines) + "\n"


def _wrapped(gold: str) -> str:
    return rf"\text{{{gold}}}" if re.search("[A-Za-z]", gold) is None else f"{{{gold}}}"


def _is_plain(gold: str) -> bool:
    return re.search(r"[=<>,]|\\(?:in|text|mbox|cup|pm|begin|\$|le|ge)(?![a-z])", gold) is None


def _is_expression(gold: str) -> bool:
    """Mathematics without a list, an equation, words or a unit, so that arithmetic on it keeps its meaning."""
    return _is_plain(gold) and re.search(r"\\circ|\\%|\\\$|_|[A-Za-z]{3,}\s|^[A-Za-z ]+$", gold) is None


def _spellings(value: Fraction) -> Iterator[Form]:
    yield Form("as a fraction", rf"\frac{{{value.numerator}}}{{{value.denominator}}}", True)
    yield Form("as an unreduced fraction", rf"\frac{{{2 * value.numerator}}}{{{2 * value.denominator}}}", True)
    yield (
        Form("in bold", rf"\mathbf{{{value.numerator}}}", True)
        if value.denominator == 1
        else Form("as a / b", f"{value.numerator}/{value.denominator}", True)
    )
    if value.denominator == 1:
        yield Form("with two decimals", f"{value.numerator}.00", True)
        yield Form("with a unit", rf"{value.numerator}\text{{ apples}}", True)
        if abs(value) >= 1000:
            yield Form("with commas", f"{value.numerator:,}", True)
            yield Form(r"with \,", f"{value.numerator:,}".replace(",", r"\,"), True)


def _neighbours(value: Fraction) -> Iterator[Form]:
    def written(changed: Fraction) -> str:
        return str(changed) if changed.denominator == 1 else rf"\frac{{{changed.numerator}}}{{{changed.denominator}}}"

    yield Form("plus 1", written(value + 1), False)
    if value:
        yield Form("negated", written(-value), False)
        yield Form("ten times", written(value * 10), False)
    yield Form("plus 10^-9", written(value + Fraction(1, 10**9)), False)
    yield Form("with a changing word", rf"{written(value)}\text{{ plus one}}", False)
    if value:
        yield Form("times a variable", f"{written(value)} t", False)
