"""A client of OpenAI-compatible servers that were started with the plugin: token ids in, token ids out.

Standard library only: who samples from a server needs no vLLM. Connections are the caller's threads'.
"""

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from led_rl.errors import UserError
from led_rl.serving.settings import KEY

ANSWER_S = 10.0  # a server that is there answers a question about itself at once


@dataclass(frozen=True)
class Server:
    """One server, by its address.

    Args:
        url: such as http://127.0.0.1:8000, with or without /v1
        timeout_s: of one request for completions
    """

    url: str
    timeout_s: float = 3600.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(f"vllm_url={self.url!r}: an address such as http://127.0.0.1:8000 is wanted")

    def models(self) -> list[dict[str, Any]]:
        """What it serves. UserError if it does not answer."""
        try:
            answer = self._ask("/models", None, ANSWER_S)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UserError(
                f"vllm_url={self.url}: no OpenAI-compatible server answers there ({_reason(error)}); start one with "
                "led-serve, or name another address"
            ) from error
        found: list[dict[str, Any]] = answer["data"]
        return found

    def complete(self, body: dict[str, Any], timeout_s: float | None = None) -> dict[str, Any]:
        """The answer to a request for completions. UserError with the server's own words if it refuses (status 400);
        ServerLost if it is not there any more."""
        try:
            return self._ask("/completions", body, timeout_s or self.timeout_s)
        except HTTPError as error:
            said = _message(error)
            if error.code in (400, 404, 422):
                raise UserError(f"{self.url} refuses: {said}") from error
            raise ServerLost(f"{self.url} answers with status {error.code}: {said}") from error
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
            raise ServerLost(f"{self.url} does not answer any more ({_reason(error)})") from error

    def check_led(self, model: str, prompt: list[int], settings: str) -> None:
        """One LED request before any work: UserError if the server has no plugin, or refuses these settings.

        A server without the plugin ignores what it does not know, so it is first asked for a setting that LED has not.
        """
        body = {"model": model, "prompt": prompt, "max_tokens": 1, "temperature": 1.0}
        try:
            self.complete({**body, "vllm_xargs": {KEY: json.dumps({"is_led_here": True})}}, 120.0)
        except UserError as error:
            if "led.is_led_here" not in str(error):
                raise
        else:
            raise UserError(
                f"vllm_url={self.url}: this server samples without LED, for it took a setting that LED has not: start "
                "it with led-serve"
            )
        self.complete({**body, "vllm_xargs": {KEY: settings}}, 120.0)

    def _ask(self, path: str, body: dict[str, Any] | None, timeout_s: float) -> dict[str, Any]:
        root = self.url.rstrip("/").removesuffix("/v1")
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{root}/v1{path}", data, {"Content-Type": "application/json"})
        with urlopen(request, timeout=timeout_s) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


class ServerLost(RuntimeError):
    """A server that had answered does not any more."""


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"status {error.code}"
    cause = error.reason if isinstance(error, URLError) else error
    return str(cause) or type(error).__name__


def _message(error: HTTPError) -> str:
    """What the body of a refusal says, in one line."""
    text = error.read().decode(errors="replace")
    try:
        body = json.loads(text)
        said = body.get("error", body)
        text = said.get("message", text) if isinstance(said, dict) else str(said)
    except (json.JSONDecodeError, AttributeError):
        pass
    return " ".join(str(text).split())[:500]
