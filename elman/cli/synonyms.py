"""Options by the names that other programs give them, and the nearest option to a misspelt one."""

from __future__ import annotations

from collections.abc import Sequence

from elman.errors import closest

SYNONYMS = {
    "--accumulate": "grad-accum gradient-accumulation gradient-accumulation-steps accumulation accum",
    "--batch-size": "bs batch batchsize minibatch mini-batch-size train-batch-size",
    "--beam": "beams beam-size beam-width num-beams",
    "--cell": "rnn rnn-type rnn-cell cell-type model model-type unit type arch architecture",
    "--clip-norm": "clip grad-clip clip-grad gradient-clip max-norm max-grad-norm clip-grad-norm",
    "--config": "recipe cfg conf",
    "--device": "gpu cuda use-cuda no-cuda cpu",
    "--dropout": "drop dropout-rate drop-rate p-drop dropout-p recurrent-dropout",
    "--embedding-size": "emb embed embedding embed-size emb-size emb-dim embed-dim embedding-dim emsize",
    "--epochs": "epoch num-epochs n-epochs nepochs max-epochs max-epoch",
    "--evaluate-every": "eval-every eval-interval eval-steps val-every validate-every",
    "--hidden-size": "hid hidden-dim hidden-units hidden-layer-size n-hidden nhid num-units rnn-size",
    "--keep": "save-total-limit keep-checkpoints max-checkpoints",
    "--layers": "num-layers n-layers nlayers layer depth num-layer",
    "--learning-rate": "lr learning-rates learnrate step-size eta max-lr",
    "--length": "max-length max-len n-chars num-chars num-tokens max-tokens max-new-tokens",
    "--log-every": "log-interval print-every report-every logging-steps",
    "--minutes": "time max-time max-minutes time-limit",
    "--optimizer": "optim opt optimiser",
    "--output": "out out-dir output-dir save save-dir save-path model-dir checkpoint-dir run",
    "--patience": "early-stopping early-stop",
    "--precision": "fp16 bf16 amp dtype mixed-precision half",
    "--samples": "num-samples n-samples num count",
    "--schedule": "scheduler lr-schedule lr-scheduler sched",
    "--seed": "random-seed manual-seed random-state rng",
    "--sequence-length": "bptt seq-len seq-length seqlen block-size context context-length sequence-len",
    "--steps": "max-steps iters iterations max-iters num-steps n-steps train-steps",
    "--streams": "bs batch batchsize batch-size",
    "--temperature": "temp",
    "--threads": "num-threads n-threads workers num-workers cpus jobs",
    "--tied": "tie-weights tie tied-weights weight-tying",
    "--validation": "val valid dev eval validation-data valid-data val-data validation-file",
    "--validation-fraction": "val-split validation-split val-fraction val-ratio dev-split",
    "--vocabulary-size": "vocab vocab-size max-vocab vocabulary",
    "--warmup-steps": "warmup warm-up warmup-iters num-warmup-steps",
    "--weight-decay": "wd decay l2 weight-decay-rate",
}
"""Option to what other programs call it; the first one that a command has is meant."""


def nearest_option(name: str, known: Sequence[str]) -> str:
    """Return "; did you mean '--learning-rate'?" for an option from elsewhere or a misspelt one, or an empty text.

    Args:
        name: What was written, dashes included.
        known: The options that the command has.
    """
    word = name.lstrip("-").replace("_", "-").lower()
    for option, others in SYNONYMS.items():
        if option in known and word in others.split():
            return f"; did you mean {option!r}?"
    close = closest(word, [option[2:] for option in known if option.startswith("--")])
    return "" if close is None else f"; did you mean {'--' + close!r}?"
