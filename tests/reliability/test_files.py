"""Disks that refuse, links that lead out, signals: without a model."""

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from led_rl.errors import UserError
from led_rl.links import refuse_links
from led_rl.lock import hold
from led_rl.records import append_jsonl, read_jsonl
from led_rl.signals import EXIT_CODE, Terminated, how_to_go_on, termination
from led_rl.storage import storage_faults


@pytest.fixture
def small_files():
    """No file of this process may grow beyond 64 KiB, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestStorage:
    @pytest.mark.parametrize(
        "write",
        [
            lambda path: append_jsonl(path / "rows.jsonl", [{"row": "x" * 100_000}]),
            lambda path: torch.save({"w": torch.zeros(100_000)}, path / "optimizer.pt"),
            lambda path: save_file({"w": torch.zeros(100_000)}, path / "model.safetensors"),
        ],
        ids=["record", "torch", "safetensors"],
    )
    def test_a_full_disk_is_one_line_whoever_meets_it(self, tmp_path, small_files, write):
        """It was a traceback of 60 lines from torch, of 30 from safetensors."""
        with pytest.raises(UserError) as error, storage_faults(tmp_path):
            write(tmp_path)
        assert str(tmp_path) in str(error.value)
        assert "cannot be written" in str(error.value)
        assert "what is recorded already is kept" in str(error.value)
        assert "\n" not in str(error.value)

    def test_what_was_recorded_before_is_kept_and_added_to(self, tmp_path):
        path = tmp_path / "rows.jsonl"
        rows = [{"row": index, "text": "x" * 1000} for index in range(100)]
        append_jsonl(path, rows[:40])
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        try:
            with pytest.raises(UserError), storage_faults(tmp_path):
                append_jsonl(path, rows[40:])  # torn in its tenth row or so
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        kept = read_jsonl(path)
        assert kept == rows[: len(kept)] and len(kept) >= 40
        append_jsonl(path, rows[len(kept) :])
        assert read_jsonl(path) == rows

    @pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
    def test_a_small_disk_and_a_read_only_one(self, tmp_path):
        disk = tmp_path / "disk"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True).returncode:
            pytest.skip("mounting is forbidden here")
        try:
            append_jsonl(disk / "rows.jsonl", [{"row": 0}])
            with pytest.raises(UserError, match="No space left on device"), storage_faults(disk):
                append_jsonl(disk / "rows.jsonl", [{"row": "x" * 1_000_000}])
            assert read_jsonl(disk / "rows.jsonl") == [{"row": 0}]
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            with (
                pytest.raises(UserError, match=r"Read-only file system.*--output_dir"),
                hold(disk / "run", "x"),
            ):
                pass
        finally:
            subprocess.run(["umount", disk], check=True)

    def test_a_forbidden_folder(self, tmp_path):
        """As another user than the tests may be: in a process that has given up root."""
        home = tmp_path / "theirs"
        home.mkdir()
        home.chmod(0o555)
        with pytest.raises(UserError, match=r"Permission denied\): take the right to write there") as error:
            raise_in_child(home)
        assert str(error.value).startswith("run: cannot be written")

    def test_other_errors_keep_their_traceback(self, tmp_path):
        for error in (OSError(errno.EIO, "a broken disk"), RuntimeError("a bug"), KeyError("x")):
            with pytest.raises(type(error)) as caught, storage_faults(tmp_path):
                raise error
            assert caught.value is error


def raise_in_child(home):
    """`hold` of a folder in `home`, as user 65534; its UserError is raised here."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        message = ""
        try:
            os.chdir(home)  # the folders above are closed to others
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            with hold(Path("run"), "training"):
                pass
        except UserError as error:
            message = str(error)
        os.write(write, message.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        message = pipe.read()
    os.waitpid(child, 0)
    if message:
        raise UserError(message)


class TestLinks:
    @pytest.mark.parametrize("place", ["train.jsonl", "tb", "checkpoint-2", "checkpoint-2/optimizer.pt", "lightning"])
    def test_nothing_is_written_or_deleted_through_a_link(self, tmp_path, place):
        """A downloaded run folder whose train.jsonl was a link had the rows appended to the user's file."""
        mine = tmp_path / "mine"
        mine.mkdir()
        (mine / "notes.txt").write_text("mine")
        link = tmp_path / "run" / place
        link.parent.mkdir(parents=True)
        link.symlink_to(mine)
        with pytest.raises(UserError) as error, hold(tmp_path / "run", "training"):
            pass
        assert str(error.value).startswith(f"{link} is a symbolic link")
        assert "\n" not in str(error.value)
        assert [path.name for path in mine.iterdir()] == ["notes.txt"]
        assert not (tmp_path / "run" / ".lock").exists()

    def test_beside_the_folder_too_and_the_folder_itself_may_be_one(self, tmp_path):
        (tmp_path / "disk").mkdir()
        (tmp_path / "run").symlink_to(tmp_path / "disk")
        with hold(tmp_path / "run", "training"):
            pass
        (tmp_path / "tb").mkdir()
        (tmp_path / "tb" / "eval").symlink_to(tmp_path / "disk")
        with pytest.raises(UserError, match="tb/eval is a symbolic link"):
            refuse_links([tmp_path / "run", tmp_path / "tb", tmp_path / "nothing"])


class TestSignals:
    def test_it_is_raised_at_once_or_at_the_end_of_what_postpones_it(self):
        before, seen = signal.getsignal(signal.SIGTERM), []
        with pytest.raises(Terminated) as stopped, termination() as stop:
            with stop.postponed():
                with stop.postponed():
                    os.kill(os.getpid(), signal.SIGTERM)
                    seen.append(stop.requested)
                seen.append("inner")
            seen.append("never")
        assert seen == [True, "inner"]
        assert stopped.value.code == EXIT_CODE == 143
        with pytest.raises(Terminated), termination() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            seen.append("never")
        assert seen == [True, "inner"]
        assert signal.getsignal(signal.SIGTERM) is before

    def test_a_second_one_is_not_postponed(self):
        with pytest.raises(Terminated), termination() as stop, stop.postponed():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("postponed")

    def test_on_another_thread_it_changes_nothing(self):
        before, done = signal.getsignal(signal.SIGTERM), []

        def work():
            with termination() as stop, stop.postponed():
                done.append(signal.getsignal(signal.SIGTERM))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert done == [before] == [signal.getsignal(signal.SIGTERM)]

    def test_the_way_on_is_the_command_with_resume_once(self, monkeypatch):
        monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
        monkeypatch.setattr(sys, "argv", ["scripts/train_grpo.py", "--model", "a b", "--resume"])
        assert how_to_go_on() == "python3 scripts/train_grpo.py --model 'a b' --resume"
        assert how_to_go_on(resume=False) == "python3 scripts/train_grpo.py --model 'a b'"
