"""Pictures as pages take them."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray

JPEG_PIXELS = 160_000
"""Pictures with more pixels are sent as JPEG; smaller ones as PNG, which is sharp and fast for them."""


def data_url(picture: NDArray[np.uint8]) -> str:
    """A picture in colour [height, width, 3] or in grey [height, width] as a URL that holds it."""
    from PIL import Image

    buffer, image = io.BytesIO(), Image.fromarray(picture)
    if picture.shape[0] * picture.shape[1] > JPEG_PIXELS:
        kind = "jpeg"
        image.save(buffer, "JPEG", quality=85)
    else:
        kind = "png"
        image.save(buffer, "PNG", compress_level=1)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
