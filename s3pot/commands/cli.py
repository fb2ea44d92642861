"""The common parts of the commands: options, configuration, logging and exit codes.

Exit codes: 0, everything was processed; 1, some inputs failed and the rest was processed; 2,
nothing could be done; 130, interrupted. Neither this module nor a command imports anything heavy
before the options are parsed, so ``--help`` and mistyped options respond at once.
"""

from __future__ import annotations

import argparse
import gc
import logging
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3pot.commands.exit_codes import INTERRUPTED, NOTHING_DONE, SOME_FAILED
from s3pot.config import Config, config_to_dict, is_overridden, load_config
from s3pot.io import disk_is_full
from s3pot.typed_yaml import ConfigError
from s3pot.types import S3potError
from s3pot.wording import OUT_OF_GPU_MEMORY, message_of

if TYPE_CHECKING:
    from s3pot.runs.selection import Selection

logger = logging.getLogger(__name__)

# An override, or the part of one with spaces around the sign that begins with it.
_OVERRIDE = re.compile(r"([A-Za-z_]+\.[A-Za-z_]+)?=")
# Control characters except tab and line break, characters that change the direction of writing, and
# lone surrogates, which occur in file names that are not valid text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Setting:
    """An option ``flag`` that is a short name of the config key ``key`` (``section.name``)."""

    flag: str
    key: str
    help: str


DEVICE = Setting("--device", "run.device", "auto, cpu, cuda, cuda:N or mps")
LEARNING_RATE = Setting("--lr", "train.lr", "learning rate of AdamW")
SEED = Setting("--seed", "train.seed", "seed of all random numbers")
LABELS = Setting("--labels", "truth.labels", "LabelMe labels of occluders, separated by commas")


class CommandParser(argparse.ArgumentParser):
    """A parser that takes options and ``key.sub=value`` overrides in any order."""

    def parse_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        """Parse the arguments; an invalid one ends the program with exit code 2."""
        return self.parse_intermixed_args(args, namespace)


def new_parser(
    doc: str | None,
    output_dir: str | None = None,
    settings: Sequence[Setting] = (),
    configurable: bool = True,
    takes_photos: bool = False,
) -> CommandParser:
    """Create a parser with the options that every command has.

    A command adds its own options to it; they are listed first.

    Args:
        doc: The help text, usually the command's docstring.
        output_dir: Default of ``--output_dir``; None leaves the option out.
        settings: Short options for config values, in addition to ``--device``.
        configurable: Whether config values can be given; if not, the defaults apply.
        takes_photos: Whether photos are given on the command line, mixed with the overrides.
    """
    parser = CommandParser(
        prog=Path(sys.argv[0]).name,  # "s3pot inference" after the console command's dispatch
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if output_dir is not None:
        parser.add_argument(
            "--output_dir",
            type=Path,
            default=Path(output_dir),
            help=f"folder for the results (default: {output_dir})",
        )
    if configurable:
        _add_configuration(parser, settings)
        if takes_photos:
            parser.add_argument(
                "overrides",
                nargs="+",
                metavar="PHOTO | key.sub=value",
                help="photos, folders or patterns, and config values such as align.mode=always",
            )
        else:
            _add_overrides(parser)
    else:
        parser.set_defaults(config=None, overrides=(), settings=())
    messages = parser.add_argument_group("messages")
    messages.add_argument("--verbose", action="store_true", help="log more, with tracebacks")
    return parser


def _add_configuration(parser: argparse.ArgumentParser, settings: Sequence[Setting]) -> None:
    configuration = parser.add_argument_group(
        "configuration", "defaults < --config < these options < key.sub=value"
    )
    configuration.add_argument(
        "--config",
        help="name of a packaged config (mini, paper, authors_code) or YAML file of differences "
        "from the defaults (default: paper)",
    )
    defaults = config_to_dict(Config())
    parser.set_defaults(settings=(*settings, DEVICE))
    for setting in (*settings, DEVICE):
        section, _, name = setting.key.partition(".")
        default = defaults[section][name]
        shown = f"; default: {default}" if default != "" else ""
        configuration.add_argument(
            setting.flag,
            dest=setting.key,
            metavar=name.upper(),
            help=f"{setting.help} ({setting.key}{shown})",
        )


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key.sub=value",
        help="any config value, such as train.epochs=20; s3pot/config.py explains each",
    )


def split_photos(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate photos from ``key.sub=value`` overrides.

    Args:
        words: As typed. A word that looks like an override is one, unless a file has that name.

    Returns:
        The photos and the overrides.
    """
    photos: list[str] = []
    overrides: list[str] = []
    for word in words:
        is_override = _OVERRIDE.match(word) is not None and not _exists(word)
        (overrides if is_override else photos).append(word)
    return photos, overrides


def _exists(path: str) -> bool:
    """Whether a file exists; False for a text that is too long, or cannot be a path at all."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def add_strict(parser: argparse.ArgumentParser) -> None:
    """Add ``--strict``, a short form of ``quality.strict=true``."""
    parser.add_argument(
        "--strict",
        dest="quality.strict",
        action="store_const",
        const="true",
        help="count doubtful faces as failures (quality.strict)",
    )


def add_selection(parser: argparse.ArgumentParser, unit: str) -> None:
    """Add the options that select items of a folder; see ``selection_from``.

    Args:
        parser: The parser of a command.
        unit: The name of the items, in the plural.
    """
    choice = parser.add_argument_group(f"which {unit}")
    add = choice.add_argument
    add(
        "--limit",
        type=int,
        default=0,
        metavar="N",
        help=f"only the first N {unit}; 0 for all (default)",
    )
    add("--retry_failed", action="store_true", help=f"only {unit} that failed in the last run")
    add("--shard", metavar="I/N", help=f"process part I of N of the {unit}; I is 0 to N - 1")


def selection_from(args: argparse.Namespace) -> Selection:
    """Read the options that ``add_selection`` added."""
    from s3pot.runs.selection import Selection
    from s3pot.runs.shard import find_shard

    return Selection(find_shard(args.shard), limit=args.limit, only_failed=args.retry_failed)


def config_from(args: argparse.Namespace) -> Config:
    """Merge defaults < ``--config`` < short options < ``key.sub=value``."""
    short_options = [
        f"{key}={value}" for key, value in vars(args).items() if "." in key and value is not None
    ]
    try:
        return load_config(args.config, [*short_options, *args.overrides])
    except ConfigError as error:
        if is_overridden(error.key, args.overrides):
            raise
        for setting in args.settings:
            if setting.key == error.key and vars(args)[setting.key] is not None:
                raise ConfigError(f"{setting.flag}: {error}", error.key) from error
        raise


def run(args: argparse.Namespace, body: Callable[[Config], int], keeps_items: bool = True) -> int:
    """Run a command.

    Args:
        args: The parsed options.
        body: Does the work and returns how many inputs failed. It imports what it needs itself.
        keeps_items: Whether an interrupted command keeps finished items; if not, it starts over.

    Returns:
        The exit code: 0, 1, 2 or 130.
    """
    level = logging.DEBUG if args.verbose else logging.INFO

    def how_to_go_on() -> str:  # depends on what is finished by then
        return _how_to_go_on(args) if keeps_items else "the same command starts over"

    with _logging_to_stderr(level), sigterm_interrupts():
        try:
            code = _exit_code(args, body, how_to_go_on)
            if getattr(args, "shard", "") is None:  # a command whose items processes divide
                from s3pot.distributed import wait_for_other_processes

                wait_for_other_processes()
        except KeyboardInterrupt:
            logger.error("interrupted; %s", how_to_go_on())
            return INTERRUPTED
    return code


def _how_to_go_on(args: argparse.Namespace) -> str:
    """Say what an interrupted command keeps, and how it is continued."""
    overwrites = getattr(args, "overwrite", False)
    if not getattr(args, "resume", True):  # training, which has to be told to resume
        from s3pot.training.output_folder import LAST

        if not (args.output_dir / LAST).is_file():
            return "no epoch is finished, and the same command with --resume starts over"
        instead = " instead of --overwrite" if overwrites else ""
        return (
            "finished epochs are kept, and the same command with --resume"
            f"{instead} continues from last.pth"
        )
    if overwrites:
        return "finished items are kept, but with --overwrite the same command starts over"
    return "finished items are kept, and the same command resumes"


def _exit_code(
    args: argparse.Namespace, body: Callable[[Config], int], how_to_go_on: Callable[[], str]
) -> int:
    """Run the body of a command; errors become a message and an exit code."""
    try:
        _check_output_folder(getattr(args, "output_dir", None))
        config = config_from(args)
        _import_torch()
        failed = body(config)
    except (S3potError, OSError) as error:
        logger.debug("where it arose:", exc_info=True)
        cure = f"; free some space there: {how_to_go_on()}" if disk_is_full(error) else ""
        logger.error("error: %s%s", message_of(error), cure)
        return NOTHING_DONE
    except RuntimeError as error:
        if not _is_out_of_gpu_memory(error):
            raise
        logger.debug("where it arose:", exc_info=True)
        logger.error("error: %s PyTorch says: %s", OUT_OF_GPU_MEMORY, error)
        return NOTHING_DONE
    return SOME_FAILED if failed else 0


def _is_out_of_gpu_memory(error: RuntimeError) -> bool:
    """Whether PyTorch, if it has been imported, found no free memory on a GPU."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.cuda.OutOfMemoryError)


def _import_torch() -> None:
    """Import PyTorch, which all commands need, without garbage collection.

    The collector would go through PyTorch's several hundred thousand objects again and again while
    they are created, and once more at the end of the program; all of them live until then. Without
    it, a command takes 0.5 s less, a quarter of the time that it needs to start and to end.
    """
    if "torch" in sys.modules:
        return
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        import torch  # noqa: F401
    finally:
        gc.freeze()  # from now on, the collector ignores the objects that exist now
        if was_enabled:
            gc.enable()


def _check_output_folder(folder: Path | None) -> None:
    """Make sure that no file is in the place of the output folder."""
    for place in () if folder is None else (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise S3potError(f"--output_dir {folder}: {place} is a file; expected a folder.")


def printable(text: str) -> str:
    """Escape control characters; file names may contain terminal commands."""
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


class _Printable(logging.Formatter):
    """Formats messages unchanged, except that they are made ``printable``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a message."""
        return printable(super().format(record))


@contextmanager
def _logging_to_stderr(level: int) -> Iterator[None]:
    root = logging.getLogger("s3pot")
    level_before = root.level
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable())
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level_before)


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM end a command in the same way as Ctrl-C.

    Python lets only the main thread change signal handlers; in other threads nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    sigterm_before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, sigterm_before)
