"""`plumbline icl` from names: what it chooses from and by what, the run folder and the file; and what `--prompt` stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Model
from plumbline.core.nouns import Demo, Prompt, Sampling
from plumbline.data.promptfile import read, read_principles
from plumbline.engine.progress import Progress
from plumbline.engine.runs import RunFolder
from plumbline.models.lm import LM
from plumbline.models.prompted import Prompted
from plumbline.pipelines import sources
from plumbline.pipelines.evaluate import Options
from plumbline.pipelines.gold import TownGold
from plumbline.pipelines.icl import Chosen, Judged, Likelihood, Replies, choose, digest, same_search, split, unseen, write
from plumbline.pipelines.icl_search import Plan
from plumbline.rewards.spec import is_spec
from plumbline.world.draw import rng
from plumbline.world.splits import prompts as town_prompts

CHECKED = 1 << 20  # added to the seed of the prompts that the search does not see
FILES = (".yaml", ".yml")
PLAIN = Sampling()


@dataclass(frozen=True)
class Given:
    """`rows`: the candidates' places among the demonstrations.   `digest`, `weights`: hashes of what the search depends on."""

    candidates: Sequence[Demo]
    rows: Sequence[int]
    judged: Judged
    check: Judged
    digest: str
    weights: str
    notes: Sequence[str]


def places(out: Path) -> tuple[Path, Path]:
    """The prompt file and the folder that keeps the scores: prompt.yaml and prompt.run beside it, or both in a folder."""
    return (out, out.with_suffix(".run")) if out.suffix in FILES else (out / "prompt.yaml", out)


@dataclass(frozen=True)
class Wanted:
    """What `plumbline icl` is asked for, by name; see there."""

    model: str
    demos: str
    principles: str = ""
    on: str = ""
    reward: str = ""
    heldout: int = 32
    prompts: int = 104
    sampling: Sampling = PLAIN
    template: str = ""
    skip_bad: bool = False


def run(wanted: Wanted, plan: Plan, out: Path, *, resume: bool = False) -> tuple[Chosen, list[str]]:
    """Search, write the prompt file, and say what was found; the last line is where the file is."""
    rules = read_principles(wanted.principles) if wanted.principles else ()
    file, folder = places(out)
    about = {"model": wanted.model, "demos": wanted.demos, "on": wanted.on or "held out of the demonstrations", "seed": plan.seed}
    given = gather(sources.answerer(wanted.model, template=wanted.template or None), wanted)  # what is wrong leaves no folder behind
    with RunFolder.open(folder, resume=resume) as kept:
        exact = {"plan": asdict(plan), "principles": list(rules), "rows": given.digest, "weights": given.weights}
        same_search(kept, {**about, **exact})
        chosen = choose(
            given.candidates,
            given.judged,
            plan,
            principles=rules,
            check=given.check,
            found=about,
            rows=given.rows,
            run=kept,
            progress=Progress(),
        )
        write(chosen.prompt, file)
    return chosen, [*given.notes, *lines(chosen), str(file)]


def gather(model: Model, wanted: Wanted) -> Given:
    """Candidates and scores; a candidate whose question is scored too is left out."""
    on, reward, held_out, sampling, skip_bad = wanted.on, wanted.reward, wanted.heldout, wanted.sampling, wanted.skip_bad
    rows: list[Demo] = list(sources.items(wanted.demos, Demo, skip_bad=skip_bad))
    if on == "town" or reward:
        judged, check, asked = _by_replies(model, on, reward, wanted.prompts, sampling, skip_bad)
        candidates = unseen(rows, asked)
    else:
        if not isinstance(model, LM):
            raise UserError(f"{model.name} gives no log-probabilities of given text", "Pass --on town, or --on FILE and --reward.")
        others = list(sources.items(on, Demo, skip_bad=skip_bad)) if on else []
        pool, one, two = _halves(others, held_out, sampling.seed, rows) if on else split(rows, held_out, sampling.seed)
        judged, check, asked = Likelihood(model, one), Likelihood(model, two), [*one, *two]
        candidates = unseen(pool, asked)
    known = {id(row): i for i, row in enumerate(rows, 1)}
    left = len(rows) - len(candidates) - (0 if on or reward else 2 * held_out)
    notes = [f"{left} demonstrations left out: their questions are scored"] if left else []
    weights = model.fingerprint()[:16] if isinstance(model, LM) else model.name
    places = [known[id(row)] for row in candidates]
    return Given(candidates, places, judged, check, digest([*candidates, *asked], repr(sampling), reward, on), weights, notes)


def _by_replies(
    model: Model, on: str, reward: str, count: int, sampling: Sampling, skip_bad: bool
) -> tuple[Judged, Judged, list[Demo | Prompt]]:
    if on == "town":
        one, two = (town_prompts("validation", count, seed) for seed in (sampling.seed, sampling.seed + CHECKED))
        judge, says = (sources.reward(reward), "") if reward else (TownGold(), "gold of replies to town's validation prompts")
    else:
        if not on:
            raise UserError("a reward scores replies to prompts", "Pass --on FILE, or --on town.")
        asked = list(sources.items(on, Prompt, skip_bad=skip_bad))
        if len(asked) < 2 * count:
            count = len(asked) // 2
        drawn = rng("icl prompts", sampling.seed).sample(asked, 2 * count)
        one, two = drawn[:count], drawn[count:]
        judge, says = sources.reward(reward), ""
    if not one:
        raise UserError(f"{on} holds too few prompts to score and to check", "Give at least two.")
    first, second = (Replies(model, part, judge, sampling) for part in (one, two))
    if says:
        first, second = (replace(part, says=says) for part in (first, second))
    return first, second, [*one, *two]


def _halves(others: list[Demo], held_out: int, seed: int, rows: list[Demo]) -> tuple[list[Demo], list[Demo], list[Demo]]:
    """The demonstrations to choose from, and of the other file those to score by and those to check by."""
    if len(others) < 2:
        raise UserError("--on holds too few demonstrations to score and to check", "Give at least two.")
    count = min(held_out, len(others) // 2)
    drawn = rng("icl held out", seed).sample(others, 2 * count)
    return rows, drawn[:count], drawn[count:]


def lines(chosen: Chosen) -> list[str]:
    """For people."""
    sizes = "   ".join(f"{size}: {seen.score:.4f}" for size, seen in sorted(chosen.searched.by_size.items()))
    text = [f"score by examples   {sizes}", f"chosen: {len(chosen.prompt.examples)} examples, score {chosen.searched.best.score:.4f}"]
    if chosen.check:
        c = chosen.check
        text.append(f"on rows that the search did not see: {c['prompt']}, without a prompt {c['nothing']}")
        text.append(f"difference {c['difference'].signed()}")
    return text


def before_all(model: Model, prompt: str) -> Prompted:
    """A model with a prompt file before everything that it is asked.   A folder of `plumbline icl` stands for the file in it."""
    path = Path(prompt)
    return Prompted(model, read(path / "prompt.yaml" if path.is_dir() else path))


def prompted(model: str, prompt: str, options: Options, against: str) -> Model:
    """What `plumbline eval M --prompt FILE` measures: replies, or on a file the log-probabilities of its rows after the prompt."""
    if is_spec(model) or (not model.startswith("http") and sources.reward_path(model)):
        raise UserError("a reward takes no prompt", "Leave --prompt out, or give a language model.")
    asked = before_all(sources.answerer(model, template=options.template or None), prompt)
    by_replies = options.on in ("town", "town-open") or options.reward or options.judge or not isinstance(asked.model, LM)
    if by_replies:
        return asked
    if against:
        raise UserError(
            "--prompt and --against on a file compare log-probabilities after different prompts, which are not paired here",
            "Measure each model alone, or pass --judge or --reward.",
        )
    return asked.scored()
