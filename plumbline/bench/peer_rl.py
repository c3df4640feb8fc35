"""The peer's side of reward models and GRPO, run by the peers' interpreter: TRL's trainers.   Nothing of plumbline is imported."""

from __future__ import annotations

import importlib.metadata
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from datasets import Dataset
from peer_base import PLAIN, Watch, model_in, norms, scalar_in, seconds, tokenizer_in
from trl import GRPOConfig, GRPOTrainer, RewardConfig, RewardTrainer  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]
from wire import memory_mb, reset_peak, serve_work


class Rewarding:
    """TRL's reward trainer, its collator and its loss; `micro` pairs go through the model at once."""

    def __init__(self, folder: Path, job: dict[str, Any], lr: float, attention: str, micro: int) -> None:
        self.rows = [{"chosen_ids": p + c[0], "rejected_ids": p + c[1]} for p, c in job["groups"]]
        self.micro = micro
        config = RewardConfig(output_dir=str(folder / "trl"), max_length=None, center_rewards_coefficient=0.01, **PLAIN)
        data = Dataset.from_list(self.rows)
        model, tokenizer = scalar_in(folder / "reward", attention), tokenizer_in(folder / "reward")
        self.trainer = RewardTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)
        self.model = self.trainer.model
        self.model.train()
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=lr, weight_decay=0.0)

    def _parts(self) -> list[Any]:
        return [self.trainer.data_collator(self.rows[i : i + self.micro]) for i in range(0, len(self.rows), self.micro)]

    def step(self) -> dict[str, float]:
        reset_peak()
        start, loss = time.perf_counter(), 0.0
        parts = self._parts()
        for inputs in parts:
            part = self.trainer.compute_loss(self.model, inputs) / len(parts)
            part.backward()
            loss += part.item()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return {"seconds": time.perf_counter() - start, "loss": loss, "norm": norm.item(), **memory_mb()}

    def pieces(self, repeats: int) -> dict[str, float]:
        """Median seconds of the layers and of the optimiser; of what a reward model has not, 0."""
        parts = self._parts()

        def body() -> None:
            for part in parts:
                self.model.base_model(**part, use_cache=False).last_hidden_state.sum().backward()

        times = {name: median(seconds(w) for _ in range(repeats)) for name, w in (("body", body), ("optimiser", self.optimiser.step))}
        self.optimiser.zero_grad()
        return {**times, "head": 0.0, "reference": 0.0}


class Grpo:
    """TRL's GRPO trainer: a group is sampled and scored, then learned from `micro` completions at a time."""

    def __init__(self, folder: Path, job: dict[str, Any], lr: float, attention: str, micro: int, cache: str) -> None:
        self.rows = [{"prompt": f"<s>{text}"} for text in job["texts"] for _ in range(job["samples"])]
        self.job, self.parts = job, len(self.rows) // micro
        config = GRPOConfig(
            output_dir=str(folder / "trl"),
            beta=0.0,
            loss_type="dapo",
            num_generations=job["samples"],
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=self.parts,
            max_completion_length=job["new"],
            temperature=1.0,
            top_k=0,
            cache_implementation=cache,
            **PLAIN,
        )
        model, tokenizer = model_in(folder / "policy", attention), tokenizer_in(folder / "policy")
        data = Dataset.from_list(self.rows)
        self.trainer = GRPOTrainer(model=model, reward_funcs=_score, args=config, train_dataset=data, processing_class=tokenizer)
        self.trainer.current_gradient_accumulation_steps = self.parts
        self.trainer.eos_token_ids = []  # replies are as long as they may be
        self.trainer.generation_config.eos_token_id = self.trainer.generation_kwargs["eos_token_id"] = None
        self.trainer.model.generation_config.eos_token_id = None
        self.trainer._generate_single_turn = self.sampling = Watch(self.trainer._generate_single_turn)
        self.model = self.trainer.model
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=lr, weight_decay=0.0)

    def _learn(self) -> float:
        """Sample (TRL does so before the first of its parts), and add up the gradients of one update; returns its loss."""
        return sum(self.trainer.training_step(self.model, self.rows, None).item() for _ in range(self.parts))

    def step(self) -> dict[str, float]:
        reset_peak()
        start = time.perf_counter()
        self._learn()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        taken = time.perf_counter() - start
        tokens = self.trainer._metrics["train"]["completions/mean_length"][-1] * len(self.rows)
        return {"seconds": taken, "sampling": self.sampling.take(), "tokens": tokens, **memory_mb()}

    def check(self) -> dict[str, Any]:
        """Losses and gradients of the update from the job's replies; nothing moves."""
        replies = [ids for several in self.job["replies"] for ids in several]
        prompts: list[list[int]] = []

        def given(prompt_ids: Any, *rest: Any) -> Any:
            prompts.extend(prompt_ids)
            return replies, None

        self.trainer._generate_single_turn = given
        loss = self._learn()
        self.trainer._generate_single_turn = self.sampling
        assert prompts[:: self.job["samples"]] == self.job["prompts"]
        found = norms(self.model.parameters())
        self.optimiser.zero_grad()
        return {"losses": [loss], "norms": [found]}


def _score(completions: Any, completion_ids: Any, **rest: Any) -> list[float]:
    """A rule's reward, the same as on the other side."""
    return [float(sum(ids) % 97) for ids in completion_ids]


def setup(folder: str, job: str, threads: int, lr: float, attention: str, micro: int, cache: str = "dynamic") -> tuple[Any, str]:
    torch.set_num_threads(threads)
    read, place = json.loads(Path(job).read_text(encoding="utf-8")), Path(folder)
    work = Rewarding(place, read, lr, attention, micro) if read["method"] == "reward" else Grpo(place, read, lr, attention, micro, cache)
    return work, f"trl {importlib.metadata.version('trl')}"


if __name__ == "__main__":
    serve_work(setup, ("step", "pieces", "check"))
