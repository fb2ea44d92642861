"""One clean face: picture, label map, and the data that occluders need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s3pot_synthetic import features, hair, marks, scene, wear
from s3pot_synthetic.canvas import Array, Canvas, Frame
from s3pot_synthetic.head import SKIN, Head, draw_head, outline
from s3pot_synthetic.skin import lit_column, shade_skin


@dataclass(frozen=True)
class Face:
    """A drawn face without an occluder.

    Attributes:
        head: Its geometry and light.
        image: (S, S, 3) float32 RGB, [0, 1].
        labels: (S, S) uint8, 12 classes.
        light: Light on the face, (S, S) float32.
        hair: Hair surface, (S, S, 3) float32.
        details: Names of what was drawn, for the metadata.
        segments: Number of every part and of every object in the background, (S, S) int16.
        person: Coverage of the whole person with hair, hat and clothes, (S, S) uint8, 0..255.
    """

    head: Head
    image: Array
    labels: Array
    light: Array
    hair: Array
    details: dict[str, object]
    segments: Array
    person: Array

    @property
    def landmarks(self) -> Array:
        """Five landmarks in pixels, (5, 2) float32: x to the right, y down; see ``Head.landmarks``.

        Pixel centers have integer coordinates.
        """
        return ((self.head.landmarks + 0.5) * self.head.frame.scale - 0.5).astype(np.float32)


def draw_clean(rng: np.random.Generator, size: int, split: str) -> Face:
    """Draw a face at random.

    Args:
        rng: Random stream; the number of draws does not depend on ``size``.
        size: Side in pixels.
        split: ``train`` or ``bench``, which decides the textures.
    """
    frame = Frame(size)
    canvas = Canvas(frame, *scene.background(rng, frame, split))
    head = draw_head(rng, frame)
    masculine = bool(rng.random() < 0.5)
    made_up = not masculine and bool(rng.random() < 0.7)
    style = hair.draw_style(rng, masculine)
    lit = shade_skin(rng, head)
    light = lit.light
    skin = lit.picture
    surface = hair.hair_surface(rng, head, light, style)
    details: dict[str, object] = {"hair": style}
    hair.back_hair(rng, head, canvas, surface, style)
    scene.neck_and_clothes(rng, head, canvas, lit_column(head), split)
    if rng.random() < 0.15:
        wear.necklace(rng, head, canvas)
    lobes = []
    if not hair.is_long(style) or rng.random() < 0.25:
        lobes = features.ears(rng, head, canvas, skin)
    mask = frame.fill(outline(head))
    canvas.paint(mask, skin, SKIN)
    marks.skin_marks(rng, head, canvas, mask)
    if rng.random() < (0.75 if masculine else 0.03):
        details["beard"] = marks.beard(rng, head, canvas, mask, surface)
    features.eyes(rng, head, canvas, light, made_up)
    features.brows(rng, head, canvas, light, mask)
    features.nose(rng, head, canvas)
    features.mouth(rng, head, canvas, light, made_up)
    hair.front_hair(rng, head, canvas, surface, style)
    if rng.random() < 0.1:
        scene.hat(rng, head, canvas, split)
        details["hat"] = True
    if rng.random() < 0.25:
        wear.earrings(rng, head, canvas, lobes)
    if rng.random() < 0.2:
        wear.glasses(rng, head, canvas)
        details["glasses"] = True
    if rng.random() < 0.12:
        details["thrown_light"] = marks.thrown_light(rng, canvas)
    image = np.clip(canvas.image, 0, 1)
    return Face(
        head=head,
        image=image,
        labels=canvas.labels,
        light=light,
        hair=surface,
        details=details,
        segments=canvas.segments,
        person=canvas.cover,
    )
