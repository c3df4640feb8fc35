"""The fast path of decoding for Llama-like models: the prompt's keys once per prompt, the samples' own keys beside them.

    scores of a row = [ q · K_prompt (a GEMM over all samples of that prompt),  q · K_own ],   one softmax over both

It calls the model's own layers (projections, norms, MLP: adapters and quantised weights included) and writes out only what stands
between them.   It serves the model types below, without a window, and only after its logits agreed with the model's own forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F

TYPES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
AGREE = 1e-4  # largest difference of log-probabilities that the check lets pass, in nats
_checked: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()  # the check's answer per module: a memo, kept as long as the module


def serves(model: Any) -> bool:
    """Whether this model, as it is now (hooks too), may take the fast path."""
    config = model.config
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    windowed = any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ())
    windowed = windowed or (config.model_type == "mistral" and config.sliding_window is not None)
    if config.model_type not in TYPES or windowed or rope in ("dynamic", "longrope"):
        return False
    if any(m._forward_hooks or m._forward_pre_hooks for m in model.modules()):  # somebody watches or steers: theirs goes first
        return False
    if model not in _checked:
        _checked[model] = _agrees(model)
    return _checked[model]


def _agrees(model: Any) -> bool:
    """Two short prompts of unlike length, one step: log-probabilities as in the model's own forward."""
    device = model.get_input_embeddings().weight.device
    top = model.config.vocab_size - 1
    texts = [[top // 2, 1, top // 3, top // 5, 2, top // 7], [top // 2, top // 3, top, 3]]
    fast = Lean(model, [t[:-1] for t in texts], [2, 1], 2)
    first_RV = fast.logits_RV
    second_RV = fast.step(torch.tensor([texts[0][-1], texts[0][-1], texts[1][-1]], device=device))
    for row, text in ((0, texts[0]), (1, texts[0]), (2, texts[1])):
        plain_TV = model(input_ids=torch.tensor([text], device=device), use_cache=False).logits[0, -2:].float().log_softmax(-1)
        ours_TV = torch.stack([first_RV[row], second_RV[row]]).float().log_softmax(-1)
        if not torch.allclose(ours_TV, plain_TV, rtol=1e-5, atol=AGREE if fast.dtype == torch.float32 else 0.1):
            return False
    return True


def _rotate(x_RHD: torch.Tensor, cos_RD: torch.Tensor, sin_RD: torch.Tensor) -> torch.Tensor:
    """x·cos + (−x₂, x₁)·sin per head: rotary positions (Su et al. 2021, 2104.09864)."""
    half = x_RHD.shape[-1] // 2
    turned = torch.cat([-x_RHD[..., half:], x_RHD[..., :half]], -1)
    return x_RHD * cos_RD[..., None, :] + turned * sin_RD[..., None, :]


class Lean:
    """P prompts, R rows (P × copies, in order), H heads on Hkv key heads of dimension D, L prompt and T own positions."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], copies: Sequence[int], longest: int) -> None:
        self.model, self.trunk = model, model.model
        weight = model.get_input_embeddings().weight
        self.device, self.dtype = weight.device, weight.dtype
        width = max(map(len, prompts))
        ids_PL = torch.tensor([[*p, *[0] * (width - len(p))] for p in prompts], device=self.device)
        length_P = torch.tensor([len(p) for p in prompts], device=self.device)
        place_L = torch.arange(width, device=self.device)
        self.past_PL = torch.where(place_L < length_P[:, None], 0.0, -torch.inf).to(self.dtype)
        self.ragged = len(set(map(len, prompts))) > 1
        self.prompt_R = torch.repeat_interleave(torch.tensor(copies, device=self.device))
        self.position_R, self.used = length_P[self.prompt_R], 0
        every = torch.arange(width + longest, device=self.device)[None]
        self.cos_TD, self.sin_TD = (x[0] for x in self.trunk.rotary_emb(weight[:1, None], every))
        self.past: list[tuple[torch.Tensor, torch.Tensor]] = []  # per layer (P, Hkv, L, D) keys and values of the prompts
        last_PE = self._prefill(ids_PL, length_P)
        shape = (len(self.prompt_R), self.past[0][0].shape[1], longest, self.past[0][0].shape[3])
        self.own = [(k.new_empty(shape), v.new_empty(shape)) for k, v in self.past]  # (R, Hkv, T, D)
        self._lay_out()
        self.logits_RV = model.lm_head(last_PE)[self.prompt_R]

    def _heads(self, layer: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> list[torch.Tensor]:
        """Queries, keys and values (…, heads, D) of a layer's input."""
        attention = layer.self_attn
        x = layer.input_layernorm(x)
        q, k, v = (p(x).unflatten(-1, (-1, attention.head_dim)) for p in (attention.q_proj, attention.k_proj, attention.v_proj))
        if hasattr(attention, "q_norm"):
            q, k = attention.q_norm(q), attention.k_norm(k)
        return [_rotate(q, cos, sin), _rotate(k, cos, sin), v]

    def _close(self, layer: Any, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        x = x + layer.self_attn.o_proj(attended)
        return x + layer.mlp(layer.post_attention_layernorm(x))

    def _prefill(self, ids_PL: torch.Tensor, length_P: torch.Tensor) -> torch.Tensor:
        """All prompts at once, padded on the right (where a causal model does not look); the last states, normed."""
        x_PLE = self.trunk.embed_tokens(ids_PL)
        cos_LD, sin_LD = self.cos_TD[: ids_PL.shape[1]], self.sin_TD[: ids_PL.shape[1]]
        for layer in self.trunk.layers:
            q, k, v = (t.transpose(1, 2) for t in self._heads(layer, x_PLE, cos_LD, sin_LD))
            self.past.append((k.contiguous(), v.contiguous()))
            share = q.shape[1] // k.shape[1]
            k, v = (t.repeat_interleave(share, 1) for t in (k, v)) if share > 1 else (k, v)
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=layer.self_attn.scaling)
            x_PLE = self._close(layer, x_PLE, out.transpose(1, 2).flatten(2))
        return self.trunk.norm(x_PLE[torch.arange(len(ids_PL), device=self.device), length_P - 1])

    def _lay_out(self) -> None:
        """Where each row stands in the (P, N) grid of the prompts' samples; None if the grid is full and in order."""
        count_P = torch.bincount(self.prompt_R, minlength=len(self.past_PL))
        self.samples = int(count_P.max())
        first_P = count_P.cumsum(0) - count_P
        rank_R = torch.arange(len(self.prompt_R), device=self.device) - first_P[self.prompt_R]
        full = len(self.prompt_R) == len(count_P) * self.samples
        self.cell_R = None if full else self.prompt_R * self.samples + rank_R

    def _grid(self, x_RKGX: torch.Tensor) -> torch.Tensor:
        """(R, Hkv, G, X) by row → (P, Hkv, N·G, X) by prompt; empty cells are zero."""
        if self.cell_R is not None:
            cells = x_RKGX.new_zeros(len(self.past_PL) * self.samples, *x_RKGX.shape[1:])
            x_RKGX = cells.index_copy_(0, self.cell_R, x_RKGX)
        return x_RKGX.unflatten(0, (-1, self.samples)).transpose(1, 2).flatten(2, 3)

    def _rows(self, x_PKNX: torch.Tensor) -> torch.Tensor:
        """The way back from `_grid`."""
        x_CKGX = x_PKNX.unflatten(2, (self.samples, -1)).transpose(1, 2).flatten(0, 1)
        return x_CKGX if self.cell_R is None else x_CKGX[self.cell_R]

    def _attend(self, index: int, q_RKGD: torch.Tensor) -> torch.Tensor:
        """Attention of one new token per row over its prompt and its own tokens."""
        (past_k, past_v), (own_k, own_v) = self.past[index], self.own[index]
        there_PKNL = self._grid(q_RKGD) @ past_k.transpose(2, 3)
        if self.ragged:
            there_PKNL += self.past_PL[:, None, None]
        here_RKGT = q_RKGD @ own_k[:, :, : self.used].transpose(2, 3)
        weight = torch.cat([self._rows(there_PKNL), here_RKGT], -1).softmax(-1, dtype=torch.float32).to(q_RKGD.dtype)
        split = there_PKNL.shape[-1]
        return self._rows(self._grid(weight[..., :split]) @ past_v) + weight[..., split:] @ own_v[:, :, : self.used]

    def step(self, token_R: torch.Tensor) -> torch.Tensor:
        """Feed one token per row; logits of the next."""
        x_RE = self.trunk.embed_tokens(token_R)
        cos_RD, sin_RD = self.cos_TD[self.position_R], self.sin_TD[self.position_R]
        self.used += 1
        for index, layer in enumerate(self.trunk.layers):
            q, k, v = self._heads(layer, x_RE, cos_RD, sin_RD)
            self.own[index][0][:, :, self.used - 1] = k
            self.own[index][1][:, :, self.used - 1] = v
            q_RKGD = (q * layer.self_attn.scaling).unflatten(1, (k.shape[1], -1))
            x_RE = self._close(layer, x_RE, self._attend(index, q_RKGD).flatten(1))
        self.position_R = self.position_R + 1
        return self.model.lm_head(self.trunk.norm(x_RE))

    def keep(self, row_R: torch.Tensor) -> None:
        """Go on with these rows; prompts that have none left go too."""
        alive_P, self.prompt_R = torch.unique(self.prompt_R[row_R], return_inverse=True)
        if len(alive_P) < len(self.past_PL):
            self.past_PL = self.past_PL[alive_P]
            self.past = [(k[alive_P], v[alive_P]) for k, v in self.past]
        self.own = [(k[row_R], v[row_R]) for k, v in self.own]
        self.position_R = self.position_R[row_R]
        self._lay_out()
