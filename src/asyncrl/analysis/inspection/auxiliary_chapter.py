"""What the auxiliary tasks learned: pixel control and reward prediction (Jaderberg et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asyncrl import functional as F
from asyncrl.analysis.drawing import MARK, draw_image, drawing
from asyncrl.analysis.inspection.chapter import Chapter, NotShownError, Picture, Subject
from asyncrl.analysis.inspection.notable_states import largest
from asyncrl.analysis.inspection.recording import Recording
from asyncrl.analysis.picture import COLOURS
from asyncrl.auxiliary.cells import Cells
from asyncrl.auxiliary.control import DISCOUNT
from asyncrl.auxiliary.reward_prediction import HISTORY
from asyncrl.networks.masks import split_mask

MOST_STATES = 3
CLASSES = {F.auxiliary.NEGATIVE: "negative", F.auxiliary.ZERO: "zero", F.auxiliary.POSITIVE: "positive"}
"""Classes of rewards in the order in which they are shown."""


def show_auxiliary(subject: Subject) -> Chapter:
    """Shows what pixel control and reward prediction say of the recorded states, beside what followed.

    Raises:
        NotShownError: The algorithm has neither of these tasks.
    """
    tasks = getattr(subject.agent.experiment.algorithm, "tasks", {})
    recording, shown = subject.recording, []
    if "pixel_control" in tasks and (recording.lengths > 1).any():
        shown.append(_pixel_control(recording))
    if "reward_prediction" in tasks:
        shown.append(_reward_prediction(recording))
    if not shown:
        raise NotShownError("its algorithm has neither pixel control nor reward prediction (--algorithm unreal has)")
    return Chapter(" ".join(text for text, _ in shown), tuple(picture for _, picture in shown))


def _pixel_control(recording: Recording) -> tuple[str, Picture]:
    """The change of each cell beside its action values, where the image changed most."""
    steps, changes, following, values, taken = (
        np.concatenate(parts) for parts in zip(*_changes(recording), strict=True)
    )
    chosen = np.sort(largest(changes.mean((1, 2)), MOST_STATES))
    agreement = ""
    if following.std() > 0 and taken.std() > 0:
        correlation = np.corrcoef(following.ravel(), taken.ravel())[0, 1]
        agreement = (
            " Its values of the actions that were taken and the discounted changes that followed have a correlation of "
            f"{correlation:.2f} over all cells and steps."
        )
    titles = "state", "change by the next step", f"changes that followed (γ = {DISCOUNT:g})", "highest action value"
    with drawing(9, 2.4 * len(chosen), len(chosen), len(titles)) as (figure, grid):
        highest = max(float(following[chosen].max()), float(values[chosen].max()), 1e-9)
        for row, index in zip(grid, chosen, strict=True):
            draw_image(row[0], recording.frame(int(steps[index]))[recording.interior])
            row[0].set_ylabel(recording.place(int(steps[index])))
            draw_image(row[1], changes[index], cmap="viridis", vmin=0)
            draw_image(row[2], following[index], cmap="viridis", vmin=0, vmax=highest)
            last = draw_image(row[3], values[index], cmap="viridis", vmin=0, vmax=highest)
        for axes, title in zip(grid[0], titles, strict=True):
            axes.set_title(title)
        figure.colorbar(last, ax=grid[:, 3].tolist(), shrink=0.8)
    text = (
        f"Pixel control predicts how much each of {changes.shape[1]} × {changes.shape[2]} cells of the image will "
        f"change.{agreement} The states with the largest changes are shown."
    )
    return text, Picture("pixel_control", figure)


def _changes(recording: Recording) -> Iterator[tuple[NDArray[np.float32], ...]]:
    """For each episode: numbers of its steps, and of each step the changes of cells, those that followed, and values.

    The values are the highest over the actions, and those of the actions that were taken. The last step of an episode
    is left out, because what it led to was not recorded.
    """
    agent, end = recording.agent, 0
    cells = Cells.of(agent.info, "--pixel-control")
    for length in recording.lengths.tolist():
        start, end = end, end + length
        if length < 2:
            continue
        part = slice(start, end)
        images = cells.images(split_mask(recording.observations(part))[0])
        changes = F.auxiliary.pixel_change(images.unsqueeze(1), cells.side)[:, 0]
        values = _pixel_values(recording, part)[:-1]  # [T-1, rows, columns, A]
        actions = torch.tensor(np.array([step.decision.action for step in recording.steps[start : end - 1]]))
        index = actions.view(-1, 1, 1, 1).expand(*values.shape[:-1], 1)
        following = torch.zeros_like(changes)
        total = torch.zeros_like(changes[0])
        for t in reversed(range(len(changes))):
            total = following[t] = changes[t] + DISCOUNT * total
        yield tuple(
            np.asarray(part)
            for part in (
                np.arange(start, end - 1),
                changes,
                following,
                values.max(-1).values,
                values.gather(-1, index).squeeze(-1),
            )
        )


def _pixel_values(recording: Recording, part: slice) -> Tensor:
    """The action values [T, rows, columns, A] of pixel control in some states."""
    network = recording.agent.network
    features = torch.from_numpy(recording.features[part]).unsqueeze(1)
    arguments = [features]
    if "pixel_control" in network.masked_heads:
        mask = split_mask(recording.observations(part))[1]
        arguments += [None if mask is None else mask.unsqueeze(1)]  # type: ignore[list-item]
    with torch.no_grad():
        values: Tensor = network.heads["pixel_control"](*arguments)[:, 0]
    return values


def _reward_prediction(recording: Recording) -> tuple[str, Picture]:
    """How often each class of reward was taken for which, and the predictions over the video."""
    predictions = _predictions(recording)  # [N, 3]
    known = recording.step_numbers >= HISTORY - 1
    happened = F.auxiliary.reward_classes(torch.from_numpy(recording.rewards)).numpy()
    predicted = predictions.argmax(-1)
    counts = np.array(
        [[np.sum(known & (happened == one) & (predicted == other)) for other in CLASSES] for one in CLASSES]
    )
    with drawing(9, 2.6, 1, 2, width_ratios=(1, 2.4)) as (figure, [[table, curve]]):
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        table.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for y, x in np.ndindex(*counts.shape):
            colour = "white" if shares[y, x] > 0.6 else "black"
            table.text(x, y, f"{counts[y, x]:,}", ha="center", va="center", color=colour, fontsize=9)
        table.set_xticks(range(3), list(CLASSES.values()))
        table.set_yticks(range(3), list(CLASSES.values()))
        table.set_xlabel("predicted")
        table.set_ylabel("reward that followed")
        part = recording.video_steps
        for kind, colour in ((F.auxiliary.POSITIVE, COLOURS[0]), (F.auxiliary.NEGATIVE, COLOURS[1])):
            curve.plot(predictions[part, kind], color=colour, linewidth=1.0, label=f"a {CLASSES[kind]} reward")
        paid = np.flatnonzero(recording.rewards[part])
        curve.plot(paid, np.full(len(paid), 1.04), "v", color=MARK, markersize=4, label="reward")
        curve.set_ylim(0, 1.08)
        curve.set_xlabel("step")
        curve.set_ylabel("probability")
        curve.legend(loc="upper left", bbox_to_anchor=(1.005, 1))
    rewarded = counts.sum() - counts[1].sum()
    right = counts[0, 0] + counts[2, 2]
    text = (
        "Reward prediction names the class of the next reward. It was right before "
        f"{right:,} of the {rewarded:,} rewards that were not zero, and it expected a reward before "
        f"{counts[1, 0] + counts[1, 2]:,} of the {counts[1].sum():,} steps without one. It was trained on samples of "
        "which half had a reward, so it expects rewards more often than they come."
    )
    return text, Picture("reward_prediction", figure)


def _predictions(recording: Recording) -> NDArray[np.float32]:
    """The probability of each class of reward after each step [N, 3]."""
    parts, end = [], 0
    for length in recording.lengths.tolist():
        start, end = end, end + length
        seen = recording.episode_observations(slice(start, end))
        with torch.no_grad():
            logits = recording.agent.network.see(seen, ["reward_prediction"])["reward_prediction"][:, 0]
        parts.append(torch.softmax(logits, -1).numpy())
    return np.concatenate(parts)
