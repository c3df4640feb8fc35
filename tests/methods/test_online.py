"""PPO, GRPO and RLOO against the sums of their papers, written out token by token; and that cutting a round up changes nothing."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from tiny_lm import FewRounds, TinyLM, TinyValue, draw_groups, gradients
from torch import Tensor

from plumbline.core.errors import UserError
from plumbline.core.methods import State, Step, Steps
from plumbline.core.nouns import Game, Prompt, Reply, Sampling, Scores
from plumbline.core.rollouts import Draw, Rounds, Running
from plumbline.engine.drive import drive
from plumbline.engine.progress import Progress
from plumbline.engine.recipe import Recipe
from plumbline.engine.rounds import PromptRounds
from plumbline.methods.grpo import grpo
from plumbline.methods.ppo import Clip, Gae, Kl, ppo
from plumbline.methods.rloo import rloo

PROMPTS = [Prompt(text) for text in ("1", "2 3", "4 4 4", "5 1", "6 2 2 3")]
SHORT = Draw(max_tokens=4, temperature=1.5)
T = 1.5


class Behind(TinyLM):
    """A policy whose samples come from another, as they do from the second update of a round on."""

    def __init__(self, seed: int, samples: TinyLM) -> None:
        super().__init__(seed)
        self.samples = [samples]  # in a list: none of my parameters

    def sample(self, prompts: Sequence[Prompt], n: int, sampling: Sampling) -> list[list[Reply]]:
        return self.samples[0].sample(prompts, n, sampling)


def score(games: Sequence[Game]) -> Scores:
    """Any number that differs between completions."""
    return Scores({"score": [sum((i + 1) * t for i, t in enumerate(g.turns[-1].reply.ids)) / 7 - 1 for g in games]})


@pytest.fixture
def policy() -> Behind:
    return Behind(1, TinyLM(8))


@pytest.fixture
def reference() -> TinyLM:
    return TinyLM(2).requires_grad_(False)


@pytest.fixture
def value() -> TinyValue:
    return TinyValue(3)


def drawn(policy: TinyLM, n: int) -> list[tuple[list[int], list[Reply], list[float]]]:
    """Prompt ids, replies and scores of each group, as the round of `FewRounds` draws them."""
    replies = policy.sample(PROMPTS, n, Sampling(seed=5, temperature=T, max_tokens=4))
    ids = [policy.tokenizer.context_ids(p.context) for p in PROMPTS]
    return [(p, rs, score([Game((_turn(r),)) for r in rs]).total) for p, rs in zip(ids, replies, strict=True)]


def _turn(reply: Reply) -> Any:
    return type("Said", (), {"reply": reply})


def held(ratio: Tensor, advantage: float, low: float, high: float) -> Tensor:
    """−min(ρA, clip(ρ)A) of one token, by cases."""
    bound = min(max(ratio.item(), 1 - low), 1 + high)
    return -ratio * advantage if ratio.item() * advantage <= bound * advantage else torch.zeros(()) * ratio - bound * advantage


@pytest.mark.parametrize(("kl", "scale", "missing_end"), [(0.0, True, 0.0), (0.3, False, 0.7)])
def test_grpo_is_the_mean_over_tokens(policy: Behind, reference: TinyLM, kl: float, scale: bool, missing_end: float):
    losses = []
    for prompt, replies, scores in drawn(policy, 3):
        rewards = torch.tensor([s - missing_end * (r.finish == "length") for s, r in zip(scores, replies, strict=True)])
        for reply, advantage in zip(replies, (rewards - rewards.mean()) / (rewards.std() if scale else 1), strict=True):
            logps, refs = policy.one(prompt, reply.ids, temperature=T), reference.one(prompt, reply.ids, temperature=T)
            for logp, old, ref in zip(logps, reply.logps, refs, strict=True):
                pull = (ref - logp).exp() - 1 + (logp - ref)
                losses.append(held((logp - old).exp(), float(advantage), 0.1, 0.3) + kl * pull)
    by_hand = torch.stack(losses).mean()
    settings = {"group": 3, "clip": (0.1, 0.3), "kl": kl, "scale": scale, "missing_end": missing_end, "sampling": SHORT}
    (step,), (found,) = gradients([policy], grpo(policy, reference, score, FewRounds([PROMPTS]), **settings))
    assert step.loss.item() == pytest.approx(by_hand.item(), rel=1e-6)
    torch.testing.assert_close(found, flat(policy, by_hand), rtol=1e-5, atol=1e-7)
    assert 0 < step.metrics["clip_fraction"].mean() < 1  # or the case would not show the clip


def flat(model: TinyLM, loss: Tensor) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


@pytest.mark.parametrize(("kl", "missing_end"), [(0.0, 0.0), (0.4, 0.7)])
def test_rloo_is_reinforce_with_the_others_as_baseline(policy: Behind, reference: TinyLM, kl: float, missing_end: float):
    losses = []
    for prompt, replies, scores in drawn(policy, 3):
        rewards = []
        for reply, s in zip(replies, scores, strict=True):
            refs = reference.one(prompt, reply.ids, temperature=T)
            rewards.append(s - missing_end * (reply.finish == "length") - kl * (sum(reply.logps) - refs.sum().item()))
        for i, reply in enumerate(replies):
            others = sum(r for j, r in enumerate(rewards) if j != i) / 2
            losses.append(-(rewards[i] - others) * policy.one(prompt, reply.ids, temperature=T).sum())
    by_hand = torch.stack(losses).mean()
    settings = {"group": 3, "kl": kl, "missing_end": missing_end, "sampling": SHORT}
    (step,), (found,) = gradients([policy], rloo(policy, reference, score, FewRounds([PROMPTS]), **settings))
    assert step.loss.item() == pytest.approx(by_hand.item(), rel=1e-6)
    torch.testing.assert_close(found, flat(policy, by_hand), rtol=1e-6, atol=1e-9)


PPO = {"gae": Gae(gamma=0.9, lam=0.6), "clip": Clip(ratio=0.1, value=0.3), "sampling": SHORT, "passes": 1, "minibatches": 1}


@pytest.mark.parametrize("place", ["reward", "loss"])
def test_ppo_written_out(policy: Behind, reference: TinyLM, value: TinyValue, place: Any):
    rows = []  # (logp, sampled, reference, value, advantage, return) of each token
    for prompt, (reply,), (s,) in drawn(policy, 1):
        refs, values = reference.one(prompt, reply.ids, temperature=T), value.of(prompt, reply.ids).tolist()
        rewards = [-(0.2 if place == "reward" else 0) * (old - ref.item()) for old, ref in zip(reply.logps, refs, strict=True)]
        rewards[-1] += s - 0.7 * (reply.finish == "length")
        deltas = [r + 0.9 * after - v for r, v, after in zip(rewards, values, [*values[1:], 0.0], strict=True)]
        advantages = [sum(0.54 ** (k - t) * d for k, d in enumerate(deltas) if k >= t) for t in range(len(deltas))]
        new = zip(policy.one(prompt, reply.ids, temperature=T), reply.logps, refs, value.of(prompt, reply.ids), advantages, strict=True)
        rows += [(*row, row[4] + row[3].item()) for row in new]
    flat_advantages = torch.tensor([row[4] for row in rows], dtype=torch.float64)
    white = ((flat_advantages - flat_advantages.mean()) / flat_advantages.std()).tolist()
    pull = [0.2 * (logp - ref) ** 2 / 2 if place == "loss" else 0 for logp, _, ref, *_ in rows]
    policy_loss = torch.stack([held((r[0] - r[1]).exp(), a, 0.1, 0.1) + p for r, a, p in zip(rows, white, pull, strict=True)]).mean()
    value_loss = torch.stack([(r[3] - r[5]) ** 2 / 2 for r in rows]).mean()  # at the first update V is V_old

    kl, state = Kl(coef=0.2, place=place), State()
    steps = ppo(policy, reference, score, value, state, FewRounds([PROMPTS]), kl=kl, missing_end=0.7, **PPO)
    taken, found = gradients([policy, value], steps)
    assert [step.loss.item() for step in taken] == pytest.approx([policy_loss.item(), value_loss.item()], rel=1e-6)
    torch.testing.assert_close(found[0], flat(policy, policy_loss), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found[1], flat(value, value_loss), rtol=1e-5, atol=1e-7)
    assert 0 < taken[0].metrics["clip_fraction"].mean() < 1
    gaps = [sum(reply.logps) - reference.one(p, reply.ids, temperature=T).sum().item() for p, (reply,), _ in drawn(policy, 1)]
    shown = taken[0].metrics["kl"]  # longest first, as the parts are cut
    assert sorted(shown.tolist()) == pytest.approx(sorted(gaps), rel=1e-5)
    clean = taken[0].metrics["score"] - 0.7 * (1 - taken[0].metrics["complete"])
    torch.testing.assert_close(clean - taken[0].metrics["reward"], 0.2 * (place == "reward") * shown)
    assert state.coef == 0.2  # held


def test_ppo_at_ratio_one_is_reinforce_with_the_same_advantages(reference: TinyLM, value: TinyValue):
    policy = TinyLM(1)  # samples for itself: every ratio is 1 at the first update
    rounds = FewRounds([PROMPTS])
    taken, (found, _) = gradients([policy, value], ppo(policy, reference, score, value, State(), rounds, kl=Kl(coef=0.05), **PPO))
    torch.testing.assert_close(taken[0].metrics["ratio"], torch.ones_like(taken[0].metrics["ratio"]))
    (part,) = next(iter(appraised(policy, reference, value).batches())).parts()
    logp_NT = policy.token_logps(part, temperature=T)
    reinforce = part.per_token(-part.span("advantage", logp_NT) * logp_NT.masked_fill(part.mask(logp_NT) == 0, 0))
    torch.testing.assert_close(found, flat(policy, reinforce))


def appraised(policy: TinyLM, reference: TinyLM, value: TinyValue) -> Any:
    from plumbline.methods.ppo import appraise

    rollout = next(iter(FewRounds([PROMPTS]))).sample(policy, 1, SHORT.plain)
    rollout.measure("reference", lambda part: reference.token_logps(part, temperature=T))
    rollout.measure("value", value.values)
    appraise(rollout, torch.tensor(rollout.score(score), dtype=torch.float64), 0.05, Gae(gamma=0.9, lam=0.6), 0.0)
    return rollout


# -- parts, ranks, order

Build = Callable[[TinyLM, TinyLM, TinyValue, Rounds], Steps]
METHODS: dict[str, Build] = {
    "grpo": lambda p, ref, v, rounds: grpo(p, ref, score, rounds, group=3, kl=0.1, passes=2, sampling=SHORT),
    "rloo": lambda p, ref, v, rounds: rloo(p, ref, score, rounds, group=3, sampling=SHORT),
    "ppo": lambda p, ref, v, rounds: ppo(p, ref, score, v, State(), rounds, kl=Kl(place="loss"), **{**PPO, "passes": 2}),
}
SHOWN = draw_groups(4, 9, 1)


class Meeting:
    """Ranks as threads: `gather` waits until all have brought their value."""

    def __init__(self, ranks: int) -> None:
        self.values: list[Any] = [None] * ranks
        self.barrier = threading.Barrier(ranks, timeout=60)

    def gather(self, rank: int) -> Callable[[Any], list[Any]]:
        def all_of_them(value: Any) -> list[Any]:
            self.values[rank] = value
            self.barrier.wait()
            found = list(self.values)
            self.barrier.wait()
            return found

        return all_of_them


def learn(name: str, *, ranks: int = 1, micro_tokens: int = 10**6) -> tuple[float, list[Tensor]]:
    """Loss and gradients of a round, summed over its updates and ranks."""
    meeting, found = Meeting(ranks), {}

    def work(rank: int) -> None:
        running = Running(
            5, micro_tokens=micro_tokens, rank=rank, ranks=ranks, gather=meeting.gather(rank), quiet=torch.no_grad, demos=SHOWN
        )
        policy, value = Behind(1, TinyLM(8)), TinyValue(3)
        steps = METHODS[name](policy, TinyLM(2).requires_grad_(False), value, FewRounds([PROMPTS], running))
        taken, grads = gradients([policy, value], steps)
        found[rank] = sum(step.loss.item() for step in taken), grads

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(f[0] for f in found.values()), [sum(grads, torch.zeros(())) for grads in zip(*(f[1] for f in found.values()), strict=True)]


@pytest.mark.parametrize("name", list(METHODS))
def test_parts_and_ranks_change_nothing(name: str):
    loss, grads = learn(name)
    for cut in ({"micro_tokens": 1}, {"micro_tokens": 25}, {"ranks": 2}, {"ranks": 3, "micro_tokens": 12}, {"ranks": 7}):
        other, others = learn(name, **cut)
        assert other == pytest.approx(loss, rel=1e-9)
        for a, b in zip(grads, others, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


# -- what the round does


def test_equal_rewards_teach_grpo_and_rloo_nothing(reference: TinyLM):
    policy = TinyLM(1)
    same = lambda games: Scores({"score": [3.0] * len(games)})  # noqa: E731
    for steps in (
        grpo(policy, reference, same, FewRounds([PROMPTS]), sampling=SHORT),
        rloo(policy, reference, same, FewRounds([PROMPTS]), kl=0.0, sampling=SHORT),
    ):
        _, (found,) = gradients([policy], steps)
        assert found.abs().max() == 0


def test_grpo_without_kl_never_reads_the_reference(policy: Behind):
    (step,) = grpo(policy, None, score, FewRounds([PROMPTS]), group=2, sampling=SHORT)  # pyright: ignore[reportArgumentType]
    assert "kl" not in step.metrics


def test_passes_and_minibatches_are_updates(policy: Behind, reference: TinyLM, value: TinyValue):
    updates: list[int] = []
    running = Running(5, update=lambda: updates.append(1))
    list(grpo(policy, reference, score, FewRounds([PROMPTS], running), group=2, passes=3, minibatches=2, sampling=SHORT))
    assert len(updates) == 6
    updates.clear()
    settings = {**PPO, "passes": 2, "minibatches": 5}
    steps = list(ppo(policy, reference, score, value, State(), FewRounds([PROMPTS], running), **settings))
    assert len(updates) == 10
    assert len(steps) == 20  # policy and value


def test_the_reference_and_the_critic_are_read_without_gradient(policy: Behind, value: TinyValue):
    seen = []

    class Watched(TinyLM):
        def token_logps(self, part: Any, *, temperature: float = 1.0) -> Tensor:
            seen.append((torch.is_grad_enabled(), temperature))
            return super().token_logps(part, temperature=temperature)

    running = Running(5, quiet=torch.no_grad)
    list(ppo(policy, Watched(2), score, value, State(), FewRounds([PROMPTS], running), **PPO))
    assert seen == [(False, T)]


# Ziegler et al. 2019: e = clip(KL/target − 1, ±0.2), β ← β (1 + 0.1 e)
@pytest.mark.parametrize(
    ("kl", "after"),
    [
        (6.0, 0.05),  # on target
        (6.6, 0.05 * 1.01),  # 10 % above: 1 + 0.1·0.1
        (60.0, 0.05 * 1.02),  # far above: at most 2 %
        (0.0, 0.05 * 0.98),
        (5.7, 0.05 * 0.995),
    ],
)
def test_adaptive_kl(kl: float, after: float):
    assert Kl(target=6.0).adapted(0.05, kl) == pytest.approx(after)
    assert Kl().adapted(0.05, kl) == 0.05


def test_the_coefficient_goes_on_from_the_state(reference: TinyLM, value: TinyValue):
    policy, state = TinyLM(1), State()
    kl = Kl(coef=0.05, target=1e-3)  # always far above, whose answer is 2 %
    steps = list(ppo(policy, reference, score, value, state, FewRounds([PROMPTS, PROMPTS]), kl=kl, **PPO))
    assert [s.metrics["kl_coef"] for s in steps[::2]] == pytest.approx([0.05, 0.051])
    assert state.coef == pytest.approx(0.05 * 1.02**2)
    (first, *_) = ppo(policy, reference, score, value, state, FewRounds([PROMPTS]), kl=kl, **PPO)
    assert first.metrics["kl_coef"] == pytest.approx(0.05 * 1.02**2)


def test_components_of_a_reward_are_reported(policy: Behind, reference: TinyLM):
    def two(games: Sequence[Game]) -> Scores:
        return Scores({"short": [1.0] * len(games), "kind": [float(i) for i in range(len(games))]}, {"kind": 2.0})

    (step,) = rloo(policy, reference, two, FewRounds([PROMPTS]), group=2, sampling=SHORT)
    torch.testing.assert_close(step.metrics["score"], step.metrics["score/short"] + 2 * step.metrics["score/kind"])
    assert sorted(step.metrics["score/kind"].tolist()) == list(range(10))


@pytest.mark.parametrize("total", [[1.0], [math.nan] * 10, [math.inf] * 10])
def test_a_reward_that_is_no_number_for_each_is_refused(policy: Behind, reference: TinyLM, total: list[float]):
    with pytest.raises(UserError, match="the reward gave"):
        next(rloo(policy, reference, lambda games: Scores({"score": total}), FewRounds([PROMPTS]), group=2, sampling=SHORT))


@pytest.mark.parametrize(
    "settings",
    [
        lambda: Kl(coef=-1),
        lambda: Kl(coef=0, target=3),
        lambda: Kl(place="both"),  # pyright: ignore[reportArgumentType]
        lambda: Gae(lam=1.5),
        lambda: Clip(ratio=0),
        lambda: Draw(temperature=0),
        lambda: Draw(max_tokens=0),
        lambda: next(ppo(None, None, score, None, State(), FewRounds([]), passes=0)),  # pyright: ignore[reportArgumentType]
        lambda: next(grpo(None, None, score, FewRounds([]), group=1)),  # pyright: ignore[reportArgumentType]
        lambda: next(grpo(None, None, score, FewRounds([]), clip=(0.2, 0.0))),  # pyright: ignore[reportArgumentType]
        lambda: next(rloo(None, None, score, FewRounds([]), group=1)),  # pyright: ignore[reportArgumentType]
        lambda: next(rloo(None, None, score, FewRounds([]), kl=-1.0)),  # pyright: ignore[reportArgumentType]
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: Callable[[], object]):
    with pytest.raises(UserError):
        settings()


def threes(games: Sequence[Game]) -> Scores:
    """The rule to be learned: the share of threes."""
    return Scores({"threes": [sum(t == 3 for t in g.turns[-1].reply.ids) / len(g.turns[-1].reply.ids) for g in games]})


@pytest.mark.parametrize("name", list(METHODS))
def test_the_reward_rises(name: str):
    policy, value, draw = TinyLM(1), TinyValue(3), Draw(max_tokens=4)
    reference, rounds = TinyLM(1).requires_grad_(False), PromptRounds(PROMPTS)
    steps = {
        "grpo": lambda: grpo(policy, reference, threes, rounds, passes=2, sampling=draw),
        "rloo": lambda: rloo(policy, reference, threes, rounds, kl=0.01, sampling=draw),
        "ppo": lambda: ppo(policy, reference, threes, value, State(), rounds, kl=Kl(coef=0.01), passes=4, minibatches=1, sampling=draw),
    }[name]()

    def share() -> float:
        replies = [r for several in policy.sample(PROMPTS, 20, Sampling(max_tokens=4, seed=99)) for r in several]
        return sum(sum(t == 3 for t in r.ids) / len(r.ids) for r in replies) / len(replies)

    before = share()
    drive(steps, recipe=Recipe(steps=20, batch=5, lr=0.1, seed=1), progress=Progress(quiet=True))
    assert share() > before + 0.3


def test_a_step_names_what_it_updates(policy: Behind, reference: TinyLM, value: TinyValue):
    steps: list[Step] = list(ppo(policy, reference, score, value, State(), FewRounds([PROMPTS]), **PPO))
    assert [step.updates for step in steps] == [(policy,), (value,)]
