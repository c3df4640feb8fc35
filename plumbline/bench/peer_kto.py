"""The peer's side of KTO, run by the peers' interpreter: TRL's trainer.   Nothing of plumbline is imported.

TRL answers a prompt with the completion of the row before it, plumbline with that of the row after it: so it gets the rows backwards.
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from statistics import median
from typing import Any

import torch
from datasets import Dataset
from peer import Training
from peer_base import PLAIN, model_in, seconds, tokenizer_in
from trl import KTOConfig, KTOTrainer  # pyright: ignore[reportMissingImports]   lives in .peers only
from wire import serve_work


class Labelled(Training):
    """TRL's trainer, its collator and its loss; all rows go through the model at once, because z is of the rows that do."""

    def __init__(self, folder: Path, job: dict[str, Any], lr: float, attention: str, micro: int) -> None:
        given = list(zip(job["groups"], job["labels"], strict=True))[::-1]
        said = [completion for (_, (completion,)), _ in given]
        self.rows = [
            {"prompt_ids": prompt, "completion_ids": completion, "KL_completion_ids": before, "label": up}
            for ((prompt, (completion,)), up), before in zip(given, [said[-1], *said[:-1]], strict=True)
        ]
        assert micro == len(self.rows)
        self.micro = micro
        self.trainer = self._made(folder, attention, job["weights"])
        self.model = self.trainer.model
        self.model.train()
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=lr, weight_decay=0.0)

    def _made(self, folder: Path, attention: str, weights: list[float]) -> Any:
        text = Dataset.from_list([{"prompt": "w1", "completion": f"w{i}", "label": i == 2} for i in (2, 3)])
        config = KTOConfig(
            output_dir=str(folder / "trl"),
            beta=0.1,
            max_length=None,
            desirable_weight=weights[0],
            undesirable_weight=weights[1],
            per_device_train_batch_size=self.micro,
            **PLAIN,
        )
        policy, reference = model_in(folder / "policy", attention), model_in(folder / "reference", attention)
        tokenizer = tokenizer_in(folder / "policy")
        return KTOTrainer(model=policy, ref_model=reference, args=config, train_dataset=text, processing_class=tokenizer)

    def step(self) -> dict[str, float]:
        return {**super().step(), "point": self.trainer._metrics["train"]["kl"][-1]}

    def pieces(self, repeats: int) -> dict[str, float]:
        """Those of any training step, and the policy's pass over mismatched completions; TRL's reference reads these as well."""
        batch = self.trainer.data_collator(self.rows)
        mismatched = median(seconds(lambda: self.trainer._compute_kl_logps(self.model, batch)) for _ in range(repeats))
        return {**super().pieces(repeats), "mismatched": mismatched}


def setup(folder: str, job: str, threads: int, lr: float, attention: str, micro: int) -> tuple[Any, str]:
    torch.set_num_threads(threads)
    work = Labelled(Path(folder), json.loads(Path(job).read_text(encoding="utf-8")), lr, attention, micro)
    return work, f"trl {importlib.metadata.version('trl')}"


if __name__ == "__main__":
    serve_work(setup, ("step", "pieces"))
