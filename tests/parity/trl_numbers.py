"""Run by the peers' interpreter: what TRL computes for the models and rows that it is given.   Nothing of plumbline is imported.

python trl_numbers.py WORK        reads WORK/job.json, WORK/policy, WORK/reference; writes WORK/numbers.json and the gradients
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer  # pyright: ignore[reportMissingImports]   lives in .peers only

PLAIN = {"use_cpu": True, "bf16": False, "report_to": [], "gradient_checkpointing": False, "max_length": None, "disable_tqdm": True}


def model_in(folder: Path):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def learned(trainer, gradients: Path) -> tuple[dict, float]:
    """All rows as one batch, and its loss; the gradients are written down."""
    batch = trainer.data_collator(list(trainer.train_dataset))
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, dict(batch))
    loss.backward()
    save_file({name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}, gradients)
    return batch, loss.item()


def dpo(work: Path, job: dict) -> dict:
    rows = Dataset.from_list([{k: row[k] for k in ("prompt", "chosen", "rejected")} for row in job["pairs"]])
    config = DPOConfig(output_dir=str(work / "out"), beta=job["beta"], label_smoothing=0.0, **PLAIN)
    tokenizer = AutoTokenizer.from_pretrained(work / "policy")
    policy, reference = model_in(work / "policy"), model_in(work / "reference")
    trainer = DPOTrainer(model=policy, ref_model=reference, args=config, train_dataset=rows, processing_class=tokenizer)
    batch, loss = learned(trainer, work / "dpo.safetensors")
    chosen, rejected = trainer.compute_ref_log_probs(trainer.ref_model, dict(batch))
    metrics = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    ids = [{k: row[k] for k in ("prompt_ids", "chosen_ids", "rejected_ids")} for row in trainer.train_dataset]
    return {"loss": loss, "ref": [chosen.tolist(), rejected.tolist()], "ids": ids, "metrics": metrics}


def sft(work: Path, job: dict) -> dict:
    rows = Dataset.from_list([{"prompt": row["prompt"], "completion": row["chosen"]} for row in job["pairs"]])
    config = SFTConfig(output_dir=str(work / "out"), packing=False, **PLAIN)
    tokenizer = AutoTokenizer.from_pretrained(work / "policy")
    trainer = SFTTrainer(model=model_in(work / "policy"), args=config, train_dataset=rows, processing_class=tokenizer)
    _, loss = learned(trainer, work / "sft.safetensors")
    return {"loss": loss, "ids": [row["input_ids"] for row in trainer.train_dataset]}


def kto(work: Path, job: dict) -> dict:
    rows = Dataset.from_list(job["thumbs"])
    weights = {"desirable_weight": job["weights"][0], "undesirable_weight": job["weights"][1]}
    config = KTOConfig(output_dir=str(work / "out"), beta=job["beta"], per_device_train_batch_size=len(rows), **weights, **PLAIN)
    tokenizer = AutoTokenizer.from_pretrained(work / "policy")
    policy, reference = model_in(work / "policy"), model_in(work / "reference")
    trainer = KTOTrainer(model=policy, ref_model=reference, args=config, train_dataset=rows, processing_class=tokenizer)
    _, loss = learned(trainer, work / "kto.safetensors")
    ids = [{k: row[k] for k in ("prompt_ids", "completion_ids")} for row in trainer.train_dataset]
    return {"loss": loss, "kl": trainer._metrics["train"]["kl"][-1], "ids": ids}


def main(work: Path) -> None:
    torch.set_num_threads(1)
    job = json.loads((work / "job.json").read_text())
    (work / "numbers.json").write_text(json.dumps({"dpo": dpo(work, job), "sft": sft(work, job), "kto": kto(work, job)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
