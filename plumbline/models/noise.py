"""Noise that belongs to a draw, not to a batch: every number is a function of (seed, prompt, sample, step, place).

    u = mix(key + counter · γ) / 2⁶⁴,   counter = step · 2²⁰ + place       SplitMix64: Steele, Lea and Flood 2014
    g = −log(−log u)                                                       Gumbel noise: argmax(log p + g) is a draw from p

The key is 64 bits of BLAKE2b over seed, prompt ids and sample index, so streams of different samples do not meet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

PLACES = 1 << 20  # numbers that one step of one stream may use
GAMMA = np.uint64(0x9E3779B97F4A7C15)


def stream_key(seed: int, prompt: Sequence[int], sample: int, purpose: str = "tokens") -> int:
    """The 64-bit key of one sample's stream of noise."""
    digest = hashlib.blake2b(f"{purpose} {seed} {sample} ".encode(), digest_size=8)
    digest.update(np.asarray(prompt, dtype=np.int64).tobytes())
    return int.from_bytes(digest.digest(), "little")


def uniforms(keys_R: np.ndarray, step: int, count: int) -> np.ndarray:
    """(R, count) numbers strictly between 0 and 1, of 53 bits, for one step of R streams."""
    counter = (np.arange(count, dtype=np.uint64) + np.uint64(1) + np.uint64(step * PLACES)) * GAMMA
    z = keys_R[:, None] + counter[None, :]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return ((z >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def gumbels(keys_R: np.ndarray, step: int, count: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """(R, count) Gumbel noise in float32 (computed in float64)."""
    return torch.from_numpy(uniforms(keys_R, step, count)).log_().neg_().log_().neg_().float().to(device)
