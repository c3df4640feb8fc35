"""`report.html`: one self-contained page that says what was done, whether it worked and by how much.   It reads results, it computes none.

A page is a list of sections, each a title and HTML made by the functions below, so every command composes its own report
from the same parts.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from plumbline.core.nouns import Context, Reply, Utility, plain
from plumbline.evals import svg
from plumbline.evals.stats import Figure

PACKAGES = ("plumbline", "torch", "transformers", "peft", "numpy")


@dataclass
class Page:
    """A report in the making."""

    title: str
    lead: str
    sections: list[tuple[str, str]] = field(default_factory=list)

    def add(self, title: str, *pieces: str) -> None:
        """Append a section of HTML pieces."""
        self.sections.append((title, "\n".join(pieces)))

    def write(self, path: Path) -> Path:
        """Write the page, whole or not at all."""
        css = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
        body = "\n".join(f"<section><h2>{escape(t)}</h2>\n{h}</section>" for t, h in self.sections)
        html = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.title)}</title><style>{css}</style></head>"
            f'<body><h1>{escape(self.title)}</h1><p class="lead">{escape(self.lead)}</p>\n{body}</body></html>\n'
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".html.part")
        draft.write_text(html, encoding="utf-8")
        draft.replace(path)
        return path


def note(words: str) -> str:
    """A remark in small print: how to read what is above."""
    return f'<p class="note">{escape(words)}</p>'


def figure(caption: str, picture: str) -> str:
    """A picture with its caption."""
    return f"<figure><figcaption>{escape(caption)}</figcaption>{picture}</figure>"


def beside(*pieces: str) -> str:
    """Pieces next to each other where there is room."""
    return f'<div class="grid2">{"".join(pieces)}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls by itself rather than widening the page."""
    top = "".join(f"<th>{escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def family_bars(models: Mapping[str, Mapping[str, Figure]]) -> str:
    """Bars per family for each model, split over two columns.   `models`: name → family → figure."""
    families = list(next(iter(models.values())))
    rows = {f: {m: figures[f] for m, figures in models.items()} for f in families}
    half = (len(families) + 1) // 2
    halves = [{f: rows[f] for f in part} for part in (families[:half], families[half:]) if part]
    return svg.legend(list(models)) + beside(*(figure("gold utility, 0 to 1", svg.bars(h, label="gold per family")) for h in halves))


def sample(context: Context, replies: Mapping[str, tuple[Reply, Utility | None]]) -> str:
    """One prompt with each model's reply, its gold total, and what was deducted for."""
    blocks = []
    for name, (reply, utility) in replies.items():
        verdict = ""
        if utility is not None:
            lines = (
                "".join(f'<span class="deduction">− {escape(r)}</span>' for r in utility.reasons)
                or '<span class="fine">no deduction</span>'
            )
            verdict = f"<br><b>{utility.total:.2f}</b>{lines}"
        blocks.append(
            f'<div class="reply"><span class="soft">{escape(name)}</span><br>{escape(reply.text) or "<i>(empty)</i>"}{verdict}</div>'
        )
    return f'<div class="sample"><b>{escape(plain(context))}</b><div class="replies">{"".join(blocks)}</div></div>'


def block(lines: Sequence[str]) -> str:
    """Lines as they were printed."""
    return f"<pre>{escape(chr(10).join(lines))}</pre>"


def provenance(commands: Sequence[str], facts: Mapping[str, str]) -> str:
    """Exact commands, versions, and whatever else fixes the result; `facts` may bring versions that were recorded earlier."""
    here = {p: _version(p) for p in PACKAGES} | {"python": platform.python_version()}
    return block(commands) + table(("what", "value"), list({**here, **facts}.items()))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
