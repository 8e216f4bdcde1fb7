"""The last hidden layer of thousands of states in two dimensions, by t-SNE (Mnih et al. 2015, figure 4)."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from asyncrl.analysis.drawing import drawing
from asyncrl.analysis.inspection.chapter import Chapter, NotShownError, Picture, Subject
from asyncrl.analysis.inspection.recording import Recording
from asyncrl.analysis.json_numbers import json_numbers

FEWEST = 30
"""Least number of different states: among fewer, neighbours mean nothing."""
COMPONENTS = 50
"""Number of principal components that t-SNE starts from."""
THUMBNAIL, COLUMNS = 84, 50
"""Longer side of a thumbnail in pixels, and number of thumbnails in a row of the sheet that holds them all."""


def show_embedding(subject: Subject) -> Chapter:
    """Shows all states as points; states that the agent treats alike are close together.

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
        f"The last hidden layer ({recording.features.shape[1]} numbers) of {len(recording):,} states in two "
        "dimensions, by t-SNE. States that are close together look similar to the agent. Point at a state, or tap it, "
        "to see it. Values, advantages and returns are in training units: of clipped, scaled and discounted rewards.",
        (Picture("embedding", figure, in_page=False),),
        "embedding",
        {
            "points": json_numbers((points - points.min(0)) / np.maximum(np.ptp(points, 0), 1e-9)),
            "quantities": {name: json_numbers(values) for name, values in recording.quantities.items()},
            "sheet": sheet,
            "columns": COLUMNS,
            "width": width,
            "height": height,
        },
    )


def embed(features: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Features [N, F] as points [N, 2].

    Raises:
        NotShownError: There are too few different states, or the features are single numbers.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    different = len(np.unique(features, axis=0))
    if different < FEWEST:
        raise NotShownError(f"only {different} of its states differ, and t-SNE needs at least {FEWEST}")
    if features.shape[1] < 2:
        raise NotShownError("its last hidden layer has only one number")
    components = min(COMPONENTS, *features.shape)
    reduced = PCA(components, random_state=seed).fit_transform(features)
    perplexity = min(30.0, (len(features) - 1) / 3)
    points: NDArray[np.float32] = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)
    return points


def thumbnails(recording: Recording) -> tuple[str, int, int]:
    """One image with a thumbnail of each state, as a data URL, and a thumbnail's width and height.

    Thumbnails leave out the empty margins of frames, which are most of the picture in environments such as CartPole.
    """
    full_height, full_width = recording.frame(0).shape[:2]
    rows, columns = recording.interior
    height, width = rows.stop - rows.start, columns.stop - columns.start
    factor = THUMBNAIL / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    sheet = Image.new("RGB", (size[0] * COLUMNS, size[1] * -(-len(recording) // COLUMNS)))
    for number, step in enumerate(recording.steps):
        with Image.open(io.BytesIO(step.frame)) as frame:
            frame.draft(
                "RGB", (round(full_width * factor), round(full_height * factor))
            )  # reads it at a lower resolution
            scale = frame.width / full_width
            box = (columns.start * scale, rows.start * scale, columns.stop * scale, rows.stop * scale)
            row, column = divmod(number, COLUMNS)
            sheet.paste(frame.resize(size, box=box), (column * size[0], row * size[1]))
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=70)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode(), *size
