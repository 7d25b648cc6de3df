"""Which checkpoint is whole, and which one a run goes on from. The review's bugs: a torn or empty trainer_state.json
blocked --resume for good; a missing optimizer.pt or rng_state.pth, or a step other than the folder's, was resumed from
in silence, with other weights at the end."""

import json
import logging

import pytest

from led_rl.checkpoints import INTERRUPTED, MANIFEST, checkpoints, to_resume, whole, write_manifest
from led_rl.errors import UserError
from led_rl.run_folder import RunFolder

FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth")


def checkpoint(run, step, manifest=True, files=FILES):
    path = run / f"checkpoint-{step}"
    path.mkdir(parents=True)
    for name in files:
        (path / name).write_bytes(f"{name} of step {step}".encode())
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    if manifest:
        write_manifest(path)
    return path


@pytest.mark.parametrize("manifest", [True, False])
def test_a_whole_one(tmp_path, manifest):
    """Without a manifest, as earlier releases made them, too."""
    path = checkpoint(tmp_path, 4, manifest)
    assert whole(path) is whole(path, hashes=True) is None
    assert to_resume(tmp_path).path == path


@pytest.mark.parametrize("manifest", [True, False])
@pytest.mark.parametrize("left", [b"", b'{"global_step": 4, "log_his', b"\x00" * 40, b"[]"])
def test_a_torn_state_goes_back_one_checkpoint_and_says_so(tmp_path, caplog, manifest, left):
    """It was an exception from json, on every attempt."""
    checkpoint(tmp_path, 2)
    (checkpoint(tmp_path, 4, manifest) / "trainer_state.json").write_bytes(left)
    with caplog.at_level(logging.WARNING):
        assert to_resume(tmp_path).step == 2
    (line,) = caplog.messages
    reason = "empty" if not left else "torn"
    assert line == (f"{tmp_path}/checkpoint-4 is not whole (its trainer_state.json is {reason}): going on from step 2")
    assert [one.step for one in checkpoints(tmp_path)] == [2]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file.write_bytes(b"short"), "its model.safetensors has 5 bytes of 27"),
        (lambda file: file.unlink(), "its model.safetensors is missing"),
        (lambda file: file.write_bytes(b"x" * 27), "its model.safetensors has been changed"),
    ],
)
def test_what_the_manifest_finds(tmp_path, caplog, damage, reason):
    damage(checkpoint(tmp_path, 4) / "model.safetensors")
    checkpoint(tmp_path, 2)
    assert whole(tmp_path / "checkpoint-4", hashes=True) == reason
    assert to_resume(tmp_path).step == 2
    assert reason in caplog.text


def test_no_whole_one_begins_again(tmp_path, caplog):
    (checkpoint(tmp_path, 2) / "trainer_state.json").write_text("")
    assert to_resume(tmp_path) is None
    assert "beginning from step 0" in caplog.text
    assert to_resume(tmp_path / "nothing") is None


def test_a_card_may_be_edited(tmp_path):
    path = checkpoint(tmp_path, 2, manifest=False)
    (path / "README.md").write_text("made by TRL")
    write_manifest(path)
    (path / "README.md").write_text("my own words")
    assert whole(path, hashes=True) is None


@pytest.mark.parametrize("manifest", [True, False])
@pytest.mark.parametrize(
    ("name", "named"), [("optimizer.pt", "optimiser's state"), ("rng_state.pth", "random numbers")]
)
def test_a_missing_state_is_refused(tmp_path, manifest, name, named):
    """transformers goes on without, and says nothing."""
    checkpoint(tmp_path, 2)
    path = checkpoint(tmp_path, 4, manifest)
    (path / name).unlink()
    with pytest.raises(UserError, match=named) as error:
        to_resume(tmp_path)
    assert name in str(error.value)
    assert f"remove {path} to go on from the checkpoint before it" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_step_other_than_the_folders_is_refused(tmp_path):
    checkpoint(tmp_path, 4).rename(tmp_path / "checkpoint-6")
    with pytest.raises(UserError, match=r"trainer_state.json is of step 4, and the folder's name says 6"):
        to_resume(tmp_path)


def test_another_number_of_processes_is_refused(tmp_path):
    """Random numbers are saved a process; transformers goes on with other ones, and says nothing."""
    checkpoint(tmp_path, 4, files=[*FILES[:3], "rng_state_0.pth", "rng_state_1.pth"])
    assert to_resume(tmp_path, processes=2).step == 4
    for processes in (1, 3):
        with pytest.raises(UserError, match=f"saved by 2 processes, and this launch has {processes}"):
            to_resume(tmp_path, processes)


def test_where_sigterm_stopped_is_gone_on_from_and_not_evaluated(tmp_path):
    checkpoint(tmp_path, 4)
    checkpoint(tmp_path / INTERRUPTED, 5)
    assert to_resume(tmp_path).path == tmp_path / INTERRUPTED / "checkpoint-5"
    assert to_resume(tmp_path).interrupted
    assert [one.step for one in RunFolder(tmp_path).checkpoints()] == [4]
    checkpoint(tmp_path, 6)
    assert to_resume(tmp_path).path == tmp_path / "checkpoint-6"


def test_the_manifest_comes_last_and_lists_all_below(tmp_path):
    path = checkpoint(tmp_path, 2, manifest=False)
    (path / "shards").mkdir()
    (path / "shards" / "optim_0.bin").write_bytes(b"")
    write_manifest(path)
    listed = json.loads((path / MANIFEST).read_text())["files"]
    assert listed.keys() == {*FILES, "trainer_state.json", "shards/optim_0.bin"}
    assert listed["shards/optim_0.bin"] == {
        "bytes": 0,
        "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
