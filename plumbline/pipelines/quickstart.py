"""`plumbline quickstart`: the shipped model aligned on town over several training seeds, scored against truth, with a report.

Every training seed draws its own demonstrations, prompts, replies and annotator noise; all models answer the same held-out prompts.
Two families get no feedback (`UNTOUCHED`): what happens to them, and to the loss on plain text of the town, is the alignment tax.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from plumbline.core.errors import UserError
from plumbline.core.nouns import Comparison, Prompt
from plumbline.engine.progress import Progress
from plumbline.engine.runs import RunFolder
from plumbline.engine.stages import run_pipeline
from plumbline.evals import stats
from plumbline.evals.logps import lm_loss, sequence_kl
from plumbline.evals.stats import Figure
from plumbline.evals.town import COMPONENTS, Played, plain_texts, play_town
from plumbline.models.lm import LM
from plumbline.pipelines import align, quickstart_report, sources
from plumbline.pipelines.rankings import ranked
from plumbline.pipelines.recipes import TwoRoads
from plumbline.world import sources as world
from plumbline.world.families import FAMILIES
from plumbline.world.splits import prompts as town_prompts

UNTOUCHED = ("passage", "secret")
ANNOTATORS = "ada+ben+cleo"  # exact, strict, hasty; the biased ones of the pool are for studies of over-optimisation
TOUCHED = tuple(f for f in FAMILIES if f not in UNTOUCHED)
VALIDATION = 104


@dataclass(frozen=True)
class Budget:
    """How much feedback, how many seeds, how many held-out prompts."""

    seeds: int = 3
    demos: int = 200
    comparisons: int = 4000
    prompts: int = 1040
    seed: int = 0


ARMS = ("base", "sft", "dpo", "ppo")


@dataclass(frozen=True)
class Arm:
    """A model's replies on the held-out prompts, a `Played` per training seed, with KL from base and loss on plain text."""

    played: list[Played]
    kl: list[np.ndarray]
    loss: list[Figure]


@dataclass(frozen=True)
class Measured:
    """All that the report shows and the JSON says."""

    arms: dict[str, Arm]
    curves: dict[str, list[tuple[float, float]]]

    def gold(self) -> dict[str, dict[str, Figure]]:
        """{arm: {component: figure}} on held-out prompts; "best" is what the oracle's replies are worth."""
        found = {name: {c: self.figure(name, c) for c in COMPONENTS} for name in self.arms}
        n = found["base"]["total"].n
        return {**found, "best": {c: Figure(1.0, 1.0, 1.0, n) for c in COMPONENTS}}

    def matrix(self, arm: str, component: str = "total") -> np.ndarray:
        """(seeds, prompts) of gold."""
        return np.stack([p.scores(component) for p in self.arms[arm].played])

    def figure(self, arm: str, component: str) -> Figure:
        """Mean gold over seeds and prompts."""
        return stats.mean(self.matrix(arm, component))

    def kl(self) -> dict[str, Figure]:
        """KL from base in nats per sequence."""
        return {name: stats.mean(np.stack(arm.kl)) for name, arm in self.arms.items() if name != "base"}

    def differences(self) -> dict[str, Figure]:
        """Paired gains in gold total."""
        pairs = (("sft", "base"), ("dpo", "sft"), ("ppo", "sft"), ("dpo", "base"), ("ppo", "base"), ("dpo", "ppo"))
        return {f"{a} - {b}": stats.difference(self.matrix(a), self.matrix(b)) for a, b in pairs}

    def tax(self) -> dict[str, Any]:
        """Loss on plain text (nats per token), and gold on the families that no feedback touched."""
        untouched = np.array([f in UNTOUCHED for f in self.arms["base"].played[0].keys("family")])
        loss = {name: stats.mean([f.mean for f in arm.loss]) for name, arm in self.arms.items()}
        gold = {name: stats.mean(self.matrix(name)[:, untouched]) for name in self.arms} if untouched.any() else {}
        return {"lm_loss": loss, "untouched_families": gold}


def free_folder(out: str) -> Path:
    """The folder asked for, or the first of runs/quickstart, runs/quickstart-2, … that is not there."""
    names = (Path("runs") / ("quickstart" if i == 1 else f"quickstart-{i}") for i in count(1))
    return Path(out) if out else next(p for p in names if not p.exists())


def check(budget: Budget) -> None:
    """Refuse a budget that measures nothing."""
    for name, least in (("seeds", 1), ("demos", 1), ("comparisons", 2), ("prompts", len(FAMILIES))):
        if getattr(budget, name) < least:
            raise UserError(f"--{name} is {getattr(budget, name)}", f"Give at least {least}.")


def quickstart(budget: Budget = Budget(), *, model: str = "town", out: str = "", resume: bool = False) -> tuple[Measured, Path]:
    """Align and measure every seed; returns what was measured and where the report is."""
    check(budget)
    folder, progress = free_folder(out), Progress()
    base = sources.load(model, device="cpu")
    arms = {name: Arm([], [], []) for name in ARMS}
    held_out = town_prompts("heldout", budget.prompts, seed=budget.seed)
    measure(arms["base"], base, base, held_out)
    for k in range(budget.seeds):
        seed = budget.seed + 1 + k
        progress.note(f"training seed {k + 1} of {budget.seeds}: SFT on {budget.demos} demonstrations, then DPO, and a reward and PPO")
        for name, model_now in one_seed(base, budget, seed, folder / f"seed-{seed}", resume, progress).items():
            measure(arms[name], model_now, base, held_out)
    measured = Measured(arms, curves_of(folder / f"seed-{budget.seed + 1}"))
    command = f"plumbline quickstart --model {model} --seeds {budget.seeds} --demos {budget.demos} --comparisons {budget.comparisons}"
    return measured, quickstart_report.write(measured, folder / "report.html", f"{command} --prompts {budget.prompts} --seed {budget.seed}")


def measure(arm: Arm, model: LM, base: LM, held_out: list[Prompt]) -> None:
    """Let a model answer the held-out prompts, and read its loss on plain text."""
    played = play_town(model, held_out)
    arm.played.append(played)
    arm.kl.append(sequence_kl(played.prompts, played.replies, base, model.tokenizer))
    arm.loss.append(lm_loss(model, plain_texts(), model.tokenizer))


def one_seed(base: LM, budget: Budget, seed: int, folder: Path, resume: bool, progress: Progress) -> dict[str, LM]:
    """The pipeline with one seed's own data; the first seed is also watched on validation prompts while it trains."""
    demos = world.demos(budget.demos, seed=seed, families=TOUCHED)
    prompts = town_prompts("train", budget.comparisons, seed=seed, families=TOUCHED)
    policy, direct = base.copy(), base.copy()
    recipes = TwoRoads().with_seed(seed, watched=seed == budget.seed + 1)

    def collect(tuned: LM) -> list[Comparison]:
        return ranked(tuned, prompts, who=ANNOTATORS, noise=None, seed=seed)

    with RunFolder.open(folder, resume=resume) as run:
        watch = {"sft": validation(policy, base), "dpo": validation(direct, base), "ppo": validation(policy, base)}
        pipeline = align.align(policy, direct, demos, prompts, collect, recipes)
        models = run_pipeline(pipeline, run, evaluate=watch, resume=resume, progress=progress)
    return dict(zip(ARMS[1:], models, strict=True))


def validation(policy: LM, base: LM) -> Callable[[], dict[str, Any]]:
    """Gold and KL from base on validation prompts."""
    prompts = town_prompts("validation", VALIDATION, seed=0)

    def evaluate() -> dict[str, Any]:
        played = play_town(policy, prompts)
        kl = stats.mean(sequence_kl(played.prompts, played.replies, base, policy.tokenizer))
        return {"gold": stats.mean(played.scores()).json(), "kl": kl.json()}

    return evaluate


def curves_of(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """(KL from base, gold) at each evaluation of a run's stages, read from its metrics."""
    points: dict[str, list[tuple[float, float]]] = {name: [] for name in ARMS[1:]}
    for row in RunFolder(folder, writes=False).read("metrics"):
        if "eval" in row and row["stage"] in points:
            points[row["stage"]].append((row["eval"]["kl"]["mean"], row["eval"]["gold"]["mean"]))
    return {name: [*([] if name == "sft" else points["sft"][-1:]), *found] for name, found in points.items()}  # the roads begin at SFT


def as_json(measured: Measured, report: Path) -> dict[str, Any]:
    """What `--json` prints."""
    parts = {"gold": measured.gold(), "kl": measured.kl(), "tax": measured.tax(), "differences": measured.differences()}
    return {**stats.as_json(parts), "report": str(report)}


def as_text(measured: Measured, report: Path) -> str:
    """The table that a person reads."""
    gold, kl = measured.gold(), {"base": None, **measured.kl(), "best": None}
    lines = [f"{'held-out gold':14}" + "".join(f"{c:>24}" for c in COMPONENTS) + f"{'KL from base':>16}"]
    for arm, figures in gold.items():
        cells = "".join(f"{f'{f.mean:.3f} [{f.lo:.3f}, {f.hi:.3f}]':>24}" for f in figures.values())
        nats = kl[arm]
        lines.append(f"{arm:14}{cells}" + (f"{nats.mean:>11.2f} nats" if nats else ""))
    lines += ["", *(f"{name:14}{f.signed()}" for name, f in measured.differences().items())]
    tax = measured.tax()
    lines += [f"{'tax':14}loss on plain text " + ", ".join(f"{k} {v.mean:.3f}" for k, v in tax["lm_loss"].items()) + " nats a token"]
    lines += [f"{'':14}untouched families " + ", ".join(f"{k} {v.mean:.3f}" for k, v in tax["untouched_families"].items())]
    n = len(measured.arms["sft"].played)
    lines += [
        "",
        f"{n} training seeds × {len(measured.arms['sft'].played[0].prompts)} held-out prompts; 95 % intervals over both. Report: {report}",
    ]
    return "\n".join(lines)
