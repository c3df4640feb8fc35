"""A steered model writes and scores as the plain forward pass with the same functions at its streams, and is itself again afterwards."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import Tensor
from torch.testing import assert_close

from plumbline.core.batches import Batch, Group
from plumbline.core.errors import UserError
from plumbline.core.nouns import Ask, Sampling
from plumbline.interp.steering import Fwd, Steered, ablating, adding, random_like
from plumbline.models import shrink
from plumbline.models.hooks import HookPoint, Insides
from plumbline.models.lm import LM
from plumbline.models.loading import quiet
from plumbline.pipelines.sources import PACKAGE

SHIPPED = PACKAGE / "world" / "models" / "s"
TEXTS = (
    "who is nina?",
    "what is the age of anton and of felix, and who is older?",
    "the favourite colour of nina is",
    "who is nina?",
)
MOST = 8

pytestmark = pytest.mark.skipif(
    not (SHIPPED / "model.safetensors").is_file(),
    reason="the shipped model s is not in this checkout: `plumbline world build --size s` makes it",
)


@pytest.fixture(scope="module", params=["town", "gpt2"])
def lm(request: pytest.FixtureRequest) -> LM:
    """The shipped model, whose decoder has a fast path of its own, and a random one that is decoded by its own forward."""
    town = LM.load(SHIPPED)
    if request.param == "town":
        return town
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        config = shrink.shrunk(transformers.GPT2Config())
        config.vocab_size = town.tokenizer.vocab_size
        return LM(shrink.strengthen(transformers.AutoModelForCausalLM.from_config(config)), town.tokenizer, name="gpt2")


def pushes(lm: LM) -> dict[str, Fwd]:
    """A direction about as long as the stream at layer 1, added and taken out."""
    insides = Insides.of(lm)
    ids = lm.tokenizer.context_ids(TEXTS[1])
    stream_D = insides.run(ids, keep=["blocks.1.hook_resid_pre"])[1]["blocks.1.hook_resid_pre"][0, -1]
    return {"added": adding(random_like(stream_D, 1), 1), "taken out": ablating(stream_D)}


def greedy(lm: LM, text: str, hooks: Fwd) -> list[int]:
    """The argmax of a forward pass of the whole text, token by token."""
    insides, ids, start = Insides.of(lm), lm.tokenizer.context_ids(text), len(lm.tokenizer.context_ids(text))
    while len(ids) < start + MOST:
        with torch.no_grad():
            token = int(insides.run(ids, hooks)[0][0, -1].argmax())
        ids = [*ids, token]
        if token in lm.tokenizer.end_ids:
            break
    return ids[start:]


def asks(lm: LM) -> list[Ask]:
    return [Ask(lm.name, text, Sampling(temperature=0.0, max_tokens=MOST)) for text in TEXTS]


@pytest.mark.parametrize("push", ["added", "taken out"])
def test_greedy_replies_are_the_argmax_of_the_whole_text(lm: LM, push: str) -> None:
    hooks = pushes(lm)[push]
    before = [r.ids for r in lm.answer(asks(lm))]
    got = [list(r.ids) for r in Steered(lm, hooks).answer(asks(lm))]
    want = [greedy(lm, text, hooks) for text in TEXTS]
    assert [ids[: len(w)] for ids, w in zip(got, want, strict=True)] == [w[: len(ids)] for ids, w in zip(got, want, strict=True)]
    assert all(len(w) - len(ids) in (0, 1) for ids, w in zip(got, want, strict=True))  # a reply may be without its end
    assert got != [list(ids) for ids in before]
    assert [r.ids for r in lm.answer(asks(lm))] == before


@torch.no_grad()
@pytest.mark.parametrize("push", ["added", "taken out"])
def test_log_probabilities_are_those_of_the_forward_pass(lm: LM, push: str) -> None:
    """Groups of two completions behind one prompt, of unlike length, as the kernel packs them."""
    hooks, insides = pushes(lm)[push], Insides.of(lm)
    rows = [lm.tokenizer.context_ids(text) for text in TEXTS[:3]]
    groups = [Group(tuple(row), (tuple(rows[0][1:4]), tuple(rows[1][1:6]))) for row in rows]
    part = next(iter(Batch(groups, micro_tokens=4096).parts()))
    got = part.sum(Steered(lm, hooks).token_logps(part))

    def plain(prompt: tuple[int, ...], tokens: tuple[int, ...]) -> Tensor:
        logp_TV = insides.run([*prompt, *tokens], hooks)[0][0].log_softmax(-1)
        return logp_TV[len(prompt) - 1 : -1].gather(1, torch.tensor(tokens)[:, None]).sum()

    want = torch.stack([torch.stack([plain(g.prompt, c) for c in g.completions]) for g in part.groups])
    assert_close(got, want, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(got, part.sum(lm.token_logps(part)), atol=0.1)


def test_a_failing_function_leaves_nothing_in_place(lm: LM) -> None:
    def fails(x: Tensor, hook: HookPoint) -> Tensor:
        raise RuntimeError(hook.name)

    before = [r.ids for r in lm.answer(asks(lm))]
    with pytest.raises(RuntimeError, match="hook_mlp_out"):
        Steered(lm, [("blocks.1.hook_mlp_out", fails)]).answer(asks(lm))
    assert [r.ids for r in lm.answer(asks(lm))] == before


def test_what_cannot_stay_in_place_is_said(lm: LM) -> None:
    with pytest.raises(UserError, match="hook_z cannot stay"):
        Steered(lm, [("blocks.1.attn.hook_z", lambda x, hook: x)]).answer(asks(lm))
    with pytest.raises(UserError, match="no hook"):
        Steered(lm, adding(torch.ones(1), 99)).answer(asks(lm))
