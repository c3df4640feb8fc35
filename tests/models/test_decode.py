"""Sampling: the distribution drawn from, independence of the batch, what ends a reply, choices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from decode_models import VOCABULARY, Numbers, lm_of, prompts_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers import GPT2Config, LlamaConfig

from plumbline.core.batches import Group
from plumbline.core.errors import UserError
from plumbline.core.nouns import Ask, Sampling
from plumbline.models import decode, draw, lean, noise

IDS: dict[str, Any] = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
LLAMA = LlamaConfig(
    **IDS,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=48,
)
GPT2 = GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=48, bos_token_id=1, eos_token_id=2)


@pytest.fixture(scope="module", params=[LLAMA, GPT2], ids=["lean", "padded"])
def lm(request: pytest.FixtureRequest) -> Any:
    """A model whose kernel is a plain forward of each sequence."""
    lm = lm_of(request.param)

    def token_logps(groups: list[Group], *, temperature: float = 1.0) -> torch.Tensor:
        rows = [plain_logps(lm.model, g.prompt, c, temperature) for g in groups for c in g.completions]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    lm.token_logps = token_logps
    return lm


def plain_logps(model: Any, prompt: Any, completion: Any, temperature: float = 1.0) -> torch.Tensor:
    with torch.no_grad():
        z_TV = model(input_ids=torch.tensor([[*prompt, *completion]])).logits[0, len(prompt) - 1 : -1] / temperature
    return z_TV.log_softmax(-1).gather(1, torch.tensor(list(completion))[:, None])[:, 0]


def texts(count: int) -> list[str]:
    return [" ".join(map(str, p)) for p in prompts_of(count)]


def keys(count: int, seed: int = 0) -> np.ndarray:
    return np.array([noise.stream_key(seed, (5, 6), k) for k in range(count)], dtype=np.uint64)


def test_noise_is_a_function_of_seed_prompt_sample_and_step() -> None:
    whole = noise.uniforms(keys(4), 3, 50)
    assert (noise.uniforms(keys(4)[[2]], 3, 50)[0] == whole[2]).all()  # not of the batch
    assert (noise.uniforms(keys(4), 3, 20) == whole[:, :20]).all()  # nor of how much is drawn
    others = [noise.uniforms(keys(4, seed=1), 3, 50), noise.uniforms(keys(4), 4, 50), noise.uniforms(keys(5)[1:], 3, 50)]
    assert all(abs(np.corrcoef(whole.ravel(), o.ravel())[0, 1]) < 0.3 for o in others)  # sd 1/√200 = .07


def test_noise_is_uniform_and_gumbel() -> None:
    u = noise.uniforms(keys(40), 0, 5000).ravel()
    assert u.min() > 0
    assert u.max() < 1
    counts = np.histogram(u, 100, (0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 99 + 5 * math.sqrt(2 * 99)  # χ² of 99 degrees of freedom
    serial = np.corrcoef(u[:-1], u[1:])[0, 1]
    assert abs(serial) < 5 / math.sqrt(len(u))
    g = noise.gumbels(keys(40), 0, 5000)
    assert g.mean().item() == pytest.approx(0.5772, abs=5 * 1.2825 / math.sqrt(2e5))  # Euler's constant; sd π/√6
    assert g.std().item() == pytest.approx(math.pi / math.sqrt(6), rel=0.02)


CUTS = [Sampling(), Sampling(temperature=0.5), Sampling(top_k=3), Sampling(top_p=0.6), Sampling(logit_bias={4: -1.9}, top_k=4, top_p=0.9)]


@pytest.mark.parametrize("sampling", CUTS, ids=["plain", "cool", "top-k", "top-p", "bias and both"])
def test_draws_have_the_stated_distribution(sampling: Sampling) -> None:
    """20,000 draws over 7 tokens (in blocks of 2, the last filled up) against probabilities computed here one by one."""
    z = [1.0, 0.2, -1.0, 0.9, 2.0, -0.5, 0.0]
    weight = [math.exp((x + sampling.logit_bias.get(i, 0.0)) / sampling.temperature) for i, x in enumerate(z)]
    order = sorted(range(7), key=lambda i: -weight[i])[: sampling.top_k or 7]
    kept, mass = [], 0.0
    for i in order:
        if mass < sampling.top_p * sum(weight[j] for j in order):
            kept.append(i)
            mass += weight[i]
    want = [weight[i] / mass if i in kept else 0.0 for i in range(7)]

    rows = 20_000
    token_R, logp_R, raw_R = draw.draw(
        torch.tensor([z]).expand(rows, 7).contiguous(), sampling, lambda count: noise.gumbels(keys(rows), 0, count)
    )
    got = torch.bincount(token_R, minlength=7) / rows
    for i in range(7):
        assert got[i].item() == pytest.approx(want[i], abs=5 * math.sqrt(want[i] * (1 - want[i]) / rows) + 1e-12)
    assert_close(logp_R, torch.tensor(want).log()[token_R], atol=1e-5, rtol=0)
    assert_close(raw_R, torch.tensor(z).log_softmax(0)[token_R], atol=1e-5, rtol=0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(-3, 3), min_size=9, max_size=9), min_size=1, max_size=4))
def test_greedy_takes_the_first_of_equals(rows: list[list[int]]) -> None:
    z_RV = torch.tensor(rows, dtype=torch.float32)
    token_R, logp_R, _ = draw.draw(z_RV, Sampling(temperature=0), lambda count: torch.zeros(len(rows), count))
    assert token_R.tolist() == [row.index(max(row)) for row in rows]
    assert logp_R.tolist() == [0.0] * len(rows)


def test_a_reply_does_not_depend_on_its_batch(lm: Any) -> None:
    sampling = Sampling(max_tokens=20, seed=3)
    together = decode.sample(lm, texts(6), 3, sampling)
    for at, text in enumerate(texts(6)):
        alone = decode.sample(lm, [text], 3, sampling)[0]
        assert [r.ids for r in alone] == [r.ids for r in together[at]]
        assert [r.text for r in alone] == [r.text for r in together[at]]
        for a, b in zip(alone, together[at], strict=True):
            assert_close(torch.tensor(a.logps), torch.tensor(b.logps), atol=1e-4, rtol=0)
    fewer = decode.sample(lm, texts(6), 1, sampling)
    assert [r[0].ids for r in fewer] == [r[0].ids for r in together]
    assert len({r.ids for replies in together for r in replies}) > 12  # 18 draws, and they differ
    assert any(r.finish == "stop" for replies in together for r in replies)  # so rows did leave early


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_those_of_a_plain_forward(lm: Any, temperature: float) -> None:
    for text, replies in zip(texts(3), decode.sample(lm, texts(3), 2, Sampling(temperature, max_tokens=12)), strict=True):
        for reply in replies:
            prompt = Numbers().context_ids(text)
            assert_close(torch.tensor(reply.logps), plain_logps(lm.model, prompt, reply.ids, temperature), atol=1e-4, rtol=0)
            assert_close(torch.tensor(reply.raw_logps), plain_logps(lm.model, prompt, reply.ids), atol=1e-4, rtol=0)


def test_what_ends_a_reply(lm: Any) -> None:
    free = decode.sample(lm, texts(4), 4, Sampling(max_tokens=20, seed=1))
    replies = [r for row in free for r in row]
    for reply in replies:
        assert (2 in reply.ids) == (reply.finish == "stop")
        assert reply.ids.count(2) <= 1
        assert (reply.ids[-1] == 2) == (reply.finish == "stop")  # EOS is last where it was sampled, and never added
        assert len(reply.ids) == 20 or reply.finish == "stop"
        assert len(reply.ids) == len(reply.logps) == len(reply.raw_logps)
    assert {r.finish for r in replies} == {"stop", "length"}
    third = free[0][0].ids[2]
    by_id = decode.sample(lm, texts(1), 1, Sampling(max_tokens=20, seed=1, stop_ids=(third,)))[0][0]
    cut = free[0][0].ids.index(third)
    assert by_id.ids == free[0][0].ids[: cut + 1]
    assert by_id.finish == "stop"
    assert by_id.text == " " + Numbers().decode(by_id.ids[:-1])  # what follows the prompt, with the space between


def test_raw_text_goes_on_with_its_space_though_the_tokenizer_leaves_a_first_one_out() -> None:
    """Llama's pieces: `▁girl` alone is read "girl", after `▁little` " girl"; prompt + reply must be the text that was sampled."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from plumbline.models.tokenizer import HFTokenizer

    pieces = {"<s>": 0, "</s>": 1, "▁a": 2, "▁little": 3, "▁girl": 4, "s": 5}
    llama = Tokenizer(models.WordLevel(pieces, unk_token="</s>"))
    llama.pre_tokenizer, llama.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer = HFTokenizer(PreTrainedTokenizerFast(tokenizer_object=llama, bos_token="<s>", eos_token="</s>"))
    assert tokenizer.decode([4]) == "girl"
    ids = tokenizer.context_ids("a little")
    for raw, text in ((True, " girls"), (False, "girls")):  # after a template a reply begins where it begins
        row = decode.Row(tuple(ids), 0, 3, ids=[4, 5, 1], raw=raw)
        assert row.reply(tokenizer, frozenset({1})).text == text
    whole = tokenizer.context_ids("a little" + " girl")
    assert whole == [*ids, 4]


def test_stop_strings_across_tokens(lm: Any) -> None:
    free = decode.sample(lm, texts(1), 1, Sampling(max_tokens=20, seed=5))[0][0]
    words = free.text.split()
    string = f"{words[3]} {words[4][0]}"  # ends inside a token
    cut = decode.sample(lm, texts(1), 1, Sampling(max_tokens=20, seed=5, stop=("never said", string)))[0][0]
    assert free.text.startswith(cut.text)
    assert string not in cut.text
    assert cut.finish == "stop"
    assert cut.ids == free.ids[: len(cut.ids)]
    assert string in Numbers().decode(cut.ids)
    assert string not in Numbers().decode(cut.ids[:-1])  # the last token is the one that completed it


def test_equal_prompts_of_one_call_differ(lm: Any) -> None:
    one, two = texts(1) * 2, Sampling(max_tokens=20)
    (a,), (b,) = decode.sample(lm, one, 1, two)
    (first, second), *_ = decode.sample(lm, one[:1], 2, two)
    assert (a.ids, b.ids) == (first.ids, second.ids)
    assert a.ids != b.ids
    asked = decode.answer(lm, [Ask("policy", c, two) for c in one])
    assert [r.ids for r in asked] == [a.ids, b.ids]


def test_the_context_ends_a_reply_and_a_longer_prompt_is_refused(lm: Any) -> None:
    full = decode.sample(lm, [" ".join(["7"] * 45)], 1, Sampling(max_tokens=30, logit_bias={2: -1e9}))[0][0]
    assert len(full.ids) == 3
    assert full.finish == "length"
    with pytest.raises(UserError, match="prompt 2 has 48 tokens, and the model's context is 48"):
        decode.sample(lm, ["7", " ".join(["7"] * 48)])
    with pytest.raises(UserError, match="prompt 1 has no tokens"):
        decode.sample(lm, [""])


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_k": -1}, {"max_tokens": 0}, {"stop": ("",)}])
def test_settings_that_mean_nothing_are_refused(lm: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        decode.sample(lm, texts(1), 1, Sampling(**wrong))


def test_choices(lm: Any) -> None:
    choices = ("5 9", "11", "4 4 4")
    score = torch.stack([plain_logps(lm.model, (5, 6), Numbers().context_ids(c)).sum() for c in choices])
    best = decode.answer(lm, [Ask("policy", "5 6", Sampling(temperature=0), choices)])[0]
    assert best.text == choices[int(score.argmax())]
    assert best.finish == "choice"
    assert_close(torch.tensor(best.choice_probs), score.softmax(0), atol=1e-4, rtol=1e-3)
    warm = decode.answer(lm, [Ask("policy", "5 6", Sampling(temperature=30.0), choices)] * 300)
    want = (score / 30).softmax(0)
    assert_close(torch.tensor(warm[0].choice_probs), want, atol=1e-4, rtol=1e-3)
    for choice, p in zip(choices, want.tolist(), strict=True):
        assert sum(r.text == choice for r in warm) / 300 == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 300))


def test_a_choice_that_begins_another_is_scored_with_its_end(lm: Any) -> None:
    reply = decode.answer(lm, [Ask("policy", "5 6", Sampling(temperature=0), ("9", "9 11"))])[0]
    score = torch.stack([plain_logps(lm.model, (5, 6), ids).sum() for ids in ((9, 2), (9, 11, 2))])
    assert_close(torch.tensor(reply.choice_probs), score.softmax(0), atol=1e-4, rtol=1e-3)


def test_the_fast_path_leaves_when_it_is_not_right() -> None:
    model = lm_of(LLAMA).model
    with torch.inference_mode():
        assert lean.serves(model)
        hook = model.model.layers[0].register_forward_hook(lambda *_: None)
        assert not lean.serves(model)  # somebody watches a layer that the fast path does not call
        hook.remove()
        assert lean.serves(model)
        other = lm_of(LLAMA).model
        other.model.layers[1].self_attn.scaling = 0.1
        assert lean.serves(other)  # it reads the model's own scaling
        norm = other.model.norm.forward
        other.model.layers[1].forward = lambda x, *a, **k: 2 * norm(x)  # a layer that is not Llama's
        lean._checked.pop(other)
        assert not lean.serves(other)


def test_samples_reach_every_row_after_uneven_departures() -> None:
    """Rows of one prompt leave at different times, so the fast path's grid is ragged: log-probabilities stay right."""
    lm = lm_of(LLAMA)
    rows = decode.sample(lm, texts(5), 5, Sampling(max_tokens=25, seed=11, logit_bias={2: 2.0}))
    lengths = {tuple(len(r.ids) for r in replies) for replies in rows}
    assert len(lengths) == 5
    for text, replies in zip(texts(5), rows, strict=True):
        for reply in replies:
            assert_close(torch.tensor(reply.raw_logps), plain_logps(lm.model, Numbers().context_ids(text), reply.ids), atol=1e-4, rtol=0)


def test_a_row_at_the_end_of_the_context_goes_though_others_stay(lm: Any) -> None:
    """Few ended rows ride along with the rest; one that has no position left must not."""
    words = [" ".join(map(str, range(10, 10 + 45))), *texts(15)]  # the first has room for 3 tokens at most, the others for 20
    sampling = Sampling(max_tokens=20, temperature=1.0, seed=3)
    together, alone = decode.sample(lm, words, 1, sampling), [decode.sample(lm, [w], 1, sampling)[0] for w in words]
    assert [r[0].ids for r in together] == [r[0].ids for r in alone]
    assert len(together[0][0].ids) <= 3 < max(len(r[0].ids) for r in together)
