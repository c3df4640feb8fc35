"""What can be measured of a model that only writes: an endpoint on this machine, on files of every kind."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from plumbline.core.nouns import Comparison, Demo, Label, Prompt, Sampling
from plumbline.models.scripted import ScriptedModel
from plumbline.pipelines.evaluate_generated import best, generated


class Endpoint(BaseHTTPRequestHandler):
    """Answers every prompt with three words; asked to judge, the longer reply wins."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        choice: dict[str, Any] = {"text": "in the mill", "finish_reason": "stop", "logprobs": None}
        if "Reply A: " in asked:
            first, second = asked.split("Reply A: ")[1].split("\n\nReply B: ")
            choice["text"] = "A" if len(first) > len(second.split("\n\n")[0]) else "B"
        choice["message"] = {"role": "assistant", "content": choice["text"]}
        data = json.dumps({"choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


PAIRS = [
    {"prompt": "where is mira?", "chosen": " in the town", "rejected": " no"},
    {"prompt": [{"role": "user", "content": "where is mira?"}], "chosen": "here", "rejected": "there there"},
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_an_endpoint_on_comparisons_is_measured_by_what_it_writes(command, endpoint, tmp_path):
    file = write(tmp_path / "pairs.jsonl", PAIRS)
    code, found, _, err = command("eval", endpoint, "--on", file, "--json")
    assert code == 0, err
    assert found["words"]["model"]["mean"] == 3
    assert found["words"]["file"]["mean"] == (3 + 1) / 2  # the chosen ones
    assert found["cut"] == {"model": 0}
    assert "win_rate" not in found
    _, _, out, _ = command("eval", endpoint, "--on", file)
    assert "--judge adds a win rate" in out


def test_a_judge_compares_an_endpoint_with_the_file_or_with_another_model(command, endpoint, tmp_path):
    file = write(
        tmp_path / "demos.jsonl", [{"prompt": "where?", "completion": " in the mill by the sea"}, {"prompt": "who?", "completion": "i"}]
    )
    code, found, _, err = command("eval", endpoint, "--on", file, "--judge", endpoint, "--json")
    assert code == 0, err
    assert found["win_rate"]["mean"] == pytest.approx(1 / 2)  # "in the mill" is shorter than the first, longer than the second
    code, found, _, err = command("eval", endpoint, "--against", endpoint, "--on", file, "--judge", endpoint, "--json")
    assert code == 0, err
    assert found["win_rate"]["mean"] == pytest.approx(1 / 2)  # alike: whichever stands first loses both times
    assert set(found["words"]) == {"model", "against"}


def test_what_says_nothing_of_worth_is_one_line(command, endpoint, tmp_path):
    prompts = write(tmp_path / "prompts.jsonl", [{"prompt": "where?"}])
    code, _, _, err = command("eval", endpoint, "--on", prompts)
    assert code == 2
    assert "prompts alone say nothing" in err
    labels = write(tmp_path / "labels.jsonl", [{"prompt": "where?", "completion": "there", "label": True}])
    code, _, _, err = command("eval", endpoint, "--on", labels, "--judge", endpoint)
    assert code == 2
    assert "a judge compares two replies" in err


def test_a_file_s_own_reply_is_the_better_one():
    assert best(Comparison("p", ("a", "b"))) == "a"
    assert best(Comparison("p", ("a", "b"), preference=0.2)) == "b"
    assert best(Demo("p", "c")) == "c"
    assert best(Label("p", "c", desirable=True)) == ""
    figures, _ = generated(ScriptedModel(["x y", "z"], name="m"), None, [Prompt("p"), Label("q", "c", desirable=False)], Sampling())
    assert figures["words"] == {"model": {"mean": 1.5, "lo": pytest.approx(1.5, abs=0.5), "hi": pytest.approx(1.5, abs=0.5), "n": 2}}
