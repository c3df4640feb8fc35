"""The commands on the shipped model: what they print is what was computed, on one page too; what cannot be done is said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plumbline.core.errors import UserError
from plumbline.pipelines import insides, insides_page
from plumbline.pipelines.sources import PACKAGE

Command = Callable[..., tuple[int, Any, str, str]]
CLEAN = ("what is the favourite colour of nina?", "the favourite colour of nina is")
CORRUPTED = ("what is the favourite colour of felix?", "the favourite colour of felix is")

pytestmark = pytest.mark.skipif(
    not (PACKAGE / "world" / "models" / "s" / "model.safetensors").is_file(),
    reason="the shipped model s is not in this checkout: `plumbline world build --size s` makes it",
)


@pytest.fixture(scope="module")
def town() -> insides.Opened:
    return insides.opened("town", "cpu")


def test_the_lens_command(command: Command) -> None:
    code, found, _, _ = command("interp", "lens", "--model", "town", "--text", CLEAN[0], "--chat", "--reply", CLEAN[1], "--json")
    assert code == 0
    assert found["next"]["blocks.0.hook_resid_pre"][0]["token"] == found["tokens"][-1] == "is"  # tied embeddings say what they read
    assert found["next"]["blocks.3.hook_resid_post"][0]["token"] == "yellow"


def test_attribution_of_the_shipped_model_sums_to_the_logit(town: insides.Opened) -> None:
    found, text = insides.attribution(town, CLEAN[0], chat=True, reply=CLEAN[1], answer="yellow", against="green")
    assert found["of"] == "yellow minus green"
    assert found["gap"] < 1e-5
    assert found["logit"] == pytest.approx(sum(found["parts"].values()), abs=1e-5)
    assert text.startswith("logit of yellow minus green: ")


def test_patching_says_that_only_names_and_the_last_token_matter(town: insides.Opened) -> None:
    found, text = insides.patch(town, (CLEAN, CORRUPTED), chat=True)
    effect = dict(zip(zip(found["columns"], range(99), strict=False), found["effect"][0], strict=True))
    assert max(effect, key=lambda at: effect[at])[0] == "nina"
    assert all(abs(v) < 1e-6 for (word, _), v in effect.items() if word != "nina")  # at the embeddings only what differs can matter
    assert found["effect"][3][-1] > 0.9
    assert "nina" in text


def test_a_page_shows_all_of_it(town: insides.Opened, tmp_path: Path) -> None:
    html = insides_page.write(town, CLEAN, CORRUPTED, chat=True, out=str(tmp_path / "p")).read_text(encoding="utf-8")
    assert html.count('aria-label="attention pattern"') == 16
    assert html.count('aria-label="effect of patching by layer"') == 2
    assert "logit lens" in html
    assert not re.search(r"(src|href)=[\"']?http", html)


def test_what_cannot_be_done_is_said(command: Command) -> None:
    chat = ("--model", "town", "--chat", "--text", "what is the age of anton?")
    for argv, says in (
        (("patch", *chat, "--corrupted", "hello"), "tokens"),
        (("patch", *chat, "--corrupted", chat[-1]), "both texts are answered"),
        (("patch", *chat, "--corrupted", "x", "--what", "heads"), "--what heads"),
        (("lens", "--model", "town"), "needs --text"),
        (("attribution", *chat, "--reply", "anton is", "--against", "zzz"), "'zzz' is no token"),
    ):
        code, _, _, said = command("interp", *argv)
        assert code == 2
        assert says in said


def test_steering_changes_replies_as_it_says(command: Command) -> None:
    sets = ("--toward", "town:prompts?n=20&families=harm", "--away", "town:prompts?n=20&families=lookalike")
    asked = ("--model", "town", *sets, "--prompts", "town:prompts?n=3&families=lookalike&split=validation", "--json")
    code, none, _, _ = command("interp", "steer", *asked, "--layer", 2, "--strength", 0)
    assert code == 0
    assert all(row["plain"] == row["steered"] for row in none["replies"])
    _, much, _, _ = command("interp", "steer", *asked, "--layer", 2, "--strength", 4)
    assert [row["plain"] for row in much["replies"]] == [row["plain"] for row in none["replies"]]
    assert any(row["plain"] != row["steered"] for row in much["replies"])
    code, _, _, said = command("interp", "steer", *asked, "--layer", 4)  # a stream that is read, but stands before no block
    assert code == 2
    assert "--layer 4" in said


def test_a_probe_of_thumbs_scores_every_layer(command: Command, tmp_path: Path) -> None:
    """The label is whether the reply says yes, which is in the embedding of the token before the last: the control knows it as well."""
    data = tmp_path / "thumbs.jsonl"
    rows = [{"prompt": f"is nina {n} ?", "completion": "yes." if n % 2 else "no.", "label": bool(n % 2)} for n in range(40)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    code, found, _, _ = command("interp", "probe", "--model", "town", "--data", data, "--json")
    assert code == 0
    assert list(found["layers"]) == [f"layer {i}" for i in range(5)]
    assert found["layers"]["layer 4"]["accuracy"] == 1.0
    assert found["n"] == 12


def test_a_reply_of_one_token_has_none_before_it(town: insides.Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a model whose texts begin with nothing."""
    data = tmp_path / "thumbs.jsonl"
    data.write_text(json.dumps({"prompt": "", "completion": "yes", "label": True}) + "\n", encoding="utf-8")
    monkeypatch.setattr(insides.Opened, "row", lambda self, context, reply="": [5])
    with pytest.raises(UserError, match="'yes' is a single token"):
        insides.probe(town, str(data))
