"""The diagnosis at decision tokens: what is measured against slow twins, what is scored by hand, what is on disk."""

import copy
import dataclasses
import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import slow
import torch
import yaml
from tiny_models import moved

from led_rl.decoding.controls import temper
from led_rl.decoding.led import PRESETS
from led_rl.decoding.randomness import sample_key
from led_rl.errors import UserError
from led_rl.eval.decisions import DecisionsConfig, Prompted, check_words, measure
from led_rl.eval.diagnose import diagnose
from led_rl.lock import hold
from led_rl.models.loading import Policy
from led_rl.models.prompting import encode_prompts
from led_rl.models.tokenizer import word_tokenizer
from led_rl.records import read_json, read_jsonl
from led_rl.scores.bootstrap import columns_ci, quantity_rng
from led_rl.scores.decision_scores import aggregate, estimates
from led_rl.tasks.countdown import Countdown, CountdownConfig
from led_rl.tasks.countdown_trace import legal_next

ROOT = Path(__file__).parents[1]
BUDGET, TEMPERATURE = 40, 1.2
SMALL = DecisionsConfig(
    ckpt="", num_problems=3, num_samples=2, positions=4, rollouts=2, temperature=TEMPERATURE, seed=7
)


# What is measured.


@pytest.fixture(scope="module")
def measured(shipped):
    """Rows of the shipped base in float64, beside a base that was moved; with what made them."""
    policy = Policy(copy.deepcopy(shipped.model).double(), shipped.tokenizer)
    base = Policy(moved(copy.deepcopy(shipped.model), 3, 0.02).double(), shipped.tokenizer)
    task = Countdown()
    problems = task.problems("validation", SMALL.num_problems, SMALL.seed)
    prompts = encode_prompts(shipped.tokenizer, [task.prompt(problem) for problem in problems])
    asked = [Prompted(problem, ids) for problem, ids in zip(problems, prompts, strict=True)]
    return measure(task, asked, policy, base, SMALL, BUDGET), asked, policy, base, task


def traces(rows):
    """(problem id, sample) -> its rows, in order."""
    found = {}
    for row in rows:
        found.setdefault((row["problem_id"], row["sample"]), []).append(row)
    return found


def ids_of(policy, words):
    return policy.tokenizer.convert_tokens_to_ids(words)


def test_traces_are_plain_samples_with_their_grammar(measured):
    rows, asked, policy, _, task = measured
    own = traces(rows)
    assert len(own) == 6
    for one in asked:
        for sample in range(2):
            key = sample_key(SMALL.seed, one.problem.id, sample)
            wanted = slow.generate(
                policy.model, policy.model.model.layers, list(one.prompt), key, BUDGET, policy.end_tokens, None,
                truncation=slow.Settings(top_k=0, temperature=TEMPERATURE),
            )  # fmt: skip
            found = own[one.problem.id, sample]
            words = [row["word"] for row in found]
            assert words == policy.tokenizer.convert_ids_to_tokens(wanted.tokens)[: len(words)]
            assert words[-1] == "</think>" or len(words) == len(wanted.tokens)
            assert [row["position"] for row in found] == list(range(len(words)))
            for position, row in enumerate(found):
                place = legal_next(one.problem, words[:position], task.config)
                assert (row["kind"], tuple(row["legal"])) == (place.kind, place.legal)
    assert {"operand1", "operator", "operand2", "result", "verdict"} <= {row["kind"] for row in rows}


def test_readouts_and_every_e_equal_slow_twins(measured):
    """From whole passes of both models, at every position of two traces."""
    rows, asked, policy, base, _ = measured
    layers = len(policy.model.model.layers)
    prompts = {one.problem.id: list(one.prompt) for one in asked}
    explored = 0
    for (problem, _), found in list(traces(rows).items())[:2]:
        ids = prompts[problem] + ids_of(policy, [row["word"] for row in found])
        states = slow.layer_states(policy.model, policy.model.model.layers, ids)
        logits = [slow.llama_logits(policy.model, states, depth, True) for depth in range(layers)]
        with torch.no_grad():
            beside = base.model(torch.tensor([ids])).logits[0].tolist()
        for row in found:
            at = len(prompts[problem]) - 1 + row["position"]
            here = [layer[at] for layer in logits]
            twin = slow.led(here[: layers // 2], slow.Settings(layers // 2, 4, TEMPERATURE, final_norm=True))
            tokens = sorted(twin.pi)
            assert ids_of(policy, row["support"]) == tokens
            assert row["p1"] == pytest.approx(twin.p1, rel=1e-5)
            assert row["explores"] == pytest.approx(twin.coin, abs=1e-5)
            for layer in range(1, layers + 1):
                p = slow.softmax(here[layers - layer], TEMPERATURE)
                mass = math.fsum(p[token] for token in tokens)
                assert row["entropy_nats"][layer - 1] == pytest.approx(slow.entropy(p), abs=1e-4)
                assert row["mass_on_support"][layer - 1] == pytest.approx(mass, rel=1e-4)
                assert row["readouts"][layer - 1] == pytest.approx([p[token] / mass for token in tokens], abs=1e-5)
            assert row["e"]["led"] == pytest.approx([twin.e[token] for token in tokens], abs=1e-5)
            p = slow.softmax(beside[at], TEMPERATURE)
            total = math.fsum(p[token] for token in tokens)
            assert row["e"]["explore_base"] == pytest.approx([p[token] / total for token in tokens], abs=1e-5)
            flat = torch.tensor([slow.entropy(list(twin.e.values()))], dtype=torch.float64)
            pi = torch.tensor([[twin.pi[token] for token in tokens]], dtype=torch.float64)
            assert row["e"]["explore_final"] == pytest.approx(temper(pi, flat)[0].tolist(), abs=1e-4)
            explored += (twin.stop or 0) > 0
    assert explored > 5
    assert PRESETS["countdown"].top_k == 4


def test_a_preset_with_the_layers_own_coin_is_diagnosed_by_that_coin(measured):
    """`--preset latent` was on record, and positions were weighed by the paper's coin, 1 - p1."""
    rows, asked, policy, _, task = measured
    config = dataclasses.replace(SMALL, preset="latent", num_problems=1, positions=1)
    found = measure(task, asked[:1], policy, None, config, BUDGET)
    layers, prompt = len(policy.model.model.layers), list(asked[0].prompt)
    for row, published in zip(found, rows, strict=False):
        assert (row["word"], row["p1"]) == (published["word"], published["p1"])
        assert row["explores"] == pytest.approx(1 - max(row["e"]["led"]), abs=1e-5)
    ids = prompt + ids_of(policy, [row["word"] for row in next(iter(traces(found).values()))])
    states = slow.layer_states(policy.model, policy.model.model.layers, ids)
    here = [slow.llama_logits(policy.model, states, depth, True)[len(prompt) - 1] for depth in range(layers)]
    settings = slow.Settings(layers // 2, 4, TEMPERATURE, final_norm=True, latent_coin=True)
    assert found[0]["explores"] == pytest.approx(slow.led(here[: layers // 2], settings).coin, abs=1e-5)
    weighed = aggregate([{"checkpoint": "c", "rl_step": 5, **row} for row in found])
    (everything,) = [row for row in weighed if row["kind"] == "all"]
    assert everything["explored_rate"]["mean"] == pytest.approx(np.mean([row["explores"] for row in found]))


def test_values_are_shares_of_plain_continuations_that_solve(measured):
    """Each candidate's continuations by a loop without a cache, with the budget the trace had left."""
    rows, asked, policy, _, task = measured
    valued = [row for row in rows if row["value"] is not None]
    assert len(valued) == SMALL.positions
    own, of = traces(rows), {one.problem.id: one for one in asked}
    for row in valued:
        assert row["kind"] in ("operand1", "operator", "operand2")
        assert len(row["legal"]) > 1
    for row in valued[:2]:
        one = of[row["problem_id"]]
        before = [other["word"] for other in own[row["problem_id"], row["sample"]][: row["position"]]]
        for word, value in zip(row["support"], row["value"], strict=True):
            solved = 0
            for rollout in range(SMALL.rollouts):
                where = f"value/{one.problem.id}/{row['sample']}/{row['position']}"
                rest = slow.generate(
                    policy.model, policy.model.model.layers, [*one.prompt, *ids_of(policy, [*before, word])],
                    sample_key(SMALL.seed, where, rollout), BUDGET - row["position"] - 1, policy.end_tokens, None,
                    truncation=slow.Settings(top_k=0, temperature=TEMPERATURE),
                )  # fmt: skip
                text = " ".join([*before, word, policy.tokenizer.decode(rest.tokens, skip_special_tokens=True)])
                solved += task.grade(one.problem, text).correct
            assert value == solved / SMALL.rollouts


def test_a_continuation_has_what_the_trace_had_left(measured):
    """Near temperature 0 the favourite's continuation is the trace: with a budget that ends at its closing brace it
    solves the problem, with one token less it does not."""
    _, _, policy, _, task = measured
    config = DecisionsConfig(ckpt="", positions=1000, rollouts=1, temperature=0.01)
    for problem in task.problems("validation", 30):
        (prompt,) = encode_prompts(policy.tokenizer, [task.prompt(problem)])
        key = sample_key(config.seed, problem.id, 0)
        cold = slow.Settings(top_k=0, temperature=config.temperature)
        whole = slow.generate(
            policy.model, policy.model.model.layers, prompt, key, BUDGET, policy.end_tokens, None, truncation=cold
        ).tokens
        words = policy.tokenizer.convert_ids_to_tokens(whole)
        if task.grade(problem, " ".join(words[:-1])).correct:
            break
    needed = words.index("}") + 1
    for budget, solves in ((needed, 1.0), (needed - 1, 0.0)):
        rows = measure(task, [Prompted(problem, prompt)], policy, None, config, budget)
        values = [row["value"][row["support"].index(row["word"])] for row in rows if row["value"] is not None]
        assert len(values) > 2
        assert set(values) == {solves}


def test_values_do_not_depend_on_how_many_positions_are_valued(measured):
    rows, asked, policy, base, task = measured
    fewer = measure(task, asked, policy, base, DecisionsConfig(**{**vars(SMALL), "positions": 2}), BUDGET)
    kept = [(row["value"], other["value"]) for row, other in zip(fewer, rows, strict=True) if row["value"] is not None]
    assert len(kept) == 2
    assert all(ours == theirs for ours, theirs in kept)


def test_words_that_are_no_tokens_are_refused():
    task = Countdown(CountdownConfig(max_number=15, max_value=60, max_target=50))
    with pytest.raises(ValueError, match=r"no token for \['51', '52', .* a token a word"):
        check_words(word_tokenizer(Countdown(CountdownConfig(max_value=50, max_target=50)).vocabulary(), 64), task)
    check_words(word_tokenizer(Countdown().vocabulary(), 64), task)


# What is scored.


def position(problem, p1, pi, e, value=None, legal=("a", "b"), kind="operator", checkpoint="c"):
    other = [0.1, 0.2, 0.3, 0.4]
    return {
        "checkpoint": checkpoint, "rl_step": 5, "problem_id": problem, "sample": 0, "position": 0, "kind": kind,
        "word": "a", "legal": list(legal), "support": ["a", "b", "x", "y"], "p1": p1, "entropy_nats": [1.0, 1 - p1],
        "mass_on_support": [0.5, 0.9], "readouts": [other, pi], "value": value,
        "e": {"led": e, "explore_final": pi},
    }  # fmt: skip


ROWS = [
    position("p", 0.5, [0.7, 0.3, 0.0, 0.0], [0.4, 0.4, 0.2, 0.0], [0.25, 0.75, 0.0, 0.5]),
    position("p", 0.9, [0.0, 1.0, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0], [0.0, 0.5, 0.25, 0.5]),
    position("q", 0.8, [1.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.5]),
    position("q", 0.6, [0.5, 0.5, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0], legal=("b",), kind="result"),
    position("q", 0.4, [0.5, 0.5, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0], legal=(), kind="off"),
    position("q", 1.0, [1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], legal=("a", "x"), kind="again"),
]


def row_of(rows, kind, source):
    (row,) = [row for row in rows if (row["kind"], row["source"]) == (kind, source)]
    return row


def means(estimated):
    return {name: one["mean"] for name, one in estimated.items()}


def test_scores_by_hand():
    rows = aggregate(ROWS)
    decision = row_of(rows, "decision", "led")
    assert (decision["positions"], decision["problems"], decision["valued_positions"]) == (3, 2, 2)
    assert decision["token_share"] == 0.5
    assert decision["explored_share"] == pytest.approx((0.5 + 0.1 + 0.2) / (0.5 + 0.1 + 0.2 + 0.4 + 0.6))
    assert decision["p1"]["mean"] == pytest.approx((0.5 + 0.9 + 0.8) / 3)
    assert decision["explored_rate"]["mean"] == pytest.approx(1 - (0.5 + 0.9 + 0.8) / 3)
    assert decision["entropy_final_nats"]["mean"] == pytest.approx((0.5 + 0.1 + 0.2) / 3)  # the last layer's
    assert decision["legal_words"]["mean"] == 2
    assert decision["legality"]["by_position"]["legal_mass"]["mean"] == pytest.approx((0.8 + 0.5 + 0.5) / 3)
    # First position: the favourite is `a` (0.25); `b` and `y` are good and better. Second: `b` (0.5); `x` is good but
    # worse, `y` as good.
    first = {"value": 0.4 * 0.25 + 0.4 * 0.75, "good_mass": 0.8, "as_good_mass": 0.8}
    first |= {"alternatives_mass": 0.4, "better_alternatives_mass": 0.4}
    second = {"value": 0.5 * 0.5 + 0.5 * 0.25, "good_mass": 1.0, "as_good_mass": 0.5}
    second |= {"alternatives_mass": 0.5, "better_alternatives_mass": 0.0}
    worth = decision["worth"]
    assert means(worth["by_position"]) == pytest.approx({name: (first[name] + second[name]) / 2 for name in first})
    weighted = {name: (0.5 * first[name] + 0.1 * second[name]) / 0.6 for name in first}
    assert means(worth["by_exploration"]) == pytest.approx(weighted)
    assert worth["by_position"]["value"]["ci95"] is None  # both valued positions are of one problem
    gain = decision["minus"]["pi"]["worth"]["by_position"]["value"]["mean"]
    assert gain == pytest.approx((0.4 - (0.7 * 0.25 + 0.3 * 0.75) + 0.375 - 0.5) / 2)
    assert decision["minus"].keys() == {"pi", "explore_final", "uniform"}
    assert means(row_of(rows, "decision", "argmax")["worth"]["by_position"])["as_good_mass"] == 1
    assert means(row_of(rows, "decision", "uniform")["worth"]["by_position"])["value"] == pytest.approx(0.34375)
    layer = row_of(rows, "decision", "layer_1")
    assert (layer["entropy_nats"], layer["mass_on_support"]) == (1.0, 0.5)
    assert means(layer["worth"]["by_position"])["value"] == pytest.approx((0.375 + 0.375) / 2)


def test_kinds_are_told_apart():
    rows = aggregate(ROWS)
    forced = row_of(rows, "forced", "led")
    assert (forced["positions"], forced["worth"]) == (1, None)
    assert forced["legality"]["by_position"]["legal_mass"]["mean"] == 0
    again = row_of(rows, "again", "pi")
    assert again["legality"]["by_position"]["legal_mass"]["mean"] == 1
    assert again["legality"]["by_exploration"]["legal_mass"] == {"mean": None, "ci95": None}  # it never explores there
    assert row_of(rows, "all", "pi")["explored_rate"]["mean"] == pytest.approx(1.8 / 6)
    assert row_of(rows, "off", "pi")["legality"] is None
    assert {row["source"] for row in rows if row["kind"] in ("off", "all")} == {"pi"}
    sources = {row["source"] for row in rows if row["kind"] == "decision"}
    assert sources == {"pi", "led", "explore_final", "uniform", "argmax", "layer_1"}
    json.dumps(rows, allow_nan=False)


def test_scores_of_a_checkpoint_do_not_depend_on_others():
    others = [{**row, "checkpoint": "d", "p1": row["p1"] / 2} for row in ROWS]
    assert aggregate([*others, *ROWS])[-len(aggregate(ROWS)) :] == aggregate(ROWS)


class TestEstimates:
    def test_with_as_many_positions_everywhere_it_is_the_bootstrap_of_problem_means(self):
        values = np.random.default_rng(0).random((30, 4))
        problems = np.repeat(np.arange(30), 4)
        (one,) = estimates({"x": values.ravel()}, np.ones(120), problems, ("a",)).values()
        assert one["mean"] == pytest.approx(values.mean())
        direct = columns_ci(values.mean(1, keepdims=True), quantity_rng("a"))[0]
        assert one["ci95"] == pytest.approx(direct.tolist(), abs=1e-12)

    def test_a_ratio_agrees_with_a_direct_bootstrap_of_it(self):
        """400 problems of 1 to 9 positions with weights: bounds within a tenth of the interval's width; 4,000 direct
        resamples put a bound off by about 0.03 widths, and linearisation by less."""
        rng = np.random.default_rng(1)
        problems = np.repeat(np.arange(400), rng.integers(1, 10, 400))
        weights = rng.random(len(problems)) ** 3
        values = rng.random(len(problems)) + 0.3 * rng.random(400)[problems]
        (one,) = estimates({"x": values}, weights, problems, ("b",)).values()
        assert one["mean"] == pytest.approx(np.average(values, weights=weights))
        n, d = np.bincount(problems, weights * values), np.bincount(problems, weights)
        drawn = rng.integers(400, size=(4_000, 400))
        direct = np.quantile(n[drawn].sum(1) / d[drawn].sum(1), [0.025, 0.975])
        width = direct[1] - direct[0]
        assert one["ci95"] == pytest.approx(direct.tolist(), abs=width / 10)

    def test_a_paired_difference_is_sharper_than_the_levels(self):
        rng = np.random.default_rng(2)
        problems = np.repeat(np.arange(60), 3)
        level = rng.random(60)[problems]
        gain = 0.1 + 0.01 * rng.random(180)
        found = estimates({"level": level, "gain": (level + gain) - level}, np.ones(180), problems, ("c",))
        widths = {name: one["ci95"][1] - one["ci95"][0] for name, one in found.items()}
        assert widths["gain"] < widths["level"] / 20


# What is on disk.


def config_of(run, **more):
    return DecisionsConfig(ckpt=str(run.path), num_problems=4, positions=3, rollouts=2, accelerator="cpu", **more)


def files(run):
    return {path.name: path.read_bytes() for path in (run.path / "eval").glob("decisions*.jsonl")}


def test_a_run_is_diagnosed_once_and_grows(tiny_run):
    """Checkpoint by checkpoint, all at once, and again: the same rows; what is there is not measured again."""
    assert diagnose(config_of(tiny_run, steps=[0, 4])) == tiny_run.path
    before = read_jsonl(tiny_run.path / "eval" / "decisions_positions.jsonl")
    assert [row["checkpoint"] for row in before] == sorted(row["checkpoint"] for row in before)
    assert {row["rl_step"] for row in before} == {0, 4}
    # Rows of a checkpoint that the record does not name are of an interrupted write: they are made again.
    record = read_json(tiny_run.path / "eval" / "decisions.json")
    assert record["models"].keys() == {"base", "checkpoint-4"}
    diagnose(config_of(tiny_run))
    grown = read_jsonl(tiny_run.path / "eval" / "decisions_positions.jsonl")
    assert grown[: len(before)] == before
    assert {row["rl_step"] for row in grown} == {0, 2, 4}
    made = files(tiny_run)
    written_ns = (tiny_run.path / "eval" / "decisions_positions.jsonl").stat().st_mtime_ns
    diagnose(config_of(tiny_run))
    assert files(tiny_run) == made
    assert (tiny_run.path / "eval" / "decisions_positions.jsonl").stat().st_mtime_ns == written_ns
    # At step 0 the base is the policy, so what it says is pi_S.
    for row in before:
        if row["rl_step"] == 0:
            assert row["e"]["explore_base"] == pytest.approx(row["readouts"][-1], abs=1e-5)
    assert any(
        row["e"]["explore_base"] != pytest.approx(row["readouts"][-1], abs=1e-3) for row in grown if row["rl_step"] == 4
    )
    scores = read_jsonl(tiny_run.path / "eval" / "decisions.jsonl")
    assert {(row["checkpoint"], row["source"]) for row in scores if row["kind"] == "decision"} >= {
        (name, source) for name in ("base", "checkpoint-2", "checkpoint-4") for source in ("pi", "led", "explore_base")
    }


def test_other_settings_or_weights_are_refused(tiny_run):
    diagnose(config_of(tiny_run, steps=[4]))
    made = files(tiny_run)
    with pytest.raises(ValueError, match=r"holds a diagnosis with rollouts=2, and 3 is asked for"):
        diagnose(DecisionsConfig(**{**vars(config_of(tiny_run, steps=[4])), "rollouts": 3}))
    path = tiny_run.path / "checkpoint-4" / "model.safetensors"
    path.write_bytes((tiny_run.path / "checkpoint-2" / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match="other weights under the name 'checkpoint-4'"):
        diagnose(config_of(tiny_run, steps=[4]))
    assert files(tiny_run) == made


def test_a_second_command_on_the_folder_ends_at_once(tiny_run):
    """Two diagnoses each wrote the record as they had read it at their start: one lost the other's checkpoints."""
    folder = tiny_run.path / "eval"
    with hold(folder, "evaluation"), pytest.raises(UserError, match="is being written by evaluation"):
        diagnose(config_of(tiny_run, steps=[4]))
    assert not list(folder.glob("decisions*"))


def test_another_task_is_refused(tiny_run):
    config = {**tiny_run.config(), "task": {"name": "reasoning_gym:chain_sum", "countdown": {}, "options": {}}}
    tiny_run.config_file.write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match=r"'reasoning_gym:chain_sum': only countdown's traces have a grammar"):
        diagnose(config_of(tiny_run))
    assert not (tiny_run.path / "eval").exists()


def test_a_model_without_a_run_is_diagnosed_without_a_base(tiny_run, tmp_path):
    path = tmp_path / "base"
    (path / "config.yaml").write_text(yaml.safe_dump({"model": {"layers": 4}, "countdown": {"max_number": 20}}))
    settings = {"ckpt": str(path), "output_dir": str(tmp_path / "out"), "max_new_tokens": 8}
    diagnose(DecisionsConfig(**{**vars(config_of(tiny_run)), **settings}))
    rows = read_jsonl(tmp_path / "out" / "eval" / "decisions_positions.jsonl")
    assert rows[0]["e"].keys() == {"led", "explore_final"}
    assert rows[0]["rl_step"] is None


def test_the_script_makes_records_and_a_figure(tiny_run, capsys):
    spec = importlib.util.spec_from_file_location("diagnose_script", ROOT / "scripts" / "diagnose.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    line = ["--ckpt", tiny_run.path, "--steps", "[0,4]", "--num_problems", 4, "--positions", 3, "--rollouts", 2]
    assert module.main([*map(str, line), "--accelerator", "cpu"]) == 0
    assert capsys.readouterr().out.strip() == f"report: {tiny_run.path / 'report' / 'index.html'}"
    assert (tiny_run.path / "report" / "decisions.png").stat().st_size > 10_000
    assert "Decision tokens" in (tiny_run.path / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("field", "value"),
    [("positions", 0), ("rollouts", 0), ("preset", "papre"), ("split", "tset"), ("precision", "8"), ("temperature", 0)],
)
def test_bad_settings_are_named(field, value):
    with pytest.raises(ValueError, match=f"{field}={value!r}"):
        DecisionsConfig(ckpt="x", **{field: value})
