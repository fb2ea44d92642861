"""Procedurally drawn faces with occluders and exact truth: see `sample.draw_face`."""

from s3pot_synthetic.sample import FaceSample, draw_face

__all__ = ["FaceSample", "draw_face"]
