"""The verdict that a report opens with: the same two sentences and four numbers whichever way they fall."""

from made_records import comparison, result

from led_rl.arm_card import ArmCards
from led_rl.report.headlines import entropy_sentences
from led_rl.report.story import verdict
from led_rl.scores.scoring import Scores

CARDS = ArmCards()


def change(k, difference, ci95):
    return {
        "arm": "plain", "top_k": None, "temperature": 1.0, "k": k, "from_step": 0, "to_step": 9,
        "checkpoint": "checkpoint-9", "difference": difference, "ci95": ci95, "problems": 100, "problems_differing": 50,
    }  # fmt: skip


def after(**more):
    return result(**{"checkpoint": "checkpoint-9", "rl_step": 9, "pass_at_k": {"1": 0.6, "16": 0.8}, **more})


def probe(step, final, below):
    row = {"rl_step": step, "text": "own", "final_norm": True, "entropy_nats": [1.0, below, final]}
    return {
        **row,
        "entropy_final_nats": final,
        "entropy_intermediate_nats": below,
        "tokens": 9,
        "mean_length_tokens": 3.0,
    }


GAIN, COST = change(1, 0.2, [0.15, 0.25]), change(16, -0.1, [-0.12, -0.08])


def led(k, difference, ci95, **more):
    return comparison(**{"arm": "led_countdown", "top_k": 4, "baseline": "plain", "baseline_top_k": None, "k": k,
                         "difference": difference, "ci95": ci95, **more})  # fmt: skip


def beside(difference, ci95):
    return led(16, difference, ci95, baseline="explore_final_countdown", baseline_top_k=4)


def test_gain_cost_and_what_is_given_back_are_exact():
    comparisons = [
        led(16, 0.02, [0.01, 0.03]),
        led(1, -0.005, [-0.01, -0.001]),
        beside(0.004, [0.001, 0.007]),
        comparison(arm="explore_final_countdown", top_k=4, baseline="plain", baseline_top_k=None, difference=0.016),
    ]
    scores = Scores([result(), after()], comparisons, changes=[GAIN, COST])
    found = verdict([probe(0, 0.2, 0.3), probe(9, 0.1, 0.27)], scores, CARDS)
    assert list(found.sentences) == [
        "From step 0 to step 9 RL raised pass@1 by 20.0 points (40.0% to 60.0%) and lowered pass@16 by 10.0 points "
        "(90.0% to 80.0%), while the final layer lost 50% of its entropy and the layers just below it lost 10%.",
        "At step 9 and T = 1 led_countdown (k=4) gives back +2.0 points of pass@16 [+1.0, +3.0] with -0.5 of pass@1, "
        "the most of 2 arms on these very problems; over flattening its own final layer as much, "
        "LED's depth adds +0.4 [+0.1, +0.7].",
    ]
    assert [(number.label, number.value, number.tone) for number in found.numbers] == [
        ("RL gained", "+20.0", "good"),
        ("RL cost", "-10.0", "bad"),
        ("Given back", "+2.0", "good"),
        ("By", "led_countdown (k=4)", "none"),
    ]
    assert found.numbers[2].note == "points of pass@16 [+1.0, +3.0], 20% of the cost"


def test_what_a_recipe_makes_true_stands_in_the_same_sentence():
    """Of 8 layers 5 to 7 are averaged: that an adapter misses the four below says nothing of those."""
    entropies = [{**probe(*what), "entropy_nats": [1.0] * 8} for what in ((0, 0.2, 0.3), (9, 0.1, 0.27))]
    for frozen, words in ((0, "lost 10%."), (4, "lost 10%."),
                          (5, "lost 10% (by construction in part: no adapter reaches layers 1 to 5)."),
                          (6, "lost 10% (by construction in part: no adapter reaches layers 1 to 6).")):  # fmt: skip
        first, *_ = verdict(entropies, Scores([result(), after()], changes=[GAIN, COST]), CARDS, frozen).sentences
        assert first.endswith(words)
        (finding,) = entropy_sentences(entropies, frozen)
        assert finding.endswith(f"falls by 10% (0.3 to 0.27 nats){words.removeprefix('lost 10%')}")


def test_led_is_named_where_another_arm_gives_back_more():
    comparisons = [
        led(16, 0.02, [0.01, 0.03]),
        comparison(arm="explore_base_countdown", top_k=4, baseline="plain", baseline_top_k=None, difference=0.03),
    ]
    _, second = verdict([], Scores([result(), after()], comparisons, changes=[GAIN, COST]), CARDS).sentences
    assert (
        "explore_base_countdown (k=4) gives back +3.0" in second and ", led_countdown (k=4) +2.0 [+1.0, +3.0]" in second
    )
    assert second.endswith("what depth has to do with it is open, for no explore_final arm was evaluated beside LED.")


def test_of_several_led_arms_the_first_says_what_depth_adds_and_not_the_best_looking():
    """Of eight that do nothing, the largest difference leaves out 0 more than twice as often as one does."""
    latent = comparison(arm="led_latent", top_k=4, baseline="explore_final_latent", baseline_top_k=4, difference=0.03)
    comparisons = [led(16, 0.02, [0.01, 0.03]), latent, beside(0.0, [-0.01, 0.01])]

    _, second = verdict([], Scores([result(), after()], comparisons, changes=[GAIN, COST]), CARDS).sentences
    assert second.endswith("led_countdown (k=4)'s depth shows no difference (+0.0 [-1.0, +1.0]).")


def test_a_gain_that_is_not_shown_is_not_called_one():
    comparisons = [led(16, 0.02, [-0.01, 0.05]), beside(0.0, [-0.01, 0.01])]
    found = verdict([], Scores([result(), after()], comparisons, changes=[GAIN, COST]), CARDS)
    assert "no arm shows a gain of pass@16 over plain sampling" in found.sentences[1]
    assert "LED's depth shows no difference (+0.0 [-1.0, +1.0])" in found.sentences[1]
    assert found.numbers[2].tone == "none" and "no difference is shown" in found.numbers[2].note


def test_a_smaller_gain_that_is_shown_goes_before_a_larger_one_that_is_not():
    """Otherwise "no arm shows a gain" would be said while one does."""
    wild = comparison(
        arm="dola_high", top_k=None, baseline="plain", baseline_top_k=None, difference=0.05, ci95=[-0.01, 0.1]
    )
    comparisons = [wild, led(16, 0.02, [0.01, 0.03])]
    found = verdict([], Scores([result(), after()], comparisons, changes=[GAIN, COST]), CARDS)
    assert found.numbers[3].value == "led_countdown (k=4)"


def test_without_a_cost_nothing_is_given_back():
    free = change(16, 0.004, [-0.01, 0.02])
    found = verdict([], Scores([result(), after()], [led(16, 0.02, [0.01, 0.03])], changes=[GAIN, free]), CARDS)
    assert "and shows no change of pass@16 (+0.4 points [-1.0, +2.0])" in found.sentences[0]
    assert "led_countdown (k=4) adds +2.0" in found.sentences[1] and "of the cost" not in found.numbers[2].note
    assert found.numbers[1].tone == "none"


def test_only_the_last_checkpoint_and_the_temperature_nearest_one_count():
    comparisons = [
        led(16, 0.02, [0.01, 0.03]),
        led(16, 0.5, [0.4, 0.6], temperature=1.4),
        led(16, 0.4, [0.3, 0.5], checkpoint="checkpoint-5", rl_step=5),
    ]
    found = verdict([], Scores([result(), after()], comparisons, changes=[GAIN, COST]), CARDS)
    assert found.numbers[2].value == "+2.0"


def test_one_checkpoint_and_nothing_at_all():
    found = verdict([], Scores([result()]), CARDS)
    assert list(found.sentences) == ["Plain sampling at T = 1 has pass@1 of 40.0% and pass@16 of 90.0% (step 0)."]
    assert not found.numbers
    assert not verdict([], Scores(), CARDS).sentences
    (only,) = verdict([probe(0, 0.2, 0.3), probe(9, 0.1, 0.33)], Scores(), CARDS).sentences
    assert only == "Over post-training the final layer lost 50% of its entropy and the layers just below it gained 10%."
