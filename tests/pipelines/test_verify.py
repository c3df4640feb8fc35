"""`verify` on models whose wants are known: the verdict is that of asking everything, and the certificate claims no more than is so."""

import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch

from plumbline.core.errors import UserError
from plumbline.core.nouns import Comparison
from plumbline.evals.rewards import games_of
from plumbline.models.fresh import fresh
from plumbline.models.lm import LM
from plumbline.models.scalar import ScalarLM
from plumbline.pipelines import verify
from plumbline.pipelines.verify import Drawn
from plumbline.world import sources as world
from plumbline.world.utility import gold

WORDS = ("who", "is", "it", "mira", "yes", "no", ".")
ROWS = [Comparison("who is it", (f" {a} {b}", f" {c} {d}")) for a, b, c, d in permutations(WORDS[2:], 4)][::2]
WIDTH = 4


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LM:
    """Four numbers wide, so that sixty comparisons are pinned by fewer."""
    path = tmp_path_factory.mktemp("tiny") / "model"
    return LM.load(fresh(path, WORDS, hidden=WIDTH, layers=1, heads=1, ffn=16, context=64, seed=3))


@pytest.fixture(scope="module")
def reward(lm: LM) -> ScalarLM:
    """The values."""
    found = ScalarLM.on(lm, seed=1)
    found.standardise({"reward": 0.3}, {"reward": 2.0})
    return found.frozen()


def with_head(reward: ScalarLM, head_K: np.ndarray) -> ScalarLM:
    """Another head on the same states."""
    return ScalarLM(reward.trunk, torch.tensor(head_K, dtype=torch.float32)[None], ("reward",), pad=reward.pad)


def others(reward: ScalarLM, count: int) -> list[ScalarLM]:
    """Heads from nearly the values to anything."""
    draw, head_K = np.random.default_rng(0), reward.head.detach().numpy()[0]
    return [with_head(reward, head_K + draw.normal(size=WIDTH) * np.abs(head_K).max() * far) for far in np.geomspace(0.003, 10, count)]


def test_a_reward_model_is_a_linear_head_on_what_is_read_as_its_features(reward: ScalarLM):
    two = ScalarLM(reward.trunk, torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(0)), ("a", "b"), weights={"b": -0.5})
    two.standardise({"a": 1.0, "b": 2.0}, {"a": 0.5, "b": 3.0})
    for model in (reward, two):
        values = verify.linear(model, "it")
        total_2N = np.array(model(games_of(ROWS)).total)
        assert values.gaps(ROWS) @ values.weights_K == pytest.approx(total_2N[::2] - total_2N[1::2], abs=1e-6)


@pytest.fixture(scope="module")
def exact(reward: ScalarLM) -> Drawn:
    """As many questions as pin the pool."""
    return verify.drawn(verify.linear(reward, "values"), ROWS, 100)


def test_the_verdict_is_that_of_asking_the_whole_pool(reward: ScalarLM, exact: Drawn):
    assert len(exact.chosen) == exact.needed < len(ROWS) / 2
    assert exact.rates["these"].falsely_passed == 0.0 < exact.rates["random"].falsely_passed
    verdicts = []
    for agent in [reward, *others(reward, 24)]:
        made = verify.certificate(exact, verify.asked_of(agent, "agent"))
        total_2N = np.array(agent(games_of(exact.better)).total)
        verdicts.append("pass" if (total_2N[::2] > total_2N[1::2]).all() else "fail")
        assert made["verdict"] == verdicts[-1]
    assert verdicts[0] == "pass"
    assert 3 <= verdicts.count("fail") <= 22


def test_with_too_few_questions_what_is_certified_is_still_so(reward: ScalarLM):
    test = verify.drawn(verify.linear(reward, "values"), ROWS, 2)
    assert test.rates["these"].falsely_passed < test.rates["random"].falsely_passed
    assert 2 <= test.settled < len(ROWS)
    passed = 0
    for agent in others(reward, 40):
        made = verify.certificate(test, verify.asked_of(agent, "agent"), audit=True)
        if made["verdict"] == "pass":
            passed += 1
            assert made["settled"] == test.settled <= made["audit"]["right"]
        else:
            assert made["audit"]["verdict"] == "fail"  # nobody who is right everywhere fails
            assert made["settled"] == 0
    assert 3 <= passed <= 37


def test_same_states_are_known_and_others_only_supposed(reward: ScalarLM, exact: Drawn, tmp_path: Path):
    triple = with_head(reward, 3 * reward.head.detach().numpy()[0])
    same = verify.certificate(exact, verify.asked_of(triple, "a"))
    assert same["verdict"] == "pass"
    assert same["certifies"].endswith("it is a linear head on the features of the values")
    other = LM.load(fresh(tmp_path / "other", WORDS, hidden=WIDTH, layers=1, heads=1, ffn=16, context=64, seed=3))
    with torch.no_grad():
        other.model.model.norm.weight.mul_(2.0)  # the same preferences from other states
    double = ScalarLM(other, reward.head, ("reward",), pad=reward.pad)
    made = verify.certificate(exact, verify.asked_of(double, "b"))
    assert made["verdict"] == "pass"
    assert made["certifies"].endswith("which was not tested")


def test_a_language_model_prefers_what_is_likelier(lm: LM):
    rows = [Comparison("who is it", (" yes", " no .")), Comparison("who", (" mira is it", " it"))]
    for by in ("sum", "mean"):
        found = verify.asked_of(lm, "m", by).prefers(rows)
        for row, gap in zip(rows, found, strict=True):
            each = [lm.token_logps([_group(lm, str(row.context), text)])[0].detach().double() for text in row.completions]
            one, two = (float(x.sum() if by == "sum" else x.mean()) for x in each)
            assert gap == pytest.approx(one - two, abs=1e-5)


def _group(lm: LM, prompt: str, text: str):
    from plumbline.core.batches import Group

    return Group(tuple(lm.tokenizer.context_ids(prompt)), (tuple(lm.tokenizer.completion_ids(prompt, text)),))


def test_gold_is_linear_in_its_features():
    rows, values = world.comparisons(60, seed=5), verify.values_of("town")
    says_N = values.gaps(rows) @ values.weights_K
    for row, says in zip(rows, says_N, strict=True):
        one, two = (gold(game.item, game.turns[-1].reply.text).total for game in games_of([row]))
        if min(one, two) > 0:
            assert says == pytest.approx(np.log(one / two), abs=1e-9)
        elif one != two:
            assert np.sign(says) == np.sign(one - two)


def test_answers_are_turned_to_what_the_values_want_whatever_the_file_says(reward: ScalarLM):
    values = verify.linear(reward, "values")
    turned = [replace(row, completions=row.completions[::-1]) for row in ROWS]
    one, other = (verify.oriented(values, rows) for rows in (ROWS, turned))
    assert [row.completions for row in one[0]] == [row.completions for row in other[0]]
    assert one[1] == pytest.approx(other[1])
    assert (one[1] @ values.weights_K > 0).all()


def test_what_the_values_cannot_tell_apart_is_left_out_and_nothing_else_refused(reward: ScalarLM):
    alike = Comparison("who", (" yes", " yes"))
    assert len(verify.oriented(verify.linear(reward, "it"), [*ROWS, alike])[0]) == len(ROWS)
    with pytest.raises(UserError, match="tell no two replies"):
        verify.oriented(verify.linear(reward, "it"), [alike])


def test_the_command_writes_the_same_certificate_twice(lm: LM, reward: ScalarLM, tmp_path: Path, command):
    lm.model.save_pretrained(tmp_path / "lm")
    lm.tokenizer.hf.save_pretrained(tmp_path / "lm")
    reward.save(tmp_path / "reward")
    pairs = [{"prompt": r.context, "chosen": r.completions[0], "rejected": r.completions[1]} for r in ROWS]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(p) + "\n" for p in pairs))
    flags = ("--values", tmp_path / "reward", "--data", tmp_path / "pairs.jsonl", "--questions", "9", "--audit", "--json")
    kept = []
    for out in ("one", "two"):
        code, found, _, err = command("verify", "--model", tmp_path / "lm", *flags, "--out", tmp_path / out)
        assert code == 0, err
        kept.append((tmp_path / out / "certificate.json").read_bytes())
        assert json.loads(kept[-1]) == found
    assert kept[0] == kept[1]
    assert found["model"]["asked_by"] == "log-probability"
    assert command("verify", "--model", tmp_path / "reward", *flags, "--out", tmp_path / "own")[1]["verdict"] == "pass"
    code, _, _, err = command("verify", "--model", tmp_path / "lm", *flags, "--out", tmp_path / "one")
    assert code == 2
    assert "is not empty" in err
    code, _, _, err = command("verify", "--model", tmp_path / "lm", "--values", tmp_path / "lm", "--out", tmp_path / "x")
    assert code == 2
    assert "no reward model is there" in err
