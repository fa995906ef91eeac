"""A model that nobody here wrote, accelerated by one line: the BiLSTM-CRF named-entity tagger of the stanza package.

python -m benchmarks.accelerate_existing     # needs the package stanza; writes results/accelerate_existing.json

The tagger has random weights and stanza's default sizes: words of 100, characters through a BiLSTM of 2 x 100, a BiLSTM
of 2 x 256 over the words, a CRF. Two copies of it train side by side on random sentences of 5 to 40 words of 2 to 12
letters; one of them went through elman.accelerate. First their outputs and gradients are compared, then steps of
training are timed in turns.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import stanza
import torch
from stanza.models.common.vocab import CharVocab, CompositeVocab
from stanza.models.ner.model import NERTagger
from stanza.models.ner.vocab import MultiVocab
from stanza.models.pos.vocab import WordVocab
from torch import Tensor, nn

import elman
from elman.plans.native import target

RESULTS = Path(__file__).parent / "results" / "accelerate_existing.json"
SENTENCES, STEPS = 32, 7
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG")
SIZES = {
    "word_emb_dim": 100, "char": True, "char_emb_dim": 100, "char_hidden_dim": 100, "char_num_layers": 1,
    "char_rec_dropout": 0, "charlm": None, "hidden_dim": 256, "num_layers": 1, "dropout": 0.5, "word_dropout": 0.01,
    "locked_dropout": 0.0, "emb_finetune": True, "lowercase": True, "input_transform": False,
}  # fmt: skip


def sentences(generator: torch.Generator) -> list[list[tuple[str, str]]]:
    """Draw sentences of words with tags, the longest first, as stanza wants them."""

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    def word() -> str:
        return "".join(chr(ord("a") + number(0, 25)) for _ in range(number(2, 12)))

    found = [[(word(), TAGS[number(0, len(TAGS) - 1)]) for _ in range(number(5, 40))] for _ in range(SENTENCES)]
    return sorted(found, key=len, reverse=True)


def vocabulary(data: list[list[tuple[str, str]]]) -> Any:
    """Return stanza's vocabularies of words, letters and tags."""
    tags = [[(tag,) for _, tag in sentence] for sentence in data]
    return MultiVocab(
        {
            "char": CharVocab(data, "en_drawn"),
            "delta": WordVocab(data, "en_drawn", cutoff=0, lower=True),
            "tag": CompositeVocab(tags, "en_drawn", idx=0, sep=None),
        }
    )


def batch(data: list[list[tuple[str, str]]], vocab: Any) -> list[Any]:
    """Return the arguments of the tagger's forward: letters of words by falling length, tags, lengths."""
    words = [word for sentence in data for word, _ in sentence]
    order = sorted(range(len(words)), key=lambda n: len(words[n]), reverse=True)
    letters = nn.utils.rnn.pad_sequence([torch.tensor(vocab["char"].map(list(words[n]))) for n in order], True)
    tags = [torch.tensor(vocab["tag"].map([(tag,) for _, tag in sentence])) for sentence in data]
    tagged = nn.utils.rnn.pad_sequence(tags, batch_first=True)  # (B, T, 1)
    lengths, sizes = [len(s) for s in data], [len(words[n]) for n in order]
    return [[[w for w, _ in s] for s in data], letters, letters == 0, tagged, order, lengths, sizes, *[None] * 4]


def outputs(model: nn.Module, arguments: list[Any]) -> list[Tensor]:
    """Return loss, scores of tags and all gradients, without dropout."""
    model.eval()
    model.zero_grad()
    loss, scores, _ = model(*arguments)
    loss.backward()
    return [loss.detach(), *(s.detach() for s in scores), *(p.grad for p in model.parameters() if p.grad is not None)]


def difference(found: list[Tensor], wanted: list[Tensor]) -> float:
    """The largest difference of any two numbers, relative to the largest of its tensor or to one."""
    pairs = zip(found, wanted, strict=True)
    return max(float((a - b).abs().max()) / max(1.0, float(b.abs().max())) for a, b in pairs)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, arguments: list[Any]) -> float:
    """Return the seconds of one step of training."""
    model.train()
    began = time.perf_counter()
    optimizer.zero_grad()
    model(*arguments)[0].backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
    return time.perf_counter() - began


def main(argv: Sequence[str] | None = None) -> None:
    """Compare, time, print, write."""
    about = (__doc__ or "").split("\n")[0]
    argparse.ArgumentParser(prog="python -m benchmarks.accelerate_existing", description=about).parse_args(argv)
    torch.manual_seed(0)
    data = sentences(torch.Generator().manual_seed(1))
    vocab = vocabulary(data)
    arguments = batch(data, vocab)
    plain = NERTagger(SIZES, vocab)
    fast = copy.deepcopy(plain)
    report = elman.accelerate(fast)
    print(report)
    worst = difference(outputs(fast, arguments), outputs(plain, arguments))
    if worst > 1e-5:
        raise SystemExit(f"accelerate_existing: outputs must agree to 1e-5; got {worst:.1e}")
    optimizers = {m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (plain, fast)}
    seconds: dict[nn.Module, list[float]] = {plain: [], fast: []}
    for n in range(STEPS + 2):
        for model, optimizer in optimizers.items():
            taken = step(model, optimizer, arguments)
            if n >= 2:  # the first two fill caches
                seconds[model].append(taken)
    before, after = (1000 * statistics.median(seconds[m]) for m in (plain, fast))
    print(f"largest difference {worst:.1e}; a step of training {before:.1f} ms before, {after:.1f} ms after")
    found = {
        "model": f"stanza {stanza.__version__}, stanza.models.ner.model.NERTagger, random weights",
        "replaced": [str(e) for e in report.replaced],
        "left": [str(e) for e in report.left],
        "largest_difference": worst,
        "training_step_ms": {"before": before, "after": after, "ratio": before / after},
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "target": target(),
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
