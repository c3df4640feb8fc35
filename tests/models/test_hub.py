"""A hub name where there is no hub: one line within seconds.   The hubs are sockets of this machine; no test here leaves it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from huggingface_hub import constants, file_download

from plumbline.core.errors import UserError
from plumbline.models import loading
from plumbline.models.lm import LM


@pytest.fixture
def silent() -> Iterator[str]:
    """A hub that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def use(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    assert file_download.hf_hub_url("a/b", "c").startswith(url)


def test_a_hub_that_is_silent_or_away_is_one_line_within_seconds(silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "HUB_SECONDS", 0.5)
    for url in (silent, "http://127.0.0.1:9"):  # nobody listens at 9
        use(monkeypatch, url, tmp_path)
        began = time.monotonic()
        with pytest.raises(UserError, match="someorg/some-name: there is no such directory, and the hub cannot be reached") as said:
            LM.load("someorg/some-name")
        assert time.monotonic() - began < 5
        assert "\n" not in said.value.message
        assert "directory of a model" in said.value.mend


class Refusing(BaseHTTPRequestHandler):
    """A hub that knows no such model, and what it was asked for."""

    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.asked.append(self.path)
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def test_a_hub_that_answers_is_asked_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            use(monkeypatch, f"http://127.0.0.1:{server.server_port}", tmp_path)
            loading._reach("someorg/some-name")  # no error: it was reached
            assert Refusing.asked == ["/someorg/some-name/resolve/main/config.json"]
        finally:
            server.shutdown()
            thread.join()


def test_what_is_kept_from_earlier_needs_no_hub(silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "models--someorg--some-name"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("abc")
    (kept / "snapshots" / "abc").mkdir(parents=True)
    (kept / "snapshots" / "abc" / "config.json").write_text("{}")
    use(monkeypatch, silent, tmp_path)
    began = time.monotonic()
    loading._reach("someorg/some-name")
    assert time.monotonic() - began < 1
