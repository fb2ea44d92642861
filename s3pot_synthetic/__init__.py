"""Procedurally drawn faces with occluders and exact ground truth; see ``sample.draw_face``."""

from s3pot_synthetic.sample import FaceSample, draw_face
from s3pot_synthetic.segments import SceneSegments, draw_scene_segments, texture_scene

__all__ = ["FaceSample", "SceneSegments", "draw_face", "draw_scene_segments", "texture_scene"]
