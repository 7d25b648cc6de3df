"""The grader: right stays right, wrong stays wrong, hostile is cheap, and nothing of it disturbs the trainer."""

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from led_rl.tasks.grading import check_gold, grade, judge
from led_rl.tasks.latex import MAX_CHARS, normalise
from led_rl.tasks.numerals import number
from led_rl.tasks.sympy_input import refusal

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = Path(os.environ.get("LED_RL_BENCHMARKS", ROOT.parent / "shared" / "data" / "benchmarks"))

RIGHT = [
    ("18", "18"), ("18", "18.0"), ("18", r"\$18"), ("18", "18 dollars"), ("18", r"18\text{ dollars}"), ("-4", "- 4"),
    ("2,125", "2125"), ("114200", "114,200"), ("1,450,000", r"\$1{,}450{,}000"), (r"\$32,\!348", "32348"),
    (r"11,\! 111,\! 111,\! 100", "11111111100"), ("0.15", r"\frac{3}{20}"), (r"\frac{14}{3}", "14/3"),
    (r"\$18.90", "18.9"), (r"\frac43", r"\dfrac{4}{3}"), (r"-\frac{35}{9}", r"\frac{-35}{9}"),
    (r"137 \frac{1}{2}", "137.5"), ("2.5", "2 1/2"), (r"1\frac{4}{5}", "9/5"), (".0000672", r"6.72\times 10^{-5}"),
    ("90", r"90^{\circ}"), (r"90^\circ", "90°"), (r"\frac{270}7\text{ degrees}", r"\frac{270}{7}^\circ"),
    (r"864 \mbox{ inches}^2", r"864\text{ in}^2"), ("50", r"50\%"), ("0.5", r"50\%"), (r"50\%", "50"),
    (r"15\mbox{ cm}^2", "15"), (r"1/2^{99}", "2^{-99}"), (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\pi/2)"),
    ("1,-2", "-2,1"), ("1,-2", "x=1, x=-2"), ("1,-2", r"x=1\text{ or }-2"), ("3, 5, 7", r"\{7,5,3\}"), ("(2,4)", "2,4"),
    ("(r,s)=(1,2)", "(1,2)"), ("x=5", "5"), ("5", "x=5"), ("5", "x = 2+3 = 5"), ("19", "13 + 6 = 19"),
    (r"1 \pm \sqrt{19}", r"1-\sqrt{19}, 1+\sqrt{19}"), (r"3 \pm 2 \sqrt{2}", r"3\pm\sqrt{8}"),
    (r"\{1\pm\sqrt{5},-2\}", r"-2,1+\sqrt5,1-\sqrt5"), ("(3,4]", r"\left(3, 4\right]"),
    (r"x \in [-2,7]", r"-2\le x\le 7"), (r"(2,\infty)", "x>2"), (r"(-\infty, 0]", r"0 \ge x"),
    (r"(0,9) \cup (9,36)", r"(9,36)\cup(0,9)"), (r"5x - 7y + 11z + 4 = 0", "-5x+7y-11z-4=0"),
    ("y = 2x + 3", "2x-y+3=0"), ("y = 2x + 3", "2x+3"), ("6-5i", "-5i+6"),
    (r"\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix}", r"\begin{bmatrix}-\frac13\\ \frac23\end{bmatrix}"),
    (r"\text{Evelyn}", "Evelyn"), (r"\text{east}", r"\textbf{East}"), (r"\text{(C)}", "C"),
    (r"\text{(C)}", r"(\text{C})"), ("4210_{5}", "4210_5"), ("(a+5)(b+2)", "ab+2a+5b+10"),
    (r"\frac{11+9a}{20}", "0.55+0.45a"), (r"\cot x", r"1/\tan x"), (r"\frac{3\sqrt{3}}{4}", r"\frac{9}{4\sqrt 3}"),
    (r"3\sqrt{13}", r"\sqrt{117}"), (r"1 - \sqrt{2}", r"-\sqrt2+1"), (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}"),
    ("10", r"\binom{5}{2}"), ("120", "5!"), ("6", "2(3)"), ("x^8", "(x^2)^4"), ("1-1/e", r"\frac{e-1}{e}"),
    ("15", "( 13 + 6 ) - 4"),
]  # fmt: skip

WRONG = [
    # What math-verify 0.9 calls equal.
    ("1/2^{99}", "1/2^{98}"), ("0", "1e-7"), ("1e-7", "0"), ("3", "3 t"), ("5", "0=5"), ("1+1/e", "1-1/e"),
    ("1-1/e", "1+1/e"), (r"1 - \sqrt{2}", "1"), ("1", r"1 - \sqrt{2}"), (r"\frac{1}{3}", "0.333333"), ("7", "3 4"),
    ("5", "2(3)"), ("52_8", "52"), ("0", "20 000"), ("3R^2", "3r^2"),
    # Near misses.
    ("5", "5.0000000001"), ("10^{20}", "10^{20}+1"), ("9^{999}", "9^{998}"), (r"\sqrt{2}/2^{200}", "0"), ("12", "1 2"),
    ("1,234", "1,235"), ("5", "5,6"), ("5", r"5\text{ or }6"), ("5", r"5\text{ or maybe 6}"), ("5", "x=5=6"),
    ("5", "1+1=5"), ("x=5", "y=5"), ("5", r"5\text{ million}"), ("5", "5 cents"), ("0.5", r"0.5\%"),
    (r"5.4\text{ cents}", r"5.4\text{ dollars}"), ("(2,4)", "(4,2)"), ("(2,4)", "[2,4]"), ("(3,4]", "(3,4)"),
    ("3,5,7", "3,5"), ("3,5", "3,3"), ("(2,4)", "4,2"), (r"(2,\infty)", r"x\ge 2"), (r"\infty", r"-\infty"),
    (r"(0,9)\cup(9,36)", "(0,36)"), ("6-5i", "6+5i"), ("x", "5"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}"), (r"\text{east}", "west"),
    (r"\text{(C)}", "B"), ("5x-7y+11z+4=0", "5x-7y+11z+5=0"), ("y=2x+3", "y=2x+4"), ("x^2", "x^3"), ("12:30", "2:5"),
    (r"\sqrt{x^2}", "x"), ("55", r"\sum_{k=1}^{10} k"),
]  # fmt: skip


def boxed(answer: str) -> str:
    return rf"so it is \boxed{{{answer}}}."


@pytest.mark.parametrize(("gold", "answer"), RIGHT)
def test_right_answers_are_right(gold, answer):
    assert judge(gold, boxed(answer)).status == "correct"


@pytest.mark.parametrize(("gold", "answer"), WRONG)
def test_wrong_answers_are_wrong(gold, answer):
    assert not grade(gold, boxed(answer))


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("(1,2)", "y=1, x=2"),  # the written order of names once stood in for theirs
        ("10", r"\text{twice }x=10"),  # any text once was a name
        ("10", r"\text{the answer is not}=10"),
        ("(0,1)", r"\text{not }x\in(0,1)"),
        ("3.14", r"3.14\ldots"),  # the dots were dropped
        ("12345", r"12 \quad 345"),  # a wide space once grouped digits
    ],
)
def test_what_once_was_taken_for_right(gold, answer):
    assert not grade(gold, rf"\boxed{{{answer}}}")


@pytest.mark.parametrize(
    ("completion", "thinking", "status", "answer"),
    [
        ("the answer is 5", "optional", "no_answer", None),
        (r"\boxed{}", "optional", "no_answer", None),
        (r"\boxed{5", "optional", "no_answer", None),
        (r"<think>\boxed{5}", "optional", "unclosed_think", None),
        (r"\boxed{5}", "required", "unclosed_think", None),
        (r"<think>\boxed{5}</think> so 5", "optional", "no_answer", None),
        (r"<think>\boxed{6}</think> \boxed{5}", "required", "correct", "5"),
        (r"\boxed{5} or rather \boxed{6}", "optional", "wrong", "6"),
        (r"\boxed{6} and \boxed{5}", "optional", "correct", "5"),
        (r"\boxed{+*}", "optional", "unparsable", "+*"),
        ("word " * 20_000 + r"\boxed{5}", "optional", "correct", "5"),  # math-verify alone times out
    ],
)
def test_statuses(completion, thinking, status, answer):
    verdict = judge("5", completion, thinking)
    assert (verdict.status, verdict.answer, verdict.correct) == (status, answer, status == "correct")
    assert grade("5", completion, thinking) == verdict.correct


@pytest.mark.parametrize(
    "text", ["5", "-0.25", r"\frac{3}{4}", r"1\frac{1}{2}", "1,000,000", r"2 \times 10^{3}", "1e3"]
)
def test_numbers_are_exact_and_signed(text):
    value = number(normalise(text))
    assert value is not None
    assert number(normalise(text if text.startswith("-") else f"-{text}")) == -abs(value)
    assert number(normalise(f" {text} . ")) == value


@pytest.mark.parametrize("text", ["", "x", "1,23", "1/0", r"\frac{1}{0}", "1e99999", "1 2", "٥", "5\x00", "--5"])
def test_what_is_no_number(text):
    assert number(normalise(text)) is None


@pytest.mark.parametrize(
    "gold", ["", "{", "}{", r"\frac{1}", r"\sum_{k=1}^{9} k", "12:30", "5 6", "1" + "+1" * MAX_CHARS, "?"]
)
def test_an_ungradable_gold_is_named(gold):
    with pytest.raises(ValueError, match="gold answer") as raised:
        check_gold(gold)
    assert repr(gold) in str(raised.value)


def golds(name: str) -> list[str]:
    path = BENCHMARKS / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is absent; set LED_RL_BENCHMARKS to the folder that holds it")
    return [json.loads(line)["answer"] for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["gsm8k", "math500", "aime2024"])
def test_every_benchmark_gold_can_be_graded(name):
    """Each gold equals its own box without help from equal text, and differs from a changed one."""
    ungradable = []
    for place, gold in enumerate(golds(name)):
        try:
            check_gold(gold)
        except ValueError as error:
            ungradable.append(str(error))
        assert grade(gold, boxed(gold))
        if place % 8 == 0:  # each is a process of its own
            assert not grade(gold, boxed(f"({gold})+1")), gold
    assert not ungradable


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "completion",
    [
        r"\boxed{" * 20_000, "\\boxed{5" + "{" * 300, "(" * 100_000, "\x00" * 1000, boxed("(" * 100_000),
        boxed("[" * 100_000), boxed("(" * 100_000 + ")" * 100_000), boxed("9" * 5000),
        boxed("0." + "9" * 5000), boxed("\ud800"),
    ],
    ids=lambda completion: completion[:16].encode("ascii", "replace").decode(),
)  # fmt: skip
def test_huge_and_broken_completions_are_not_right_and_do_not_spoil_the_next(completion):
    """The table of hostile answers is in tests/data/hostile_answers.jsonl; these are too large for it."""
    assert not grade("5", completion)
    assert grade(r"\sqrt{8}", boxed(r"2\sqrt{2}"))


def test_the_caps_let_ordinary_answers_through():
    for gold, answer in RIGHT:
        for text in (gold, answer):
            cleaned = normalise(text)
            assert (refusal(cleaned) or "no single reading") in ("no single reading", "notation with no single reading")


SLOW_ANSWER = r"\log(" * 10 + "9" + ")" * 10  # 10 nested base-10 logarithms: sympy evaluates them for more than 2 s


@pytest.mark.timeout(60)
def test_threads_get_their_own_verdicts_and_the_parents_alarm_is_undisturbed():
    def handler(signum: int, frame: object) -> None: ...

    old_handler = signal.getsignal(signal.SIGALRM)
    old_timer = signal.setitimer(signal.ITIMER_REAL, 1000.0)  # pytest-timeout's own, put back below
    try:
        signal.signal(signal.SIGALRM, handler)
        with ThreadPoolExecutor(8) as pool:
            verdicts = list(
                pool.map(lambda n: grade(rf"\sqrt{{{n * n * 2}}}", boxed(rf"{n + n % 2}\sqrt{{2}}")), range(2, 42))
            )
            killed = pool.submit(judge, "5", boxed(SLOW_ANSWER))
            other = pool.submit(judge, "5", boxed(r"\sqrt{25}"))
            assert (killed.result().status, other.result().status) == ("timeout", "correct")
        assert verdicts == [n % 2 == 0 for n in range(2, 42)]
        assert signal.getsignal(signal.SIGALRM) is handler
        assert 900.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1000.0
    finally:
        signal.signal(signal.SIGALRM, old_handler)
        signal.setitimer(signal.ITIMER_REAL, *old_timer)


def test_grading_starts_no_threads():
    before = threading.active_count()
    grade(r"\sqrt{8}", boxed(r"2\sqrt{2}"))
    assert threading.active_count() == before
