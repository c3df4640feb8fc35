"""What a `ScalarLM` promises: transformers' numbers from its directories, roles that share weights and not gradients, its own tokens."""

from __future__ import annotations

import copy
import inspect
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, BertConfig, GPT2Config, LlamaConfig, Qwen2Config

from plumbline.core.batches import Group, Part, Totals
from plumbline.core.errors import UserError
from plumbline.core.nouns import Game, Message, Reply, Turn
from plumbline.models import loading
from plumbline.models.fresh import fresh, word_tokenizer
from plumbline.models.lm import LM
from plumbline.models.scalar import ScalarLM
from plumbline.models.selfcheck import choose

WORDS = "hello there how are you i am fine thanks no yes what is the cat doing . , ? !".split()  # noqa: SIM905
GROUPS = [Group((1, 4, 8, 9, 5), ((10, 11, 2), (12, 13, 14, 2), (7,))), Group((1, 4, 15, 5), ((16, 2), (17, 18, 2)))]
PART = Part(tuple(GROUPS), Totals.of(GROUPS))
EOS = 2
SHAPE: dict[str, Any] = {"vocab_size": 27, "bos_token_id": 1, "eos_token_id": EOS}


def step(role: LM | ScalarLM, numbers: Tensor, rate: float = 0.5) -> None:
    """One step of gradient descent on some numbers of a role."""
    grads = torch.autograd.grad(numbers.square().sum(), role.parameters())
    with torch.no_grad():
        for parameter, grad in zip(role.parameters(), grads, strict=True):
            parameter -= rate * grad


def theirs(directory: Path, groups: list[Group] = GROUPS) -> Tensor:
    """(N, C) what transformers reads from the directory, prompt and completion padded on the right in one batch."""
    with loading.quiet():
        model: Any = AutoModelForSequenceClassification.from_pretrained(directory)
    rows = [[*g.prompt, *c] for g in groups for c in g.completions]
    width = max(map(len, rows)) + 2
    ids = torch.tensor([r + [model.config.pad_token_id] * (width - len(r)) for r in rows])
    mask = torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in rows])
    with torch.no_grad():
        return model.eval()(input_ids=ids, attention_mask=mask).logits


# -- numbers


def test_scores_read_the_last_token_and_values_the_token_before(small: LM) -> None:
    scalar = ScalarLM.on(small, ("a", "b"))
    score_NC, value_NT = scalar.scores(PART), scalar.values(PART)
    assert score_NC.shape == (5, 2)
    assert value_NT.shape == (5, 4)
    n = 0
    for group in GROUPS:
        for completion in group.completions:
            ids = torch.tensor([[*group.prompt, *completion]])
            state_LH = small.model.model(input_ids=ids).last_hidden_state[0]
            want_LC = state_LH @ scalar.head.t()
            torch.testing.assert_close(score_NC[n], want_LC[-1], rtol=1e-5, atol=1e-5)
            before = want_LC[len(group.prompt) - 1 : -1, 0]
            torch.testing.assert_close(value_NT[n, : len(completion)], before, rtol=1e-5, atol=1e-5)
            assert not value_NT[n, len(completion) :].any()
            n += 1


def test_the_head_begins_small_and_from_its_seed(small_dir: Path, tmp_path: Path) -> None:
    wide = LM.load(fresh(tmp_path / "wide", WORDS, hidden=768, layers=1, heads=2, ffn=16), attn="dense")
    head = ScalarLM.on(wide, ("a", "b", "c", "d"), seed=3).head
    assert head.std().item() == pytest.approx(1 / math.sqrt(769), rel=0.05)  # 3,072 numbers: a standard error of 1.3 %
    assert torch.equal(head, ScalarLM.on(wide, ("a", "b", "c", "d"), seed=3).head)
    assert not torch.equal(head, ScalarLM.on(wide, ("a", "b", "c", "d"), seed=4).head)


def test_an_empty_completion_is_read_at_the_prompt(small: LM) -> None:
    scalar = ScalarLM.on(small)
    bare = scalar.scores([Group((1, 4, 8), ((), (9, 2)))])
    torch.testing.assert_close(bare, scalar.scores([Group((1, 4), ((8,), (8, 9, 2)))]))


# -- directories of transformers


@pytest.mark.parametrize("lora", [0, 3])
def test_transformers_reads_the_same_numbers(small_dir: Path, tmp_path: Path, lora: int) -> None:
    scalar = ScalarLM.on(LM.load(small_dir, lora=lora, attn="dense"), ("helpful", "honest", "harmless"), seed=1)
    step(scalar, scalar.scores(PART))
    scalar.weights = {"helpful": 0.5, "honest": 0.3, "harmless": 0.2}
    scalar.standardise({"helpful": 1.5, "honest": -2.0}, {"helpful": 2.0, "harmless": 0.5})
    scalar.save(tmp_path / "reward")
    want = scalar.scores(PART)
    torch.testing.assert_close(theirs(tmp_path / "reward"), want.detach(), rtol=1e-5, atol=1e-5)
    again = ScalarLM.load(tmp_path / "reward", attn="dense")
    torch.testing.assert_close(again.scores(PART), want, rtol=1e-5, atol=1e-5)
    assert again.heads == ("helpful", "honest", "harmless")
    assert again.weights == scalar.weights
    assert list(again.mean.values()) == pytest.approx([1.5, -2.0, 0.0])
    assert list(again.std.values()) == pytest.approx([2.0, 1.0, 0.5])
    assert "plumbline_reward" not in again.config.to_dict(), "kept numbers are no part of the architecture"
    again.save(tmp_path / "again")
    torch.testing.assert_close(theirs(tmp_path / "again"), want.detach(), rtol=1e-5, atol=1e-5)


CONFIGS = [
    LlamaConfig(**SHAPE, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1),
    Qwen2Config(**SHAPE, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2),
    GPT2Config(**SHAPE, n_embd=16, n_layer=2, n_head=2, n_positions=32),
]


def another(directory: Path, config: Any, *, labels: int, pad: int) -> Path:
    """A reward model as somebody else would have made it, with a tokenizer without padding token."""
    config = copy.deepcopy(config)
    config.num_labels, config.pad_token_id = labels, pad
    noise = torch.Generator().manual_seed(5)
    with loading.quiet():
        model: Any = AutoModelForSequenceClassification.from_config(config)
        with torch.no_grad():
            for parameter in (p for p in model.parameters() if p.dim() > 1):
                parameter.copy_(2 * torch.randn(parameter.shape, generator=noise) * parameter.shape[-1] ** -0.5)
        model.save_pretrained(directory)
    word_tokenizer(WORDS, 32).save_pretrained(directory)
    return directory


@pytest.mark.parametrize("pad", [0, EOS], ids=["pad", "pad is eos"])
@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.model_type)
def test_directories_that_others_made(tmp_path: Path, config: Any, labels: int, pad: int) -> None:
    made = another(tmp_path / "theirs", config, labels=labels, pad=pad)
    scalar = ScalarLM.load(made, attn="dense")
    assert scalar.heads == (("reward",) if labels == 1 else ("LABEL_0", "LABEL_1", "LABEL_2"))
    assert (set(scalar.mean.values()), set(scalar.std.values()), set(scalar.weights.values())) == ({0.0}, {1.0}, {1.0})
    groups = [*GROUPS, Group((1, 4, 8, 9), ((EOS,), (3, EOS, EOS)))]  # where EOS pads, transformers reads before the last run of it
    want = theirs(made, groups)
    assert want.std() > 0.1, "weights so strong that a wrong position shows"
    torch.testing.assert_close(scalar.scores(groups).detach(), want, rtol=1e-4, atol=1e-4)
    scalar.save(tmp_path / "ours")
    torch.testing.assert_close(theirs(tmp_path / "ours", groups), want, rtol=1e-4, atol=1e-4)


def test_a_tokenizer_whose_padding_ends_replies_gets_a_token_of_its_own(small_dir: Path, tmp_path: Path) -> None:
    lm = LM.load(small_dir, attn="dense")
    lm.tokenizer.hf.pad_token = lm.tokenizer.hf.bos_token = "</s>"  # as GPT-2 has it: one token for everything
    scalar = ScalarLM.on(lm)
    scalar.save(tmp_path / "reward")
    assert lm.tokenizer.hf.pad_token == "</s>", "the policy's own tokenizer stays as it is"
    torch.testing.assert_close(theirs(tmp_path / "reward"), scalar.scores(PART).detach(), rtol=1e-5, atol=1e-5)
    again = ScalarLM.load(tmp_path / "reward", attn="dense")
    assert again.config.vocab_size == lm.config.vocab_size + 1
    torch.testing.assert_close(again.scores(PART), scalar.scores(PART), rtol=1e-5, atol=1e-5)


def test_a_causal_directory_gets_a_fresh_head(small_dir: Path) -> None:
    scalar = ScalarLM.load(small_dir, heads=("helpful", "honest"), seed=2, attn="dense")
    on = ScalarLM.on(LM.load(small_dir, attn="dense"), ("helpful", "honest"), seed=2)
    assert torch.equal(scalar.scores(PART), on.scores(PART))
    assert not any("lm_head" in name for name in scalar.state_dict()), "a vocabulary head would never get a gradient"
    adapted = ScalarLM.load(small_dir, lora=2, seed=2, attn="dense")
    assert all("lora_" in name for name in adapted.state_dict() if name not in ("score.weight", "moments"))


def test_one_list_of_settings_for_both_ways_of_loading() -> None:
    named = {n for n, p in inspect.signature(LM.load).parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    assert set(loading.Loading.__annotations__) == named - {"dtype", "name", "seed", "model"}


def test_a_classifier_is_loaded_by_the_settings_of_any_model(small_dir: Path, tmp_path: Path) -> None:
    ScalarLM.load(small_dir).save(tmp_path / "reward")
    loaded = ScalarLM.load(tmp_path / "reward", lora=2, attn="padded", seed=3, gradient_checkpointing=True)
    assert (loaded.trunk.name, loaded.trunk.attn, loaded.gradient_checkpointing) == ("reward", "padded", True)
    assert all("lora_" in name for name in loaded.trunk.state_dict())
    with pytest.raises(UserError, match="--attn diagonal"):
        ScalarLM.load(tmp_path / "reward", attn="diagonal")


def test_errors_of_directories(small_dir: Path, tmp_path: Path) -> None:
    another(tmp_path / "three", CONFIGS[0], labels=3, pad=0)
    with pytest.raises(UserError, match="has 3 heads, not 2"):
        ScalarLM.load(tmp_path / "three", heads=("a", "b"))
    with pytest.raises(UserError, match="does not write text"):
        LM.load(tmp_path / "three")
    bert = BertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8, vocab_size=30)
    with loading.quiet():
        AutoModelForSequenceClassification.from_config(bert).save_pretrained(tmp_path / "bert")
    with pytest.raises(UserError, match="no linear `score` head"):
        ScalarLM.load(tmp_path / "bert")
    with pytest.raises(UserError, match="no such model directory"):
        ScalarLM.load(tmp_path / "nowhere")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text('{"task_type": "SEQ_CLS", "base_model_name_or_path": "x"}')
    with pytest.raises(UserError, match="whose head is not read"):
        ScalarLM.load(tmp_path / "adapter")


# -- roles that share weights


def test_an_adapter_of_its_own_on_one_base(small_dir: Path) -> None:
    policy = LM.load(small_dir, lora=2, attn="dense")
    step(policy, policy.logps(PART))
    reference = policy.frozen()
    reward, value = ScalarLM.on(policy), ScalarLM.on(policy, ("value",))
    assert reward.model is policy.model
    everybody = [policy, reward, value]
    owned = [{id(p) for p in role.parameters()} for role in everybody]
    assert len(set().union(*owned)) == sum(map(len, owned)), "a parameter belongs to one role"

    def numbers() -> list[Tensor]:
        return [policy.logps(PART), reward.scores(PART), value.values(PART), reference.logps(PART)]

    for moved, role in enumerate(everybody):
        before = [x.detach() for x in numbers()]
        step(role, numbers()[moved])
        for place, (old, new) in enumerate(zip(before, numbers(), strict=True)):
            if place == moved:
                assert (old - new).abs().max() > 1e-3
            else:
                assert torch.equal(old, new), f"role {place} moved when {moved} was trained"
        assert all(x.requires_grad for x in numbers()[:3]), "switching adapters freezes nobody"


def test_an_adapter_begins_where_the_policy_stands(small_dir: Path) -> None:
    policy = LM.load(small_dir, lora=2, attn="dense")
    step(policy, policy.logps(PART))
    merged = policy.merge()
    shared, apart = ScalarLM.on(policy, seed=1), ScalarLM.on(merged, seed=1)
    torch.testing.assert_close(shared.scores(PART), apart.scores(PART), rtol=1e-5, atol=1e-5)
    base = ScalarLM.on(policy.frozen(), seed=1)
    torch.testing.assert_close(base.scores(PART), shared.scores(PART), rtol=1e-5, atol=1e-5)
    assert base.parameters(), "a reward on a frozen model's weights is trained"


def test_a_copy_of_its_own_leaves_the_policy_alone(small: LM) -> None:
    reward, before = ScalarLM.on(small), small.logps(PART).detach()
    step(reward, reward.scores(PART))
    assert torch.equal(small.logps(PART), before)
    scores = reward.scores(PART).detach()
    step(small, small.logps(PART))
    assert torch.equal(reward.scores(PART), scores)


def test_checkpointed_layers_are_computed_again_with_their_own_adapter(small_dir: Path) -> None:
    grads = []
    for checkpointing in (False, True):
        policy = LM.load(small_dir, lora=2, attn="dense", gradient_checkpointing=checkpointing)
        reward = ScalarLM.on(policy, seed=1)
        step(reward, reward.scores(PART))  # now its adapter differs from the policy's
        grads.append(torch.autograd.grad(reward.scores(PART).sum(), reward.parameters()))
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("lora", [0, 2])
def test_frozen_copied_and_restored(small_dir: Path, lora: int) -> None:
    reward = ScalarLM.on(LM.load(small_dir, lora=lora, attn="dense"), ("a", "b"))
    reward.observe([reward.scores(PART)], torch.mean)
    kept, twin = reward.frozen(), reward.copy()
    before, print_before = reward.scores(PART).detach(), reward.fingerprint()
    assert kept.parameters() == []
    assert kept.state_dict() == {}
    assert print_before == reward.fingerprint()
    state = {k: v.clone() for k, v in reward.state_dict().items()}
    step(reward, reward.scores(PART))
    reward.observe([reward.scores(PART)], torch.mean)
    assert reward.fingerprint() != print_before
    assert (reward.scores(PART) - before).abs().max() > 1e-2
    for other in (kept, twin):
        torch.testing.assert_close(other.scores(PART).detach(), before)
        assert other.mean != reward.mean
    assert not kept.scores(PART).requires_grad
    assert twin.scores(PART).requires_grad
    reward.load_state_dict(state)
    assert torch.equal(reward.scores(PART), before)
    assert reward.mean == kept.mean
    with pytest.raises(UserError, match="does not fit"):
        reward.load_state_dict({})


# -- as a reward


def game(text: str, ids: tuple[int, ...] = (), finish: Any = "stop", said: str = "how are you") -> Game:
    return Game((Turn("policy", (Message("user", said),), Reply(text, ids, finish=finish)),))


def test_rewards_are_standardised_heads_by_name(small: LM) -> None:
    reward = ScalarLM.on(small, ("a", "b"))
    reward.weights = {"a": 2.0, "b": -1.0}
    reward.standardise({"a": 0.5, "b": 1.0}, {"a": 4.0, "b": 0.25})
    games = [game("i am fine"), game("yes"), game("no no no", said="what"), game("thanks .")]
    scores = reward(games)
    t = reward.tokenizer
    for n, g in enumerate(games):
        turn = g.turns[-1]
        alone = Group(tuple(t.context_ids(turn.context)), (tuple(t.completion_ids(turn.context, turn.reply.text)),))
        a, b = reward.scores([alone])[0].tolist()
        assert scores.components["a"][n] == pytest.approx((a - 0.5) / 4, abs=1e-5)
        assert scores.components["b"][n] == pytest.approx((b - 1) / 0.25, abs=1e-5)
        assert scores.total[n] == pytest.approx(2 * (a - 0.5) / 4 - (b - 1) / 0.25, abs=1e-5)


def test_a_cut_reply_is_read_without_an_end(small: LM) -> None:
    reward = ScalarLM.on(small)
    t, context = reward.tokenizer, (Message("user", "how are you"),)
    groups = [Group(tuple(t.context_ids(context)), (tuple(t.completion_ids(context, "i am", complete=c)),)) for c in (True, False)]
    assert reward([game("i am"), game("i am", finish="length")]).total == pytest.approx(
        [reward.scores([g]).item() for g in groups], abs=1e-6
    )


def test_a_reward_with_another_tokenizer_reads_the_text(small: LM, tmp_path: Path) -> None:
    other = LM.load(fresh(tmp_path / "other", [*WORDS[::-1], "extra"], hidden=16, layers=1, heads=2, ffn=16), attn="dense")
    reward = ScalarLM.on(other)
    ids = tuple(small.tokenizer.completion_ids((Message("user", "how are you"),), "i am fine"))
    assert other.tokenizer.decode(ids) != "i am fine", "the policy's ids mean other words here"
    assert reward([game("i am fine", ids)]).total == reward([game("i am fine")]).total
    assert reward([game("i am fine", ids)]).total != reward([game("i am thanks")]).total


def test_a_reward_with_the_same_tokenizer_reads_the_tokens_as_sampled(small: LM) -> None:
    reward = ScalarLM.on(small)
    plain = reward.tokenizer.completion_ids((Message("user", "how are you"),), "i am fine")
    hidden = (*plain[:1], 4, *plain[1:])  # a special token in the middle, which the text does not show
    assert reward.tokenizer.decode(hidden) == "i am fine"
    assert reward([game("i am fine", tuple(plain))]).total == reward([game("i am fine")]).total
    assert reward([game("i am fine", hidden)]).total != reward([game("i am fine")]).total


def test_what_is_longer_than_the_model_is_cut_from_the_left(small: LM) -> None:
    reward = ScalarLM.on(small)  # context 64
    long = game("i am fine", said="how are you " * 40)
    t = reward.tokenizer
    prompt, ids = t.context_ids(long.turns[0].context), t.completion_ids(long.turns[0].context, "i am fine")
    want = Group((prompt[0], *prompt[len(prompt) - 64 + len(ids) + 1 :]), (tuple(ids),))
    assert want.tokens == 64
    assert reward([long]).total == pytest.approx([reward.scores([want]).item()], abs=1e-6)


def test_running_mean_and_spread(small: LM) -> None:
    reward = ScalarLM.on(small)
    first, second = torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [2.0], [8.0]])
    reward.observe([first[:1], first[1:]], torch.mean)
    assert (reward.mean["reward"], reward.std["reward"]) == (pytest.approx(2.0), pytest.approx(1.0))
    reward.observe([second], torch.mean)
    # weights 0.9 : 1;   mean (0.9·2 + 4)/1.9 = 3.05263;   mean square (0.9·5 + 24)/1.9 = 15;   variance 15 − 9.31856 = 5.68144
    assert reward.mean["reward"] == pytest.approx(3.05263, abs=1e-5)
    assert reward.std["reward"] ** 2 == pytest.approx(5.68144, abs=1e-4)
    with torch.no_grad():
        reward.observe([second * 100], torch.mean)
    assert reward.mean["reward"] == pytest.approx(3.05263, abs=1e-5), "an evaluation changes nothing"


def test_the_kernel_is_chosen_for_a_trunk_without_a_head(small: LM, tmp_path: Path) -> None:
    assert choose(ScalarLM.on(small).trunk.body, tmp_path / "notes.json") in ("dense", "prefix", "padded")
