"""Our columns → feedback.   What a row is follows from its columns alone; what a method wants only chooses among them.

    Demo        messages (one demonstration per assistant turn) | prompt, completion
    Comparison  [prompt | messages], chosen, rejected, [preference: 0…1 or "same"] | prompt, completions, ranking
    Rating      (prompt, completion | messages), scores
    Label       (prompt, completion | messages), label
    any         [annotator], [weight ≥ 0], [complete: false where the text was cut]; other columns travel in `meta`

Asked for demonstrations, a comparison gives its chosen reply; asked for labels, it gives a thumb up and a thumb down.   Asked for
ratings, a label gives the highest grade or the lowest, on the criterion "label".
"""

from __future__ import annotations

import math
from typing import Any

from plumbline.core.nouns import Chat, Comparison, Context, Demo, Feedback, Label, Prompt, Rating, completions_of
from plumbline.data.chats import chat, is_trained, is_turn
from plumbline.data.cut import CHAT, COMMON, LAST, SHARED, cut_chats, cut_text
from plumbline.data.problem import WHOLE, FieldError
from plumbline.data.strict import kind_of

Row = dict[str, Any]
Item = Feedback | Prompt
KINDS: dict[type, str] = {Comparison: "comparisons", Rating: "ratings", Label: "labels", Demo: "demonstrations", Prompt: "prompts"}
CUT = "cut"  # the key in `meta` that says how an implicit prompt was cut
CUTS = (LAST, SHARED, COMMON, CHAT)
USED = {"messages", "prompt", "completion", "completions", "ranking", "chosen", "rejected", "preference", "label", "scores"}
USED |= {"annotator", "weight", "complete"}
COLUMNS = "messages | prompt, completion | prompt, chosen, rejected | prompt, completion, label | prompt, completion, scores"


def native(row: Row) -> type:
    """The kind of feedback that the columns of a row make."""
    has = row.keys()
    if {"chosen", "rejected"} <= has or "completions" in has:
        return Comparison
    for one, other in (("chosen", "rejected"), ("rejected", "chosen")):
        if one in has:
            raise FieldError(other, f"is missing (there is {one!r})", "A comparison has both.")
    if "completion" in has and not {"prompt", "messages"} & has:
        raise FieldError("prompt", "is missing", 'Add it; "" trains on the text from its first token.')
    if "messages" in has or "completion" in has:
        if {"label", "scores"} <= has:
            raise FieldError("scores", "stands beside label", "Keep one of the two columns.")
        return Rating if "scores" in has else Label if "label" in has else Demo
    if "prompt" in has:
        return Prompt
    raise FieldError(WHOLE, f"has none of the columns that feedback needs (it has {_names(row)})", f"Columns: {COLUMNS}.", alone=False)


def items(row: Row, kind: type) -> tuple[list[Item], str]:
    """The feedback in a row as items of `kind`, and the name of a conversion where the row is of another kind."""
    own = native(row)
    if kind is Prompt:
        return [Prompt(_context_only(row), _meta(row))], "" if own is Prompt else "prompts taken, completions left out"
    if own is Comparison and "messages" in row and kind is Demo and "prompt" in row:
        return [*_demos(row)], "messages taken, chosen and rejected left out"
    if own is kind:
        return [*_BUILDERS[kind](row)], ""
    if own is Comparison and kind in (Demo, Label):
        made = _comparison(row)
        if kind is Demo:
            return [_as_demo(made[0])], "chosen taken as a demonstration"
        return [*_as_labels(made[0])], "chosen and rejected taken as labels"
    if own is Label and kind is Rating:
        return [*map(_as_rating, _labels(row))], "labels taken as ratings of 5 and 1"
    if own is Prompt:
        raise FieldError("completion", "is missing", f"These rows are prompts only. Columns: {COLUMNS}.", alone=False)
    raise FieldError(
        WHOLE, f"is one of {KINDS[own]}, but {KINDS[kind]} are wanted", "Choose a method that learns from it, or another file."
    )


def _names(row: Row) -> str:
    shown = ", ".join(str(k)[:30] for k in list(row)[:8])
    return (shown + (", …" if len(row) > 8 else "")) or "none"


def _context_only(row: Row) -> Context:
    own = native(row)
    if own is Prompt or ("prompt" in row and "chosen" not in row):
        return _prompt(row)
    made = _BUILDERS[own](row)
    return made[-1].context


def _meta(row: Row, cut: str = "") -> Row:
    rest = {key: value for key, value in row.items() if key not in USED}
    return rest | {CUT: cut} if cut else rest


def _prompt(row: Row, field: str = "prompt") -> Context:
    value = row[field]
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise FieldError(field, f"is {kind_of(value)}, not text or a list of messages", "Mend the row.")
    found = chat(value, field)
    if found[-1].role == "assistant":
        raise FieldError(field, "ends with an assistant message", "A prompt ends with what the assistant answers.")
    return found


def _said(text: str, field: str) -> str:
    if not text.strip():
        raise FieldError(field, "is empty", "Fill it or remove the row.")
    return text


def _reply(row: Row, field: str, context: Context) -> str:
    """A completion: text; or, after a chat, an assistant message, alone or at the end of the whole dialogue."""
    value = row[field]
    if isinstance(value, str):
        return _said(value, field)
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise FieldError(field, f"is {kind_of(value)}, not text", "Mend the row.")
    found = chat(value, field)
    if isinstance(context, str):
        raise FieldError(field, "is a message, but prompt is raw text", "Give both as text or both as messages.")
    if len(found) > 1 and found[:-1] == context:
        found = found[-1:]
    return _only_reply(found, field)


def _only_reply(found: Chat, field: str) -> str:
    if len(found) != 1:
        raise FieldError(field, f"has {len(found)} messages that do not continue the prompt", "Give one assistant message.")
    if found[0].role != "assistant":
        raise FieldError(field, f"is a {found[0].role} message", "A reply is the assistant's.")
    content = found[0].content
    return content if isinstance(content, str) else ""


def _shared(row: Row) -> Row:
    """annotator, weight and complete."""
    annotator, weight, complete = row.get("annotator"), row.get("weight"), row.get("complete")
    if annotator is not None and not isinstance(annotator, str):
        raise FieldError("annotator", f"is {kind_of(annotator)}, not text", "Give a name.")
    if weight is not None and (isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf):
        raise FieldError("weight", f"is {weight!r:.40}, not a number ≥ 0", "Give a number.")
    if complete is not None and not isinstance(complete, bool):
        raise FieldError("complete", f"is {kind_of(complete)}, not true or false", "false says that the text was cut.")
    return {
        "annotator": annotator or "",
        "weight": 1.0 if weight is None else float(weight),
        "complete": True if complete is None else complete,
    }


def _demos(row: Row) -> list[Demo]:
    if "messages" not in row:
        context = _prompt(row)
        return [Demo(context, _reply(row, "completion", context), meta=_meta(row), **_shared(row))]
    if "completion" in row:
        raise FieldError("completion", "stands beside messages", "Keep one of the two columns.")
    turns = chat(row["messages"], "messages")
    trained = [i for i, t in enumerate(turns) if i and t.role == "assistant" and is_trained(row["messages"][i])]
    if not trained:
        raise FieldError("messages", "holds no assistant message to train on", "An assistant message must follow a user message.")
    if turns[-1].role != "assistant":
        raise FieldError("messages", f"ends with a {turns[-1].role} message", "End with the assistant's reply.")
    meta, shared = _meta(row), _shared(row)
    return [Demo(turns[:i], str(turns[i].content), meta=meta, **shared) for i in trained]


def _final(row: Row) -> tuple[Context, str]:
    """Context and the one completion that a label or a rating is about: the last reply of messages."""
    last = _demos({k: v for k, v in row.items() if k != "prompt"} if "messages" in row else row)[-1]
    return last.context, last.completion


def _labels(row: Row) -> list[Label]:
    label = row["label"]
    if not (isinstance(label, bool) or (isinstance(label, int) and label in (0, 1))):
        raise FieldError("label", f"is {label!r:.40}, not true, false, 1 or 0", "true means desirable.")
    return [Label(*_final(row), bool(label), meta=_meta(row), **_shared(row))]


def _ratings(row: Row) -> list[Rating]:
    scores = row["scores"]
    if not isinstance(scores, dict) or not scores:
        raise FieldError(
            "scores", f"is {kind_of(scores) if scores else 'empty'}, not criteria with scores", 'Write {"helpful": 4, "honest": 5}.'
        )
    for name, score in scores.items():
        if isinstance(score, bool) or not isinstance(score, int | float) or not 1 <= score <= 5:
            raise FieldError(f"scores.{name}", f"is {score!r:.40}, not a number from 1 to 5", "Rescale it.")
    return [Rating(*_final(row), {k: float(v) for k, v in scores.items()}, meta=_meta(row), **_shared(row))]


def _preference(row: Row, default: float = 1.0) -> float:
    said = row.get("preference")
    if said is None:
        return default
    if said == "same":
        return 0.5
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 <= said <= 1:
        raise FieldError(
            "preference", f'is {said!r:.40}, neither a number from 0 to 1 nor "same"', "It is the probability that chosen is better."
        )
    return float(said)


def _comparison(row: Row) -> list[Comparison]:
    if "completions" in row:
        return [_ranked(row)]
    shared = _shared(row)
    context, chosen, rejected, cut = _pair(row)
    preference = _preference(row)
    if chosen == rejected and preference != 0.5:
        raise FieldError("rejected", "is the same text as chosen", 'Remove the row, or say "preference": "same".')
    return [Comparison(context, (chosen, rejected), preference, meta=_meta(row, cut), **shared)]


def _pair(row: Row) -> tuple[Context, str, str, str]:
    """(context, chosen, rejected, how an implicit prompt was cut)."""
    field = "prompt" if "prompt" in row else "messages" if "messages" in row else ""
    dialogues = all(isinstance(row[name], list) for name in ("chosen", "rejected"))
    if field and not (dialogues and isinstance(row[field], str)):
        context = _prompt(row, field)
        return context, _reply(row, "chosen", context), _reply(row, "rejected", context), ""
    if dialogues:
        context, first, second = cut_chats(chat(row["chosen"], "chosen"), chat(row["rejected"], "rejected"))
        if field and row[field] not in {m.content for m in context}:
            raise FieldError(field, "is raw text that the dialogues in chosen do not hold", "Give both as text or both as messages.")
        return context, _only_reply((first,), "chosen"), _only_reply((second,), "rejected"), CHAT
    for name in ("chosen", "rejected"):
        if not isinstance(row[name], str):
            wrong = "a single message without a prompt" if is_turn(row[name]) else kind_of(row[name])
            raise FieldError(name, f"is {wrong}", "Give chosen and rejected both as text or both as message lists, or add a prompt.")
        _said(row[name], name)
    if row["chosen"] == row["rejected"]:
        raise FieldError("rejected", "is the same text as chosen", "Remove the row.")
    context, chosen, rejected, cut = cut_text(row["chosen"], row["rejected"])
    return context, _said(chosen, "chosen"), _said(rejected, "rejected"), cut


def _ranked(row: Row) -> Comparison:
    """`completions` and `ranking`: the place of each, 1 = best."""
    for field in ("prompt", "ranking"):
        if field not in row:
            raise FieldError(field, "is missing", "A ranking needs prompt, completions and ranking (the place of each, 1 = best).")
    texts, ranking = row["completions"], row["ranking"]
    if not isinstance(texts, list) or len(texts) < 2 or not all(isinstance(t, str | dict) for t in texts):
        raise FieldError("completions", "is not a list of two or more texts", "Mend the row.")
    context = _prompt(row)
    said = [_reply({f"completions[{i}]": t}, f"completions[{i}]", context) for i, t in enumerate(texts)]
    tie = len(said) == 2 and ranking == [1, 1]
    whole = isinstance(ranking, list) and all(type(place) is int for place in ranking)
    if not whole or not (tie or sorted(ranking) == list(range(1, len(said) + 1))):
        raise FieldError("ranking", f"is {ranking!r:.40}, not the place of each completion (1 = best)", f"Use 1 to {len(said)}, each once.")
    if len(set(said)) < len(said) and not tie:
        raise FieldError("completions", "holds the same text twice", "Remove one of the two.")
    if len(said) > 2 and row.get("preference") is not None:
        raise FieldError("preference", "stands beside a ranking of more than two", "Remove one of the two columns.")
    preference = _preference(row, 0.5 if tie else 1.0)
    if tie and preference != 0.5:
        raise FieldError("preference", "contradicts the ranking, which is a tie", "Remove one of the two columns.")
    best_first = [text for _, text in sorted(zip(ranking, said, strict=True), key=lambda pair: pair[0])]
    return Comparison(context, tuple(best_first), preference, meta=_meta(row), **_shared(row))


def _as_demo(made: Comparison) -> Demo:
    better = 0 if made.preference >= 0.5 else 1
    return Demo(made.context, completions_of(made)[better], made.complete, made.annotator, made.weight, made.meta)


def _as_labels(made: Comparison) -> list[Label]:
    if len(made.completions) != 2 or made.preference == 0.5:
        raise FieldError("preference", "is a tie or a longer ranking, which gives no thumbs", "Use a method that learns from comparisons.")
    up = made.preference > 0.5
    rest = (made.complete, made.annotator, made.weight, made.meta)
    return [Label(made.context, text, good, *rest) for text, good in zip(made.completions, (up, not up), strict=True)]


def _as_rating(made: Label) -> Rating:
    scores = {"label": 5.0 if made.desirable else 1.0}
    return Rating(made.context, made.completion, scores, made.complete, made.annotator, made.weight, made.meta)


_BUILDERS: dict[type, Any] = {Demo: _demos, Comparison: _comparison, Rating: _ratings, Label: _labels}
