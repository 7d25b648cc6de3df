"""The grammar of countdown traces against the writer of traces, and against all attempts spelt out."""

import random
from itertools import islice, permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from led_rl.tasks.countdown import Countdown, CountdownConfig, identity
from led_rl.tasks.countdown_trace import COMPUTATION, Place, follows, legal_next
from led_rl.tasks.problem import Problem

SPACES = [
    CountdownConfig(),
    CountdownConfig(numbers=4, max_number=15),
    CountdownConfig(numbers=2, max_number=20, min_target=1, max_target=40, max_value=40, operators="+-"),
    CountdownConfig(numbers=3, max_number=9, min_target=1, max_value=100, operators="+*"),
]


def problem_of(numbers, target):
    return Problem(identity(numbers, target), "", "", {"numbers": tuple(numbers), "target": target})


def parsed(prompt):
    words = prompt.split()
    cut = words.index("target")
    return problem_of([int(word) for word in words[1:cut]], int(words[cut + 1]))


def place_after(problem, text, config):
    return legal_next(problem, text.split(), config)


def places(problem, words, config):
    return [legal_next(problem, words[:end], config) for end in range(len(words) + 1)]


def follows_word_by_word(problem, words, config):
    """The definition of `follows`, slow."""
    found = places(problem, words, config)
    return all(word in place.legal for place, word in zip(found, words, strict=False)) and found[-1].kind == "end"


@pytest.mark.parametrize("config", SPACES, ids=lambda config: f"{config.numbers}{config.operators}")
def test_what_the_writer_wrote_is_always_legal(config):
    task, choices = Countdown(config), 0
    for prompt, completion in islice(task.documents("train", 0, max_attempts=3, solution_rate=0.3), 150):
        problem, words = parsed(prompt), completion.split()
        found = places(problem, words, config)
        for place, word in zip(found, words, strict=False):
            assert word in place.legal, (prompt, completion, place)
            assert len(set(place.legal)) == len(place.legal)
            choices += place.decides
        assert found[-1] == Place("end", ())
    assert choices > 200
    for problem in task.problems("test", 20):
        words = task.reference(problem).split()
        assert all(w in p.legal for p, w in zip(places(problem, words, config), words, strict=False))


def attempts(values, config):
    """Every attempt on these numbers, as words without the verdict, with what it reaches: slow, and unlike the code."""
    if len(values) == 1:
        yield (), values[0]
        return
    seen = set()
    for a, b, *rest in permutations(values):
        for operator, result in (("+", a + b), ("-", a - b), ("*", a * b), ("/", a / b)):
            possible = operator in config.operators and a >= b and result >= 1 and result == int(result)
            if possible and result <= config.max_value and (a, operator, b, *sorted(rest)) not in seen:
                seen.add((a, operator, b, *sorted(rest)))
                own = (str(a), operator, str(b), "=", str(int(result)))
                for later, reached in attempts([*rest, int(result)], config):
                    yield (*own, *((",", *later) if later else ())), reached


@pytest.mark.parametrize(
    ("numbers", "config"),
    [
        ((6, 4, 13), CountdownConfig()),
        ((5, 5, 5), CountdownConfig()),
        ((50, 40, 30), CountdownConfig()),
        ((8, 4, 2, 2), CountdownConfig()),
        ((20, 20, 3), CountdownConfig(numbers=3, max_number=20, max_value=30, max_target=30, operators="+-")),
        ((9, 9, 2), CountdownConfig(numbers=3, max_number=9, max_value=20, max_target=20, operators="+*")),
    ],
)
def test_legal_words_are_those_of_all_attempts(numbers, config):
    """At every prefix of every attempt; in the last two spaces some steps lead to dead ends, which are not legal."""
    every = list(attempts(list(numbers), config))
    target = every[len(every) // 2][1]
    follow = {}
    for words, reached in every:
        written = (*words, "yes" if reached == target else "no")
        for end in range(len(written)):
            follow.setdefault(written[:end], set()).add(written[end])
    problem = problem_of(numbers, target)
    for before in ([], ["1", "+", "1", "=", "3", "no", ";"]):  # an attempt before it, right or not, changes nothing
        for prefix, legal in follow.items():
            assert set(legal_next(problem, [*before, *prefix], config).legal) == legal, prefix


def test_by_hand():
    problem, config = problem_of((6, 4, 13), 15), CountdownConfig()
    text = "13 + 6 = 19 , 19 - 4 = 15 yes </think> \\boxed{ ( 13 + 6 ) - 4 }"
    found = places(problem, text.split(), config)
    assert [place.kind for place in found] == [
        *("operand1", "operator", "operand2", "equals", "result", "separator"),
        *("operand1", "operator", "operand2", "equals", "result", "verdict", "close"),
        *["box"] * 9,
        "end",
    ]
    assert found[0] == Place("operand1", ("6", "13"))  # 4 is never the larger of two
    assert found[1] == Place("operator", ("+", "-", "*"))
    assert found[2] == Place("operand2", ("4", "6"))
    assert found[6] == Place("operand1", ("19",))  # one operand, so no choice
    assert found[7] == Place("operator", ("+", "-", "*"))
    assert [place.decides for place in found[:9]] == [True, True, True, *[False] * 4, True, False]
    again = place_after(problem, "13 + 6 = 19 , 19 + 4 = 23 no", config)
    assert again == Place("again", (";", "</think>"))
    assert not again.decides


@pytest.mark.parametrize(
    "words",
    [
        "13 + 6 = +",
        "13 + 6 = 121",
        "4 + 6",
        "7",
        "13 13",
        "13 + 6 = 19 ; 1",
        "13 + 6 = 19 yes </think>",  # numbers are left
        "13 + 6 = 20 , 19",
        "13 + 6 = 19 , 19 - 4 = 15 yes </think> 13",
        "13 + 6 = 19 , 19 - 4 = 15 yes </think> \\boxed{ ( 13 + 6 ) - 4 } }",
    ],
)
def test_off_the_grammar(words):
    assert place_after(problem_of((6, 4, 13), 15), words, CountdownConfig()) == Place("off", ())


def test_a_trace_goes_on_with_a_wrong_result():
    problem, config = problem_of((6, 4, 13), 16), CountdownConfig()
    assert place_after(problem, "13 + 6 = 20", config) == Place("separator", (",",))
    assert place_after(problem, "13 + 6 = 20 ,", config) == Place("operand1", ("20",))
    assert place_after(problem, "13 + 6 = 20 , 20", config) == Place("operator", ("+", "-", "*", "/"))
    assert place_after(problem, "13 + 6 = 20 , 20 - 4 = 16", config) == Place("verdict", ("yes",))
    assert place_after(problem, "13 + 6 = 20 , 20 - 4 = 16 yes </think> \\boxed{", config) == Place("box", ("(",))


def test_a_broken_attempt_ends_at_its_verdict():
    problem, config = problem_of((6, 4, 13), 15), CountdownConfig()
    assert place_after(problem, "13 + 6 = 20 , 19 no", config).kind == "again"
    assert place_after(problem, "13 + 6 = 20 , 19 no ;", config) == Place("operand1", ("6", "13"))


@pytest.mark.parametrize("config", SPACES[:2], ids=lambda config: str(config.numbers))
def test_every_legal_word_leads_to_the_end(config):
    """Random walks over legal words end; what they box is right exactly if the last verdict is `yes`."""
    task, rng, solved = Countdown(config), random.Random(0), 0
    for problem in task.problems("validation", 60):
        words = []
        while (place := legal_next(problem, words, config)).kind != "end":
            words.append("</think>" if place.kind == "again" and len(words) > 30 else rng.choice(place.legal))
            assert len(words) < 200
        right = words[words.index("</think>") - 1] == "yes"
        assert task.grade(problem, " ".join(words)).correct == right
        solved += right
    assert solved > 0
    assert set(COMPUTATION) == {"operand1", "operator", "operand2"}


# A space of dead ends too: 20 + 20 leaves nothing to do with 3 and a number above 27.
NARROW = CountdownConfig(numbers=3, max_number=20, max_value=30, max_target=30, operators="+-")
DOCUMENTS = [
    (config, *document)
    for config in (*SPACES, NARROW)
    for document in islice(Countdown(config).documents("train", 1, max_attempts=3, solution_rate=0.3), 60)
]


def edited(words, vocabulary, draw):
    """The words after one change: some deleted, replaced, inserted, doubled, swapped or cut off, or all tried again."""
    at, word = draw(st.integers(0, len(words) - 1)), draw(st.sampled_from(vocabulary))
    kind = draw(st.sampled_from(["delete", "replace", "insert", "truncate", "double", "again", "swap"]))
    if kind == "delete":
        return words[:at] + words[at + 1 :]
    if kind == "insert":
        return [*words[:at], word, *words[at:]]
    if kind == "truncate":
        return words[:at]
    if kind == "double":
        return words[:at] + words[at : at + draw(st.integers(1, 13))] + words[at:]
    if kind == "again" and "</think>" in words:
        cut = words.index("</think>")
        return [*words[:cut], ";", *words]
    if kind == "swap":
        other = draw(st.integers(0, len(words) - 1))
        return [words[{at: other, other: at}.get(place, place)] for place in range(len(words))]
    return [*words[:at], word, *words[at + 1 :]]


class TestFollows:
    @settings(max_examples=800, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.data())
    def test_it_is_legal_next_word_by_word(self, data):
        config, prompt, completion = data.draw(st.sampled_from(DOCUMENTS))
        problem, words = parsed(prompt), completion.split()
        assert follows(problem, words, config)
        vocabulary = sorted({*words, *Countdown(config).vocabulary()[:40], "0", "007", "-1", "x", "\uff11"})
        for _ in range(data.draw(st.integers(1, 2))):
            words = edited(words, vocabulary, data.draw) or ["no"]
        assert follows(problem, words, config) == follows_word_by_word(problem, words, config)

    def test_steps_chosen_at_random_and_written_by_the_writer(self):
        """Attempts with dead ends, and with wrong results that box, verdict and all later steps go along with."""
        rng, sound = random.Random(0), 0
        for config, prompt, _ in DOCUMENTS * 5:
            problem, attempts = parsed(prompt), []
            for _ in range(rng.randint(1, 2)):
                left, steps = list(problem.data["numbers"]), []
                while len(left) > 1 and rng.random() < 0.97:
                    a, b = sorted(rng.sample(range(len(left)), 2), key=left.__getitem__, reverse=rng.random() < 0.9)
                    a, b, operator = left[a], left[b], rng.choice(config.operators)
                    right = {"+": a + b, "-": a - b, "*": a * b, "/": a // b}[operator]
                    result = max(1, right + (rng.random() < 0.1))
                    left.remove(a)
                    left.remove(b)
                    left.append(result)
                    steps.append((a, operator, b, result))
                attempts.append(tuple(steps))
            if all(attempts):
                words = (
                    Countdown(config).writing.render(problem.data["numbers"], attempts, problem.data["target"]).split()
                )
                assert follows(problem, words, config) == follows_word_by_word(problem, words, config), (prompt, words)
                sound += follows(problem, words, config)
        assert 100 < sound < 1000

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "yes </think> \\boxed{ ( 13 + 6 ) - 4 }",
            "</think> \\boxed{ ( 13 + 6 ) - 4 }",
            "13 + 6 = 19 , 19 - 4 = 15 yes",  # thinking never closes
            "13 + 6 = 19 , 19 - 4 = 15 no </think> \\boxed{ ( 13 + 6 ) - 4 }",  # a wrong verdict
            "13 + 6 = 20 , 20 - 4 = 16 no </think> \\boxed{ ( 13 + 6 ) - 4 }",  # a wrong result
            "13 + 6 = 19 , 13 + 4 = 17 no </think> \\boxed{ 13 + 4 }",  # a number used twice
            "13 + 6 = 19 no </think> \\boxed{ 13 + 6 }",  # a number left
            "6 + 13 = 19 , 19 - 4 = 15 yes </think> \\boxed{ ( 6 + 13 ) - 4 }",  # the larger operand comes first
            "13 / 6 = 2 , 4 - 2 = 2 no </think> \\boxed{ 4 - ( 13 / 6 ) }",  # a remainder
            "13 * 6 = 78 , 78 * 4 = 312 no </think> \\boxed{ ( 13 * 6 ) * 4 }",  # above max_value
            "13 + 6 = 19 , 19 - 4 = 15 yes </think> \\boxed{ ( 13 - 4 ) + 6 }",  # another expression in the box
            "13 + 6 = 19 , 19 - 4 = 15 yes </think> \\boxed{ ( 13 + 6 ) - 4",
            "13 + 6 = 19 , 19 - 4 = 15 yes </think> \\boxed{ ( 13 + 6 ) - 4 } }",
            "13 + 6 = 19 , 19 - 4 = 15 yes ; </think> \\boxed{ ( 13 + 6 ) - 4 }",
            "13 + 6 = 19 , 19 - 4 = 15 yes ; 13 + 6 = 19 , 19 - 4 = 15 yes </think> \\boxed{ ( 13 + 6 ) - 4 }",
        ],
    )
    def test_a_fault_anywhere_is_a_fault(self, text):
        problem, config = problem_of((6, 4, 13), 15), CountdownConfig()
        assert not follows(problem, text.split(), config)
        assert not follows_word_by_word(problem, text.split(), config)

    def test_an_honest_failure_follows(self):
        text = "13 + 6 = 19 , 19 + 4 = 23 no </think> \\boxed{ ( 13 + 6 ) + 4 }"
        assert follows(problem_of((6, 4, 13), 15), text.split(), CountdownConfig())
