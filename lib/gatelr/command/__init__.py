"""The command ``gatelr``: its options, its exit code and what it says when something does not fit."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gatelr import __version__

_EPILOG = """\
exit code: 0 if the diagnosis ran, whatever it found; 2 if a file, a shape or an option does not fit, with one sentence
on standard error that says which. Nothing is written then. Code in a file is never run: what needs it is refused.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: what stands after ``gatelr``; by default those that the process was started with.

    Returns:
        The exit code: 0 if the diagnosis ran, whatever it found, and 2 if something that was given does not fit.
    """
    options = _parser().parse_args(arguments)
    from gatelr.command.diagnose import diagnose  # torch takes seconds to import: --help need not wait for it

    try:
        diagnose(options)
    except (ValueError, TypeError, OSError) as error:
        print(f"gatelr diagnose: {_sentence(error)}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gatelr", description="Gates as learning rates: the library's command.")
    parser.add_argument("--version", action="version", version=f"gatelr {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="diagnose")
    diagnose = commands.add_parser(
        "diagnose",
        help="what a recurrent network remembers and learns, and what is wrong with it",
        description="Diagnose the nn.RNN, nn.GRU or nn.LSTM of a saved torch model on a batch of data.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    diagnose.add_argument("model", type=Path, help="the model's state_dict: a file of torch.save, or .safetensors")
    diagnose.add_argument(
        "data", type=Path, help="a batch of what the layer reads, (T, B, m) or (T, m): .npy, .npz, .pt or .safetensors"
    )
    diagnose.add_argument("-o", "--output", type=Path, metavar="PAGE.html", help="write the report as a page")
    diagnose.add_argument("--json", type=Path, metavar="FILE.json", help="write the same as JSON")

    network = diagnose.add_argument_group(
        "the network", "All but the nonlinearity is read from the weights; what is given as well is compared with them."
    )
    network.add_argument("--prefix", help="the layer's name in the model, such as encoder.lstm, if there are several")
    network.add_argument("--module", choices=("RNN", "GRU", "LSTM"), help="its kind")
    network.add_argument("--hidden", type=int, metavar="N", help="its hidden units")
    network.add_argument("--layers", type=int, metavar="N", help="how many layers lie above each other")
    network.add_argument("--proj-size", type=int, metavar="N", help="the width of an LSTM's projection")
    network.add_argument("--bidirectional", action="store_true", default=None, help="it has two directions")
    network.add_argument("--nonlinearity", choices=("tanh", "relu"), help="of an RNN; tanh if not given")

    data = diagnose.add_argument_group("the data")
    data.add_argument("--key", help="the array's name, if the file of data has several")
    data.add_argument("--batch-first", action="store_true", help="the data are (B, T, m), as in a batch_first module")
    data.add_argument("--lengths", help="of padded sequences: numbers with commas between them, or a file with them")

    training = diagnose.add_argument_group("what it is trained for, and how; each adds a question to the diagnosis")
    training.add_argument(
        "--target",
        type=Path,
        help="what the output should be: (B, o) at the last step, or (T, B, o); classes without o",
    )
    training.add_argument("--target-key", metavar="KEY", help="its name, if its file has several arrays")
    training.add_argument("--readout", metavar="PREFIX", help="the nn.Linear between the states and the loss: its name")
    training.add_argument("--loss", choices=("mse", "cross-entropy"), help="cross-entropy for classes, else mse")
    training.add_argument("--lag", type=int, help="the lag in steps that matters")
    training.add_argument("--window", type=int, help="the window of truncated backpropagation, in steps")
    training.add_argument("--clip", type=float, help="the threshold at which the gradient's norm is clipped")
    training.add_argument("--optimizer", help="such as sgd or adam")
    training.add_argument("--lr", type=float, help="its learning rate")
    return parser


def _sentence(error: Exception) -> str:
    """What the library said, or what the system said of a file."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error).strip().partition("\n")[0]
