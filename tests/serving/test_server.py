"""led-serve on loopback: the examples of docs/vllm.md, refusals over HTTP, and an evaluation through servers.

One server a module, with vLLM's engine in a process of its own as users have it.
"""

import json
import math
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
import transformers as hf
from float64 import expected
from scipy import stats

from led_rl.decoding.led import LED, PRESETS
from led_rl.errors import UserError
from led_rl.eval.config import EvalConfig
from led_rl.eval.evaluate import evaluate
from led_rl.records import read_json, read_jsonl
from led_rl.rl.config import RolloutConfig, TrainConfig, grpo_arguments
from led_rl.serving import xargs
from led_rl.serving.client import Server
from led_rl.serving.settings import KEY

pytest.importorskip("vllm")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
BASE = "checkpoints/base_countdown"
START_S = 800


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(port, *options):
    """led-serve as a user types it, small enough for two cores."""
    with log_of(port).open("w") as log:
        return _started(port, options, log)


def log_of(port):
    return Path(tempfile.gettempdir()) / f"led-serve-{port}.log"


def _started(port, options, log):
    return subprocess.Popen(
        [
            sys.executable, "-m", "led_rl.serving.serve", "--model", BASE, "--host", "127.0.0.1", "--port", str(port),
            "--dtype", "float32", "--enforce-eager", "--max-model-len", "256", "--max-num-seqs", "64", *options,
        ],
        cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        env={**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def wait_for(process, port):
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise AssertionError(log_of(port).read_text()[-3000:])
        try:
            return Server(f"http://127.0.0.1:{port}").models() and port
        except UserError:
            time.sleep(1)
    raise AssertionError("the server did not start")


def stop(process):
    """All of it: the server and its engine."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


@pytest.fixture(scope="module")
def port():
    port = free_port()
    process = start(port)
    try:
        yield wait_for(process, port)
    finally:
        stop(process)


@pytest.fixture(scope="module")
def server(port):
    return Server(f"http://127.0.0.1:{port}", timeout_s=300)


def examples(language):
    """Code of this language in docs/vllm.md."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / "vllm.md").read_text(), re.DOTALL)


def test_the_curl_example(port):
    (command,) = [code for code in examples("bash") if code.startswith("curl")]
    command = command.replace("localhost:8000", f"127.0.0.1:{port}")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=300, check=True)
    answer = json.loads(done.stdout)
    assert len(answer["choices"]) == 4
    for choice in answer["choices"]:
        assert all(value <= 0 for value in choice["logprobs"]["token_logprobs"])


def test_the_client_example(port):
    (code,) = [code for code in examples("python") if "OpenAI(" in code]
    code = code.replace("localhost:8000", f"127.0.0.1:{port}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()


def marks_of(model):
    tokenizer = hf.AutoTokenizer.from_pretrained(ROOT / model)
    return tuple(tokenizer.convert_tokens_to_ids(word) for word in ("<think>", "</think>"))


def test_log_q_over_http_is_float64s(server, record):
    model64 = hf.AutoModelForCausalLM.from_pretrained(ROOT / BASE, dtype=torch.float64).eval()
    prompt = hf.AutoTokenizer.from_pretrained(ROOT / BASE).encode("numbers 6 4 13 target 15 <think>")
    body = {"model": BASE, "prompt": prompt, "max_tokens": 40, "n": 4, "logprobs": 0, "return_token_ids": True}
    answer = server.complete({**body, "vllm_xargs": xargs("paper")})
    errors = []
    for choice in answer["choices"]:
        ids = [*prompt, *choice["token_ids"]]
        want = expected(model64, ids, len(prompt), 1.0, PRESETS["paper"], 1.0, 0.0, marks_of(BASE))
        for token, have, wanted in zip(choice["token_ids"], choice["logprobs"]["token_logprobs"], want, strict=True):
            errors.append(abs(have - wanted[token]))
    assert max(errors) < 5e-4
    record("the server", model="base_countdown", log_q_error_drawn=max(errors), rows_checked=len(errors))


def test_trls_client_rolls_out_with_led(port, server, record):
    """What TRL posts in server mode, with the settings that `rollout.engine=vllm` makes of its options, is answered
    with samples and log q of LED."""
    from trl.generation.vllm_client import VLLMClient

    grpo = {"max_steps": 1, "bf16": False, "use_cpu": True, "vllm_mode": "server", "top_p": 0.95}
    rollout = RolloutConfig(engine="vllm", decoder="led_norm@depth=4")
    arguments = grpo_arguments(TrainConfig(rollout=rollout, grpo=grpo))
    prompt = hf.AutoTokenizer.from_pretrained(ROOT / BASE).encode("numbers 6 4 13 target 15 <think>")
    answer = VLLMClient(base_url=f"http://127.0.0.1:{port}").generate(
        [prompt], n=4, max_tokens=24, temperature=arguments.temperature, top_p=arguments.top_p, top_k=arguments.top_k,
        generation_kwargs=arguments.generation_kwargs,
    )  # fmt: skip
    model64 = hf.AutoModelForCausalLM.from_pretrained(ROOT / BASE, dtype=torch.float64).eval()
    led, errors = LED(depth=4, final_norm=True), []
    for tokens, log_q in zip(answer["completion_ids"], answer["logprobs"], strict=True):
        want = expected(model64, [*prompt, *tokens], len(prompt), 1.0, led, 0.95, 0.0, marks_of(BASE))
        errors += [abs(have - wanted[token]) for token, (have,), wanted in zip(tokens, log_q, want, strict=True)]
    assert len(errors) > 10 and max(errors) < 5e-4
    record("TRL's client of the server", model="base_countdown", log_q_error_drawn=max(errors),
           rows_checked=len(errors))  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vllm_xargs": {KEY: "papier"}}, "led.preset='papier'"),
        ({"vllm_xargs": {KEY: json.dumps({"dept": 3})}}, "led.dept: no such setting"),
        ({"vllm_xargs": {KEY: json.dumps({"depth": 9})}}, "needs more than 8 layers"),
        ({"vllm_xargs": {KEY: json.dumps({"coin_factor": 10**30})}}, "led.coin_factor=1e+30"),
        ({"vllm_xargs": {KEY: json.dumps({"depth": 40_000_000})}}, "needs more than 39999999 layers"),
        ({"vllm_xargs": {KEY: '{"preset": []}'}}, "led.preset=[]"),
        ({"vllm_xargs": {KEY: '{"a":' + "[" * 100_000}}, "not JSON that can be read"),
        ({"vllm_xargs": {KEY: "paper"}, "top_p": 0.9}, "top_p=0.9"),
        ({"vllm_xargs": {KEY: "paper"}, "temperature": 0.0}, "temperature=0.0"),
    ],
)
def test_bad_requests_get_status_400(server, changes, said):
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        server.complete({"model": BASE, "prompt": [2, 3], "max_tokens": 1, "temperature": 1.0, **changes})
    assert caught.value.__cause__.code == 400


def config(port, home, **changes):
    settings = {
        "ckpt": BASE, "arms": ["plain", "top_k", "led_countdown", "explore_final_countdown", "greedy"],
        "temperatures": [1.0], "num_problems": 64, "num_samples": 16, "output_dir": str(home), "engine": "vllm",
        "vllm_url": [f"http://127.0.0.1:{port}"],
    }  # fmt: skip
    return EvalConfig(**{**settings, **changes})


def test_an_evaluation_through_a_server(port, tmp_path, monkeypatch):
    """Records as with led_rl's engine, and the same pass@1 and pass@16 within sampling error: a z-test a cell
    on means over problems, false alarms 1e-4 each."""
    monkeypatch.chdir(ROOT)
    home = evaluate(config(port, tmp_path / "vllm", num_problems=16))
    record = read_json(home / "eval" / "eval.json")
    assert (record["engine"], record["common_random_numbers"]) == ("vllm", False)
    ours = evaluate(
        config(port, tmp_path / "ours", num_problems=16, engine="engine", vllm_url=None, devices=1, accelerator="cpu")
    )
    results = {row["arm"]: row for row in read_jsonl(home / "eval" / "results.jsonl")}
    for row in read_jsonl(ours / "eval" / "results.jsonl"):
        have = results[row["arm"]]
        for k in ("1", "16") if row["arm"] != "greedy" else ("1",):
            p, q, n = row["pass_at_k"][k], have["pass_at_k"][k], 16
            spread = math.sqrt(max(p * (1 - p) + q * (1 - q), 1 / n) / n)
            assert abs(p - q) / spread < stats.norm.isf(1e-4 / 2), (row["arm"], k, p, q)
    again = evaluate(config(port, tmp_path / "vllm", num_problems=16))
    assert len(read_json(again / "eval" / "eval.json")["sessions"]) == 2
    with pytest.raises(UserError, match="holds samples with engine='vllm', and 'engine' is asked for"):
        evaluate(
            config(
                port, tmp_path / "vllm", engine="engine", vllm_url=None, devices=1, accelerator="cpu", num_problems=16
            )
        )


def test_what_stops_an_evaluation_before_any_work(port, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=r"serves checkpoints/base_countdown, and checkpoints/grpo_countdown is to be"):
        evaluate(config(port, tmp_path, ckpt="checkpoints/grpo_countdown"))
    with pytest.raises(
        UserError, match="--engine vllm cannot run dola_low, soft_thinking: evaluate them with --engine"
    ):
        evaluate(config(port, tmp_path, arms=["plain", "dola_low", "soft_thinking"]))
    with pytest.raises(UserError, match="no OpenAI-compatible server answers there"):
        evaluate(config(free_port(), tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_server_that_dies_midway(tmp_path, monkeypatch):
    """What was finished is kept, one line says what happened, and the same command goes on with another server."""
    monkeypatch.chdir(ROOT)
    home, doomed = tmp_path / "home", free_port()
    process = start(doomed)
    long = {"arms": ["plain"], "num_problems": 40, "num_samples": 32, "max_new_tokens": 64}
    try:
        wait_for(process, doomed)
        command = [
            sys.executable, "scripts/eval_led.py", "--ckpt", BASE, "--engine", "vllm",
            "--vllm_url", f"http://127.0.0.1:{doomed}", "--output_dir", str(home), "--temperatures", "1.0",
            "--arms", "plain", "--num_problems", "40", "--num_samples", "32", "--max_new_tokens", "64",
        ]  # fmt: skip
        running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        until = time.monotonic() + 200
        while not list(home.glob("eval/samples/*/*.jsonl")) and time.monotonic() < until and running.poll() is None:
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
    _, said = running.communicate(timeout=120)
    kept = sum(len(read_jsonl(path)) for path in home.glob("eval/samples/*/*.jsonl"))
    assert running.returncode == 2, said
    line = said.strip().splitlines()[-1]
    assert re.search(r"error: http://127.0.0.1:\d+ does not answer any more .* are kept: start the server again", line)
    assert 0 < kept < 40 * 32
    other = free_port()
    process = start(other)
    try:
        wait_for(process, other)
        evaluate(config(other, home, **long))
    finally:
        stop(process)
    rows = [row for path in home.glob("eval/samples/*/*.jsonl") for row in read_jsonl(path)]
    assert len({(row["problem_id"], row["sample"]) for row in rows}) == len(rows) == 40 * 32


def test_print_is_the_command_that_runs():
    """The printed line, run, is the same process that led-serve becomes."""
    done = subprocess.run(
        [sys.executable, "-m", "led_rl.serving.serve", "--model", BASE, "--print"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    command = shlex.split(done.stdout)
    assert command[:3] == [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
