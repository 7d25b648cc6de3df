"""A run's model card, from its records: what TRL writes into the run folder at checkpoints and pushes to the Hub."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from led_rl.records import JsonObject, read_json, read_jsonl, write_text
from led_rl.run_folder import RunFolder
from led_rl.shipped import located


def write_card(run: RunFolder, step: int) -> None:
    """Write `README.md` of the run after this step."""
    write_text(run.path / "README.md", card(run, step))


def card(run: RunFolder, step: int) -> str:
    """The card's text. Its head names the base if that is on the Hub, for the field takes ids only; its body always."""
    config, session = run.config(), read_json(run.record_file)["sessions"][-1]
    base, task, adapters = config["model"], config["task"]["name"], bool(config["lora"]["r"])
    name = (config["grpo"].get("hub_model_id") or run.path.name).rpartition("/")[2]
    head: JsonObject = {
        "library_name": "peft" if adapters else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["led_rl", "trl", "grpo", task.replace(":", "-").replace("+", "-")],
    }
    if not located(base).exists():
        head["base_model"] = base
    dirty = " (with uncommitted changes)" if session["git_dirty"] else ""
    rewards = {key: value for key, value in config["reward"].items() if value and (key, value) != ("pass_at_k", 1)}
    facts = {
        "base model": f"`{base}`",
        "task": f"`{task}`",
        "steps of GRPO": f"{step:,} of {config['grpo']['max_steps']:,}",
        "adapters": f"LoRA of rank {config['lora']['r']}" if adapters else "none: all weights",
        "reward": "a correct answer counts 1" + (f"; {json.dumps(rewards)}" if rewards else ""),
        "seed": config["seed"],
        "command": f"`{session['command']}`",
        "git sha": f"{session['git_sha']}{dirty}",
        "versions": json.dumps(session["versions"]),
    }
    return f"""---
{yaml.safe_dump(head, sort_keys=False).strip()}
---
# {name}

`{base}` after {step:,} steps of GRPO on `{task}`. Trained with led_rl, which asks whether reinforcement learning makes
a language model stop exploring, and what gives the exploration back: [Latent Exploration
Decoding](https://arxiv.org/abs/2602.01698) is one way.

| | |
|---|---|
{_lines(facts)}

## Entropy

Mean entropy in nats on a fixed set of problems, own samples at T = 1: of the last layer, and of the layers below it
that LED reads.

| step | last layer | layers below |
|---|---|---|
{_entropies(run.path)}

## Decode it with LED

```python
from led_rl import led_generate, load_policy

policy = load_policy("<this repository>")
inputs = policy.tokenizer("..", return_tensors="pt")
policy.model.generate(**inputs, do_sample=True, custom_generate=led_generate, led_depth=8, led_top_k=20)
```

## Configuration

```yaml
{yaml.safe_dump(config, sort_keys=False, allow_unicode=True).strip()}
```
"""


def _lines(facts: Mapping[str, Any]) -> str:
    return "\n".join(f"| {name} | {str(value).replace('|', '&#124;')} |" for name, value in facts.items())


def _entropies(folder: Path) -> str:
    rows = [row for row in read_jsonl(folder / "probe.jsonl") if row["text"] == "own" and row["final_norm"]]
    return "\n".join(
        f"| {row['rl_step']} | {row['entropy_final_nats']:.3f} | {row['entropy_intermediate_nats']:.3f} |"
        for row in rows
    )
