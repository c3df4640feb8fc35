"""How each stage of a pipeline trains the town's small models, where nobody says otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from plumbline.core.methods import Method
from plumbline.engine.recipe import Recipe


@dataclass(frozen=True)
class Recipes:
    """How each stage trains the town's small models.   `learn` is that of the online method, 128 completions a round."""

    sft: Recipe = field(default_factory=lambda: Recipe(epochs=6, batch=16, lr=1e-3, warmup=0.1))
    reward: Recipe = field(default_factory=lambda: Recipe(epochs=1, batch=8, lr=1e-3, warmup=0.1))
    learn: Recipe = field(default_factory=lambda: Recipe(epochs=1, batch=128, lr="policy=5e-4,value=1e-3", warmup=0.1))

    @staticmethod
    def of(learner: Method) -> Recipes:
        """The usual ones for a learner: one that draws a group for every prompt takes fewer prompts a round."""
        usual, group = Recipes(), learner.settings.get("group", learner.defaults.get("group", 1))
        return replace(usual, learn=replace(usual.learn, batch=max(1, usual.learn.batch // group)))

    def with_seed(self, seed: int) -> Recipes:
        """The same with another seed."""
        return Recipes(*(replace(r, seed=seed) for r in (self.sft, self.reward, self.learn)))


@dataclass(frozen=True)
class TwoRoads:
    """How each stage trains: `rlhf` those of its own stages, SFT among them, `dpo` the other road.   `beta` and `nll` are DPO's."""

    rlhf: Recipes = field(default_factory=Recipes)
    dpo: Recipe = field(default_factory=lambda: Recipe(epochs=1, batch=32, lr=5e-4, warmup=0.1))
    beta: float = 0.1
    nll: float = 1.0

    def with_seed(self, seed: int, *, watched: bool) -> TwoRoads:
        """The same with another seed; `watched` evaluates a few times on the way, not at the end only."""
        stages = self.rlhf.with_seed(seed)
        sft, learn, dpo = (
            replace(r, seed=seed, eval_every=every if watched else 0) for r, every in ((stages.sft, 8), (stages.learn, 6), (self.dpo, 16))
        )
        return replace(self, rlhf=replace(stages, sft=sft, learn=learn), dpo=dpo)
