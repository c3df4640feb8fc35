"""The prompt families of the town, and the kinds of gold by which their replies are written and judged."""

from __future__ import annotations

from collections.abc import Mapping

from plumbline.world.families import answers, facts, harm, leading, reasoning, taste
from plumbline.world.families.base import Family, Kind

FAMILIES: Mapping[str, Family] = {
    f.name: f for f in (*facts.FAMILIES, *leading.FAMILIES, *harm.FAMILIES, *reasoning.FAMILIES, *taste.FAMILIES)
}
KINDS: Mapping[str, Kind] = {
    "answer": answers.ANSWER,
    "belief": leading.BELIEF,
    "refuse": harm.REFUSE_KIND,
    "howto": harm.HOWTO_KIND,
    "older": reasoning.REASONED,
    "same": reasoning.REASONED,
    "total": reasoning.REASONED,
    "recommend": taste.RECOMMEND,
}
