"""The fast path of decoding for Llama-like models: the prompt's keys once per prompt, the samples' own keys beside them.

    scores of a row = [ q · K_prompt (a GEMM over all samples of that prompt),  q · K_own ],   one softmax over both

Where a prompt has one sample only, its keys are copied before the sample's own: one product instead of two.

A step is many small operations, so what can be one is one: projections that read the same input are laid side by side, transposed
(`Fused`), where they are plain and small enough to copy; else the model's own layers are called, adapters and quantised weights included.
It serves the model types below, without a window, and only after its logits agreed with the model's own forward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F

TYPES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
FUSED_BYTES = 64 * 2**20  # weights are copied for `Fused` only where that is little beside the work
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
    """x·cos + (−x₂, x₁)·sin per head: rotary positions (Su et al. 2021, 2104.09864).   `sin_RD` has the sign of its first half turned."""
    return torch.addcmul(x_RHD * cos_RD[..., None, :], x_RHD.roll(x_RHD.shape[-1] // 2, -1), sin_RD[..., None, :])


Apply = Callable[[torch.Tensor], torch.Tensor]


def _side_by_side(linears: Sequence[Any], fuse: bool) -> Apply:
    """One function for linear layers that read the same input: (…, in) → (…, all outs)."""
    if not fuse or any(type(p) is not torch.nn.Linear for p in linears):
        return linears[0] if len(linears) == 1 else lambda x: torch.cat([p(x) for p in linears], -1)
    weight_IO = torch.cat([p.weight for p in linears]).t().contiguous()
    if all(p.bias is None for p in linears):
        return lambda x: x @ weight_IO
    bias_O = torch.cat([p.weight.new_zeros(len(p.weight)) if p.bias is None else p.bias for p in linears])
    return lambda x: torch.addmm(bias_O, x.flatten(0, -2), weight_IO).unflatten(0, x.shape[:-1])


def _norm(module: Any) -> Apply:
    """The layer's norm in one operation, where its computing type is the weights'."""
    weight = module.weight
    if weight.dtype != torch.float32:
        return module
    return lambda x: F.rms_norm(x, weight.shape, weight, module.variance_epsilon)


class Fused:
    """A layer as a step reads it."""

    def __init__(self, layer: Any, fuse: bool) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.attention, self.act = attention, mlp.act_fn
        self.before, self.between = _norm(layer.input_layernorm), _norm(layer.post_attention_layernorm)
        self.qkv = _side_by_side((attention.q_proj, attention.k_proj, attention.v_proj), fuse)
        self.out, self.down = _side_by_side((attention.o_proj,), fuse), _side_by_side((mlp.down_proj,), fuse)
        self.up = _side_by_side((mlp.gate_proj, mlp.up_proj), fuse)
        config = attention.config
        self.heads, self.keys, self.width = config.num_attention_heads, config.num_key_value_heads, attention.head_dim

    def read(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries, keys and values (…, heads, D) of the layer's input."""
        every = self.qkv(self.before(x)).unflatten(-1, (-1, self.width))
        turned, v = every[..., : self.heads + self.keys, :], every[..., self.heads + self.keys :, :]
        if hasattr(self.attention, "q_norm"):
            q, k = self.attention.q_norm(turned[..., : self.heads, :]), self.attention.k_norm(turned[..., self.heads :, :])
            turned = torch.cat([q, k], -2)
        turned = _rotate(turned, cos, sin)
        return turned[..., : self.heads, :], turned[..., self.heads :, :], v

    def close(self, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """The rest of the layer, after attention."""
        x = x + self.out(attended)
        gate, up = self.up(self.between(x)).chunk(2, -1)
        return x + self.down(self.act(gate) * up)


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
        self.cos_TD, self.sin_TD = (x[0].clone() for x in self.trunk.rotary_emb(weight[:1, None], every))
        self.sin_TD[:, : self.sin_TD.shape[1] // 2].neg_()
        fuse = sum(p.numel() * p.element_size() for p in model.parameters()) <= FUSED_BYTES
        self.layers = [Fused(layer, fuse) for layer in self.trunk.layers]
        self.norm, self.head = _norm(self.trunk.norm), _side_by_side((model.lm_head,), fuse)
        self.past: list[tuple[torch.Tensor, torch.Tensor]] = []  # per layer (P, Hkv, L, D) keys and values of the prompts
        last_PE = self._prefill(ids_PL, length_P)
        self.alone = max(copies) == 1  # nothing is shared: a row's prompt stands before what it draws
        self.prefix = width if self.alone else 0
        shape = (len(self.prompt_R), self.past[0][0].shape[1], self.prefix + longest, self.past[0][0].shape[3])
        self.own = [(k.new_empty(shape), v.new_empty(shape)) for k, v in self.past]  # (R, Hkv, T, D)
        if self.alone:
            for own, past in zip(self.own, self.past, strict=True):
                for mine, theirs in zip(own, past, strict=True):
                    mine[:, :, :width] = theirs
            self.past = []
        else:
            self._lay_out()
        self.logits_RV = self.head(last_PE)[self.prompt_R]

    def _prefill(self, ids_PL: torch.Tensor, length_P: torch.Tensor) -> torch.Tensor:
        """All prompts at once, padded on the right (where a causal model does not look); the last states, normed."""
        x_PLE = self.trunk.embed_tokens(ids_PL)
        cos_LD, sin_LD = self.cos_TD[: ids_PL.shape[1]], self.sin_TD[: ids_PL.shape[1]]
        for layer in self.layers:
            q, k, v = (t.transpose(1, 2) for t in layer.read(x_PLE, cos_LD, sin_LD))
            self.past.append((k.contiguous(), v.contiguous()))
            share = q.shape[1] // k.shape[1]
            k, v = (t.repeat_interleave(share, 1) for t in (k, v)) if share > 1 else (k, v)
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=layer.attention.scaling)
            x_PLE = layer.close(x_PLE, out.transpose(1, 2).flatten(2))
        return self.norm(x_PLE[torch.arange(len(ids_PL), device=self.device), length_P - 1])

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
        own_k, own_v = self.own[index]
        if self.alone:
            end = self.prefix + self.used
            score_RKGT = q_RKGD @ own_k[:, :, :end].transpose(2, 3)
            if self.ragged:
                score_RKGT[..., : self.prefix] += self.past_PL[self.prompt_R, None, None]
            return score_RKGT.softmax(-1, dtype=torch.float32).to(q_RKGD.dtype) @ own_v[:, :, :end]
        past_k, past_v = self.past[index]
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
        at = self.prefix + self.used - 1
        for index, layer in enumerate(self.layers):
            q, k, v = layer.read(x_RE, cos_RD, sin_RD)
            self.own[index][0][:, :, at] = k
            self.own[index][1][:, :, at] = v
            q_RKGD = (q * layer.attention.scaling).unflatten(1, (layer.keys, -1))
            x_RE = layer.close(x_RE, self._attend(index, q_RKGD).flatten(1))
        self.position_R = self.position_R + 1
        return self.head(self.norm(x_RE))

    def keep(self, row_R: torch.Tensor) -> None:
        """Go on with these rows; prompts that have none left go too."""
        alive_P, self.prompt_R = torch.unique(self.prompt_R[row_R], return_inverse=True)
        if len(alive_P) < len(self.past_PL):
            self.past_PL = self.past_PL[alive_P]
            self.past = [(k[alive_P], v[alive_P]) for k, v in self.past]
        self.own = [(self._packed(k, row_R), self._packed(v, row_R)) for k, v in self.own]
        self.position_R = self.position_R[row_R]
        if not self.alone:
            self._lay_out()

    def _packed(self, own_RKTD: torch.Tensor, row_R: torch.Tensor) -> torch.Tensor:
        """The rows moved to the front of the same memory, as far as they are written: copying all of it would cost more than a step."""
        end = self.prefix + self.used
        own_RKTD[: len(row_R), :, :end] = own_RKTD[row_R, :, :end]
        return own_RKTD[: len(row_R)]
