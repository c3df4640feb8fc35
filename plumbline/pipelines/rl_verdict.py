"""In words: was the reward of an online stage over-optimised, when did that begin, and why, as far as the numbers show it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plumbline.evals import overoptimisation as over
from plumbline.evals.overoptimisation import Finding, Moved

Row = Mapping[str, Any]
PARTS = {"score/helpful": "helpful", "score/honest": "honest", "score/harmless": "harmless"}
WATCHED = {
    "score/words": "words per reply",
    "score/courtesies": "courtesies per reply",
    "score/repeats": "repetition (share of runs of three words seen before)",
    "score/evasions": "share of replies that evade",
    "complete": "share of replies that ended by themselves",
    "entropy": "entropy (nats a token)",
}
SHARE = 0.05  # of the score's rise: what makes less of it is no reason for it
KEEP = "Gold had not clearly risen before it fell: until there is a better run, keep the model as it was before this stage."
PRICED = {"score/words": ("ten_words", 10.0, "ten words more"), "score/courtesies": ("courtesy", 1.0, "one courtesy more")}


@dataclass(frozen=True)
class Course:
    """How an online stage went: `rows`, its rounds; `gold`, the (row, gold) pairs where gold is known; `found`, what they say."""

    rows: Sequence[Row]
    gold: Sequence[tuple[Row, float]]
    found: Finding | None

    @staticmethod
    def of(rows: Sequence[Row]) -> Course:
        """The rounds among the rows of a stage.   Gold of every round where it was logged, else that of the evaluations."""
        rounds = [row for row in rows if isinstance(row.get("score"), (int, float))]
        gold = [(row, float(row["score/gold"])) for row in rounds if "score/gold" in row]
        gold = gold or [(row, float(row["eval"]["gold"]["mean"])) for row in rounds if "gold" in row.get("eval", {})]
        found = over.find([row["step"] for row, _ in gold], [g for _, g in gold], [row["score"] for row, _ in gold])
        return Course(rounds, gold, found)

    def column(self, name: str) -> list[float]:
        """A figure of the rounds where gold is known, nan where it was not logged."""
        return [float(row.get(name, math.nan)) for row, _ in self.gold]

    def moved(self, name: str) -> Moved | None:
        """A figure at gold's peak and at the end; None where it was not logged in every round."""
        x = self.column(name)
        if self.found is None or not all(map(math.isfinite, x)):
            return None
        return over.moved(x, self.found.peak_at, self.found.window)

    @property
    def peak(self) -> tuple[int, int]:
        """The first and the last round of the window in which gold was highest."""
        assert self.found is not None
        steps = [row["step"] for row, _ in self.gold[self.found.peak_at :][: self.found.window]]
        return steps[0], steps[-1]

    @property
    def rose(self) -> bool:
        """Whether gold was surely higher at its peak than in the beginning."""
        return self.found is not None and self.found.gold.before - self.found.start > 2 * self.found.gold.error

    @property
    def is_gold(self) -> bool:
        """Whether what was optimised is gold itself."""
        return bool(self.gold) and all(abs(row["score"] - g) < 1e-6 for row, g in self.gold)


def is_online(rows: Sequence[Row]) -> bool:
    """Whether a stage's rows are rounds in which a reward was optimised."""
    return any("score" in row and "length" in row for row in rows)


def verdict(course: Course, card: Mapping[str, Any]) -> list[str]:
    """Sentences for a reader who has nothing else: the first says whether and when, the second why, others what else is known."""
    if course.is_gold:
        return ["What was optimised is gold itself, so it cannot come apart from gold."]
    if not course.gold:
        return ["Gold is not known on these prompts, so no number says whether the reward was over-optimised.", _unknown(course)]
    if course.found is None:
        return [f"Gold is known in {len(course.gold)} rounds only: too few to tell over-optimisation from noise ({over.LEAST} are needed)."]
    found = course.found
    return [_unseen(course, found)] if found.verdict == "unseen" else [_when(course, found), *_why(course, found, card)]


def _unknown(course: Course) -> str:
    first, last = course.rows[0], course.rows[-1]
    kl = f" at {last['kl']:.1f} nats of KL" if "kl" in last else ""
    words = f"The score went {first['score']:.2f} → {last['score']:.2f}{kl}, the length of replies "
    return words + f"{first['length']:.0f} → {last['length']:.0f} tokens; read them."


def _nats(course: Course, which: str) -> str:
    kl = course.moved("kl")
    return "" if kl is None else f"{getattr(kl, which):.1f} nats of KL"


def _unseen(course: Course, found: Finding) -> str:
    kl = _nats(course, "after")
    words = f"Over-optimisation was not seen up to round {course.gold[-1][0]['step']}{f' and {kl}' if kl else ''}: gold, the truth, went "
    words += f"{found.start:.2f} → {found.gold.after:.2f} and ended {found.drop:.3f} below its highest"
    return f"{words}; noise alone would give up to {found.chance:.3f}."


def _when(course: Course, found: Finding) -> str:
    kl, (first, last) = _nats(course, "before"), course.peak
    words = f"between rounds {first} and {last} of {course.gold[-1][0]['step']}{f', at about {kl}' if kl else ''}: gold, the truth, "
    words += f"had risen {found.start:.2f} → {found.gold.before:.2f} and then " if course.rose else "had not clearly risen before, and "
    words += f"fell from {found.gold.before:.2f} to {found.gold.after:.2f} (noise alone would give a fall of up to {found.chance:.2f})"
    proxy = f"{found.proxy.before:.2f} → {found.proxy.after:.2f}"
    clear = f"The fall is clear of noise from round {nearest(found.clear or found.end)}."
    if found.verdict == "fell":
        words = f"Gold began to fall {words}, but the score that was optimised did not rise meanwhile ({proxy})"
        return f"{words}: training itself went wrong, rather than the reward. {clear}"
    return f"Over-optimisation began {words}, while the score that was optimised still rose, {proxy}. {clear}"


def _why(course: Course, found: Finding, card: Mapping[str, Any]) -> list[str]:
    """What moved with the score while gold fell, and what the reward pays for it."""
    known = {name: course.column(name) for name in (*PARTS, *WATCHED)}
    moved = over.movements({name: x for name, x in known.items() if all(map(math.isfinite, x))}, found)
    prices = card.get("comparisons", {}).get("sensitivity", {})
    liked = [name for name in PRICED if name in moved and _liked(name, moved[name], prices)]
    makes = {name: _makes(name, moved[name], prices, card) for name in liked}
    paid = {name: _paid(name, moved[name], prices, card) for name in liked if makes[name] > SHARE * found.proxy.change}
    others = [f"{WATCHED[n]} {m.before:.2f} → {m.after:.2f}" for n, m in moved.items() if n in WATCHED and n not in paid]
    beside: list[str] = []
    if paid:
        why = f"Why: the reward pays for what gold does not. {' '.join(paid.values())} {_share(sum(makes[n] for n in paid), found)}"
        beside = [f"With it: {'; '.join(others)}."] if others else []
    elif others:
        why = f"Why, as far as it shows: since the peak: {'; '.join(others)}."
    else:
        why = "Why cannot be said: none of the figures that were watched of the replies moved beyond noise. Read the replies below."
    return [why, *_fell(moved), *beside, _card(card, prices, bool(paid))]


def _share(makes: float, found: Finding) -> str:
    """How much of the score's rise that is."""
    rose = found.proxy.change
    of = f"{makes / rose:.0%} of it" if makes < rose else "all of it"
    return f"The score rose by {rose:+.2f} since the peak. That would be {of}, if the price holds so far out."


def _fell(moved: Mapping[str, Moved]) -> list[str]:
    """The parts of gold that fell."""
    lost = [f"{PARTS[n]} {m.before:.2f} → {m.after:.2f}" for n, m in moved.items() if n in PARTS and m.change < 0]
    return [f"What fell of gold: {', '.join(lost)}."] if lost else []


def _liked(name: str, moved: Moved, prices: Mapping[str, Any]) -> bool:
    """Whether the reward surely pays for the way in which a figure moved."""
    price = prices.get(PRICED[name][0])
    return bool(price) and (price["lo"] > 0 if moved.change > 0 else price["hi"] < 0)


def _paid(name: str, moved: Moved, prices: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    key, unit, words = PRICED[name]
    worth, lo, hi = (prices[key][part] * card["spread"] for part in ("mean", "lo", "hi"))
    sentence = f"With gold held equal, {words} {'are' if unit > 1 else 'is'} worth {worth:+.2f} [{lo:+.2f}, {hi:+.2f}] of score to it, and "
    went = f"{WATCHED[name]} went {moved.before:.2f} → {moved.after:.2f}"
    return f"{sentence}{went}, which makes about {_makes(name, moved, prices, card):+.2f}."


def _makes(name: str, moved: Moved, prices: Mapping[str, Any], card: Mapping[str, Any]) -> float:
    """What the movement of a figure is worth to the reward, in its score."""
    key, unit, _ = PRICED[name]
    return prices[key]["mean"] * card["spread"] * moved.change / unit


def advice(course: Course) -> list[str]:
    """What to do with an over-optimised run, and the next time."""
    assert course.found is not None
    kl = _nats(course, "before") or f"round {course.peak[0]}"
    seen = [row["step"] for row, _ in course.gold if "eval" in row and row["step"] <= course.found.peak]
    every = max(1, int(course.found.peak / 2))
    said = [] if course.rose else [KEEP]
    if seen:
        said.append(f"The last evaluation before the peak is that of round {seen[-1]}; `plumbline eval` takes the best checkpoint by gold.")
    else:
        words = f"--learn.eval_every {every} (of `plumbline train`: --eval_every {every}) would have kept the best by gold"
        said.append(f"No checkpoint was evaluated before the peak: {words}.")
    coef = course.rows[-1].get("kl_coef")
    if coef is not None:
        held = "This run was not held to the reference at all (its KL weight is 0)" if coef == 0 else f"The KL weight was {coef:g}"
        stop = f", or stop at {kl}" if course.rose else ""
        said.append(f"{held}: {'give it one' if coef == 0 else 'try several times as much'}{stop}.")
    return [*said, "Or mend the reward where it pays for the wrong thing: more comparisons, or pairs that differ in just that."]


def nearest(step: float) -> int:
    """The round nearest the middle of a window, the later one of two."""
    return math.floor(step + 0.5)


def _card(card: Mapping[str, Any], prices: Mapping[str, Any], paid: bool) -> str:
    """What held-out comparisons say of the reward as a stand-in for gold."""
    if not prices:
        return "What the reward pays for was not measured: --eval_feedback gives it held-out comparisons."
    accuracy = card["comparisons"]["accuracy"]
    words = (
        f"On {card['pairs']} held-out comparisons the reward orders {accuracy['mean']:.0%} [{accuracy['lo']:.0%}, {accuracy['hi']:.0%}] "
    )
    words += "as the annotators did"
    liking = "" if paid else "; a liking for words or courtesies that would explain it was not found there"
    return f"{words}{liking}. Such prices are slopes over held-out replies: far from those they are only a guess."
