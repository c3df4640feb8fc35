"""The peer's side of PPO, run by the peers' interpreter with the last TRL that has it before the newest.

TRL 1.13 dropped its experimental PPO; 1.12 lies in a folder of its own, given as the first argument, and runs on the same libraries.
Nothing of plumbline is imported.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[1])

import torch
from datasets import Dataset
from peer_base import PLAIN, Watch, model_in, norms, scalar_in, tokenizer_in
from trl import __version__  # pyright: ignore[reportMissingImports]
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]
from wire import memory_mb, reset_peak, serve_work

SAMPLE = ppo_trainer.batch_generation
LOSSES = ("loss/policy_avg", "loss/value_avg")


class Ppo:
    """TRL's trainer, whose `train` makes one round and its updates; `micro` completions are learned from at a time."""

    def __init__(self, folder: Path, job: dict[str, Any], lr: float, attention: str, micro: int) -> None:
        self.job, count = job, len(job["prompts"])
        config = PPOConfig(
            output_dir=str(folder / "trl"),
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=count // micro,
            total_episodes=count,
            num_ppo_epochs=job["passes"],
            num_sample_generations=0,
            response_length=job["new"],
            temperature=1.0,
            vf_coef=1.0,  # policy and critic have an optimiser's state each: a factor would only change what is printed
            learning_rate=lr,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            save_strategy="no",
            **PLAIN,
        )
        self.trainer = PPOTrainer(
            args=config,
            processing_class=tokenizer_in(folder / "policy"),
            model=model_in(folder / "policy", attention),
            ref_model=model_in(folder / "reference", attention),
            reward_model=scalar_in(folder / "reward", attention),
            value_model=scalar_in(folder / "value", attention),
            train_dataset=Dataset.from_list([{"input_ids": ids} for ids in job["prompts"]]),
        )
        # Accelerate takes the last batch of a loader for the end of an accumulation: as the only one it would be an update per micro-batch.
        self.trainer.dataloader = [self.trainer.data_collator([{"input_ids": ids} for ids in job["prompts"]])]
        self.said: dict[str, float] = {}
        self.trainer.log = self.said.update
        self.sampling = ppo_trainer.batch_generation = Watch(SAMPLE)
        gc.freeze()  # TRL collects garbage twice a round: without what stands from the beginning that takes no time

    def step(self) -> dict[str, float]:
        reset_peak()
        start = time.perf_counter()
        self.trainer.train()
        taken = time.perf_counter() - start
        tokens = len(self.job["prompts"]) * self.job["new"]
        return {"seconds": taken, "sampling": self.sampling.take(), "tokens": tokens, **memory_mb()}

    def check(self) -> dict[str, Any]:
        """Mean losses and each update's gradients, of a round of the job's replies.   The weights move."""
        replies = {tuple(p): several[0] for p, several in zip(self.job["prompts"], self.job["replies"], strict=True)}
        found: list[list[float]] = []

        def given(model: Any, queries: Any, *rest: Any) -> Any:
            answered = torch.tensor([[*q, *replies[tuple(q)]] for q in queries.tolist()])
            return answered, model(input_ids=answered, use_cache=False).logits[:, queries.shape[1] - 1 : -1]

        def watch(*_: Any) -> None:
            found.append(norms(self.trainer.model.parameters()))

        ppo_trainer.batch_generation = given
        hook = self.trainer.optimizer.optimizer.register_step_pre_hook(watch)
        self.trainer.train()
        hook.remove()
        ppo_trainer.batch_generation = self.sampling
        return {"losses": [self.said[name] for name in LOSSES], "norms": found}


def setup(folder: str, job: str, threads: int, lr: float, attention: str, micro: int) -> tuple[Any, str]:
    torch.set_num_threads(threads)
    gc.unfreeze()
    return Ppo(Path(folder), json.loads(Path(job).read_text(encoding="utf-8")), lr, attention, micro), f"trl {__version__}"


if __name__ == "__main__":
    serve_work(setup, ("step", "check"))
