"""Which words of a text mattered for a label: gradient times input, in colours and as a page."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from elman.architectures import Ragged
from elman.readers import Example
from elman.readers.words import Word, words_of
from elman.storage import write_file
from elman.tasks.supervised import Answer, padded

if TYPE_CHECKING:
    from elman.tasks.supervised_model import SupervisedModel

Weighed = list[tuple[Word, float]]
_STRONG = 0.25  # of the largest weight of a text; weaker words stay without colour in a terminal


def places(text: str, level: str) -> list[Word]:
    """Return the tokens of a text with their places, words or characters."""
    return words_of(text) if level == "word" else [Word(sign, n, n + 1) for n, sign in enumerate(text)]


def weighed(model: SupervisedModel, text: str) -> Weighed:
    """Return the tokens of a text with how much each speaks for the answered label.

        s<t> = sum over components of  x<t> * d (logit of the answer - mean logit) / d x<t>

    Token vectors x<t>; the weights of a text are scaled so that the largest magnitude is 1.

    Source: gradient times input, Shrikumar et al. 2016, "Not just a black box", section 2.
    """
    network: Any = model.network
    tokens = places(text, model.setting.config.level)
    numbers = torch.tensor(model.setting.codecs["vocabulary"].encode([token.text for token in tokens]))
    encoder = network.encoder
    vectors = encoder.inputs(padded([numbers])).values.detach().requires_grad_()  # (1, T, E)
    lengths = torch.tensor([len(tokens)])
    y, _ = encoder.recurrent(vectors, lengths)  # (1, T, O)
    logits = network.head(network.top(network.pooling(Ragged(y, lengths).values, lengths)))[0]  # (K,)
    (slope,) = torch.autograd.grad(logits.max() - logits.mean(), vectors)
    weights = (slope * vectors).sum(dim=2)[0].detach()  # (T,)
    scale = float(weights.abs().max()) or 1.0
    return list(zip(tokens, (weights / scale).tolist(), strict=True))


def coloured(tokens: Weighed, text: str) -> str:
    """Return a text for a terminal: what spoke for the label in green, what spoke against it in red."""
    parts, at = [], 0
    for word, weight in tokens:
        code = "32" if weight > 0 else "31"
        shown = f"\x1b[{code}m{word.text}\x1b[0m" if abs(weight) >= _STRONG else word.text
        parts += [text[at : word.begin], shown]
        at = word.end
    return "".join([*parts, text[at:]])


def write_weighed_texts(
    model: SupervisedModel, examples: Sequence[Example], answers: Sequence[Answer], path: Path
) -> Path:
    """Write a page of texts with their labels, every word on a ground as strong as it mattered; return its path.

    Raises:
        StorageError: it cannot be written.
    """
    rows = [_row(weighed(model, e.x), e, a) for e, a in zip(examples, answers, strict=True)]
    page = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Words that mattered</title>
<style>
body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }}
p {{ border-bottom: 1px solid #ddd; padding: .4em 0; margin: 0 }} b {{ margin-right: .8em }} .wrong b {{ color: #b00 }}
</style>
<h1>Words that mattered</h1>
<p>Green spoke for the answered label, red against it; wrong answers have their label in red.</p>
{chr(10).join(rows)}
</html>
"""
    write_file(path, [page.encode("utf-8", "backslashreplace")])
    return path


def _row(tokens: Weighed, example: Example, answer: Answer) -> str:
    parts, at = [], 0
    for word, weight in tokens:
        colour = f"rgba({'30,150,60' if weight > 0 else '210,40,40'},{min(abs(weight), 1) * 0.7:.2f})"
        parts.append(html.escape(example.x[at : word.begin]))
        parts.append(f'<span style="background:{colour}">{html.escape(word.text)}</span>')
        at = word.end
    wrong = example.y is not None and example.y != answer["label"]
    label = html.escape(answer["label"] + (f" (true: {example.y})" if wrong else ""))
    return f"<p{' class=wrong' if wrong else ''}><b>{label}</b>{''.join(parts)}{html.escape(example.x[at:])}</p>"
