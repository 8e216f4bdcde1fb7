"""The last hidden layer of thousands of states in two dimensions, by t-SNE (Mnih et al. 2015, figure 4)."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from asyncrl.analysis.drawing import drawing
from asyncrl.analysis.inspection.chapter import Chapter, NotShownError, Picture, Subject, plain
from asyncrl.analysis.inspection.recording import Recording

FEWEST = 30
"""States, below which neighbours mean nothing."""
COMPONENTS = 50
"""Principal components that t-SNE starts from."""
THUMBNAIL, COLUMNS = 84, 50
"""Longer side of a small picture in pixels, and small pictures side by side in one large one."""


def show_embedding(subject: Subject) -> Chapter:
    """States that the agent treats alike lie together.

    Raises:
        NotShownError: There are too few states, or all look the same to the network.
    """
    recording = subject.recording
    points = embed(recording.features, subject.seed)
    names = list(recording.quantities)
    with drawing(7, 5) as (figure, [[axes]]):
        drawn = axes.scatter(*points.T, c=recording.quantities[names[0]], s=7, linewidths=0)
        axes.set_xticks([])
        axes.set_yticks([])
        figure.colorbar(drawn, label=names[0], pad=0.01)
    sheet, width, height = thumbnails(recording)
    return Chapter(
        "What it takes for alike",
        f"The last hidden layer ({recording.features.shape[1]} numbers) of {len(recording):,} states in two "
        "dimensions, by t-SNE: states that lie together are much the same to the agent. Point at one to see it.",
        (Picture("embedding", figure, in_page=False),),
        "embedding",
        {
            "points": plain((points - points.min(0)) / np.maximum(np.ptp(points, 0), 1e-9)),
            "quantities": {name: plain(values) for name, values in recording.quantities.items()},
            "sheet": sheet,
            "columns": COLUMNS,
            "width": width,
            "height": height,
        },
    )


def embed(features: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Features [N, F] as points [N, 2].

    Raises:
        NotShownError: There are too few states, or all are equal.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    different = len(np.unique(features, axis=0))
    if different < FEWEST:
        raise NotShownError(f"only {different} of its states differ: too few for neighbours to mean anything")
    if features.shape[1] < 2:
        raise NotShownError("its last hidden layer has one number only")
    components = min(COMPONENTS, *features.shape)
    reduced = PCA(components, random_state=seed).fit_transform(features)
    perplexity = min(30.0, (len(features) - 1) / 3)
    points: NDArray[np.float32] = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)
    return points


def thumbnails(recording: Recording) -> tuple[str, int, int]:
    """All states as small pictures in one large one, as a data address, and a small picture's width and height."""
    height, width = recording.frame(0).shape[:2]
    factor = THUMBNAIL / max(height, width)
    small = max(1, round(width * factor)), max(1, round(height * factor))
    rows = -(-len(recording) // COLUMNS)
    sheet = Image.new("RGB", (small[0] * COLUMNS, small[1] * rows))
    for number in range(len(recording)):
        with Image.open(io.BytesIO(recording.frames[number])) as frame:
            frame.draft("RGB", small)
            row, column = divmod(number, COLUMNS)
            sheet.paste(frame.resize(small), (column * small[0], row * small[1]))
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=70)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode(), *small
