"""The recorded debates of Michael et al. 2023 (arXiv 2311.08702) as questions, with players that say again what people said.

The file holds speeches with their quotations marked: <quote> as found in the story, <oob_quote> as not found.   It holds no stories,
questions or right answers.   So the question is whom to believe, a side is a speaker, and the passage is what was found in the story.
Run as a script, it writes the questions:    python tests/protocols/recorded.py questions.jsonl
"""

from __future__ import annotations

import functools
import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

from plumbline.core.nouns import Ask, plain

FILE = Path(__file__).resolve().parents[3] / "shared" / "data" / "debate-nyu" / "annotated_quality_debates.jsonl.gz"
SIDES = ("the first speaker", "the second speaker")


@functools.cache
def debates() -> dict[str, list[str]]:
    """Name → the two speeches, of the debates that have two."""
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return {row["debate"]: [speech["text"] for speech in row["speeches"]] for row in rows if len(row["speeches"]) == 2}


def spans(text: str, tag: str) -> list[str]:
    """What stands between the tags, other tags left out."""
    return [re.sub(r"</?\w+>", "", found) for found in re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)]


def questions() -> list[dict[str, Any]]:
    """A row per debate."""
    return [
        {
            "id": name,
            "question": f"Who is right about {name!r}?",
            "sides": list(SIDES),
            "passage": " … ".join(span for speech in speeches for span in spans(speech, "quote")),
        }
        for name, speeches in debates().items()
    ]


def debater(ask: Ask) -> str:
    """The speech of the side that is asked, every quotation between <quote> and </quote>, whatever the file found of it."""
    asked = plain(ask.context)
    (name,) = re.findall(r"^Question: Who is right about (?:'(.*)'|\"(.*)\")\?$", asked, re.MULTILINE)
    side = next(i for i, words in enumerate(SIDES) if f": {words}. Convince" in asked)
    said = debates()[name[0] or name[1]][side].replace("oob_quote>", "quote>")
    return re.sub(r"</?(?!quote>)\w+>", "", said)


def judge(ask: Ask) -> str:
    """Believes the side with more verified words; the first of equals."""
    heard = re.split(r"^For (?=[AB]: )", plain(ask.context), flags=re.MULTILINE)[1:]
    words = {speech[0]: sum(len(v.split()) for v in re.findall(r"<verified>(.*?)</verified>", speech)) for speech in heard}
    return max(ask.choices, key=lambda letter: words[letter])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in questions()), encoding="utf-8")
