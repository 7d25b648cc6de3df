"""Inspection of tokens: its records against a slow reading of the model, and what the page carries of them."""

import json
import math

import numpy as np
import pytest
import torch
from tiny_models import SHIPPED

from led_rl.errors import UserError
from led_rl.eval.inspect import fit, inspect
from led_rl.eval.inspect_config import InspectConfig
from led_rl.lock import hold
from led_rl.models.loading import load_policy
from led_rl.report.inspected import page_inspected
from led_rl.schema import InspectedRow, InspectRecord, read_record, read_rows

PROBLEMS, SAMPLES, TOP, T = 4, 6, 3, 1.3
SETTINGS = {"problems": PROBLEMS, "samples": SAMPLES, "top_tokens": TOP, "temperature": T, "accelerator": "cpu"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("inspected")
    assert inspect(InspectConfig(str(SHIPPED), output_dir=str(home), **SETTINGS)) == home
    return home / "eval"


@pytest.fixture(scope="module")
def rows(folder):
    (path,) = (folder / "inspect").glob("*.jsonl")
    return read_rows(path, InspectedRow)


@pytest.fixture(scope="module")
def policy():
    return load_policy(str(SHIPPED))


def slow(policy, ids):
    """Layer 1..L probabilities (L, V) after `ids`, from one forward pass of the bare model, without any of our lens."""
    model = policy.model
    with torch.no_grad():
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[1:]
        normed = [model.model.norm(state[0, -1]) for state in states[:-1]] + [states[-1][0, -1]]
        logits = torch.stack([model.lm_head(state) for state in normed]).double()
    return torch.softmax(logits / T, -1).numpy()


def test_every_number_is_what_a_slow_reading_gives(rows, policy):
    """All tokens of two rows, each read with its own prefix; e, q and j* by the paper's formulas in numpy."""
    for row in (rows[0], rows[1]):
        ids = list(policy.tokenizer(row["question"])["input_ids"])
        for token in row["tokens"]:
            p = slow(policy, ids)
            final, layers = p[-1], len(p)
            assert token["entropy_final_nats"] == pytest.approx(-(final * np.log(final)).sum(), rel=2e-3, abs=1e-6)
            assert token["p1"] == pytest.approx(final.max(), rel=1e-3, abs=1e-6)
            for layer, top in zip(p, token["layers"], strict=True):
                assert [value for _, value in top] == pytest.approx(sorted(layer)[: -TOP - 1 : -1], rel=2e-3, abs=1e-6)
            support = np.argsort(-final)[: row["support"]]
            sums = np.maximum(p[::-1][: len(row["window"])][:, support], 1e-6).cumsum(0)
            candidates = sums / sums.sum(1, keepdims=True)
            nats = -(candidates * np.log(candidates)).sum(1)
            own = -(p * np.log(np.maximum(p, 1e-300))).sum(1)
            assert token["layer_nats"] == pytest.approx(own, rel=2e-3, abs=1e-6)
            assert token["coin"] == pytest.approx(1 - final.max() if token["thinking"] else 0, rel=1e-3, abs=1e-6)
            assert (token["stop_layer"] is not None) == token["thinking"]
            if token["thinking"]:
                assert nats[layers - token["stop_layer"]] == pytest.approx(nats.max(), rel=1e-4, abs=1e-7)
                by_word = {policy.tokenizer.decode([one]): at for at, one in enumerate(support)}
                assert len(token["choices"]) == TOP
                for word, share_pi, share_e, share_q in token["choices"]:
                    pi, e = final[support] / final[support].sum(), candidates[nats.argmax()]
                    q = final.max() * pi + (1 - final.max()) * e
                    at = by_word[word]
                    assert (share_pi, share_e, share_q) == pytest.approx((pi[at], e[at], q[at]), rel=2e-3, abs=1e-6)
            if row["arm"] == "plain":
                assert token["log_q"] == pytest.approx(math.log(final[token["id"]]), abs=2e-3)
            else:
                place = list(support).index(token["id"])
                pi, e = final[support][place] / final[support].sum(), candidates[nats.argmax()][place]
                q = final.max() * pi + (1 - final.max()) * e if token["thinking"] else pi
                assert token["log_q"] == pytest.approx(math.log(q), abs=2e-3)
                assert token["log_pi"] == pytest.approx(math.log(pi), abs=2e-3)
            ids.append(token["id"])


def test_pairs_share_question_sample_and_tokens_until_led_explores_or_truncates(rows):
    """Common random numbers: where the two part, LED explored, or plain sampling drew what LED's k does not hold."""
    assert [row["arm"] for row in rows] == ["plain", "led_countdown"] * PROBLEMS
    parted = 0
    for plain, led in zip(rows[::2], rows[1::2], strict=True):
        for key in ("question", "gold", "sample", "samples_parted", "problem_id"):
            assert plain[key] == led[key]
        pairs = list(zip(plain["tokens"], led["tokens"], strict=False))
        first = next((at for at, (a, b) in enumerate(pairs) if a["id"] != b["id"]), None)
        assert (first is not None) == (plain["samples_parted"] > 0)
        if first is not None:
            parted += 1
            a, b = pairs[first]
            assert a["layers"] == b["layers"] and a["p1"] == b["p1"], "the same state, read twice"
            assert a["entropy_final_nats"] == b["entropy_final_nats"] and a["choices"] == b["choices"]
        assert not any(token["explored"] for token in plain["tokens"])
        assert not any(token["explored"] for token in led["tokens"] if not token["thinking"])
    assert parted, "nothing parted, so nothing was tested"


def test_the_grammar_tells_choices_from_what_follows(rows):
    kinds = {token["kind"]: token for row in rows for token in row["tokens"]}
    assert {"operand1", "operator", "operand2", "equals", "result"} <= kinds.keys()
    for row in rows:
        for token in row["tokens"]:
            assert token["decides"] == (
                token["kind"] in ("operand1", "operator", "operand2") and len(token["legal"]) > 1
            )
    assert not kinds["equals"]["decides"] and kinds["equals"]["legal"] == ["="]


def test_the_same_settings_add_nothing_and_others_are_refused(folder):
    before = {path: path.read_bytes() for path in (folder / "inspect").glob("*.jsonl")}
    inspect(InspectConfig(str(SHIPPED), output_dir=str(folder.parent), **SETTINGS))
    assert {path: path.read_bytes() for path in (folder / "inspect").glob("*.jsonl")} == before
    assert len(read_record(folder / "inspect.json", InspectRecord)["sessions"]) == 1, "nothing was done"
    with pytest.raises(UserError, match="problems=4, and 5 is asked for"):
        inspect(InspectConfig(str(SHIPPED), output_dir=str(folder.parent), **{**SETTINGS, "problems": 5}))


def test_a_second_command_on_the_folder_ends_at_once(tmp_path):
    """Two inspections each wrote the record as they had read it at their start."""
    with hold(tmp_path / "eval", "evaluation"), pytest.raises(UserError, match="is being written by evaluation"):
        inspect(InspectConfig(str(SHIPPED), output_dir=str(tmp_path), **SETTINGS))
    assert not list((tmp_path / "eval").glob("inspect*"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"arm": "plain"}, "name a LED arm"),
        ({"arm": "explore_final_countdown"}, "name a LED arm"),
        ({"top_tokens": 100_000}, "above the vocabulary"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(changed, said, tmp_path):
    with pytest.raises(UserError, match=said):
        inspect(InspectConfig(str(SHIPPED), output_dir=str(tmp_path), **{**SETTINGS, **changed}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("changed", [{"problems": 0}, {"temperature": 0.0}, {"max_megabytes": 0}, {"split": "all"}])
def test_settings_without_sense_are_refused(changed):
    with pytest.raises(UserError, match=next(iter(changed))):
        InspectConfig("x", **changed)


def test_a_file_that_is_too_large_loses_the_tables_of_the_surest_tokens(rows):
    copies = json.loads(json.dumps(rows))
    size = sum(len(json.dumps(row, ensure_ascii=False).encode()) + 1 for row in copies)
    fit(copies, size)
    assert copies == json.loads(json.dumps(rows)), "what fits is left alone"
    fit(copies, 0.6 * size)
    assert sum(len(json.dumps(row, ensure_ascii=False).encode()) + 1 for row in copies) <= 0.6 * size
    tokens = [token for row in copies for token in row["tokens"]]
    lost = [token["entropy_final_nats"] for token in tokens if token["layers"] is None]
    kept = [token["entropy_final_nats"] for token in tokens if token["layers"] is not None]
    assert lost and kept and max(lost) <= min(kept)


def test_the_page_carries_what_the_records_hold(folder, rows):
    """Unpacked as the script unpacks it, every token is the record's."""
    packed = json.loads(json.dumps(page_inspected(folder)))
    strings = packed["strings"]
    assert packed["arms"] == ["plain", "led_countdown (k=4)"]
    for view, row in zip(packed["views"], rows, strict=True):
        assert packed["problems"][view["problem"]]["question"] == row["question"]
        for token, kept in zip(view["tokens"], row["tokens"], strict=True):
            assert strings[token["t"]] == kept["text"] and token["j"] == kept["stop_layer"]
            assert (token.get("x", 0), token["c"], token["n"]) == (
                int(kept["explored"]),
                kept["coin"],
                kept["layer_nats"],
            )
            choices = [(strings[token["s"][at]], *token["s"][at + 1 : at + 4]) for at in range(0, len(token["s"]), 4)]
            assert choices == kept["choices"]
            pairs = [[(strings[layer[at]], layer[at + 1]) for at in range(0, len(layer), 2)] for layer in token["l"]]
            assert pairs == kept["layers"]


def test_a_folder_without_an_inspection_has_none(tmp_path):
    assert page_inspected(tmp_path) is None
