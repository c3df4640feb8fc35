"""An endpoint on this machine that behaves as it is told: what is sent, what comes back, what is tried again, what is refused."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from plumbline.core.errors import UserError
from plumbline.core.nouns import Ask, Content, Message, Sampling
from plumbline.models.remote import RemoteModel

Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]


class Endpoint:
    """`reply(request number, path, body)` says status, body (JSON, or bytes as they are) and headers."""

    def __init__(self) -> None:
        self.reply: Callable[[int, str, dict[str, Any]], Answer] = lambda *_: (200, chat("hello"))
        self.seen: list[tuple[str, dict[str, Any], str]] = []
        self.lock = threading.Lock()
        self.at_once = self.most = 0

    def handle(self, path: str, body: dict[str, Any], key: str) -> Answer:
        with self.lock:
            self.seen.append((path, body, key))
            number = len(self.seen)
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        try:
            return self.reply(number, path, body)
        finally:
            with self.lock:
                self.at_once -= 1


def chat(text: str, finish: str = "stop", logprobs: Any = None) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish, "logprobs": logprobs}]}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Endpoint, str]]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    endpoint = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, said, *headers = endpoint.handle(self.path, body, self.headers.get("Authorization", ""))
            data = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **(headers[0] if headers else {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield endpoint, f"http://127.0.0.1:{http.server_address[1]}/v1/"
    http.shutdown()
    thread.join()
    http.server_close()


HELLO = (Message("system", "Be brief."), Message("user", "Hi"))


def test_what_is_sent(server: tuple[Endpoint, str]) -> None:
    endpoint, url = server
    sampling = Sampling(0.5, top_p=0.9, top_k=7, max_tokens=9, stop=("\n",), logit_bias={3: -1.0})
    RemoteModel(url, model="m", key="secret").answer([Ask("a", HELLO, sampling)])
    path, body, key = endpoint.seen[0]
    assert (path, key) == ("/v1/chat/completions", "Bearer secret")
    assert isinstance(body.pop("seed"), int)
    assert body == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 7,
        "stop": ["\n"],
        "logit_bias": {"3": -1.0},
        "logprobs": True,
        "top_logprobs": 20,
    }
    picture = (Message("user", (Content("text", "What?"), Content("image", "data:image/png;base64,AA"))),)
    RemoteModel(url).answer([Ask("a", picture)])
    assert [part["type"] for part in endpoint.seen[1][1]["messages"][0]["content"]] == ["text", "image_url"]


def test_raw_text_goes_to_completions(server: tuple[Endpoint, str]) -> None:
    endpoint, url = server
    logprobs = {"token_logprobs": [-0.5, -0.25], "top_logprobs": [{"a": -0.5}, {"b": -0.25}]}
    endpoint.reply = lambda *_: (200, {"choices": [{"text": " blue", "finish_reason": "length", "logprobs": logprobs}]})
    ((reply,),) = RemoteModel(url).sample(["The sky is"], 1)
    assert endpoint.seen[0][0] == "/v1/completions"
    assert endpoint.seen[0][1]["prompt"] == "The sky is"
    assert (reply.text, reply.finish, reply.raw_logps, reply.logps) == (" blue", "length", (-0.5, -0.25), (-0.5, -0.25))
    ((cool,),) = RemoteModel(url).sample(["The sky is"], 1, Sampling(0.5))
    assert (cool.raw_logps, cool.logps) == ((-0.5, -0.25), ())  # what it reports is not what a cooled draw came from


def test_replies_are_in_order_and_several_at_once(server: tuple[Endpoint, str]) -> None:
    endpoint, url = server

    def slow_first(number: int, path: str, body: dict[str, Any]) -> Answer:
        word = body["messages"][-1]["content"]
        time.sleep(0.08 if word in "ab" else 0.02)
        return 200, chat(word.upper())

    endpoint.reply = slow_first
    asks = [Ask("x", (Message("user", w),)) for w in "abcdefgh"]
    assert "".join(r.text for r in RemoteModel(url, concurrency=4).answer(asks)) == "ABCDEFGH"
    assert 2 <= endpoint.most <= 4
    assert RemoteModel(url).answer([]) == []


def test_equal_asks_differ_in_their_seed_and_repeat_from_call_to_call(server: tuple[Endpoint, str]) -> None:
    endpoint, url = server
    model = RemoteModel(url, concurrency=1)
    model.sample([HELLO], 3, Sampling(seed=5))
    model.sample([HELLO], 3, Sampling(seed=5))
    model.sample([HELLO], 1, Sampling(seed=6))
    seeds = [body["seed"] for _, body, _ in endpoint.seen]
    assert seeds[:3] == seeds[3:6]
    assert len(set(seeds)) == 4


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(server: tuple[Endpoint, str], status: int) -> None:
    endpoint, url = server
    endpoint.reply = lambda number, *_: (status, {"error": {"message": "busy"}}) if number < 3 else (200, chat("at last"))
    assert RemoteModel(url, pause=0.001).answer([Ask("x", HELLO)])[0].text == "at last"
    assert len(endpoint.seen) == 3


def test_the_pause_that_the_server_names_is_kept(server: tuple[Endpoint, str]) -> None:
    endpoint, url = server
    endpoint.reply = lambda number, *_: (429, {}, {"Retry-After": "0.15"}) if number == 1 else (200, chat("ok"))
    began = time.perf_counter()
    RemoteModel(url, pause=0.0).answer([Ask("x", HELLO)])
    assert time.perf_counter() - began >= 0.15


def test_what_will_not_pass_is_said(server: tuple[Endpoint, str]) -> None:
    endpoint, url = server
    cases: list[tuple[Answer, str]] = [
        ((401, {"error": {"message": "no such key"}}), "refused: 401, no such key\n.*key"),
        ((404, {"error": "model m is unknown"}), "refused: 404, model m is unknown"),
        ((400, b"plain words"), "refused: 400, plain words"),
        ((200, b"<html>"), "not JSON"),
        ((200, {"choices": []}), "without choices"),
        ((200, ["odd"]), "without choices"),
    ]
    for answer, message in cases:
        endpoint.seen.clear()
        endpoint.reply = lambda *_, answer=answer: answer
        with pytest.raises(UserError, match=message):
            RemoteModel(url, pause=0.0).answer([Ask("x", HELLO)])
        assert len(endpoint.seen) == 1
    endpoint.reply = lambda *_: (503, {"error": "down"})
    endpoint.seen.clear()
    with pytest.raises(UserError, match="no answer in 3 tries: 503, down"):
        RemoteModel(url, pause=0.0, retries=2).answer([Ask("x", HELLO)])
    assert len(endpoint.seen) == 3


def test_nobody_there_and_nobody_answering(server: tuple[Endpoint, str]) -> None:
    endpoint, url = server
    with pytest.raises(UserError, match="no answer in 2 tries"):
        RemoteModel("http://127.0.0.1:9/v1", pause=0.0, retries=1).answer([Ask("x", HELLO)])
    endpoint.reply = lambda *_: (time.sleep(0.3), (200, chat("late")))[1]
    with pytest.raises(UserError, match="timed out"):
        RemoteModel(url, timeout=0.05, retries=0).answer([Ask("x", HELLO)])
    with pytest.raises(UserError, match="not the address"):
        RemoteModel("localhost:8000")
    with pytest.raises(UserError, match="stop ids"):
        RemoteModel(url).answer([Ask("x", HELLO, Sampling(stop_ids=(3,)))])


def test_an_endpoint_without_log_probabilities(server: tuple[Endpoint, str]) -> None:
    endpoint, url = server
    endpoint.reply = lambda n, path, body: (400, {"error": "logprobs not supported"}) if "logprobs" in body else (200, chat("ok"))
    model = RemoteModel(url)
    assert [r.raw_logps for r in model.answer([Ask("x", HELLO)])] == [()]
    model.answer([Ask("x", HELLO)])
    assert len(endpoint.seen) == 3  # refused once, then never asked for again


def test_choices_from_the_first_token(server: tuple[Endpoint, str]) -> None:
    endpoint, url = server
    top = [{"token": t, "logprob": math.log(p)} for t, p in ((" Yes", 0.5), ("No", 0.2), ("Y", 0.1), ("Well", 0.2))]
    endpoint.reply = lambda *_: (200, chat("No.", logprobs={"content": [{"token": "No", "logprob": math.log(0.2), "top_logprobs": top}]}))
    reply = RemoteModel(url).answer([Ask("judge", HELLO, choices=("Yes", "No"))])[0]
    assert (reply.text, reply.finish) == ("No", "choice")
    assert reply.choice_probs == pytest.approx((0.6 / 0.8, 0.2 / 0.8))
    endpoint.reply = lambda *_: (200, chat("No way"))  # nothing to read probabilities from; the longest answer that fits
    reply = RemoteModel(url).answer([Ask("judge", HELLO, choices=("No", "No way", "Yes"))])[0]
    assert (reply.text, reply.choice_probs) == ("No way", (0.0, 1.0, 0.0))
    endpoint.reply = lambda *_: (200, chat("I would rather not say"))
    reply = RemoteModel(url).answer([Ask("judge", HELLO, choices=("A", "B"))])[0]
    assert (reply.text, reply.finish, reply.choice_probs) == ("I would rather not say", "error", ())
