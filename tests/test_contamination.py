"""Overlap of training and test texts: hand-made cases, and a twin that compares every run of words with every other."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from led_rl.tasks import Problem
from led_rl.tasks.contamination import NGRAM_WORDS, normalise, overlapping, seen_in_training

QUESTION = "A baker sells 14 loaves in the morning and 9 in the evening at 3 coins each how much does he earn"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Janet’s ducks  lay\n16 eggs.", "janet's DUCKS lay 16 eggs"),
        ("It costs $1,450.", "it costs 1450"),
        ("Solve $x+1=2$.", "solve x + 1 = 2"),
        ("a well-known fact", "a well known fact!"),
        ("ﬁnd ３", "find 3"),
        ("x²", "x^2"),
    ],
)
def test_case_spacing_and_punctuation_are_set_aside(left, right):
    assert normalise(left) == normalise(right)
    assert overlapping([left], [right]) == {0}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("He buys 3 eggs.", "He buys 4 eggs."),
        ("Compute 3 + 2.", "Compute 3 - 2."),
        ("Compute 3-2.", "Compute 3+2."),
        ("Find x-y.", "Find x y."),
        ("Find 0.5.", "Find 5."),
        ("Find .5.", "Find 5."),
        ("Find 1,234.", "Find 1,23."),
        ("Find x^2.", "Find x2."),
        ("Find 3².", "Find 32."),
        ("10%", "10"),
    ],
)
def test_numbers_and_operators_count(left, right):
    assert normalise(left) != normalise(right)
    assert overlapping([left], [right]) == set()


def test_normal_form_by_hand():
    assert normalise("  The sum 3,000.5 − 2 isn't well-known: x_1² !") == "the sum 3000.5 − 2 isn t well known x 1 ^ 2"
    assert normalise("...") == ""


def test_a_copy_with_another_number_is_caught_by_a_run_of_words():
    """QUESTION has 22 words. Changing the last leaves a run of 21; changing the 12th leaves runs of 11 and 10."""
    words = QUESTION.split()
    last = " ".join([*words[:-1], "gain"])
    middle = " ".join([*words[:11], "noon", *words[12:]])
    assert len(words) == 22
    assert overlapping([last, middle, QUESTION], [QUESTION]) == {0, 2}
    assert overlapping([last, middle, QUESTION], [QUESTION], n=None) == {2}
    assert overlapping([last, middle, QUESTION], [QUESTION], n=9) == {0, 1, 2}


@pytest.mark.parametrize(("shared", "caught"), [(NGRAM_WORDS - 1, False), (NGRAM_WORDS, True)])
def test_the_threshold_is_thirteen_words(shared, caught):
    common = [f"word{chr(97 + place)}" for place in range(shared)]
    train, test = " ".join(["one", *common, "two"]), " ".join(["three", "four", *common])
    assert overlapping([train], [test]) == ({0} if caught else set())


def test_operators_are_no_words():
    """13 tokens, 7 of them words: equal but for what follows."""
    formula = "x^2 + y^2 + z^2 = 1"
    assert len(normalise(formula).split()) == 13
    assert overlapping([f"{formula} has a solution"], [f"{formula} has none"]) == set()


def test_a_short_text_within_a_longer_one_is_not_found():
    assert overlapping(["What is 2 + 2 and why"], ["What is 2 + 2"]) == set()


@pytest.mark.parametrize("n", [0, -1])
def test_a_run_of_no_words_is_an_error(n):
    with pytest.raises(ValueError, match=f"n={n}: a run of at least 1 word"):
        overlapping(["a"], ["a"], n)


def slow_overlapping(train, test, n):
    """Every window of every text against every other, on lists of words."""

    def words(text):
        return [word for word in normalise(text).split() if word not in set("+-=*/^%")]

    def overlap(left, right):
        if normalise(left) == normalise(right):
            return True
        left_words, right_words = words(left), words(right)
        return any(
            left_words[i : i + n] == right_words[j : j + n]
            for i in range(len(left_words) - n + 1)
            for j in range(len(right_words) - n + 1)
        )

    return {index for index, text in enumerate(train) if any(overlap(text, other) for other in test)}


texts = st.lists(
    st.lists(st.sampled_from(["a", "b", "C", "1", "2,", "+", "a-b", "."]), max_size=9).map(" ".join), max_size=5
)


@settings(max_examples=300, deadline=None)
@given(train=texts, test=texts, n=st.integers(1, 4))
def test_it_equals_the_slow_twin(train, test, n):
    assert overlapping(train, test, n) == slow_overlapping(train, test, n)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing(text):
    once = normalise(text)
    assert normalise(once) == once
    assert once == once.strip() and "  " not in once and "\n" not in once


def test_time_is_linear():
    """7,500 training against 5,000 test texts of 60 words. Pairs would be 37 million; a minute is 20 times its time."""
    train = [" ".join(f"w{(i * 31 + j * j) % 5003}" for j in range(60)) for i in range(7_500)]
    test = [" ".join(f"v{(i * 17 + j * j) % 5003}" for j in range(60)) for i in range(5_000)]
    began = time.process_time()
    assert overlapping([*train, test[7]], test) == {7_500}
    assert time.process_time() - began < 60


def test_which_evaluated_problems_were_trained_on():
    trained = [Problem("a/train/1", QUESTION, "69"), Problem("b/x", "short", "1")]
    evaluated = [
        Problem("a/test/1", QUESTION.replace("earn", "gain"), "69"),
        Problem("a/test/2", "another question", "2"),
        Problem("b/x", "the same id", "1"),
        Problem("a/test/3", "Short!?", "3"),
        Problem("a/test/4", "SHORT.", "3"),
    ]
    assert [p.id for p in seen_in_training(trained, evaluated)] == ["a/test/1", "b/x", "a/test/3", "a/test/4"]
    assert [p.id for p in seen_in_training(trained, evaluated, n=None)] == ["b/x", "a/test/3", "a/test/4"]
    assert seen_in_training([], evaluated) == seen_in_training(trained, []) == []
