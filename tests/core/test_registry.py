"""Methods are found in their source, and refuse what they do not know."""

from __future__ import annotations

import inspect

import pytest

from plumbline.core import registry
from plumbline.core.errors import RowError, UserError
from plumbline.core.methods import Method, State, Step, method
from plumbline.core.nouns import Comparison, Scores


def test_the_source_says_what_the_import_says():
    found = registry.entries("method")
    assert {"sft", "dpo"} <= {e.name for e in found}
    for entry in found:
        loaded = registry.load_method(entry.name)
        assert (loaded.name, loaded.data.__name__, loaded.paper) == (entry.name, entry.data, entry.paper)
        assert entry.summary.startswith((inspect.getdoc(inspect.getmodule(loaded.function)) or "?")[:20])


def test_an_unknown_method_is_refused_with_those_there_are():
    with pytest.raises(UserError, match=r"no method 'dpoo'(?s:.*)dpo, (.*, )?sft"):
        registry.load_method("dpoo")


@method(data=Comparison, paper="none")
def toy(policy, data, *, beta: float = 0.1, rounds: int = 2):
    """Yields one step, with its settings as metrics."""
    yield Step(None, update=policy, metrics={"beta": beta, "rounds": rounds})


def test_settings_gather_and_roles_start_the_generator():
    assert isinstance(toy, Method)
    assert (toy.name, toy.roles, toy.defaults) == ("toy", ("policy", "data"), {"beta": 0.1, "rounds": 2})
    chosen = toy(beta=0.5)(rounds=3)
    assert chosen.settings == {"beta": 0.5, "rounds": 3}
    (step,) = chosen("policy", "data")
    assert step.metrics == {"beta": 0.5, "rounds": 3}
    assert step.updates == ("policy",)
    with pytest.raises(UserError, match=r"toy has no setting 'beat'(?s:.*)beta, rounds"):
        toy(beat=1.0)


def test_a_state_is_scalars_that_come_back():
    state, other = State(kl=0.2), State(kl=9.0)
    state.__dict__["kl"] = 0.7
    other.load_state_dict(state.state_dict())
    assert vars(other) == {"kl": 0.7}
    assert list(other.parameters()) == []


def test_scores_add_their_components_by_weight():
    # 1·2 + 0.5·4 = 4 and 1·3 + 0.5·(−2) = 2
    assert Scores({"help": [2.0, 3.0], "length": [4.0, -2.0]}, weights={"length": 0.5}).total == [4.0, 2.0]


def test_a_row_error_names_file_row_field_and_mend():
    error = RowError("pairs.jsonl", 812, "chosen", "is empty", "Remove the row.")
    assert str(error) == 'pairs.jsonl, row 812: "chosen" is empty.\n           Remove the row.'
