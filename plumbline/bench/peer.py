"""The peer's side of the bench, run by the peers' interpreter: TRL for DPO steps, HF generate for decoding.

Nothing of plumbline is imported but `wire` and `peer_base`, which stand beside this file.
"""

from __future__ import annotations

import importlib.metadata
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from datasets import Dataset
from peer_base import PLAIN, model_in, seconds, tokenizer_in
from transformers import GenerationConfig
from trl import DPOConfig, DPOTrainer  # pyright: ignore[reportMissingImports]   lives in .peers only
from wire import memory_mb, reset_peak, serve_work


class Training:
    """TRL's trainer, its collator and its loss; `micro` pairs go through the model at once."""

    def __init__(self, folder: Path, job: dict[str, Any], lr: float, attention: str, micro: int) -> None:
        self.rows = [{"prompt_ids": p, "chosen_ids": c[0], "rejected_ids": c[1]} for p, c in job["groups"]]
        self.micro = micro
        reference = model_in(folder / "reference", attention)
        self.trainer = self._trainer(folder, attention, reference)
        if job["reference"] == "precomputed":
            chosen, rejected = self.trainer.compute_ref_log_probs(self.trainer.ref_model, self.trainer.data_collator(self.rows))
            for row, up, down in zip(self.rows, chosen.tolist(), rejected.tolist(), strict=True):
                row |= {"ref_chosen_logps": up, "ref_rejected_logps": down}
            self.trainer.precompute_ref_logps, self.trainer.ref_model = True, None
        self.model = self.trainer.model
        self.model.train()
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=lr, weight_decay=0.0)

    def _trainer(self, folder: Path, attention: str, reference: Any) -> Any:
        text = Dataset.from_list([{"prompt": "w1", "chosen": "w2", "rejected": "w3"}])
        config = DPOConfig(output_dir=str(folder / "trl"), beta=0.1, max_length=None, **PLAIN)
        tokenizer = tokenizer_in(folder / "policy")
        model = model_in(folder / "policy", attention)
        return DPOTrainer(model=model, ref_model=reference, args=config, train_dataset=text, processing_class=tokenizer)

    def step(self) -> dict[str, float]:
        reset_peak()
        start, loss, parts = time.perf_counter(), 0.0, len(self.rows) // self.micro
        for i in range(parts):
            inputs = self.trainer.data_collator(self.rows[i * self.micro : (i + 1) * self.micro])
            part = self.trainer.compute_loss(self.model, inputs) / parts
            part.backward()
            loss += part.item()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return {"seconds": time.perf_counter() - start, "loss": loss, "norm": norm.item(), **memory_mb()}

    def pieces(self, repeats: int) -> dict[str, float]:
        """Median seconds of the layers, of layers and projection, of the reference and of the optimiser."""
        parts = [self.trainer.data_collator(self.rows[i : i + self.micro]) for i in range(0, len(self.rows), self.micro)]
        calls = [{"input_ids": p["input_ids"], "attention_mask": p["attention_mask"], "use_cache": False} for p in parts]
        labels = [p["input_ids"].masked_fill(p["completion_mask"] == 0, -100) for p in parts]

        def body() -> None:
            for call in calls:
                self.model.base_model(**call).last_hidden_state.sum().backward()

        def scored() -> None:
            for call, label in zip(calls, labels, strict=True):
                self.model(**call, labels=label, fused_lm_head=True).log_probs.sum().backward()

        def reference() -> None:
            if self.trainer.ref_model is not None:
                for part in parts:
                    self.trainer.compute_ref_log_probs(self.trainer.ref_model, part)

        work = {"body": body, "scored": scored, "reference": reference, "optimiser": self.optimiser.step}
        times = {name: median(seconds(piece) for _ in range(repeats)) for name, piece in work.items()}
        self.optimiser.zero_grad()
        times["head"] = max(0.0, times.pop("scored") - times["body"])
        return times


class Decoding:
    """HF generate with one kind of cache."""

    def __init__(self, folder: Path, job: dict[str, Any], attention: str, cache: str) -> None:
        self.model, self.job, self.cache = model_in(folder / "policy", attention).eval(), job, cache
        self.prompts = torch.tensor(job["prompts"])

    def _generate(self, **settings: Any) -> Any:
        new = self.job["new"]
        config = GenerationConfig(max_new_tokens=new, eos_token_id=None, pad_token_id=0, cache_implementation=self.cache, **settings)
        mask = torch.ones_like(self.prompts)
        with torch.inference_mode():
            return self.model.generate(self.prompts, attention_mask=mask, generation_config=config)

    def step(self) -> dict[str, Any]:
        reset_peak()
        start = time.perf_counter()
        out = self._generate(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, num_return_sequences=self.job["samples"])
        return {"seconds": time.perf_counter() - start, "tokens": out[:, self.prompts.shape[1] :].numel(), **memory_mb()}

    def greedy(self) -> dict[str, Any]:
        """Ids, and how far each choice was ahead of the next one."""
        out = self._generate(do_sample=False, return_dict_in_generate=True, output_logits=True)
        top_TRK = torch.stack(out.logits).topk(2).values
        ids = out.sequences[:, self.prompts.shape[1] :]
        return {"ids": ids.tolist(), "margins": (top_TRK[..., 0] - top_TRK[..., 1]).T.tolist()}


def setup(folder: str, job: str, threads: int, lr: float, attention: str, micro: int = 0, cache: str = "dynamic") -> tuple[Any, str]:
    torch.set_num_threads(threads)
    read = json.loads(Path(job).read_text(encoding="utf-8"))
    place = Path(folder)
    work = Training(place, read, lr, attention, micro) if "groups" in read else Decoding(place, read, attention, cache)
    name = "trl" if "groups" in read else "transformers"
    return work, f"{name} {importlib.metadata.version(name)}"


if __name__ == "__main__":
    serve_work(setup, ("step", "pieces", "greedy"))
