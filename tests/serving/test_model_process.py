"""What is said of every model."""

from __future__ import annotations

from services import limits
from services.serving.model_process import describe


def test_model_is_described_with_its_limits():
    """What a call may carry is told from the limits that are enforced."""
    model = describe(
        name="detection", version="v", labels=["cat", "dog"], description="d", license="CC0-1.0"
    )
    assert (model.name, model.version, model.description) == ("detection", "v", "d")
    assert (list(model.labels), model.license) == (["cat", "dog"], "CC0-1.0")
    found = model.input_limits
    assert found.max_images == limits.MAX_BATCH_IMAGES
    assert found.max_image_bytes == limits.MAX_IMAGE_BYTES
    assert found.max_image_pixels == limits.MAX_IMAGE_PIXELS
    assert found.max_inline_bytes == limits.MAX_INLINE_BYTES
    assert "image/jpeg" in found.media_types
