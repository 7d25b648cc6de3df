"""A new arm is a family of its own and one entry of a registry: by that it and its control reach the report."""

import ast
from pathlib import Path

from led_rl.arm_card import ArmCard
from led_rl.decoding.arms import Arm, Matched, resolve
from led_rl.decoding.arms.arm import NamedFamily, no_changes
from led_rl.decoding.arms.registry import REGISTRY
from led_rl.decoding.samplers import Plain
from led_rl.eval.config import EvalConfig
from led_rl.eval.evaluate import evaluate
from led_rl.records import read_jsonl
from led_rl.report.build import build_report
from led_rl.report.findings import results_block
from led_rl.report.tables import matched_block

PACKAGE = Path(__file__).parents[1] / "led_rl"


class ToyFamily(NamedFamily):
    """`toy`: half the temperature; `toy_control`: a tenth hotter, the arm that `toy` wants to be held against."""

    def names(self):
        return ("toy", "toy_control")

    def arms(self, name, changes, matched, others):
        no_changes(name, changes)
        factor, compared = {"toy": (0.5, ("plain", "toy_control")), "toy_control": (1.1, ("plain",))}[name]
        group = "led" if name == "toy" else "explore"
        card = ArmCard(name, None, name, group, f"the {name} label", f"the {name} words", compared)
        return [Arm(card, lambda temperature, lens, hard: Plain(matched.truncation(factor * temperature, 0)))]


def test_a_toy_arm_and_its_control_reach_the_report(tiny_run, tmp_path, monkeypatch):
    def resolve_with_toy(names, matched):
        return resolve(names, matched, (*REGISTRY, ToyFamily()))

    monkeypatch.setattr("led_rl.eval.plan.resolve", resolve_with_toy)
    home = evaluate(
        EvalConfig(
            ckpt=str(tiny_run.path), arms=["toy_control", "toy", "plain"], temperatures=[0.7, 1.3], num_problems=6,
            num_samples=4, output_dir=str(tmp_path), devices=1, accelerator="cpu", steps=[4],
        )
    )  # fmt: skip
    comparisons = {(row["arm"], row["baseline"]) for row in read_jsonl(home / "eval" / "comparisons.jsonl")}
    assert comparisons == {("toy", "plain"), ("toy", "toy_control"), ("toy_control", "plain")}
    frontiers = {(row["arm"], row["baseline"]) for row in read_jsonl(home / "eval" / "frontiers.jsonl")}
    assert frontiers == comparisons
    text = build_report(home, tmp_path / "report").read_text()
    assert "the toy label" in text and "the toy_control label" in text
    assert "the toy label against the toy_control words" in results_block(home)
    assert "| - plain | - toy_control |" in matched_block(home)


def test_resolving_names_a_toy_arm_like_any_other():
    (arm,) = resolve(["toy"], Matched(), (*REGISTRY, ToyFamily()))
    assert (arm.name, arm.key, arm.card.compared_with) == ("toy", "toy", ("plain", "toy_control"))


def test_nothing_tells_an_arm_by_how_its_name_begins():
    """Arms were strings decoded by prefix in scoring, tables, figures and sentences; now they have cards."""
    parts = ("decoding/arms", "scores", "report", "eval", "rl", "probe", "adapters")
    for path in [one for part in parts for one in (PACKAGE / part).rglob("*.py")] + [PACKAGE / "arm_card.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.Attribute) and node.attr == "startswith"), f"{path}:{node.lineno}"
