"""A reward from ratings of 1 to 5: one head per criterion, and where each person's grades step.

    P(y ≤ k | s, annotator a, criterion c) = σ(θ_{a,c,k} − s_c)           L = −Σ_c log P(y_c) + prior · ‖u_a − u‖² / n_a

McCullagh 1980, "Regression models for ordinal data", J. R. Stat. Soc. B 42(2), with thresholds for every annotator.   The last term,
over the n_a ratings of a, is a normal prior of variance 1/(2 · prior) on how far a's thresholds lie from everybody's
(u as in models/thresholds.py).   What a row does not rate is left out of its sum.
"""

from __future__ import annotations

import torch

from plumbline.core.batches import Batches, Part
from plumbline.core.errors import UserError
from plumbline.core.methods import Step, Steps, method
from plumbline.core.nouns import Rating
from plumbline.losses.reward import ordinal_logps, ordinal_loss
from plumbline.models.scalar import ScalarLM
from plumbline.models.thresholds import Thresholds


@method(data=Rating, paper="McCullagh 1980, J. R. Stat. Soc. B 42(2)")
def ratings(model: ScalarLM, thresholds: Thresholds, data: Batches, *, prior: float = 0.5) -> Steps:
    """Fit the heads of `model`, named as the criteria, and `thresholds` to ratings; `prior` holds the annotators together."""
    if prior < 0:
        raise UserError(f"ratings: prior is {prior}", "Give at least 0; larger holds the annotators' thresholds closer together.")
    for batch in data:
        if model.heads != thresholds.criteria:
            raise UserError(f"the heads are {', '.join(model.heads)}, the thresholds {', '.join(thresholds.criteria)}", "Name both alike.")
        seen = []
        for part in batch.parts():
            score_GC = model.scores(part)
            seen.append(score_GC)
            theta_GC4 = thresholds(part)
            rating_GC, known_GC = rated(part, model.heads, like=score_GC)
            score_X, theta_X4, rating_X = score_GC.flatten(), theta_GC4.flatten(0, 1), rating_GC.flatten()
            loss_GC = ordinal_loss(score_X, theta_X4, rating_X).view_as(score_GC) * known_GC
            grade_GC = 1 + ordinal_logps(score_X, theta_X4).detach().argmax(1).view_as(score_GC)
            off_X = (grade_GC - rating_GC).abs()[known_GC > 0]
            metrics = {
                "nll": loss_GC.sum(1),
                "exact": (off_X < 0.5).float(),
                "within_one": (off_X <= 1).float(),
                **{f"nll/{name}": loss_GC[:, c][known_GC[:, c] > 0] for c, name in enumerate(model.heads)},
            }
            loss = part.per_example(loss_GC.sum(1) + prior * thresholds.pull(part))
            yield Step(loss, update=(model, thresholds), metrics=metrics)
        model.observe(seen, batch.mean)


def rated(part: Part, criteria: tuple[str, ...], like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(G, C) ratings, 3 where there is none, and 1 where there is one, 0 where there is none."""
    given, known = [], []
    for group in part.groups:
        scores = group.item.scores if isinstance(group.item, Rating) else {}
        if not any(name in scores for name in criteria):
            raise UserError(
                f"row {group.row} rates none of {', '.join(criteria)}", "Leave it out, or give the model its criteria as heads."
            )
        given.append([float(scores.get(name, 3)) for name in criteria])
        known.append([float(name in scores) for name in criteria])
    return like.new_tensor(given), like.new_tensor(known)
