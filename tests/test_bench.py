"""The decoding benchmark measures what it says; its timings are never asserted."""

from importlib.util import find_spec

import pytest
import torch

from led_rl.commands import bench_start
from led_rl.commands.bench_decoding import DecodingBenchConfig, main
from led_rl.decoding.bench import Workload, _bound, _completions, _grid, _useful, _wider_head, measure, measure_growth
from led_rl.decoding.led import LED
from led_rl.decoding.samplers import Plain, Truncation
from led_rl.errors import UserError
from led_rl.models.lens import Lens
from led_rl.models.loading import Policy
from led_rl.records import read_json
from led_rl.serving.bench import measure_engines

KEYS = {"model", "dtype", "arm", "baseline", "tokens_per_s", "ratio", "peak_mib", "headline"}


@pytest.fixture
def work(own_tiny, tokenizer):
    prompts = [[3, 20, 31, 42, 4, 50], [3, 25, 36, 47]]
    return Workload("tiny", Policy(own_tiny, tokenizer), prompts, 2, 6, LED(depth=2, top_k=4), 1.0)


def test_useful_tokens_end_with_the_first_end_token():
    completions = torch.tensor([[5, 1, 1, 1], [5, 6, 7, 8], [1, 0, 0, 0], [5, 6, 7, 1]])
    assert _useful(completions, [1]) == 2 + 4 + 1 + 4


def test_rows_of_the_comparison(work):
    rows = measure(work, 1, [("plain", "generate")], quick=True)
    assert all(row.keys() >= KEYS for row in rows)
    assert {(row["arm"], row["baseline"]) for row in rows if row["headline"]} == {("plain", "generate")}
    for row in rows:
        assert row["tokens_per_s"] > 0
        assert (row["ratio"] is None) == (row["baseline"] is None)
        assert row["peak_mib"] > 0


def test_a_grid_in_one_pass_counts_the_tokens_it_counts_apart(work):
    apart, together = _grid(work, Lens(work.policy.model))
    assert apart.run(3).tokens == together.run(3).tokens > 12 * 4  # twelve settings, four samples each


def test_the_bound_is_of_the_tokens_that_are_sampled(work):
    lens = Lens(work.policy.model)
    sampled = _completions(work, lens, Plain(Truncation()), 0)
    done = _bound(work, lens)(5)
    assert done.tokens == sum(len(completion.tokens) for completion in sampled)
    assert done.seconds > 0


def test_a_wider_head_draws_the_same_tokens(work):
    """Otherwise growth with the vocabulary would compare texts of different lengths."""
    lens = Lens(work.policy.model)
    state = torch.randn(3, 32)
    before = lens.logits(state, 0, True).softmax(-1)
    with _wider_head(work.policy.model, 5_000):
        wide = Lens(work.policy.model).logits(state, 0, True).softmax(-1)
    torch.testing.assert_close(wide[:, : before.shape[-1]], before)
    assert wide[:, before.shape[-1] :].sum() == 0
    torch.testing.assert_close(lens.logits(state, 0, True).softmax(-1), before)


def test_growth_names_what_it_varies(work):
    varied = {row["varied"] for row in measure_growth(work, 1)}
    assert {"batch 2", "depth 2", "depth 4", "vocabulary 49152", "vocabulary 151936"} <= varied


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_newcomer_does_not_wait_long(tmp_path, capsys):
    """Help within two seconds, the first entropies within two minutes: said, and bounded widely, for other programs may
    hold the machine."""
    output = tmp_path / "start.json"
    assert bench_start.main(["--repeats", "1", "--output", str(output)]) == 0
    record = read_json(output)
    with capsys.disabled():
        print(f"\nhelp {record['help_s']:.2f} s, first entropies {record['first_entropies_s']:.1f} s")
    assert 0 < record["help_s"] < 30 and record["help_s"] < record["first_entropies_s"] < 600
    assert record["git_sha"] and len(record["rows"]) == 1


def test_a_start_is_bounded(capsys):
    assert bench_start.main(["--limit_s", "0"]) == 2
    assert "limit_s=0.0: at least 1, and more than 0" in capsys.readouterr().err


def test_engines_side_by_side(work):
    """What of it needs no vLLM: every arm is held against led_rl's engine in the same run."""
    rows = measure_engines(work, "unread", 1, ["engine", "generate"])
    assert [(row["arm"], row["baseline"]) for row in rows] == [
        ("plain", None), ("led", "plain"), ("led_full_readouts", "plain"), ("generate", "plain"),
    ]  # fmt: skip
    (alone,) = measure_engines(work, "unread", 1, ["generate"])
    assert (alone["arm"], alone["ratio"]) == ("generate", None)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"engines": ["engine", "vlm"]}, r"engines=\['engine', 'vlm'\]: some of engine, vllm, generate, each once"),
        ({"engines": ["engine", "engine"]}, "each once"),
        ({"vllm": {"enforce_eager": True}}, "read only where vllm is among the engines"),
        ({"prompts": 0}, "prompts=0, max_new_tokens=64: each at least 1"),
    ],
)
def test_comparisons_that_make_no_sense(settings, said):
    with pytest.raises(UserError, match=said):
        DecodingBenchConfig(**settings)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is here")
def test_a_missing_vllm_is_told_before_anything_is_loaded(capsys):
    assert main(["--engines", "engine", "vllm", "--models", "checkpoints/base_countdown"]) == 2
    assert "vLLM is not installed here; pip install 'led_rl[vllm]'" in capsys.readouterr().err
