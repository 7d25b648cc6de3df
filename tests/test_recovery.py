"""What gives exploration back: shares and prices by hand, and the statistics they stand on against slow twins."""

from itertools import combinations
from statistics import fmean

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator
from scipy.stats import t as student_t

from led_rl.arm_card import ArmCards, control_card, led_card, plain_card
from led_rl.scores.envelope import envelope_at
from led_rl.scores.hierarchy import (
    crossed_means,
    holm,
    interval,
    interval_of_both,
    p_of_both,
    pseudo_values,
    t_interval,
    two_sided_p,
)
from led_rl.scores.recovery import recovery
from led_rl.scores.tallies import Cell

N = 16
CARDS = ArmCards([plain_card(), control_card(4), led_card("led_countdown", "countdown", 4)])


def run_of(seed, problems=60, temperatures=(0.6, 1.0, 1.4)):
    """A run in which RL costs pass@16 and LED gives some back: right samples by cell and problem."""
    rng = np.random.default_rng(seed)
    names = [f"p{i:03d}" for i in range(problems)]
    odds = np.random.default_rng(99).random(problems)  # runs differ in luck and share their problems
    cells = {}
    for step, arm, top_k, spread in ((0, "plain", None, 1.0), (9, "plain", None, 0.05), (9, "top_k", 4, 0.06),
                                     (9, "led_countdown", 4, 0.2)):  # fmt: skip
        for temperature in temperatures:
            heat = spread * temperature
            chance = np.clip((1 - heat) * (odds > 0.4) + heat * odds, 0, 1)
            counts = rng.binomial(N, chance)
            cell = Cell("base" if step == 0 else "checkpoint-9", step, arm, top_k, temperature)
            cells[cell] = dict(zip(names, map(int, counts), strict=True))
    return cells


def row_of(rows, arm, temperature=1.0):
    (row,) = [row for row in rows if (row["arm"], row["temperature"]) == (arm, temperature)]
    return row


def passes(counts, k):
    def one(c):
        flags = [1] * c + [0] * (N - c)
        draws = list(combinations(flags, k)) if k < 4 or k == N else None
        assert draws is not None
        return fmean(any(draw) for draw in draws)

    return fmean(one(c) for c in counts.values())


def test_shares_and_prices_are_what_their_definitions_say():
    run = run_of(0)
    rows = recovery([run], N, CARDS, "toy")
    base, plain, led = (run[Cell(name, step, arm, k, 1.0)] for name, step, arm, k in
                        (("base", 0, "plain", None), ("checkpoint-9", 9, "plain", None),
                         ("checkpoint-9", 9, "led_countdown", 4)))  # fmt: skip
    row = row_of(rows, "led_countdown")
    assert row["pass_at_k"] == pytest.approx(passes(led, N), abs=1e-11) and row["k"] == 16
    assert row["pass_at_1"] == pytest.approx(passes(led, 1), abs=1e-11)
    lost = passes(base, N) - passes(plain, N)
    assert row["pass_at_k_lost"] == pytest.approx(lost, abs=1e-11)
    assert row["share_recovered"] == pytest.approx((passes(led, N) - passes(plain, N)) / lost, abs=1e-9)
    assert row["pass_at_1_price"] == pytest.approx(passes(plain, 1) - passes(led, 1), abs=1e-11)
    assert row["ci95"][0] <= row["share_recovered"] <= row["ci95"][1]
    assert row["t_ci95"] is None and (row["runs"], row["problems"]) == (1, 60)
    assert row["pass_at_1_gained"] == pytest.approx(passes(plain, 1) - passes(base, 1), abs=1e-11)
    assert (row["needs_base"], row_of(rows, "mix_4")["needs_base"]) == (False, True)
    same = row_of(rows, "plain")
    assert (same["share_recovered"], same["pass_at_1_price"]) == (0.0, 0.0)
    assert (same["ci95"], same["price_ci95"]) == ([0.0, 0.0], [0.0, 0.0])


def test_samples_of_the_base_are_mixed_exactly():
    """mix_8 at T = 1: half of the 16 samples from each, by enumeration over halves of small tables."""
    run = run_of(1, problems=8)
    row = row_of(recovery([run], N, CARDS, "toy"), "mix_8")
    base, plain = run[Cell("base", 0, "plain", None, 1.0)], run[Cell("checkpoint-9", 9, "plain", None, 1.0)]
    expected = []
    for name in base:
        fails = 1.0
        for c in (plain[name], base[name]):
            halves = list(combinations([1] * c + [0] * (N - c), 8))
            fails *= fmean(not any(half) for half in halves)
        expected.append(1 - fails)
    assert row["pass_at_k"] == pytest.approx(fmean(expected), abs=1e-11)
    assert row["pass_at_1"] == pytest.approx((passes(base, 1) + passes(plain, 1)) / 2, abs=1e-11)


def test_all_samples_from_the_base_are_no_mixture_and_a_gap_at_one_temperature_costs_no_other():
    run = run_of(6, temperatures=(0.6, 1.0))
    small = {cell: {name: count // 2 for name, count in counts.items()} for cell, counts in run.items()}
    del small[Cell("base", 0, "plain", None, 0.6)]["p007"]
    rows = recovery([small], N // 2, CARDS, "toy")
    row = row_of(rows, "mix_4")
    assert row["k"] == N // 2 and row["label"] == "4 of 8 samples from the base"
    assert "mix_8" not in {row["arm"] for row in rows}  # it is the base itself
    assert {row["temperature"] for row in rows if row["arm"] == "mix_4"} == {1.0}


def test_where_rl_lost_nothing_there_is_no_share():
    run = run_of(2)
    for cell in [cell for cell in run if cell.rl_step == 0]:
        run[cell] = run[cell._replace(checkpoint="checkpoint-9", rl_step=9)]
    rows = recovery([run], N, CARDS, "toy")
    assert rows and all(row["share_recovered"] is None and row["ci95"] is None for row in rows)


def test_an_arm_still_being_sampled_takes_no_problem_from_the_others():
    run = run_of(3)
    whole = recovery([run], N, CARDS, "toy")
    cell = Cell("checkpoint-9", 9, "led_countdown", 4, 1.4)
    del run[cell]["p007"]
    part = recovery([run], N, CARDS, "toy")
    assert {(r["arm"], r["temperature"]) for r in whole} - {(r["arm"], r["temperature"]) for r in part} == {
        ("led_countdown", 1.4)
    }
    assert row_of(part, "plain")["problems"] == 60


def test_several_runs_share_a_base_and_widen_the_interval():
    runs = [run_of(seed) for seed in range(5)]
    for run in runs[1:]:  # the base is evaluated once
        for cell in [cell for cell in run if cell.rl_step == 0]:
            del run[cell]
    row = row_of(recovery(runs, N, CARDS, "toy"), "led_countdown")
    assert row["runs"] == 5 and row["t_ci95"] is not None and row["problems"] == 60
    alone = [row_of(recovery([{**runs[0], **run}], N, CARDS, "toy"), "led_countdown") for run in runs]
    assert row["pass_at_k"] == pytest.approx(fmean(one["pass_at_k"] for one in alone), abs=1e-9)
    # Student's interval of what each run adds to the share, by leaving it out.
    gained, lost = (np.array([f(one) for one in alone]) for f in (
        lambda one: one["share_recovered"] * one["pass_at_k_lost"], lambda one: one["pass_at_k_lost"]))  # fmt: skip
    rest = [np.delete(np.arange(5), i) for i in range(5)]
    parts = [5 * gained.sum() / lost.sum() - 4 * gained[some].sum() / lost[some].sum() for some in rest]
    low, high = t_interval(parts)
    assert row["t_ci95"] == pytest.approx([low, high], abs=1e-9)
    assert row["ci95"][0] <= low and high <= row["ci95"][1]


def test_frontiers_are_those_of_the_others_and_p_values_are_adjusted():
    rows = recovery([run_of(4)], N, CARDS, "toy")
    assert row_of(rows, "top_k")["above"].keys() <= {"led", "wise"}
    assert row_of(rows, "led_countdown")["above"].keys() <= {"top_k", "wise"}
    assert row_of(rows, "plain")["above"] == {}
    claims = [row["above"]["top_k"] for row in rows if "top_k" in row["above"]]
    assert claims and all((claim["p"] is None) == (claim["ci95"] is None) for claim in claims)
    told = [claim for claim in claims if claim["p"] is not None]
    assert all(claim["ci95"][0] <= claim["difference"] <= claim["ci95"][1] for claim in told)
    assert told and all(0 < claim["p"] <= claim["p_holm"] for claim in told)


def test_led_as_published_is_a_preset_and_none_of_its_variants():
    """Depths, k and `exploit=false` of anybody's choice were on its frontier, and raised it above other arms."""
    run = run_of(4)
    for cell in [cell for cell in run if cell.arm == "led_countdown"]:
        run[cell._replace(arm="led_countdown@exploit=false")] = {
            name: max(1, right - 2) for name, right in run[cell].items()
        }
    own = led_card("led_countdown@exploit=false", "countdown", 4)
    rows = recovery([run], N, ArmCards([*CARDS, own]), "toy")
    assert "led" in row_of(rows, "led_countdown@exploit=false")["above"]
    assert row_of(rows, "top_k")["above"].get("led") == row_of(recovery([run_of(4)], N, CARDS, "toy"), "top_k")[
        "above"
    ].get("led")


def test_nothing_to_compare_is_no_row():
    run = run_of(5)
    assert recovery([{c: t for c, t in run.items() if c.rl_step == 0}], N, CARDS, "toy") == []
    assert recovery([{c: t for c, t in run.items() if c.rl_step == 9}], N, CARDS, "toy") == []


def test_a_crossed_bootstrap_keeps_problems_in_their_rows():
    """Against a slow twin: runs and problems drawn with replacement, one after another, in expectation and spread."""
    rng = np.random.default_rng(0)
    values = rng.random((4, 30, 2)) + rng.random((4, 1, 2)) + rng.random((1, 30, 2))
    fast = crossed_means(values, np.random.default_rng(1), resamples=6000)
    twin = np.random.default_rng(2)
    slow = np.array([
        values[twin.integers(4, size=4)][:, twin.integers(30, size=30)].mean(axis=(0, 1)) for _ in range(6000)
    ])  # fmt: skip
    spread = slow.std(axis=0)
    # Two estimates of one mean from 6000 draws each differ by more than 5 standard errors once in 1.7 million.
    assert np.all(np.abs(fast.mean(0) - slow.mean(0)) < 5 * spread * np.sqrt(2 / 6000))
    assert np.allclose(fast.std(0), spread, rtol=0.08)


def test_every_resample_is_made():
    assert (crossed_means(np.ones((2, 5, 1)), np.random.default_rng(0), resamples=300) == 1).all()


def test_one_run_is_the_bootstrap_over_problems():
    values = np.random.default_rng(0).random((1, 40, 1))
    drawn = crossed_means(values, np.random.default_rng(0), resamples=4000)
    assert drawn.std() == pytest.approx(values.std() / np.sqrt(40), rel=0.06)


def test_two_runs_say_nothing_of_other_runs():
    """Drawn again, two runs missed the truth in one case of four: their problems alone are drawn."""
    values = np.random.default_rng(0).random((2, 40, 1)) + np.array([0.0, 5.0])[:, None, None]
    drawn = crossed_means(values, np.random.default_rng(0), resamples=4000)
    assert drawn.std() == pytest.approx(values.mean(0).std() / np.sqrt(40), rel=0.06)
    assert interval_of_both(drawn[:, 0], [0.0, 9.0]) == interval(drawn[:, 0])
    assert p_of_both(drawn[:, 0] - 5.0, [0.0, 9.0]) == two_sided_p(drawn[:, 0] - 5.0)


def test_intervals_over_few_runs_miss_the_truth_no_oftener_than_they_say():
    """A crossed bootstrap alone misses it in 15 of 100 cases here: nothing is true, runs and problems vary by luck."""
    rng, missed, bare, called = np.random.default_rng(3), 0, 0, 0
    for _ in range(400):
        values = rng.normal(0, 1, (3, 1)) + rng.normal(0, 3, (1, 200)) + rng.normal(0, 5, (3, 200))
        drawn = crossed_means(values[..., None], rng, resamples=400)[:, 0]
        low, high = interval_of_both(drawn, values.mean(1).tolist())
        missed += not low <= 0 <= high
        bare += not interval(drawn)[0] <= 0 <= interval(drawn)[1]
        called += p_of_both(drawn, values.mean(1).tolist()) < 0.05
    # 5% of 400 is 20; 32 or more come up by chance once in 120.
    assert missed < 32 and called < 32 < bare


def test_what_a_run_says_of_a_mean_is_its_own_value():
    of_runs = np.array([[1.0, 4.0], [3.0, 2.0], [5.0, 9.0]])
    assert pseudo_values(lambda scores: scores[0], of_runs) == pytest.approx([1.0, 3.0, 5.0])
    assert pseudo_values(lambda scores: scores[0], of_runs[:1]) == []


def test_p_over_runs_by_hand():
    many = np.full(3999, 1.0)
    assert p_of_both(many, [1.0, 2.0, 3.0]) == pytest.approx(2 * student_t.sf(2 * np.sqrt(3), 2))
    assert p_of_both(many, [2.0, 2.0, 2.0]) == two_sided_p(many)
    assert p_of_both(many, [0.0, 0.0, 0.0]) == 1.0
    assert p_of_both(np.array([-1.0, 1.0]), [5.0, 5.1, 5.0]) == 1.0
    assert interval_of_both(many, [1.0, np.nan, 3.0]) is None


def test_a_run_that_lost_nothing_does_not_stop_a_study():
    """Its own share is a division by 0: `recovery.jsonl` could not be written."""
    runs = [run_of(seed) for seed in range(8)]
    for cell in [cell for cell in runs[0] if cell.rl_step == 9 and cell.arm == "plain"]:
        runs[0][cell] = runs[0][cell._replace(checkpoint="base", rl_step=0)]
    rows = recovery(runs, N, CARDS, "toy")
    told = [row["t_ci95"] for row in rows if row["share_recovered"] is not None]
    assert told and np.isfinite(told).all()


def test_students_interval_by_hand():
    low, high = t_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    reach = student_t.ppf(0.975, 4) * np.sqrt(2.5 / 5)
    assert (low, high) == pytest.approx((3 - reach, 3 + reach)) and student_t.ppf(0.975, 4) == pytest.approx(
        2.776, abs=1e-3
    )
    assert t_interval([1.0]) is None


@pytest.mark.parametrize(
    ("given", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
        ([0.01, 0.01, 0.01], [0.03, 0.03, 0.03]),
    ],
)
def test_holm_by_hand(given, adjusted):
    assert holm(given) == pytest.approx(adjusted)


def test_p_values_are_never_0_and_count_both_sides():
    assert two_sided_p(np.ones(99)) == pytest.approx(0.02)
    assert two_sided_p(np.array([-1.0, 1.0])) == 1.0
    assert two_sided_p(np.zeros(9)) == 1.0
    assert two_sided_p(np.array([-1.0] * 3 + [1.0] * 16)) == pytest.approx(2 * 4 / 20)
    assert two_sided_p(np.array([1.0] * 3 + [-1.0] * 16)) == pytest.approx(2 * 4 / 20)


def test_an_interval_of_mostly_nothing_is_none():
    drawn = np.arange(100.0)
    drawn[:6] = np.nan
    assert interval(drawn) is None
    drawn[:2] = 0.0
    assert interval(drawn) is not None


def test_the_envelope_is_scipys_on_points_that_none_beats():
    rng = np.random.default_rng(0)
    for _ in range(200):
        count = int(rng.integers(2, 8))
        x, y = np.sort(rng.random(count)), np.sort(rng.random(count))[::-1]
        shuffled = np.stack([x, y], -1)[rng.permutation(count)]
        at = np.linspace(x[0], x[-1], 13)
        found = envelope_at(at, np.broadcast_to(shuffled, (13, count, 2)))
        np.testing.assert_allclose(found, PchipInterpolator(x, y)(at), atol=1e-12)


def test_the_envelope_by_hand():
    points = np.array([[0.2, 0.9], [0.4, 0.8], [0.3, 0.7], [0.4, 0.8]])  # the third is beaten by the second
    at = np.array([0.1, 0.2, 0.4, 0.41])
    found = envelope_at(at, points)
    assert found[:3] == pytest.approx([0.9, 0.9, 0.8]) and np.isnan(found[3])
    middle = float(envelope_at(np.array(0.3), points))
    assert middle == pytest.approx(0.85)  # two points: a line
    with pytest.raises(ValueError, match="at least 2"):
        envelope_at(np.array(0.3), points[:1])


def test_a_concave_curve_lies_above_its_chords():
    x = np.array([0.4, 0.5, 0.6])
    points = np.stack([x, 1 - 4 * (x - 0.35) ** 2], -1)
    at = np.array([0.45, 0.55])
    chords = np.interp(at, x, points[:, 1])
    assert np.all(envelope_at(at, points) > chords)
