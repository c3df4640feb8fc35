"""One page on how a model reads a text: logit lens, shares of the logit, the attention of every head, and patching."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from torch import Tensor

from plumbline.evals import report
from plumbline.interp.attribution import Attribution
from plumbline.interp.lens import Lens, logit_lens
from plumbline.pipelines.insides import Opened, Patched, Text, attributed, patched

MOST_HEADS = 48  # pictures of attention on a page; of larger models those with the largest shares
SEEN = 0.03  # attention below this is left white
CELL = 12.0


def write(o: Opened, clean: Text, corrupted: Text, *, chat: bool, out: str) -> Path:
    """Compute everything and write `out/report.html`."""
    (text, reply), words = clean, o.words(o.ids(*clean, chat=chat))
    page = report.Page("Inside a model", f"What {o.lm.name} does with: {text} {reply}".strip())
    page.add(
        "After each layer (logit lens)",
        lens_table(o, words, logit_lens(o.insides, o.ids(*clean, chat=chat))),
        report.note(
            "What the model would say next if it stopped before that block; the last column is its own answer. Darker: more likely."
        ),
    )
    shares, name = attributed(o, text, chat=chat, reply=reply)
    page.add(
        f"What makes the logit of “{name}” after the last token",
        report.figure("share of the logit: heads (first columns) and MLP by layer", shares_picture(o, shares)),
        report.note(
            f"The logit is {shares.logit:.3f}; the {len(shares.parts)} parts sum to it within {shares.gap:.1e}. Blue raises, orange "
            f"lowers. The embedding brings {shares.parts['embed']:.3f}. The scale of the final norm is held as it was."
        ),
    )
    page.add("Attention", *attention(o, o.ids(*clean, chat=chat), words, shares))
    if corrupted[0]:
        tables = [patched(o, clean, corrupted, chat=chat, what=what) for what in ("resid_pre", "z")]
        page.add(
            f"Where the answer is kept: patching “{corrupted[0]}” with “{text}”",
            report.beside(
                report.figure("the stream before each block, by position", heat_of(tables[0])),
                report.figure("z of each head, all positions", heat_of(tables[1])),
            ),
            report.note(
                f"Share of the difference between {tables[0].answer} (clean) and {tables[0].wrong} (corrupted) that one activation of the "
                "clean run brings back when it is put into the corrupted one: 0 nothing, 1 all. Blue: towards the clean answer."
            ),
        )
    return page.write(Path(out) / "report.html")


def lens_table(o: Opened, words: Sequence[str], lens: Lens) -> str:
    """Positions down, streams across: the likeliest token, its cell as dark as it is likely."""
    p_SL1, token_SL1 = lens.top(1)
    streams = [f"before {i}" for i in range(len(lens.streams) - 1)] + ["answer"]
    rows = []
    for position, word in enumerate(words):
        cells = []
        for p, token in zip(p_SL1[:, position, 0].tolist(), token_SL1[:, position, 0].tolist(), strict=True):
            said = escape(o.words([token])[0])
            cells.append(f'<td style="background:rgba(47,111,181,{0.6 * p:.2f})">{said} <span class="soft">{p:.2f}</span></td>')
        rows.append(f"<tr><th>{escape(word)}</th>{''.join(cells)}</tr>")
    head = "".join(f"<th>{s}</th>" for s in ("token", *streams))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def heat(table: Sequence[Sequence[float]], rows: Sequence[str], columns: Sequence[str], label: str) -> str:
    """A grid of signed numbers: blue above 0, orange below, as dark as they are large; numbers where there is room."""
    left, top, width = 84.0, 18.0, 270.0
    cell = min(44.0, width / max(1, len(columns)))
    largest = max((abs(v) for row in table for v in row), default=1.0) or 1.0
    body = [_word(left + cell * (j + 0.5), 12, name, "middle") for j, name in enumerate(columns) if cell >= 12]
    for i, (name, row) in enumerate(zip(rows, table, strict=True)):
        y = top + 16 * i
        body.append(_word(left - 4, y + 12, name[:11], "end"))
        for j, v in enumerate(row):
            kind = "c1" if v >= 0 else "c2"
            body.append(
                f'<rect x="{left + cell * j:.1f}" y="{y:.1f}" width="{cell:.1f}" height="16" class="{kind}" '
                f'fill-opacity="{0.65 * abs(v) / largest:.2f}"><title>{escape(name)}, {escape(columns[j])}: {v:.3f}</title></rect>'
            )
            if cell >= 30:
                body.append(_word(left + cell * (j + 0.5), y + 12, f"{v:.2f}", "middle"))
    return _svg(360, top + 16 * len(rows) + 4, body, label)


def heat_of(found: Patched) -> str:
    """A patching table, layers across."""
    layers = [str(i) for i in range(len(found.table))]
    return heat(found.table.T.tolist(), found.columns, layers, "effect of patching by layer")


def shares_picture(o: Opened, shares: Attribution) -> str:
    """Layers down; heads, then the MLP, across."""
    layers, heads = o.insides.layers, o.insides.parts.heads
    table = [[*row, shares.parts[f"blocks.{i}.mlp"]] for i, row in enumerate(shares.heads(layers, heads))]
    return heat(table, [f"layer {i}" for i in range(layers)], [*map(str, range(heads)), "mlp"], "shares of the logit")


def attention(o: Opened, ids: Sequence[int], words: Sequence[str], shares: Attribution) -> list[str]:
    """A picture per head: which earlier token (across) each token (down) looks at."""
    _, cache = o.insides.run(ids, keep=o.insides.chosen(lambda n: n.endswith("hook_pattern")))
    layers, heads = o.insides.layers, o.insides.parts.heads
    share = {(i, h): v for i, row in enumerate(shares.heads(layers, heads)) for h, v in enumerate(row)}
    chosen = sorted(sorted(share, key=lambda at: -abs(share[at]))[:MOST_HEADS])
    pictures = [
        report.figure(f"layer {i}, head {h}: {share[i, h]:+.2f} of the logit", pattern(cache[f"blocks.{i}.attn.hook_pattern"][0, h], words))
        for i, h in chosen
    ]
    note = "Each row is a token, each column an earlier one that it reads; darker is more. Point at a cell for its words."
    left_out = "" if len(chosen) == len(share) else f" The {len(chosen)} heads with the largest shares of {len(share)}."
    return [f'<div class="grid2">{"".join(pictures)}</div>', report.note(note + left_out)]


def pattern(weights_QK: Tensor, words: Sequence[str]) -> str:
    """One head's attention, with the tokens beside the rows."""
    left, body = 76.0, []
    for q, row in enumerate(weights_QK.tolist()):
        body.append(_word(left - 4, CELL * q + 10, words[q][:10], "end"))
        for k, p in enumerate(row):
            if p >= SEEN:
                said = f"{escape(words[q])} reads {escape(words[k])}: {p:.2f}"
                body.append(
                    f'<rect x="{left + CELL * k:.0f}" y="{CELL * q:.0f}" width="{CELL:.0f}" height="{CELL:.0f}" class="c1" '
                    f'fill-opacity="{p:.2f}"><title>{said}</title></rect>'
                )
    side = CELL * len(words)
    body.append(f'<rect x="{left}" y="0" width="{side}" height="{side}" fill="none" stroke="currentColor" stroke-opacity=".2"/>')
    return _svg(max(360.0, left + side + 4), side + 2, body, "attention pattern")


def _word(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="soft" font-size="10">{escape(words)}</text>'


def _svg(width: float, height: float, body: Sequence[str], label: str) -> str:
    return f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(label, quote=True)}">{"".join(body)}</svg>'
