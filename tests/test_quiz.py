"""The quiz page: every answer is a block of code that must run, each on its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[1] / "docs" / "quiz.md"
SECTIONS = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]


def blocks(section: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)


@pytest.mark.parametrize("section", SECTIONS, ids=[section.split(".")[0] for section in SECTIONS])
def test_quiz_answer_holds_when_run(section: str) -> None:
    torch.set_num_threads(1)
    title, code = section.splitlines()[0], blocks(section)
    assert code, f"no code under {title}"
    assert any("assert" in block for block in code), f"nothing is asserted under {title}"
    for block in code:
        exec(compile(block, f"{PAGE.name}: {title}", "exec"), {"__name__": "quiz"})


def test_quiz_has_ten_numbered_questions() -> None:
    assert [section.split(".")[0] for section in SECTIONS] == [str(n) for n in range(1, 11)]
