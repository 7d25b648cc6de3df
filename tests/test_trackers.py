"""wandb, mlflow and trackio beside TensorBoard, each offline; skipped where the tracker is not installed."""

import json
import os
import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tiny_models import SHIPPED

from led_rl.errors import UserError
from led_rl.records import read_jsonl
from led_rl.rl.trackers import TRACKERS, trackers

STEPS = [2, 4]
SHORT = (
    "--grpo.max_steps 4 --grpo.save_steps 2 --grpo.logging_steps 1 --grpo.per_device_train_batch_size 8 "
    "--grpo.num_generations 4 --grpo.max_completion_length 40 --probe.problems 2 --probe.samples 1 --watch.problems 2"
)


def records(data):
    """The records of a log in LevelDB's format: blocks of 32 kB, of pieces with 7 bytes before each (checksum, length,
    and whether it is whole, the first, a middle or the last); wandb writes 7 bytes before them all."""
    at, held = 7, b""
    while at + 7 <= len(data):
        room = 32768 - at % 32768
        if room < 7:  # zeros to the end of the block
            at += room
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        held += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield held
            held = b""


def with_wandb(folder):
    """Step -> value of a tag, from the file that `wandb sync` would send."""
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    rows = []
    for data in records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append({".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items})
    return lambda tag: points(rows, f"train/{tag}")


def with_mlflow(folder):
    """The same, from mlflow's files: a line `time value step` a point."""
    (runs,) = [path.parent for path in (folder / "mlruns").glob("*/*/metrics")]

    def read(tag):
        lines = (runs / "metrics" / tag).read_text().splitlines()
        return {int(line.split()[2]): float(line.split()[1]) for line in lines}

    return read


def with_trackio(folder):
    """The same, from trackio's database."""
    script = (
        "import json, sys; from trackio.sqlite_storage import SQLiteStorage as S; p = S.get_projects()[0]; "
        "print(json.dumps(S.get_logs(p, S.get_runs(p)[0])))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])
    return lambda tag: points(rows, f"train/{tag}")


def points(rows, tag):
    return {int(row["train/global_step"]): row[tag] for row in rows if tag in row}


READERS = {"wandb": with_wandb, "mlflow": with_mlflow, "trackio": with_trackio}


def environment(folder):
    return {
        **os.environ, "WANDB_MODE": "offline", "WANDB_DIR": str(folder), "WANDB_SILENT": "true",
        "MLFLOW_TRACKING_URI": (folder / "mlruns").as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true",
        "TRACKIO_DIR": str(folder / "trackio"), "HF_HUB_OFFLINE": "1",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", TRACKERS)
def test_training_and_entropies_reach_it(tmp_path, name):
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    line = [sys.executable, "-m", "led_rl.commands.train", "--model", str(SHIPPED), "--output_dir", "run"]
    line += [*SHORT.split(), "--grpo.report_to", name]
    done = subprocess.run(line, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    run = tmp_path / "run"
    read = READERS[name](tmp_path)
    rewards = {row["rl_step"]: row["reward"] for row in read_jsonl(run / "train.jsonl")}
    assert len(rewards) == 4 and any(rewards.values()), "a reward of nothing could be anybody's"
    assert read("reward") == pytest.approx(rewards)
    own = [row for row in read_jsonl(run / "probe.jsonl") if row["text"] == "own" and row["final_norm"]]
    probed = {row["rl_step"]: row["entropy_final_nats"] for row in own}
    assert list(probed) == [0, *STEPS] and read("entropy/final_nats") == pytest.approx(probed)
    assert list(read("watch/pass_at_1")) == [0, *STEPS]
    assert list((run / "tb").glob("events.*"))  # ours is there too


class TestNames:
    def test_tensorboard_is_always_written(self):
        assert trackers("tensorboard") == trackers("none") == trackers(None) == trackers([]) == []

    def test_one_that_is_not_known(self):
        with pytest.raises(UserError, match=r"grpo.report_to=neptune: one or more of wandb, mlflow, trackio"):
            trackers(["tensorboard", "neptune"])

    def test_one_that_is_not_installed(self):
        missing = [name for name in TRACKERS if find_spec(name) is None]
        if not missing:
            pytest.skip("all are installed")
        with pytest.raises(UserError, match=f"{missing[0]} is not installed; pip install {missing[0]}"):
            trackers(missing[0])

    def test_it_is_said_before_anything_is_loaded(self, tmp_path, capsys):
        from led_rl.commands import train

        out = tmp_path / "run"
        assert train.main(["--model", str(SHIPPED), "--output_dir", str(out), "--grpo.report_to", "neptune"]) == 2
        assert "grpo.report_to=neptune" in capsys.readouterr().err
        assert not out.exists() and not list(Path(tmp_path).iterdir())
