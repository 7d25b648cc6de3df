"""The watch at work: `watch.jsonl`, curves, a line on screen, and the alarm."""

import time
from collections.abc import Callable
from typing import Any

from accelerate.utils import broadcast_object_list
from torch.utils.tensorboard import SummaryWriter
from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from led_rl.checkpoints import Checkpoint
from led_rl.models.lens import Lens
from led_rl.records import JsonObject, read_jsonl, write_jsonl
from led_rl.rl.watch import Watch, change
from led_rl.rl.watch_config import WatchConfig
from led_rl.run_folder import RunFolder

CURVES = ("zero_std_groups_rate", "all_right_groups_rate", "all_wrong_groups_rate", "mean_length_tokens")


class WatchCallback(TrainerCallback):
    """Watches the policy at step 0 and at every saved checkpoint, once per step. Belongs behind the probe's callback,
    whose entropies its line quotes.

    Args:
        watch: what is drawn.
        config: the alarm.
        run: where to record.
        writer: TensorBoard, or None on processes that do not log.
        multiply_temperature: what the alarm may call.
        resumed: the checkpoint that the session goes on from. Where SIGTERM left it, nothing was due to be watched.
    """

    def __init__(
        self,
        watch: Watch,
        config: WatchConfig,
        run: RunFolder,
        writer: SummaryWriter | None,
        multiply_temperature: Callable[[float], None],
        resumed: Checkpoint | None = None,
    ) -> None:
        self.watch, self.config, self.run, self.writer = watch, config, run, writer
        self.multiply_temperature = multiply_temperature
        self.due = resumed is None or not resumed.interrupted

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        history = read_jsonl(self.run.watch_file)
        for _ in {row["rl_step"] for row in history if row["alarm"] == "temperature"}:
            # A resumed run goes on at the temperature that earlier alarms left.
            self.multiply_temperature(self.config.alarm_factor)
        if self.due:
            self._at(state, control, kwargs["model"])

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._at(state, control, kwargs["model"])

    def _at(self, state: TrainerState, control: TrainerControl, model: Any) -> None:
        alarm = [self._watched(model, state.global_step) if state.is_world_process_zero else "none"]
        if self.config.alarm != "none":
            broadcast_object_list(alarm)
        if alarm[0] == "stop":
            control.should_training_stop = True
        elif alarm[0] == "temperature":
            self.multiply_temperature(self.config.alarm_factor)

    def _watched(self, model: Any, step: int) -> str:
        """Measure, record and show, unless this step is on record; returns what the alarm asks for now."""
        history = read_jsonl(self.run.watch_file)
        if any(row["rl_step"] == step for row in history):
            return "none"
        started = time.perf_counter()
        rows = self.watch.measure(Lens(model))
        wall_s = round(time.perf_counter() - started, 3)
        since = min((row["rl_step"] for row in history), default=step)
        first = {(row["arm"], row["temperature"]): row for row in history if row["rl_step"] == since}
        recorded: list[JsonObject] = []
        for row in rows:
            difference, interval = change(row, first.get((row["arm"], row["temperature"]), row))
            since_then = {"since_step": since, "change": difference, "change_ci95": interval}
            recorded.append({"rl_step": step, **row, **since_then, "alarm": "none", "wall_s": wall_s})
        main = recorded[0]
        if main["change_ci95"][1] < 0:
            main["alarm"] = self.config.alarm
        write_jsonl(self.run.watch_file, [*history, *recorded])
        self._show(recorded, step)
        tqdm.write(self.line(main))
        return str(main["alarm"])

    def line(self, main: JsonObject) -> str:
        """`step 200: pass@1 52, pass@16 84, -8 since step 0; final entropy -40%`."""
        step, since = main["rl_step"], main["since_step"]
        scores = (f"pass@{k} {100 * value:.0f}" for k, value in main["pass_at_k"].items())
        text = f"step {step}: {', '.join(scores)}"
        if step > since:
            text += f", {100 * main['change']:+.0f} since step {since}"
            entropies = {
                row["rl_step"]: row["entropy_final_nats"]
                for row in read_jsonl(self.run.probe_file)
                if row["text"] == "own" and row["final_norm"]
            }
            if entropies.get(since) and step in entropies:
                text += f"; final entropy {100 * (entropies[step] / entropies[since] - 1):+.0f}%"
        did = {"none": "", "stop": "; ALARM: the run stops", "temperature": "; ALARM: the temperature changes"}
        return text + did[main["alarm"]]

    def _show(self, rows: list[JsonObject], step: int) -> None:
        if self.writer is None:
            return
        for row, drawn in zip(rows, self.watch.drawn, strict=True):
            curves = {f"pass_at_{k}": value for k, value in row["pass_at_k"].items()} | {c: row[c] for c in CURVES}
            for name, value in curves.items():
                self.writer.add_scalar(f"watch_{name}/{drawn.tag}", value, step)
        self.writer.flush()
