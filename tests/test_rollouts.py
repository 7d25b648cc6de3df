"""Rollouts by LED in TRL's trainer: what training is told of them, and that it changes nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from tiny_models import tiny_llama
from transformers import LlamaForCausalLM
from trl import GRPOConfig, GRPOTrainer

from led_rl.errors import UserError
from led_rl.rl import rollout_func
from led_rl.rl.config import CHECKPOINTING, OLD_CHECKPOINTING, RolloutConfig
from led_rl.rl.rollout_decoders import Sampling, check_decoder
from led_rl.rl.trainer import EngineGRPOTrainer, equal_rows
from led_rl.tasks.countdown import Countdown

LED = "led_countdown"
ROOT = Path(__file__).resolve().parents[1]


# transformers before 5.23, which vLLM pins, has the older name.
CHECKPOINTS = CHECKPOINTING if hasattr(GRPOConfig, CHECKPOINTING) else OLD_CHECKPOINTING


def length(completions, **columns):
    """A reward that a random model can earn: the share of distinct words."""
    return [len(set(text.split())) / (1 + len(text.split())) for text in completions]


def arguments(folder, **changes):
    given = {
        "output_dir": str(folder), "per_device_train_batch_size": 8, "num_generations": 4, "max_steps": 2,
        "max_completion_length": 12, "learning_rate": 1e-2, "bf16": False, "use_cpu": True, "logging_steps": 1,
        "report_to": "none", "save_strategy": "no", "disable_tqdm": True, "loss_type": "grpo", "beta": 0.0,
        "temperature": 1.0, "top_k": 0, "top_p": 1.0, CHECKPOINTS: False, "dataloader_pin_memory": False,
    }  # fmt: skip
    return GRPOConfig(**given | changes)


def parts(tokenizer, dtype=torch.float32):
    task = Countdown()
    rows = [{"prompt": task.prompt(problem)} for problem in task.problems("train", 8)]
    model = tiny_llama(dtype, tokenizer).requires_grad_(True)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return {
        "model": model,
        "processing_class": tokenizer,
        "train_dataset": Dataset.from_list(rows),
        "reward_funcs": [length],
    }


@pytest.fixture
def trainer(tokenizer, tmp_path):
    def build(rollout=None, dtype=torch.float32, equal_once=True, **changes):
        return EngineGRPOTrainer(
            **parts(tokenizer, dtype),
            args=arguments(tmp_path, **changes),
            rollout=rollout or RolloutConfig(),
            equal_once=equal_once,
        )

    return build


def history(trainer):
    trainer.train()
    times = ("step_time", "rollout_time", "train_runtime", "train_samples_per_second", "train_steps_per_second")
    logs = [{k: v for k, v in row.items() if k not in times} for row in trainer.state.log_history]
    return logs, [parameter.detach().clone() for parameter in trainer.model.parameters()]


def scored(trainer):
    """A batch as the loss is given it, and the inputs it was made of."""
    inputs = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    return trainer._generate_and_score_completions(inputs)


class TestCorrection:
    def test_a_coin_that_always_exploits_leaves_the_parents_loss_as_it_is(self, trainer, tokenizer):
        """With k = V and such a coin q is the policy: every ratio is 1, and training is plain training, to the bit."""
        forced = f"{LED}@top_k={len(tokenizer)}@coin_factor=1e-300"
        logs, weights = history(trainer(RolloutConfig(decoder=forced, correction="token")))
        plain_logs, plain_weights = history(trainer())
        for row, plain in zip(logs, plain_logs, strict=True):
            if "sampling/ratio_max" in row:
                assert row["sampling/ratio_max"] == row["sampling/ratio_mean"] == 1.0
                assert row["sampling/explored_rate"] == 0.0
            own = {k: v for k, v in row.items() if k in plain}
            assert own == plain
        assert all(torch.equal(a, b) for a, b in zip(weights, plain_weights, strict=True))
        start = tiny_llama(torch.float32, tokenizer).parameters()
        assert not all(torch.equal(a, b) for a, b in zip(weights, start, strict=True)), "nothing was trained"

    @pytest.mark.parametrize(
        ("loss", "correction"),
        [
            ("grpo", "sequence"),
            *((loss, "token") for loss in ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo")),
        ],
    )
    def test_it_is_what_trl_multiplies_for_vllm(self, trainer, loss, correction):
        """The ratio in the advantages gives the loss that TRL gets by multiplying the loss of each token."""
        rollout = RolloutConfig(decoder=LED, correction=correction, clip=1.2)
        ours = trainer(rollout, loss_type=loss, steps_per_generation=2, num_generations=4)
        batch = scored(ours)
        advantages = batch["advantages"]
        assert advantages.ndim == 2
        plain = trainer(RolloutConfig(decoder=LED, record=True), loss_type=loss, steps_per_generation=2)
        parent = scored(plain)
        assert parent["advantages"].ndim == 1 and torch.equal(parent["completion_ids"], batch["completion_ids"])
        moved = torch.Generator().manual_seed(0)  # off-policy, so that clipping and its signs matter
        old = 0.4 * torch.randn(batch["completion_ids"].shape, generator=moved) - 3.0
        for one in (batch, parent):
            one["old_per_token_logps"] = old
        ratio = torch.where(
            parent["advantages"].unsqueeze(1) == 0, 1.0, advantages / parent["advantages"].unsqueeze(1)
        ).expand(-1, advantages.shape[1])
        assert ratio.max() == pytest.approx(1.2) and ratio.min() < 0.95
        plain.use_vllm = plain.vllm_importance_sampling_correction = True
        parent["importance_sampling_ratio"] = ratio
        for one in (ours, plain):
            one.current_gradient_accumulation_steps = 1
        torch.testing.assert_close(
            ours._compute_loss(ours.model, batch), plain._compute_loss(plain.model, parent), rtol=1e-5, atol=1e-7
        )

    def test_diagnostics_are_logged_whether_or_not_it_corrects(self, trainer):
        corrected, _ = history(trainer(RolloutConfig(decoder=LED, correction="token")))
        looked_at, _ = history(trainer(RolloutConfig(decoder=LED, record=True)))
        first, second = corrected[0], looked_at[0]
        for row in (first, second):
            assert 0.8 < row["sampling/ratio_mean"] < 1.2
            assert 1.0 < row["sampling/ratio_max"] < 50
            assert 0.2 < row["sampling/effective_sample_rate"] < 1.0
            assert 0.2 < row["sampling/explored_rate"] < 1.0  # a random model is unsure
        # The same rollouts, and another gradient.
        assert first["reward"] == second["reward"] and first["grad_norm"] != second["grad_norm"]
        assert all(row.get("sampling/ratio_mean") is None for row in history(trainer(RolloutConfig(decoder=LED)))[0])

    @pytest.mark.parametrize("correction", ["token", "sequence"])
    def test_a_step_whose_completions_are_all_masked_has_no_diagnostics(self, trainer, correction):
        """It was a ZeroDivisionError: with mask_truncated_completions no token counts where every completion is cut."""
        rollout = RolloutConfig(decoder=LED, correction=correction)
        logs, _ = history(trainer(rollout, mask_truncated_completions=True, max_completion_length=2, max_steps=1))
        assert "reward" in logs[0] and not any(name.startswith("sampling/ratio") for name in logs[0])

    def test_rollouts_are_the_same_with_and_without_records(self, trainer):
        batches = [scored(trainer(RolloutConfig(decoder=LED, record=record))) for record in (False, True)]
        assert torch.equal(batches[0]["completion_ids"], batches[1]["completion_ids"])

    def test_a_temperature_that_moves_moves_the_loss_with_it(self, trainer):
        one = trainer(RolloutConfig())
        one.multiply_temperature(0.5)
        batch = scored(one)
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
        kept = batch["completion_ids"].shape[1]
        with torch.no_grad():
            found = one._get_per_token_logps_and_entropies(one.model, ids, mask, kept)[0]
            logits = one.model(input_ids=ids, attention_mask=mask).logits[:, -kept - 1 : -1] / 0.5
        expected = logits.log_softmax(-1).gather(-1, batch["completion_ids"].unsqueeze(-1)).squeeze(-1)
        real = batch["completion_mask"].bool()
        torch.testing.assert_close(found[real], expected[real], rtol=1e-4, atol=1e-5)


class TestEqualOnce:
    def test_distinct_rows_in_order(self):
        rows = torch.tensor([[1, 2], [3, 4], [1, 2], [1, 3], [3, 4]])
        first, place = equal_rows(rows)
        assert first.tolist() == [0, 1, 3] and place.tolist() == [0, 1, 0, 2, 1]
        assert torch.equal(rows[first][place], rows)

    def test_the_loss_and_its_gradient_are_the_same(self, trainer, tokenizer):
        """In float64, with every completion there twice: within rounding, what TRL computes row by row."""
        found = []
        for once in (True, False):
            one = trainer(dtype=torch.float64, equal_once=once)
            batch = scored(one)
            half = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
            batch = {k: v[half] if isinstance(v, torch.Tensor) and v.ndim else v for k, v in batch.items()}
            batch["advantages"] = torch.linspace(-1, 1.5, 8)
            rows = []
            one.model.model.embed_tokens.register_forward_hook(
                lambda _, given, __, rows=rows: rows.append(len(given[0]))
            )
            one.current_gradient_accumulation_steps = 1
            loss = one._compute_loss(one.model, batch)
            loss.backward()
            found.append((loss.item(), rows, [parameter.grad for parameter in one.model.parameters()]))
        (loss, rows, gradients), (each_loss, each_rows, each_gradients) = found
        assert (rows, each_rows) == ([4], [8])
        assert loss == pytest.approx(each_loss, rel=1e-6)
        scale = max(float(gradient.abs().max()) for gradient in each_gradients)
        assert scale > 1e-3
        for ours, theirs in zip(gradients, each_gradients, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6 * scale)

    def test_a_model_with_dropout_computes_every_row(self, tokenizer, tmp_path):
        given = parts(tokenizer)
        given["model"].config.attention_dropout = 0.1
        one = EngineGRPOTrainer(**given, args=arguments(tmp_path), rollout=RolloutConfig())
        assert not one.equal_once


class Quieter(LlamaForCausalLM):
    """A family that does to its logits what TRL does not know."""

    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        if output.logits is not None:
            output.logits = output.logits * 0.4
        return output


def test_a_family_that_trl_reads_otherwise_is_refused(tokenizer, tmp_path):
    """It was trained in silence with other log-probabilities than its own."""
    given = parts(tokenizer)
    given["model"].__class__ = Quieter
    with pytest.raises(UserError, match=r"Quieter: TRL's log-probabilities of a few tokens are .*, the model's own "):
        EngineGRPOTrainer(**given, args=arguments(tmp_path), rollout=RolloutConfig())


class TestRolloutFunc:
    def test_dropout_is_off_in_rollouts(self, trainer):
        """It was on, so the same seed gave other completions, and the engine's batches changed them."""
        found = []
        for seed, rows in ((0, 512), (1, 512), (2, 3)):
            one = trainer(RolloutConfig(decoder=LED, record=True, max_rows=rows))
            for layer in one.model.model.layers:
                layer.self_attn.attention_dropout = 0.2
            torch.manual_seed(seed)
            found.append(scored(one)["completion_ids"].tolist())
            assert one.model.training
        assert found[0] == found[1] == found[2]

    def test_a_stock_trainer_takes_three_steps(self, tokenizer, tmp_path):
        seen = []

        def reward(completions, completion_ids, log_pi, explored, **columns):
            seen.append((completion_ids, log_pi, explored))
            return length(completions)

        given = parts(tokenizer) | {"reward_funcs": [reward]}
        before = [parameter.detach().clone() for parameter in given["model"].parameters()]
        stock = GRPOTrainer(**given, args=arguments(tmp_path, max_steps=3), rollout_func=rollout_func(decoder=LED))
        stock.train()
        assert stock.state.global_step == 3 and len(seen) == 3
        for completion_ids, log_pi, explored in seen:
            assert (
                [len(ids) for ids in completion_ids] == [len(row) for row in log_pi] == [len(row) for row in explored]
            )
            assert 0 < sum(map(sum, explored)) < sum(map(len, explored))
        assert not all(torch.equal(a, b) for a, b in zip(before, stock.model.parameters(), strict=True))

    def test_activation_checkpointing_leaves_the_cache_to_rollouts(self, tokenizer, tmp_path):
        """transformers drops a layer's cache in train mode then; TRL switches that off around rollouts."""
        batches = []
        for saved in (False, True):
            stock = GRPOTrainer(
                **parts(tokenizer),
                args=arguments(tmp_path, **{CHECKPOINTS: saved}),
                rollout_func=rollout_func(),
            )
            batches.append(scored(stock))
        assert torch.equal(batches[0]["completion_ids"], batches[1]["completion_ids"])

    def test_messages_are_encoded_as_trl_encodes_them(self, tokenizer, tmp_path):
        import copy

        chatty = copy.deepcopy(tokenizer)
        chatty.chat_template = (
            "{% for m in messages %}{{ m['content'] }} {% endfor %}{% if add_generation_prompt %}= {% endif %}"
        )
        given = parts(tokenizer) | {"processing_class": chatty}
        given["train_dataset"] = Dataset.from_list([{"prompt": [{"role": "user", "content": "3 + 4"}]}] * 4)

        def reward(completions, **columns):
            return [float(len(one[0]["content"])) for one in completions]

        given["reward_funcs"] = [reward]
        stock = GRPOTrainer(**given, args=arguments(tmp_path), rollout_func=rollout_func(record=False))
        prompts = [[{"role": "user", "content": "3 + 4"}]] * 4
        expected = stock._tokenize_prompts(prompts)[0]
        stock.model.train()
        assert stock.rollout_func(prompts, stock)["prompt_ids"] == expected

    @pytest.mark.parametrize(
        ("decoder", "top_k", "message"),
        [
            ("led_countdwon", 0, "arm 'led_countdwon' is unknown"),
            ("soft_thinking", 0, "feeds mixtures of embeddings"),
            ("explore_base_countdown", 0, "reads the base beside the policy"),
            ("greedy", 0, "whose advantages are all 0"),
            ("top_k", 0, "it keeps grpo.top_k tokens"),
            (LED, 20, "keeps 4 tokens itself: set grpo.top_k=0, or type led_countdown@top_k=20"),
            ("dola_low", 5, "keeps the whole vocabulary: set grpo.top_k=0"),
        ],
    )
    def test_what_cannot_roll_out_is_refused(self, decoder, top_k, message):
        with pytest.raises(UserError, match=message):
            check_decoder(decoder, Sampling(top_k=top_k))

    @pytest.mark.parametrize("name", ["top_p", "min_p"])
    def test_a_truncation_that_the_decoder_would_ignore_is_refused(self, name):
        """`--rollout.decoder top_p --grpo.top_p 0.5` sampled at 0.95."""
        with pytest.raises(UserError, match=f"grpo.{name}=0.5 with rollout.decoder='{name}', which cuts at p=0"):
            check_decoder(name, Sampling(**{name: 0.5}))
        check_decoder(f"{name}@p=0.5", Sampling(**{name: 0.5}))
        check_decoder(name, Sampling())

    @pytest.mark.parametrize("decoder", ["dola_low", "explore_final_countdown", "confident", "top_k"])
    def test_other_arms_that_have_log_q_roll_out(self, trainer, decoder):
        one = trainer(RolloutConfig(decoder=decoder, correction="token"), top_k=4 if decoder == "top_k" else 0)
        assert scored(one)["advantages"].ndim == 2


@pytest.mark.slow
def test_two_processes_give_the_records_of_one(tmp_path):
    """The rollouts of a global batch do not depend on how processes share it, and diagnostics are of all of them."""
    script = tmp_path / "run.py"
    script.write_text(PROCESSES)
    found = []
    for processes in (1, 2):
        done = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes),
             str(script), str(processes)],
            cwd=tmp_path, capture_output=True, text=True, timeout=280,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        found.append(json.loads((tmp_path / f"{processes}.json").read_text()))
    one, two = found
    assert len(one) == len(two) == 3
    exact = ("reward", "reward_std", "completions/mean_length", "sampling/explored_rate")
    close = ("sampling/ratio_mean", "sampling/ratio_max", "sampling/effective_sample_rate", "grad_norm", "entropy")
    for ours, theirs in zip(one, two, strict=True):
        assert {name: ours[name] for name in exact} == pytest.approx({name: theirs[name] for name in exact}, abs=1e-7)
        for name in close:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3)


PROCESSES = """
import json, sys, torch
from led_rl.models.tokenizer import word_tokenizer
from led_rl.rl.config import RolloutConfig
from led_rl.rl.trainer import EngineGRPOTrainer
from led_rl.tasks.countdown import Countdown
from test_rollouts import arguments, parts
processes = int(sys.argv[1])
torch.set_num_threads(1)
tokenizer = word_tokenizer(Countdown().vocabulary(), model_max_length=128)
trainer = EngineGRPOTrainer(
    **parts(tokenizer), rollout=RolloutConfig(decoder="led_countdown", correction="token"),
    args=arguments("out", max_steps=3, per_device_train_batch_size=8 // processes, ddp_backend="gloo"),
)
trainer.train()
assert trainer.accelerator.num_processes == processes
if trainer.accelerator.is_main_process:
    json.dump([row for row in trainer.state.log_history if "reward" in row], open(f"{processes}.json", "w"))
"""
