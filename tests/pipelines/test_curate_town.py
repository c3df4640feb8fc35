"""`plumbline data curate` on town, where the truth is known, and with a reward or a model as one more signal."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from plumbline.core.nouns import Demo, Prompt
from plumbline.data.curate import Wish, curate
from plumbline.pipelines.curate import by_likelihood, row_of, truth
from plumbline.pipelines.sources import PACKAGE
from plumbline.world import sources as world
from plumbline.world.utility import gold

SPEC = "town:demos?n=400&noise=0.5&seed=3"


def demos(spec: str) -> list[Demo]:
    return [item for item in world.load(spec) if isinstance(item, Demo)]


@pytest.fixture
def shipped():
    if not (PACKAGE / "world" / "models" / "s" / "model.safetensors").is_file():
        pytest.skip("the shipped model s is not in this checkout: `plumbline world build --size s` makes it")


def test_on_town_more_of_the_kept_are_right_than_chance_would_have(command, tmp_path):
    code, found, _, _ = command("data", "curate", SPEC, "--keep", "100", "--out", tmp_path / "out", "--json")
    assert code == 0
    told = found["truth"]
    assert told["z"] > 2.5
    rows = [json.loads(line) for line in (tmp_path / "out" / "data.jsonl").read_text().splitlines()]
    kept = (tmp_path / "out" / "kept.jsonl").read_text().splitlines()
    assert rows == [row_of(item) for item in world.load(SPEC)]
    assert set(kept) <= set((tmp_path / "out" / "data.jsonl").read_text().splitlines())
    assert len(kept) == 100
    reasons = [json.loads(line) for line in (tmp_path / "out" / "reasons.jsonl").read_text().splitlines()]
    assert [r["row"] for r in reasons] == list(range(1, 401))


def test_truth_is_the_share_of_right_rows_beside_the_hypergeometric(tmp_path):
    """50 of 400 rows, the right ones first: the file's share is gold's own, and z follows from n, K and the shares."""
    path = tmp_path / "a.jsonl"
    items = demos(SPEC)
    path.write_text("".join(json.dumps(row_of(item)) + "\n" for item in items))
    right = {item.completion for item in demos("town:demos?n=400&seed=3")}
    found = curate(path, Wish(keep=50, diversity=0.0), score=lambda rows: [float(r[0].completion in right) for r in rows])
    told = truth(found)
    p = sum(gold(Prompt(item.context, item.meta), item.completion).total >= 0.9 for item in items) / 400
    assert told["right"] == pytest.approx(p, abs=1e-4)
    assert told["z"] == pytest.approx((told["right_kept"] - p) / math.sqrt(p * (1 - p) / 50 * 350 / 399), abs=0.01)


def test_gold_as_the_reward_leaves_hardly_a_wrong_row(command, tmp_path):
    code, found, _, _ = command("data", "curate", SPEC, "--keep", "50", "--reward", "gold", "--out", tmp_path / "out", "--json")
    assert code == 0
    assert found["truth"]["right_kept"] > 0.97
    assert "reward" in found["signals"]["kept"]


def test_a_rule_as_the_reward_and_a_file_without_truth(command, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        "".join(json.dumps({"prompt": f"q{i}", "completion": f"answer {i} {'yes' if i % 2 else 'no'}"}) + "\n" for i in range(10))
    )
    argv = ("data", "curate", path, "--keep", "50%", "--near", "1.1", "--reward", "regex:yes", "--out", tmp_path / "out")
    code, _, out, _ = command(*argv)
    assert code == 0
    assert "truth" not in out
    assert [json.loads(x)["completion"][-3:] for x in (tmp_path / "out" / "kept.jsonl").read_text().splitlines()] == ["yes"] * 5


def test_after_a_kill_at_any_file_the_same_command_ends_in_the_same_bytes(command, tmp_path, monkeypatch):
    argv = ("data", "curate", "town:demos?n=40&noise=0.5", "--keep", "10", "--out")
    assert command(*argv, tmp_path / "whole")[0] == 0
    whole = {p.name: p.read_bytes() for p in (tmp_path / "whole").iterdir() if not p.name.startswith("summary")}
    rename, done = Path.rename, []

    def killed(self: Path, target: Path) -> Path:
        done.append(target)
        if len(done) == dies:
            raise KeyboardInterrupt
        return rename(self, target)

    for dies in range(1, 3):  # at data.jsonl, at the first of the results
        done.clear()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", killed)
            assert command(*argv, tmp_path / f"{dies}")[0] == 130
        assert not (tmp_path / f"{dies}" / "kept.jsonl").exists()
        assert command(*argv, tmp_path / f"{dies}")[0] == 0
        assert {p.name for p in (tmp_path / f"{dies}").iterdir()} == {*whole, "summary.json", "summary.txt"}
        assert all((tmp_path / f"{dies}" / name).read_bytes() == raw for name, raw in whole.items())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "data.jsonl").write_text("mine")
    code, _, _, err = command(*argv, tmp_path / "mine")
    assert (code, (tmp_path / "mine" / "data.jsonl").read_text()) == (2, "mine")
    assert "with other rows" in err


def test_likelihood_is_the_mean_over_tokens_and_prefers_town_to_noise(shipped):
    items = demos("town:demos?n=12")
    noise = [Demo(item.context, " ".join(reversed(item.completion.split()))) for item in items]
    score = by_likelihood("town-s")
    single = score([[item] for item in items])
    assert all(x < 0 for x in single)
    assert sum(single) > sum(score([[item] for item in noise])) + 12
    assert score([items[:2]]) == pytest.approx([(single[0] + single[1]) / 2], abs=1e-5)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("a.jsonl", "--keep", "none", "--out", "out"), "--keep is none"),
        (("a.jsonl", "--keep", "0", "--out", "out"), "--keep is 0"),
        (("a.jsonl",), "needs --out"),
        (("a.jsonl", "--out", "."), "exists already"),
        (("missing.jsonl", "--out", "out"), "does not exist"),
        (("a.jsonl", "--out", "out", "--ignore", "size"), "which is no signal"),
        (("a.jsonl", "--out", "out", "--reward", "gold", "--model", "town"), "both given"),
        (("town:labels?n=4", "--out", "out"), "cannot be curated"),
        (("bad.jsonl", "--out", "out"), 'bad.jsonl, row 2: "completion" is empty'),
    ],
)
def test_what_is_wrong_is_said_in_a_line_and_nothing_is_written(command, tmp_path, monkeypatch, argv, said):
    monkeypatch.chdir(tmp_path)
    good = json.dumps({"prompt": "q", "completion": "answer"}) + "\n"
    (tmp_path / "a.jsonl").write_text(good)
    (tmp_path / "bad.jsonl").write_text(good + json.dumps({"prompt": "q", "completion": " "}) + "\n")
    code, _, _, err = command("data", "curate", *argv)
    assert code == 2
    assert said in err
    assert not (tmp_path / "out").exists()
