"""Cards of the shipped models: `README.md` to read, `card.json` for tests, both written by the build from what it measured."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline.engine.checkpoints import write_atomically
from plumbline.engine.runs import RunFolder, versions
from plumbline.models.lm import LM
from plumbline.pipelines import world_measure
from plumbline.pipelines.world_headroom import headroom


@dataclass(frozen=True)
class Training:
    """What a build took: the last record of each stage, the threads it had, and what it began with."""

    stages: dict[str, dict[str, Any]]
    threads: int
    begun: str

    @staticmethod
    def of(run: RunFolder, threads: int, small: Path | None = None) -> Training:
        """From the records of its run folder; `small`: the model that it was grown from."""
        begun = f"town-s, grown (weights {weights_hash(small)[:12]})" if small else "random weights"
        return Training({r["stage"]: r for r in run.read("metrics")}, threads, begun)

    @property
    def seconds(self) -> float:
        """Training time of all stages."""
        return sum(r["seconds"] for r in self.stages.values())

    @property
    def tokens(self) -> int:
        """Positions that were computed."""
        return sum(r["tokens"] for r in self.stages.values())

    def json(self) -> dict[str, Any]:
        """For card.json."""
        return {"seconds": round(self.seconds), "tokens": self.tokens, "threads": self.threads, "begun": self.begun, "stages": self.stages}


def commit() -> str:
    """The commit of the source tree, "-dirty" where files differ from it; "unknown" in an installation without git."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def weights_hash(path: Path) -> str:
    """SHA-256 of the weights, so that a card cannot outlive them."""
    return hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest()


def write(path: Path, size: str, *, training: Training, prompts: int) -> dict[str, Any]:
    """Measure the model in `path` as it will be loaded, and write its card there."""
    lm = LM.load(path)
    card = {
        "size": size,
        "parameters": sum(p.numel() for p in lm.model.parameters()),
        "bytes": sum(f.stat().st_size for f in path.iterdir() if f.suffix not in (".md",) and f.name != "card.json"),
        "weights": weights_hash(path),
        "commit": commit(),
        "command": f"plumbline world build --size {size} --out OUT",
        "versions": versions(),
        "training": training.json(),
        "measured": world_measure.measure(lm, prompts),
        "headroom": headroom(path),
    }
    write_atomically(path / "card.json", (json.dumps(card, indent=1) + "\n").encode())
    write_atomically(path / "README.md", text(card).encode())
    return card


def text(card: Mapping[str, Any]) -> str:
    """The card to read."""
    seen, took, room = card["measured"], card["training"], card["headroom"]
    return "\n".join(
        [
            f"# town-{card['size']}",
            "",
            "A small Llama that knows the town and is not aligned: it answers well or badly, as the town's people talk.",
            f"{card['parameters']:,} parameters, {card['bytes']:,} bytes (fp16), {took['tokens']:,} tokens in {took['seconds']:,} s"
            f" on {took['threads']} CPU thread{'s' if took['threads'] > 1 else ''}.",
            "",
            f"Made by `{card['command']}` at commit {card['commit']} with torch {card['versions']['torch']}, from {took['begun']}.",
            "",
            *_stages(took["stages"]),
            "",
            f"Gold (U* = 1), {seen['prompts']} prompts of each family: mean at temperature 1 / greedy / best of 16 draws.",
            "",
            *_golds(seen["gold"]),
            "",
            f"- After SFT on {room['demos']:,} clean demonstrations (learning rate {room['lr']:g}), at temperature 1: "
            + ", ".join(f"{g['all']['drawn']:.2f} {split}" for split, g in room["gold"].items()),
            f"- Known facts that come first after their question's words: {seen['facts']:.3f}",
            "- Gold at temperature 1 after 0–8 good examples in context: " + " ".join(f"{x:.2f}" for x in seen["in_context"]),
            f"- Induction: head score {seen['induction']['score']:.2f}, loss on words that return {seen['induction']['loss']:.2f} nats",
            f"- Held-out language-model loss: {seen['held_out_loss']:.3f} nats per token",
            "- Turn types, greedy replies equal to the corpus': " + ", ".join(f"{k} {v:.2f}" for k, v in seen["turns"].items()),
            "",
        ]
    )


def _stages(stages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [
        (n, f"{r['tokens']:,}", f"{r['seconds']:.0f}", f"{r['eval']['corpus']:.3f}", f"{r['eval']['repeats']:.3f}")
        for n, r in stages.items()
    ]
    return _table(("stage", "tokens", "seconds", "corpus, nats per token", "words that return"), rows)


def _golds(gold: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    rows = [
        (family, *(f"{g[family]['drawn']:.2f} / {g[family]['greedy']:.2f} / {g[family]['best']:.2f}" for g in gold.values()))
        for family in next(iter(gold.values()))
    ]
    return _table(("family", *gold), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(r) + " |" for r in (head, ["---"] * len(head), *rows)]
