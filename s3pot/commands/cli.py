"""What the scripts share: options, configuration, logging and exit codes.

0: all done. 1: some inputs failed, the rest was done. 2: nothing could be done. 130: interrupted.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from s3pot.config import Config, config_to_dict, load_config
from s3pot.types import S3potError

logger = logging.getLogger(__name__)

FAILED, NOTHING_DONE, INTERRUPTED = 1, 2, 130


@dataclass(frozen=True)
class Setting:
    """An option ``flag`` that is a short name of the config key ``key`` (``section.name``)."""

    flag: str
    key: str
    help: str


DEVICE = Setting("--device", "run.device", "auto, cpu, cuda, cuda:N or mps")
TRAINING = (
    Setting("--bsz", "train.batch_size", "images per step, over all processes"),
    Setting("--lr", "train.lr", "learning rate of AdamW"),
    Setting("--seed", "train.seed", "seed of everything random"),
)


def new_parser(
    doc: str | None, output_dir: str | None = None, settings: Sequence[Setting] = ()
) -> argparse.ArgumentParser:
    """A parser with the options of every script and its own ``settings``; ``doc`` is the help."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=doc, formatter_class=raw, allow_abbrev=False)
    add = parser.add_argument
    add("--config", help="YAML file of differences from the defaults")
    if output_dir is not None:
        add("--output_dir", default=output_dir, help=f"where results go (default: {output_dir})")
    add("--verbose", action="store_true", help="log more; trace errors")
    defaults = config_to_dict(Config())
    for one in (*settings, DEVICE):
        section, _, name = one.key.partition(".")
        text = f"{one.help} ({one.key}; default: {defaults[section][name]})"
        add(one.flag, dest=one.key, metavar=name.upper(), help=text)
    add("overrides", nargs="*", metavar="key.sub=value", help="any config value")
    return parser


def config_from(args: argparse.Namespace) -> Config:
    """Defaults < ``--config`` < short options < ``key.sub=value``."""
    given = {key: value for key, value in vars(args).items() if "." in key and value is not None}
    return load_config(args.config, [*(f"{k}={v}" for k, v in given.items()), *args.overrides])


def run(args: argparse.Namespace, body: Callable[[Config], int]) -> int:
    """Run a command, which returns how many of its inputs failed; gives 0, 1, 2 or 130."""
    with _signals_and_log(logging.DEBUG if args.verbose else logging.INFO):
        try:
            return FAILED if body(config_from(args)) else 0
        except (S3potError, OSError) as error:
            logger.debug("where it arose:", exc_info=True)
            logger.error("error: %s", error)
            return NOTHING_DONE
        except KeyboardInterrupt:
            logger.error("interrupted; what was finished is kept, and the same command goes on")
            return INTERRUPTED


@contextmanager
def _signals_and_log(level: int) -> Iterator[None]:
    """While a command runs its log goes to stderr, and SIGTERM ends it as Ctrl-C does."""
    root, handler = logging.getLogger("s3pot"), logging.StreamHandler(sys.stderr)
    level_before = root.level
    sigterm_before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level_before)
        signal.signal(signal.SIGTERM, sigterm_before)
