"""The base model's card, written from its records."""

import json

import yaml

from led_rl.pretrain.fit import Fitted
from led_rl.records import JsonObject, read_json, write_text
from led_rl.run_folder import RunFolder

ABOUT = {
    "countdown": (
        """imitates written-down searches for Countdown puzzles: the base that led_rl
post-trains with GRPO. One token per word; input `numbers 6 4 13 target 15 <think>`, output attempts, `</think>`, and
the last attempt in `\\boxed{ }`.""",
        "It knows puzzles of this space and this vocabulary only, and it is trained to search badly on purpose: most "
        "of its\nattempts are random.",
    ),
    "multiplication": (
        """multiplies on a scratchpad: a base that led_rl post-trains with GRPO. One token
per word; input `multiply 4 7 by 3 6 <think>`, output the partial products and their sum, `</think>`, and the product in
`\\boxed{ }`.""",
        "It knows factors of this many digits and this vocabulary only.",
    ),
}


def write_card(done: Fitted, scored: JsonObject) -> None:
    """Write `README.md` into the model's folder.

    Args:
        done: how training ended.
        scored: the row of `eval/results.jsonl` for plain sampling at T = 1.
    """
    run = RunFolder(done.path)
    session = read_json(run.record_file)["sessions"][-1]
    settings = run.config()
    task = "countdown" if settings.get("multiplication") is None else "multiplication"
    about, limits = ABOUT[task]

    def interval(k: str) -> str:
        low, high = scored["pass_at_k_ci95"][k]
        return f"{scored['pass_at_k'][k]:.3f} [{low:.3f}, {high:.3f}]"

    write_text(
        done.path / "README.md",
        f"""---
license: apache-2.0
pipeline_tag: text-generation
tags: [{task}, led_rl]
---
# {done.path.name}

A {done.parameters:,}-parameter model that {about}

| | |
|---|---|
| command | `{session["command"]}` |
| git sha | {session["git_sha"]}{" (with uncommitted changes)" if session["git_dirty"] else ""} |
| seed | {settings["seed"]} |
| steps, tokens | {done.steps:,}, {done.tokens:,} |
| wall time | {done.wall_s:.0f} s on {session["machine"]["cpus"]} cores ({session["machine"]["processor"]}) |
| validation loss | {done.validation_loss_nats:.4f} nats a token |
| pass@1, test split, plain sampling at T = 1 | {interval("1")} |
| pass@16, the same | {interval("16")} |

Scores: {scored["problems"]} problems x {scored["n"]} samples, unbiased pass@k, 95% bootstrap intervals over problems.
Versions: {json.dumps(session["versions"])}.

{limits}

```yaml
{yaml.safe_dump(settings, sort_keys=False).strip()}
```
""",
    )
