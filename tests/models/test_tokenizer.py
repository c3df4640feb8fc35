"""Tokens as they must be: the template once, one BOS, one end token, the context a token prefix, nothing taken from padding."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Tokenizer as TokenizerProtocol
from plumbline.core.nouns import Content, Demo, Message
from plumbline.data import Plan
from plumbline.models.fresh import word_tokenizer
from plumbline.models.lm import LM
from plumbline.models.tokenizer import HFTokenizer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FORGETFUL = (  # as Qwen3: what was thought in an earlier turn is dropped
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content if loop.last else m.content.split('</think>')[-1] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HI = (Message("user", "hello there"),)
SHARED = Path(__file__).parents[3] / "shared" / "models"


def byte_tokenizer(template: str = "", bos: str | None = "<s>", pad: str | None = None) -> HFTokenizer:
    """Bytes as tokens with one merge, "ab", so that a boundary can be swallowed."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {c: i for i, c in enumerate([*alphabet, "ab"])}
    core = Tokenizer(models.BPE(vocabulary, [("a", "b")]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    hf = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="</s>", bos_token=bos, pad_token=pad, additional_special_tokens=["<|im_start|>", "<|im_end|>"]
    )
    return HFTokenizer(hf, template=template or None)


def sentence_tokenizer() -> HFTokenizer:
    """Puts a space before every text, as SentencePiece does."""
    pieces = ["<unk>", "<s>", "</s>", "▁", "\n", *"abc", "▁a", "▁b", "▁c"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    core = Tokenizer(models.BPE(vocabulary, [("▁", "a"), ("▁", "b"), ("▁", "c")], unk_token="<unk>"))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    return HFTokenizer(PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>"))


def words() -> HFTokenizer:
    return HFTokenizer(word_tokenizer(["hello", "there", "i", "am", "fine", "."], 64))


def test_it_is_the_protocol() -> None:
    assert isinstance(words(), TokenizerProtocol)


def test_raw_text_has_one_bos_and_no_template() -> None:
    t = words()
    ids = t.context_ids("hello there")
    assert ids[0] == t.bos_id
    assert sum(i == t.bos_id for i in ids) == 1
    assert len(ids) == 3
    assert t.context_ids("<s>hello there") == ids, "a BOS that the text brings is not doubled"
    assert t.completion_ids("hello there", " i am fine.") == [*t.hf.encode("i am fine .", add_special_tokens=False), t.eos_id]
    assert t.completion_ids("hello there", " i am fine.", complete=False)[-1] != t.eos_id
    assert t.completion_ids("hello", "fine</s>").count(t.eos_id) == 1, "an EOS that the text brings is not doubled"


def test_a_chat_is_rendered_once_and_the_reply_ends_as_the_template_ends_it() -> None:
    t = words()
    ids = t.context_ids(HI)
    assert sum(i == t.bos_id for i in ids) == 1
    assert t.hf.convert_ids_to_tokens(ids) == ["<s>", "<|user|>", "hello", "there", "<|assistant|>"]
    reply = t.completion_ids(HI, "i am fine.")
    whole = t.hf.apply_chat_template(
        [{"role": "user", "content": "hello there"}, {"role": "assistant", "content": "i am fine."}], tokenize=True, return_dict=False
    )
    assert ids + reply == whole
    assert reply.count(t.eos_id) == 1
    assert t.decode(reply) == "i am fine."


def test_the_end_of_a_turn_is_the_end_token() -> None:
    t = byte_tokenizer(CHATML)
    end = t.hf.convert_tokens_to_ids("<|im_end|>")
    ids = t.completion_ids(HI, "fine")
    assert [i for i in ids if i in (end, t.eos_id)] == ids[-1:] == [end], "no EOS besides, and no line break after it"
    assert end in t.end_ids
    assert t.completion_ids(HI, "fine", complete=False) == ids[:-1]
    assert t.decode(ids) == "fine"


def test_what_the_template_puts_before_the_reply_is_kept() -> None:
    t = byte_tokenizer(THINKING)
    ids = t.completion_ids(HI, "fine")
    assert t.hf.decode(ids, skip_special_tokens=False) == "<think>\n\n</think>\n\nfine<|im_end|>"


def test_a_template_that_rewrites_earlier_turns_is_trained_turn_by_turn() -> None:
    t = byte_tokenizer(FORGETFUL)
    chat = (*HI, Message("assistant", "<think>a</think>well"), Message("user", "and?"))
    said = [(chat[:1], "<think>a</think>well"), (chat, "<think>b</think>yes")]
    first, second = Plan([Demo(context, reply) for context, reply in said], t)
    for group, (_, reply) in zip((first, second), said, strict=True):  # every turn is trained with the thought that it had
        assert t.hf.decode(group.completions[0], skip_special_tokens=False) == f"{reply}<|im_end|>"
    read = t.hf.decode(second.prompt, skip_special_tokens=False)  # and read as it will be read: without those before
    assert "<think>" not in read
    assert read.endswith("well<|im_end|>\n<|im_start|>user\nand?<|im_end|>\n<|im_start|>assistant\n")


def test_a_template_without_an_end_gets_eos_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    t = byte_tokenizer(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    assert t.completion_ids(HI, "fine") == [*t.hf.encode("fine", add_special_tokens=False), t.eos_id]
    t.completion_ids(HI, "well")
    assert [r.message for r in caplog.records] == ["the template writes no end token after a reply: EOS is used"]


def test_a_template_that_does_not_continue_its_own_prompt(caplog: pytest.LogCaptureFixture) -> None:
    t = byte_tokenizer("{% for m in messages %}[{{ m.content }}]{% endfor %}{% if add_generation_prompt %}>{% endif %}")
    assert t.completion_ids(HI, "fine") == [*t.hf.encode("fine", add_special_tokens=False), t.eos_id]
    assert "plain text + EOS" in caplog.text


def test_the_context_is_a_token_prefix_even_where_a_merge_would_swallow_the_boundary() -> None:
    t = byte_tokenizer()
    context, completion = t.context_ids("xa"), t.completion_ids("xa", "b")
    assert t.hf.encode("xab", add_special_tokens=False) != [*context[1:], *completion[:-1]], "jointly, 'ab' is one token"
    assert t.decode(context + completion) == "xab"


def test_no_space_appears_where_a_completion_begins() -> None:
    t = sentence_tokenizer()
    context = t.context_ids("a b")
    assert t.hf.decode([*context, *t.completion_ids("a b", "c")[:-1]], skip_special_tokens=True).strip() == "a bc"
    assert t.hf.decode([*context, *t.completion_ids("a b", " c")[:-1]], skip_special_tokens=True).strip() == "a b c"


def test_padding_that_equals_eos_hides_nothing() -> None:
    t = byte_tokenizer(pad="</s>")
    assert t.pad_id == t.eos_id
    assert t.completion_ids("x", "y")[-1] == t.eos_id
    assert byte_tokenizer().pad_id == t.eos_id, "no pad token: its number is never looked at"


def test_models_without_bos() -> None:
    t = byte_tokenizer(bos=None)
    assert t.context_ids("xy") == t.hf.encode("xy", add_special_tokens=False)
    with pytest.raises(UserError, match="no BOS"):
        t.context_ids("")


def test_errors() -> None:
    with pytest.raises(UserError, match="--template"):
        byte_tokenizer().context_ids(HI)
    with pytest.raises(UserError, match="no such file"):
        HFTokenizer.load("anywhere", template="missing.jinja")
    with pytest.raises(UserError, match="image"):
        words().context_ids((Message("user", (Content("image", "x.png"),)),))
    refusing = byte_tokenizer("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(UserError, match="roles must alternate"):
        refusing.context_ids(HI)


def test_a_template_may_be_forced(small_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_text(CHATML)
    lm = LM.load(small_dir, attn="dense", template=str(tmp_path / "t.jinja"))
    assert lm.tokenizer.render(HI) == "<|im_start|>user\nhello there<|im_end|>\n<|im_start|>assistant\n"


def test_a_tokenizer_that_does_not_fit_is_refused(small_dir: Path, tmp_path: Path) -> None:
    for words, name in ((["w" + "abcdefghij"[i % 10] * (i + 1) for i in range(200)], "large"), (["one"], "tiny")):
        place = tmp_path / name
        shutil.copytree(small_dir, place)
        word_tokenizer(words, 64).save_pretrained(place)
        with pytest.raises(UserError, match="do not belong together"):
            LM.load(place)
    bare = tmp_path / "bare"
    shutil.copytree(small_dir, bare)
    (bare / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="tokenizer"):
        LM.load(bare)
    endless = tmp_path / "endless"
    shutil.copytree(small_dir, endless)
    settings = json.loads((endless / "tokenizer_config.json").read_text())
    (endless / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in settings.items() if k != "eos_token"}))
    with pytest.raises(UserError, match="end token"):
        LM.load(endless)


def test_the_shared_chat_model() -> None:
    if not (SHARED / "dialogue5M").is_dir():
        pytest.skip("the shared model directory is not beside this checkout")
    t = HFTokenizer.load(SHARED / "dialogue5M")
    assert t.hf.convert_ids_to_tokens(t.context_ids(HI))[:2] == ["<s>", "<|user|>"]
    ids = t.completion_ids(HI, "I am fine.")
    assert ids[-1] == t.eos_id
    assert t.decode(ids) == "I am fine."
    stories = HFTokenizer.load(SHARED / "stories260K")
    context = stories.context_ids("Once upon a time")
    assert sum(i == stories.bos_id for i in context) == 1
    assert stories.decode([*context, *stories.completion_ids("Once upon a time", ", there was")]) == "Once upon a time, there was"


def test_ids_that_are_kept_are_not_the_caller_s_to_change() -> None:
    t = words()
    ids = t.context_ids("hello there")
    ids.append(99)
    assert t.context_ids("hello there") == ids[:-1]
    assert t.completion_ids("hello there", " i am") == t.completion_ids("hello there", " i am")
