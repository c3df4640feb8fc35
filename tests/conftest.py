"""What tests of several folders use."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from plumbline.cli.main import main


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any, str, str]]:
    """Runs a command line; gives its exit code, the JSON on the last line of stdout (if there is one), stdout and stderr."""

    def run(*argv: object) -> tuple[int, Any, str, str]:
        code = main([str(word) for word in argv])
        said = capsys.readouterr()
        last = said.out.strip().rsplit("\n", 1)[-1]
        return code, json.loads(last) if last.startswith("{") else None, said.out, said.err

    return run
