"""The Python API: load the models once, then segment images one by one.

Example:
    import s3pot

    model = s3pot.load("mini")
    result = model.segment("photo.jpg")

The arrays are identical, bit for bit, to those that the commands write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from s3pot.build import (
    build_aligner,
    build_reference_generator,
    build_segmenter,
    models_of_photos,
    quality_limits,
    require_weights,
    weights_path,
)
from s3pot.config import Config, config_to_dict, keys_like, load_config
from s3pot.data.image import ImageSource, read_rgb
from s3pot.device import pick_device
from s3pot.geometry import Alignment
from s3pot.labels import resize_labels
from s3pot.occlusion_decision import occluded_share_by_part
from s3pot.pipeline import S3POT
from s3pot.quality import Evidence, judge
from s3pot.rg.align import FaceAligner
from s3pot.rg.warp import crop
from s3pot.seeding import use_determinism
from s3pot.segmentation import Segmentation
from s3pot.training.checkpoint import new_adapter
from s3pot.types import S3potError, SegmentedFace
from s3pot.weights.load import require_checkpoint
from s3pot.wording import did_you_mean, value_of_type

GIVEN = "the given image"  # what messages call a single image without a path


@dataclass(frozen=True)
class FaceSegmenter:
    """Loaded models; see ``load``."""

    config: Config
    aligner: FaceAligner
    pipeline: S3POT

    def __repr__(self) -> str:
        model = self.config.model
        return f"FaceSegmenter({model.set} models, {model.sam}, {self.pipeline.segmenter.device})"

    def segment(self, image: ImageSource) -> Segmentation:
        """Segment the largest face of an image; a warning is logged if there are others.

        Args:
            image: A path, an open binary file, a PIL image, or an RGB array, uint8 (H, W, 3); gray
                arrays and arrays with an alpha channel are accepted too.

        Raises:
            S3potError: The image cannot be read, there is no face in it, or, with
                ``quality.strict``, the result is doubtful.
        """
        return self._segment(self._crops(image, GIVEN, all_faces=False))[0]

    def segment_all(self, image: ImageSource) -> list[Segmentation]:
        """Segment every face of an image, the largest first; see ``segment``."""
        return self._segment(self._crops(image, GIVEN, all_faces=True))

    def segment_batch(self, images: Iterable[ImageSource]) -> list[Segmentation]:
        """Segment the largest face of each image; on a GPU several go through SAM at once.

        Args:
            images: A list of images, or another iterable of what ``segment`` takes.

        Raises:
            S3potError: As for ``segment``, for the first image that cannot be processed; or the
                argument is a single image.
        """
        _require_several(images)
        total = f" of {len(images)}" if isinstance(images, Sized) else ""
        on_cpu = self.pipeline.segmenter.device.type == "cpu"
        batch_size = 1 if on_cpu else max(1, self.config.sam.batch // 2)  # each with its reference
        results: list[Segmentation] = []
        waiting: list[_Crop] = []
        for number, image in enumerate(images, start=1):
            waiting += self._crops(image, f"image {number}{total}", all_faces=False)
            if len(waiting) == batch_size:
                results += self._segment(waiting)
                waiting = []
        return results + self._segment(waiting)

    def _crops(self, image: ImageSource, name: str, all_faces: bool) -> list[_Crop]:
        """Crop the largest face, or all faces, of an image; ``name`` is for one without a path."""
        if isinstance(image, (str, Path)):
            name = str(image)
        elif isinstance(image, (list, tuple)):
            raise S3potError(
                f"{name} is {value_of_type(image)}; segment takes one image, and segment_batch "
                "a list of images"
            )
        with _naming(name):
            photo = read_rgb(image, self.config.run.max_pixels)
            alignments = self.aligner.align(photo, all_faces, name)
        return [_Crop(name, crop(photo, alignment), alignment) for alignment in alignments]

    def _segment(self, crops: Sequence[_Crop]) -> list[Segmentation]:
        faces = self.pipeline.segment_batch(
            [entry.image for entry in crops], [entry.name for entry in crops]
        )
        return [self._result(face, entry.alignment) for face, entry in zip(faces, crops)]

    def _result(self, result: SegmentedFace, alignment: Alignment) -> Segmentation:
        size = result.face.size
        prompts = result.prompts.to("cpu")
        side = self.pipeline.segmenter.sam.grid.size
        points = (prompts.points_sam + 0.5) * torch.tensor(size[::-1]) / side - 0.5
        evidence = Evidence(
            face=result.face,
            similarity=prompts.similarity.float().numpy(),
            alignment=alignment,
            looked_for_face=self.aligner.detector is not None,
        )
        with _naming(result.face.name):
            quality = judge(evidence, quality_limits(self.config))
        return Segmentation(
            occlusion=result.masks.occlusion,
            face=result.masks.face,
            parsing=result.masks.parsing,
            raw=result.face.image,
            reference=result.face.reference,
            points=points.numpy(),
            labels=prompts.point_labels.numpy(),
            alignment=alignment,
            parts=occluded_share_by_part(
                result.masks.occlusion, resize_labels(result.face.parsing, size)
            ),
            quality=quality,
        )


def _require_several(images: object) -> None:
    """Refuse whatever is not several images, in particular a single one.

    Raises:
        S3potError: It is not. An array of one image would be taken for a list of its rows.
    """
    if isinstance(images, (str, Path)):
        given = f"the one path {str(images)!r}"
    elif isinstance(images, np.ndarray) and images.ndim < 4:
        given = f"one array {images.shape}"
    elif isinstance(images, Image.Image):
        given = "one PIL image"
    elif hasattr(images, "read"):
        given = "one open file"
    elif isinstance(images, (bytes, Mapping)) or not isinstance(images, Iterable):
        given = value_of_type(images)
    else:
        return
    raise S3potError(
        f"segment_batch takes several images, but was given {given}; pass a list of images, or use "
        "segment for one"
    )


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Let the errors of the block begin with the name of the image, unless it is ``GIVEN``."""
    try:
        yield
    except S3potError as error:
        if name == GIVEN or str(error).startswith(name):
            raise
        raise type(error)(f"{name}: {error}") from error


@dataclass(frozen=True, eq=False)
class _Crop:
    """A face cropped from an image: the working image, uint8 (H, W, 3), and its alignment."""

    name: str
    image: np.ndarray
    alignment: Alignment


def load(
    name: str | Path = "paper",
    device: str = "auto",
    checkpoint: str | Path | None = None,
    overrides: Sequence[str] | None = None,
    **settings: object,
) -> FaceSegmenter:
    """Load all models.

    Example:
        model = s3pot.load("mini", overrides=["align.mode=always", "quality.strict=true"])
        model = s3pot.load("mini", **{"align.mode": "always", "quality.strict": True})

    Args:
        name: "mini" for the bundled small models, "paper" for the official ones, or the path of a
            config file.
        device: auto, cpu, cuda, cuda:N or mps.
        checkpoint: Adapter trained by ``train_general.py``; None uses the one of the mini set.
        overrides: Config values in the form the commands accept, ``section.key=value``; None for
            none. Of several with one key the last wins, as on the command line.
        settings: The same, with ``section.key`` as the name of the argument.

    Raises:
        S3potError: A weight file is missing, the config or an override is invalid, a value is
            given in two ways that differ, or there is no adapter.
    """
    _require_path("the name of the models", name, "'mini', 'paper' or the path of a config file")
    if checkpoint is not None:
        _require_path("checkpoint", checkpoint, "the path of a trained adapter, or None")
    for key in settings:
        _require_section(key)
    values = [
        f"{key}={'null' if value is None else value}"  # as YAML
        for key, value in settings.items()
    ]
    texts = _checked_overrides(overrides)
    device_option = f"run.device={device}"
    try:
        _refuse_contradictions(name, texts, values)
        if device != "auto":
            _refuse_contradictions(name, [device_option], [*texts, *values])
        config = load_config(name, [device_option, *texts, *values])
        return load_from_config(config, None if checkpoint is None else Path(checkpoint))
    except OSError as error:
        raise S3potError(
            f"the models cannot be loaded: {error.filename}: {error.strerror or error}"
        ) from error


def _require_path(role: str, value: object, expected: str) -> None:
    """Raise S3potError if an argument is not a path, or is an empty one."""
    if not isinstance(value, (str, Path)) or not str(value):
        raise S3potError(f"{role} is {value!r:.200}; expected {expected}")


def _require_section(key: str) -> None:
    """Raise S3potError if the name of an argument is not ``section.key``."""
    if "." in key:
        return
    sections = ", ".join(config_to_dict(Config()))
    hint = f"The sections are {sections}; s3pot/config.py explains their keys."
    meant = keys_like(key, others=("device", "checkpoint", "overrides"))
    if meant:
        hint = did_you_mean(meant)
    raise S3potError(
        f"load has no argument {key!r}. {hint} Config values are given with their "
        "section, as **{'align.mode': 'auto'} or overrides=['align.mode=auto']."
    )


def _checked_overrides(overrides: object) -> list[str]:
    """Return the overrides as a list; S3potError if they are not several texts."""
    if overrides is None:
        return []
    if isinstance(overrides, str):
        raise S3potError(
            f"overrides is the one text {overrides!r}; give a list, overrides=[{overrides!r}]"
        )
    if isinstance(overrides, Iterable) and not isinstance(overrides, (bytes, Mapping)):
        texts = list(overrides)
        if all(isinstance(text, str) for text in texts):
            return texts
    raise S3potError(
        f"overrides is {overrides!r:.200}; expected a list of texts, such as "
        "overrides=['align.mode=auto']"
    )


def _refuse_contradictions(name: str | Path, options: Sequence[str], others: Sequence[str]) -> None:
    """Make sure that two lists of ``section.key=value`` agree about the keys that both set.

    Raises:
        S3potError: They differ, or the config or an option is invalid.
    """
    common = _keys(options) & _keys(others)
    if not common:
        return
    values = config_to_dict(load_config(name, [*others, *options]))
    other_values = config_to_dict(load_config(name, [*options, *others]))
    for key in sorted(common):
        section, _, field = key.partition(".")
        value, other = values[section][field], other_values[section][field]
        if value != other:
            raise S3potError(
                f"{key} is given twice, as {value!r} and as {other!r}; give it only once"
            )


def _keys(options: Sequence[str]) -> set[str]:
    return {option.partition("=")[0] for option in options}


def load_from_config(config: Config, checkpoint: Path | None = None) -> FaceSegmenter:
    """Load the models of a config; see ``load``."""
    require_weights(config, models_of_photos(config))
    adapter_path = checkpoint or weights_path(config, "adapter")
    require_checkpoint(adapter_path)
    chosen = pick_device(config.run.device)
    use_determinism(config.run.deterministic)
    segmenter = build_segmenter(config, chosen)
    adapter = new_adapter(config, segmenter.sam, adapter_path).eval()
    pipeline = S3POT(build_reference_generator(config, chosen), segmenter, adapter)
    return FaceSegmenter(config, build_aligner(config), pipeline)
