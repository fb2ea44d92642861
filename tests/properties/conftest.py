"""The same examples in every run, few enough for a test suite.

For a long search with other examples: S3POT_EXAMPLES=5000 python -m pytest tests/properties
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("S3POT_EXAMPLES", "60"))

settings.register_profile(
    "s3pot",
    derandomize="S3POT_EXAMPLES" not in os.environ,
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("s3pot")
