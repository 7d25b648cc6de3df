"""Whole rows of records for tests, each key overridable: what a reader refuses is then what a test meant to break."""

from typing import Any

SESSION = {
    "command": "python scripts/eval_led.py --ckpt checkpoints/x",
    "git_sha": "0123456789abcdef0123456789abcdef01234567",
    "git_dirty": False,
    "versions": {"python": "3.11", "torch": "2.13.0", "transformers": "5.23.0", "trl": "1.16.0"},
    "seeds": {"seed": 0},
    "machine": {"platform": "Linux", "processor": "x", "cpus": 2},
    "started": "2026-01-01T00:00:00+00:00",
}


def eval_record(num_samples: int, num_problems: int, **more: Any) -> dict[str, Any]:
    """An eval.json. Arms may be left out: they are then known by their names."""
    return {
        "task": {"name": "countdown"},
        "prompt": {"system": None, "chat": True, "template": {}},
        "split": "test",
        "seed": 0,
        "num_samples": num_samples,
        "n": num_samples,
        "num_problems": num_problems,
        "max_new_tokens": 64,
        "matched": {"top_p": 1.0, "min_p": 0.0},
        "precision": "32-true",
        "engine": "engine",
        "common_random_numbers": True,
        "thinking": "marked",
        "arms": {},
        "models": {},
        "contamination": None,
        "processes": 1,
        "sessions": [SESSION],
        **more,
    }


def comparison(**more: Any) -> dict[str, Any]:
    """A row of comparisons.jsonl."""
    return {
        "checkpoint": "checkpoint-9",
        "rl_step": 9,
        "arm": "led_norm",
        "top_k": 20,
        "baseline": "top_k",
        "baseline_top_k": 20,
        "temperature": 1.0,
        "k": 16,
        "difference": 0.01,
        "ci95": [0.002, 0.018],
        "problems": 100,
        "problems_differing": 50,
        **more,
    }


def frontier(**more: Any) -> dict[str, Any]:
    """A row of frontiers.jsonl."""
    row = {**comparison(), "baseline_temperatures": [0.6, 1.4], "pass_at_1": 0.5, **more}
    return {key: value for key, value in row.items() if key != "problems_differing"}


def result(**more: Any) -> dict[str, Any]:
    """A row of results.jsonl."""
    return {
        "checkpoint": "base",
        "rl_step": 0,
        "arm": "plain",
        "top_k": None,
        "temperature": 1.0,
        "problems": 100,
        "incomplete_problems": 0,
        "n": 32,
        "pass_at_k": {"1": 0.4, "16": 0.9},
        "pass_at_k_ci95": {"1": [0.3, 0.5], "16": [0.8, 1.0]},
        "mean_length_tokens": 30.0,
        "truncated_rate": 0.0,
        "status_counts": {"correct": 1},
        "tokens_per_s": 1000.0,
        **more,
    }


def decision(**more: Any) -> dict[str, Any]:
    """A row of decisions.jsonl."""
    estimate = {"mean": 0.5, "ci95": [0.4, 0.6]}
    return {
        "checkpoint": "base",
        "rl_step": 0,
        "kind": "decision",
        "positions": 10,
        "problems": 5,
        "valued_positions": 10,
        "token_share": 0.3,
        "explored_share": 0.5,
        "p1": estimate,
        "explored_rate": estimate,
        "entropy_final_nats": estimate,
        "legal_words": estimate,
        "source": "pi",
        "entropy_nats": None,
        "mass_on_support": None,
        "legality": None,
        "worth": None,
        "minus": {},
        **more,
    }
