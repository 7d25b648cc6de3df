"""The dose-response of long traces: from made records to its table, and what a model of heat expects."""

import math

import numpy as np
import pytest
from made_records import eval_record

from led_rl.commands import report as report_command
from led_rl.errors import UserError
from led_rl.records import read_jsonl, write_json, write_jsonl, write_text
from led_rl.report.doses import doses_block, doses_figure, expected_block, pool_doses
from led_rl.scores.dose_model import Slips, Training, Writer, attempts, curve, expected, forced_words, solved, trained
from led_rl.scores.pass_at_k import pass_at_k
from led_rl.scores.scoring import COUNTS
from led_rl.scores.tallies import Cell, counts_record
from led_rl.tasks.countdown import Countdown, CountdownConfig, operations

N, T = 32, (0.4, 0.6, 1.0, 1.4)


def counts(seed, rise, steps=(0, 9)):
    """40 problems x 32 samples whose right ones rise by `rise` a unit of T on average, base and trained alike."""
    rng, found = np.random.default_rng(seed), {}
    for step in steps:
        for arm, top_k, more in (("plain", None, 0), ("top_k", 4, 1)):
            for temperature in T if step or arm == "plain" else ():
                level = 3 + more + 6 * (step == 0) + rise * (temperature - 1)
                right = rng.binomial(N, np.clip(level / N + rng.uniform(-0.05, 0.05, 40), 0.01, 0.99))
                cell = Cell(f"checkpoint-{step}" if step else "base", step, arm, top_k, temperature)
                found[cell] = {f"p{i}": int(one) for i, one in enumerate(right)}
    return found


def write_run(study, name, verbosity, base, found, **more):
    folder = study / "cells" / name
    task = {"name": "countdown", "countdown": {"verbosity": verbosity}}
    write_json(folder / "eval" / "eval.json", eval_record(N, 40, task=task, **more))
    write_json(folder / "eval" / COUNTS, counts_record(found, N))
    write_text(folder / "config.yaml", f"model: checkpoints/long_traces/{base}\n")
    rows = [
        {
            **cell.labels, "temperature": cell.temperature, "problems": 40, "traces": 320,
            "forced_words": 14.0 + 40 * verbosity, "choices": 6.0, "slips": 0.1 * cell.temperature * (1 + verbosity),
            "slips_ci95": [0.0, 1.0], "forced_slips": 0.1, "forced_slips_ci95": [0.0, 1.0], "slip_rate": 0.01,
            "sound_rate": 0.9, "correct_sound": 0.6, "correct_slipped": 0.2,
        }
        for cell in found
    ]  # fmt: skip
    write_jsonl(folder / "eval" / "slips.jsonl", rows)


def study_of(tmp_path):
    """Heat helps at dose 14 and harms at dose 55; three runs each, the base evaluated in the first only."""
    for verbosity, rise in ((0, 5.0), (1, -5.0)):
        for seed in range(3):
            found = counts(10 * verbosity + seed, rise, (0, 9) if seed == 0 else (9,))
            write_run(tmp_path, f"dose_{verbosity}_{seed}", verbosity, f"base_{14 + 41 * verbosity}", found)
    return tmp_path


def test_slopes_are_those_of_the_counts_and_their_signs_are_told(tmp_path):
    study = study_of(tmp_path)
    rows = pool_doses(study)
    assert rows == read_jsonl(study / "doses.jsonl")
    assert [(row["verbosity"], row["rl_step"], row["arm"], row["runs"]) for row in rows] == [
        (verbosity, step, arm, runs)
        for verbosity in (0, 1)
        for step, arm, runs in ((0, "plain", 1), (9, "plain", 3), (9, "top_k", 3))
    ]
    by_hand = []
    for seed in range(3):  # least squares through T = 0.6, 1, 1.4: the ends' difference over 0.8
        found = {c.temperature: v for c, v in counts(seed, 5.0, (0, 9) if seed == 0 else (9,)).items()
                 if (c.arm, c.rl_step) == ("plain", 9)}  # fmt: skip
        mean = {t: pass_at_k(N, np.array(list(found[t].values())), 16).mean() for t in T}
        by_hand.append((mean[1.4] - mean[0.6]) / 0.8)
    plain = rows[1]
    assert plain["slope"] == pytest.approx(np.mean(by_hand)) and plain["temperatures"] == [0.6, 1.0, 1.4]
    assert plain["slope_ci95"][0] > 0 and rows[4]["slope_ci95"][1] < 0
    assert plain["slope_ci95"][0] < plain["slope"] < plain["slope_ci95"][1]
    assert (plain["forced_words"], rows[4]["forced_words"]) == (14.0, 54.0)
    assert plain["slips"]["1.4"] == pytest.approx(0.14)
    assert rows[2]["share_recovered"] is not None and rows[0]["share_recovered"] is None
    assert plain["share_recovered"] == 0.0


def test_table_and_figure(tmp_path, capsys):
    study = study_of(tmp_path)
    write_text(study / "README.md", "<!-- doses: begin -->\n<!-- doses: end -->\n")
    assert report_command.main(["--doses", str(study)]) == 0
    text = (study / "README.md").read_text()
    rows = read_jsonl(study / "doses.jsonl")
    assert doses_block(rows) in text and (study / "doses.png").stat().st_size > 5_000
    lines = [line for line in text.splitlines() if line.startswith("| base_")]
    assert len(lines) == len(rows) == 6
    assert "| base_14 | 14 | 9 | plain | 3 x 40 |" in text and "0.06 / 0.10 / 0.14" in text
    titles = [axes.get_title(loc="left") for axes in doses_figure(rows).axes]
    assert titles == ["Does heat help? Slope of plain sampling", "Slips a trace after RL",
                      "Share of the loss given back, T = 1"]  # fmt: skip
    drawn = doses_figure(rows).axes[1].get_lines()[0]
    assert list(drawn.get_xdata()) == [14.0, 54.0]


def test_runs_that_were_not_sampled_alike_and_studies_without_runs_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"holds no cells/<run>/eval/counts"):
        pool_doses(tmp_path)
    with pytest.raises(UserError, match="no dose"):
        doses_block([])
    write_run(tmp_path, "a", 0, "base_14", counts(0, 1.0))
    write_run(tmp_path, "b", 0, "base_14", counts(1, 1.0), split="validation")
    with pytest.raises(UserError, match="runs of base_14 differ in split"):
        pool_doses(tmp_path)


class TestModel:
    WRITER = Writer(max_attempts=2, solution_rate=0.5, habit=1.5)
    NUMBERS, TARGET = (6, 4, 13), 15

    def test_the_writers_attempts_are_as_often_as_the_model_says(self):
        """20,000 documents' first attempts at one problem; six standard errors of a share are at most 0.022."""
        task = Countdown()
        written = attempts(self.NUMBERS, self.TARGET, self.WRITER, task.config)
        assert sum(written.values()) == pytest.approx(1.0)
        import random

        from led_rl.tasks.countdown import solve, unfamiliarity

        rng, found = random.Random(0), dict.fromkeys(written, 0)
        solutions = solve(self.NUMBERS, task.config)[self.TARGET]
        for _ in range(20_000):  # as `Countdown.documents` draws an attempt
            chosen = rng.choice(solutions) if rng.random() < 0.5 else None
            if chosen and rng.random() >= math.exp(-1.5 * unfamiliarity(chosen)):
                chosen = None
            found[chosen or task._random_attempt(self.NUMBERS, rng, 1.5)] += 1
        for trace, probability in written.items():
            assert found[trace] / 20_000 == pytest.approx(probability, abs=0.022)

    def test_heat_of_one_changes_nothing_and_much_heat_makes_choices_equal(self):
        written = attempts(self.NUMBERS, self.TARGET, self.WRITER, CountdownConfig())
        right = sum(p for trace, p in written.items() if trace[-1][3] == self.TARGET)
        cold, plain, hot = solved(written, self.TARGET, [0.05, 1.0, 1e6])
        assert plain == pytest.approx(right)
        assert cold in (pytest.approx(0.0, abs=1e-3), pytest.approx(1.0, abs=1e-3))
        even = 0.0  # every choice equally likely, word by word
        for trace, _ in written.items():
            if trace[-1][3] == self.TARGET:
                even += math.prod(1 / len({other[: end + 1] for other in map(_spelt, written)
                                           if other[:end] == _spelt(trace)[:end]}) for end in range(6))  # fmt: skip
        assert hot == pytest.approx(even, rel=1e-3)
        assert solved(written, self.TARGET, [1.0], written, 0.4) == [pytest.approx(right)]

    def test_training_tilts_towards_what_solves(self):
        written = attempts(self.NUMBERS, self.TARGET, self.WRITER, CountdownConfig())
        same, tilted = trained(written, self.TARGET, Training()), trained(written, self.TARGET, Training(tilt=2.0))
        assert same == pytest.approx(written)
        right = [sum(p for trace, p in one.items() if trace[-1][3] == self.TARGET) for one in (same, tilted)]
        assert right[1] / (1 - right[1]) == pytest.approx(math.e**2 * right[0] / (1 - right[0]))

    def test_slips_are_a_line_through_logarithms(self):
        rows = [
            {"temperature": t, "slip_rate": math.exp(-5 + 2 * (t - 1)), "correct_sound": 0.6, "correct_slipped": 0.15}
            for t in (0.6, 1.0, 1.4)
        ]
        fitted = Slips.fitted(rows)
        assert (fitted.at_1, fitted.per_degree, fitted.cost) == pytest.approx((-5, 2, 0.75))
        with pytest.raises(UserError, match="at two temperatures at least"):
            Slips.fitted(rows[:1])

    def test_a_curve_by_hand(self):
        slips = Slips(math.log(0.1), 0.0, cost=0.5)
        found = curve(np.array([[0.5], [0.5]]), [0.6, 1.4], 2.0, slips, Writer(1, 0.5, 0.0))
        each = 0.5 * 0.95**2
        assert found.pass_at_1 == pytest.approx([each, each])
        assert found.pass_at_k == pytest.approx([1 - (1 - each) ** 16] * 2)
        assert found.slips_a_trace == pytest.approx([0.2, 0.2]) and found.slope == pytest.approx(0.0)

    def test_longer_traces_lose_more_by_heat(self):
        slips = Slips(-5.5, 2.5)
        found = expected(self.WRITER, Training(1.0, 3.0), slips, slips, {"LED": (0.05, 1.05)}, [0.6, 1.0, 1.4], 12)
        slopes = [dose["trained"]["slope"] for dose in found]
        assert slopes == sorted(slopes, reverse=True) and slopes[0] > 0 > slopes[-1]
        assert [round(dose["forced_words_an_attempt"] - found[0]["forced_words_an_attempt"]) for dose in found] == [
            0, 33, 94, 294
        ]  # fmt: skip
        assert expected_block(found).count("\n") == 5
        assert forced_words(Countdown(), self.WRITER) == pytest.approx(found[0]["forced_words_an_attempt"])


def _spelt(trace):
    return tuple(str(word) for step in trace for word in step[:3])


def test_every_random_attempt_has_its_chance():
    """A space with dead ends: chains that end in one are begun again, so what is left is shared out."""
    config = CountdownConfig(numbers=3, max_number=20, max_value=30, max_target=30, operators="+-")
    written = attempts((20, 20, 3), 3, Writer(1, 0.0, 0.0), config)
    assert sum(written.values()) == pytest.approx(1.0)
    assert all(step in operations(step[0], step[2], config) for trace in written for step in trace)
