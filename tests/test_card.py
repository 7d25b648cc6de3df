"""The model card of a run: what TRL would push to the Hub says what the model was made of."""

import shutil

import pytest
import transformers.trainer
from huggingface_hub import ModelCard
from tiny_models import SHIPPED

from led_rl.commands import train
from led_rl.records import read_json, read_jsonl, write_json, write_jsonl
from led_rl.rl.card import card
from led_rl.run_folder import RunFolder

PROBED = [
    {"rl_step": 0, "text": "own", "final_norm": True, "entropy_final_nats": 0.75, "entropy_intermediate_nats": 1.5},
    {"rl_step": 2, "text": "own", "final_norm": True, "entropy_final_nats": 0.5, "entropy_intermediate_nats": 1.25},
    {"rl_step": 2, "text": "reference", "final_norm": True, "entropy_final_nats": 9, "entropy_intermediate_nats": 9},
]


def run_of(folder, model="Qwen/Qwen3-0.6B-Base", task="gsm8k", r=64, **grpo):
    run = RunFolder(folder / "mine")
    write_json(run.record_file, {"sessions": [{"command": "led-train --a 'x|y'", "git_sha": "abc", "git_dirty": True,
                                               "versions": {"torch": "2"}}]})  # fmt: skip
    import yaml

    config = {"model": model, "task": {"name": task}, "lora": {"r": r}, "reward": {"trace": 1.0, "format": 0.0,
              "pass_at_k": 1, "extra": []}, "seed": 7, "grpo": {"max_steps": 4, **grpo}}  # fmt: skip
    run.config_file.write_text(yaml.safe_dump(config))
    write_jsonl(run.probe_file, PROBED)
    return run


class TestCard:
    def test_it_names_base_and_task_where_the_hub_reads_them(self, tmp_path):
        written = ModelCard(card(run_of(tmp_path, hub_model_id="me/better_name"), 2))
        assert written.data.base_model == "Qwen/Qwen3-0.6B-Base" and "gsm8k" in written.data.tags
        assert written.data.library_name == "peft" and written.data.pipeline_tag == "text-generation"
        text = written.text
        assert text.lstrip().startswith("# better_name")
        for stated in ("| base model | `Qwen/Qwen3-0.6B-Base` |", "| task | `gsm8k` |", "| steps of GRPO | 2 of 4 |",
                       "| adapters | LoRA of rank 64 |", '{"trace": 1.0}', "| seed | 7 |", "`led-train --a 'x&#124;y'`",
                       "abc (with uncommitted changes)", "| 0 | 0.750 | 1.500 |", "| 2 | 0.500 | 1.250 |"):  # fmt: skip
            assert stated in text
        assert "9.000" not in text

    def test_a_base_of_ones_own_is_in_the_text_only(self, tmp_path):
        written = ModelCard(card(run_of(tmp_path, str(SHIPPED), "countdown+gsm8k", r=0), 2))
        assert written.data.base_model is None and f"`{SHIPPED}`" in written.text
        assert written.data.library_name == "transformers" and "countdown-gsm8k" in written.data.tags


class FakeHub:
    """The two calls that transformers makes of the Hub's client; what was to be uploaded is copied."""

    def __init__(self, folder):
        self.folder, self.pushed = folder, []

    def create_repo(self, name, **options):
        return type("Url", (), {"repo_id": name})()

    def upload_folder(self, repo_id, folder_path, ignore_patterns, **options):
        there = self.folder / str(len(self.pushed))
        shutil.copytree(folder_path, there, ignore=shutil.ignore_patterns(*ignore_patterns, ".lock"))
        self.pushed.append((repo_id, there))
        return type("Job", (), {"is_done": lambda self: True, "done": lambda self: True})()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_would_be_pushed(tmp_path, monkeypatch):
    """The real command with TRL's own options; only the network is taken away."""
    hub = FakeHub(tmp_path / "pushed")
    monkeypatch.setattr(transformers.trainer, "hf_api", lambda *arguments, **options: hub)
    out = tmp_path / "run"
    short = (
        "--grpo.max_steps 2 --grpo.save_steps 2 --grpo.logging_steps 1 --grpo.per_device_train_batch_size 8 "
        "--grpo.num_generations 4 --grpo.max_completion_length 16 --probe.problems 2 --probe.samples 1 "
        "--watch.problems 0 --grpo.push_to_hub true --grpo.hub_model_id me/explorer"
    )
    assert train.main(["--model", str(SHIPPED), "--output_dir", str(out), *short.split()]) == 0
    repo, pushed = hub.pushed[-1]
    assert repo == "me/explorer"
    names = {path.name for path in pushed.iterdir()}
    assert {"README.md", "adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "config.yaml"} <= names
    written = ModelCard.load(pushed / "README.md")
    assert {"led_rl", "grpo", "countdown"} <= set(written.data.tags)
    assert written.text.lstrip().startswith("# explorer") and "| task | `countdown` |" in written.text
    assert f"| base model | `{SHIPPED}` |" in written.text and "| steps of GRPO | 2 of 2 |" in written.text
    assert read_json(out / "run.json")["sessions"][-1]["git_sha"] in written.text
    final = next(row for row in read_jsonl(out / "probe.jsonl") if row["text"] == "own" and row["final_norm"])
    assert f"| 0 | {final['entropy_final_nats']:.3f} |" in written.text
