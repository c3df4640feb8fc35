"""A prompt before everything: nothing changes without one, the template is applied once, and what does not fit is said."""

from __future__ import annotations

import pytest
import torch

from plumbline.core.batches import Group
from plumbline.core.errors import UserError
from plumbline.core.nouns import Ask, Chat, Demo, Message, Prompt, Reply, Sampling
from plumbline.data.promptfile import PromptFile
from plumbline.models.lm import LM
from plumbline.models.prompted import Prompted, PromptedTokenizer, PromptTooLongError, before
from plumbline.models.scripted import ScriptedModel

USER = (Message("user", "how are you ?"),)
CATS = Demo((Message("user", "what is the cat doing ?"),), "no thanks .")
HELLO = Demo((Message("user", "hello there ."),), "hello .")
FULL = PromptFile(("yes , fine",), (CATS, HELLO))
SAMPLING = Sampling(max_tokens=8, seed=3)


def test_without_a_prompt_it_is_the_bare_model_bit_by_bit(small: LM):
    """Samples, their log-probabilities, and the log-probabilities of given text."""
    empty = Prompted(small, PromptFile())
    asks = [Ask("m", USER, SAMPLING), Ask("m", "hello there", SAMPLING), Ask("m", USER, SAMPLING, choices=("yes", "no"))]
    assert empty.answer(asks) == small.answer(asks)
    assert empty.sample([USER, Prompt("hello")], 3, SAMPLING) == small.sample([USER, Prompt("hello")], 3, SAMPLING)
    assert empty.name == small.name
    scored = empty.scored()
    groups = [
        Group(tuple(t.context_ids(c)), (tuple(t.completion_ids(c, " i am fine ")),))
        for t in (scored.tokenizer, small.tokenizer)
        for c in (USER, "hello")
    ]
    assert groups[:2] == groups[2:]
    with torch.no_grad():
        assert torch.equal(scored.token_logps(groups[:2]), small.token_logps(groups[2:]))


def chat(demo: Demo) -> Chat:
    assert isinstance(demo.context, tuple)
    return demo.context


def test_a_prompted_model_answers_as_the_bare_one_whose_context_holds_the_prompt(small: LM):
    said: Chat = (
        Message("system", "yes , fine"),
        *chat(CATS),
        Message("assistant", "no thanks ."),
        *chat(HELLO),
        Message("assistant", "hello ."),
        *USER,
    )
    prompted = Prompted(small, FULL)
    assert prompted.sample([USER], 2, SAMPLING) == small.sample([said], 2, SAMPLING)
    assert prompted.answer([Ask("m", USER, SAMPLING, ("yes", "no"))]) == small.answer([Ask("m", said, SAMPLING, ("yes", "no"))])
    tokenizer = prompted.scored().tokenizer
    assert tokenizer.context_ids(USER) == small.tokenizer.context_ids(said)
    assert tokenizer.completion_ids(USER, "fine .") == small.tokenizer.completion_ids(said, "fine .")
    assert tokenizer.context_ids(USER).count(small.tokenizer.bos_id) == 1  # the template is applied once
    assert prompted.name != small.name


def test_raw_text_is_joined_as_text_and_kinds_do_not_mix():
    prompt = PromptFile(("be brief", "be kind"), (Demo("Q: 2\nA:", " two"),), "\n--\n")
    assert before(prompt, "Q: 3\nA:") == "be brief\nbe kind\n--\nQ: 2\nA: two\n--\nQ: 3\nA:"
    with pytest.raises(UserError, match=r"(?s)question is a chat, but example 1 of the prompt is raw text.*user \+ assistant"):
        before(prompt, USER)
    with pytest.raises(UserError, match="question is raw text, but example 1 of the prompt is a chat"):
        before(FULL, "hello")


def test_there_is_one_system_message_at_the_beginning():
    own = (Message("system", "you are a cat"), *USER)
    assert before(FULL, own)[0] == Message("system", "yes , fine\nyou are a cat")
    assert [m.role for m in before(FULL, own)] == ["system", "user", "assistant", "user", "assistant", "user"]  # type: ignore[union-attr]
    assert before(PromptFile((), (HELLO,)), own)[0] == own[0]
    assert before(PromptFile((), (HELLO,)), own)[-1] == USER[0]
    assert before(PromptFile(), own) is own


def test_what_does_not_fit_is_refused_with_how_many_examples_would(small: LM):
    """The small model has a context of 64; how many examples leave room for a reply of 8 is counted here by the tokenizer."""
    many = PromptFile((), (CATS,) * 9)
    room = 8
    lengths = [len(small.tokenizer.context_ids(before(many, USER, last=k))) for k in range(10)]
    fits = max(k for k in range(10) if lengths[k] + room <= 64)
    assert 0 < fits < 9
    for ask in (lambda p: p.sample([USER], 1, SAMPLING), lambda p: p.answer([Ask("m", USER, SAMPLING)])):
        with pytest.raises(
            PromptTooLongError, match=rf"(?s)context is 64 tokens: {fits} of 9 fit.*Keep at most {fits} of the examples"
        ) as error:
            ask(Prompted(small, many))
        assert error.value.fits == fits
    Prompted(small, PromptFile((), (CATS,) * fits)).sample([USER], 1, SAMPLING)
    with pytest.raises(PromptTooLongError):
        PromptedTokenizer(small.tokenizer, many, 64).context_ids(USER)


def test_any_model_can_be_prompted_but_only_a_local_one_scores_text():
    model = ScriptedModel(lambda ask: Reply(str(len(ask.context))))
    prompted = Prompted(model, FULL)
    assert [r.text for r in prompted.answer([Ask("m", USER)])] == ["6"]
    assert prompted.sample([USER], 2) == [[Reply("6"), Reply("6")]]
    with pytest.raises(UserError, match="gives no log-probabilities"):
        prompted.scored()
