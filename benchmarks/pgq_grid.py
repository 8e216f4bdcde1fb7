"""Actor-critic, Q-learning and PGQ on a small grid, in tables: the form of the first experiment of PGQ's paper.

python benchmarks/pgq_grid.py [FOLDER]

The agent walks from one corner of a grid to the opposite one, where it gets its only reward. After each step the agents
learn once from this step (actor-critic), once from a step that is drawn from all steps so far (Q-learning), or both
(PGQ). The score is the exact expected discounted return of the policy from the start. FOLDER gets `pgq_grid.csv` and
`pgq_grid.png`. The layout of the grid is not the paper's.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asyncrl import functional as F
from asyncrl.analysis.drawing import ACCENT, INK, MARK, drawing, to_png

ROWS, COLUMNS, START, GOAL = 4, 6, (3, 0), (0, 5)
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
DISCOUNT = 0.95
TEMPERATURE = 0.001
"""Weight of the entropy bonus, and temperature of the implied action values [α]."""
STEP_SIZE = 1.0
BEST = DISCOUNT ** (ROWS + COLUMNS - 3)
"""Score of the shortest way."""
METHODS = {"actor-critic": (True, False), "Q-learning": (False, True), "PGQ": (True, True)}
"""Whether each method learns from the step that was taken, and from a replayed one."""
STEPS, SEEDS, SHOWN = 2_000, range(10), 10
KEPT = 5
"""The file has every so many of the scores that are shown."""


def _next_states() -> NDArray[np.int64]:
    """Numbers of the states that follow [S, A]; a move into the border leads nowhere."""
    rows, columns = np.divmod(np.arange(ROWS * COLUMNS), COLUMNS)
    down, right = np.array(MOVES).T
    reached = np.clip(rows[:, None] + down, 0, ROWS - 1), np.clip(columns[:, None] + right, 0, COLUMNS - 1)
    return np.ravel_multi_index(reached, (ROWS, COLUMNS))


NEXT = _next_states()
FIRST, LAST = (int(np.ravel_multi_index(place, (ROWS, COLUMNS))) for place in (START, GOAL))


class Agent:
    """A policy and a value for each state, in tables."""

    def __init__(self) -> None:
        self.logits = torch.zeros(ROWS * COLUMNS, len(MOVES), dtype=torch.float64)
        self.values = torch.zeros(ROWS * COLUMNS, dtype=torch.float64)

    def implied(self, state: int) -> Tensor:
        """Q̃(s, ·) [A]."""
        logits = self.logits[state]
        entropy, log_probabilities = F.categorical.entropy(logits), logits.log_softmax(-1)
        return F.value_learning.implied_action_values(log_probabilities, entropy, self.values[state], TEMPERATURE)

    def improve(self, state: int, action: int, error: float) -> None:
        """Moves log π(a|s) and V(s) along their gradients."""
        direction = -self.logits[state].softmax(-1)
        direction[action] += 1
        self.logits[state] += STEP_SIZE * error * direction
        self.values[state] += STEP_SIZE * error

    def learn_from_step(self, state: int, action: int) -> None:
        """TD actor-critic with an entropy bonus."""
        reached = int(NEXT[state, action])
        target = 1.0 if reached == LAST else DISCOUNT * float(self.values[reached])
        probabilities, log_probabilities = self.logits[state].softmax(-1), self.logits[state].log_softmax(-1)
        bonus = -probabilities * (log_probabilities + F.categorical.entropy(self.logits[state]))  # ∇H
        self.improve(state, action, target - float(self.values[state]))
        self.logits[state] += STEP_SIZE * TEMPERATURE * bonus

    def learn_from_replay(self, state: int, action: int) -> None:
        """Q-learning on the implied action values."""
        reached = int(NEXT[state, action])
        target = 1.0 if reached == LAST else DISCOUNT * float(self.implied(reached).max())
        self.improve(state, action, target - float(self.implied(state)[action]))

    def score(self) -> float:
        """Expected discounted return of the policy from the start."""
        policy = self.logits.softmax(-1).numpy()
        states, matrix, rewards = ROWS * COLUMNS, np.eye(ROWS * COLUMNS), np.zeros(ROWS * COLUMNS)
        for action in range(len(MOVES)):
            ends = NEXT[:, action] == LAST
            rewards += policy[:, action] * ends
            np.subtract.at(matrix, (np.arange(states), NEXT[:, action]), DISCOUNT * policy[:, action] * ~ends)
        return float(np.linalg.solve(matrix, rewards)[FIRST])


def learn(method: str, seed: int, steps: int = STEPS) -> list[float]:
    """The score after every `SHOWN` steps."""
    from_step, from_replay = METHODS[method]
    agent, random = Agent(), np.random.default_rng(seed)
    taken: list[tuple[int, int]] = []
    scores, state = [], FIRST
    for step in range(1, steps + 1):
        action = int(random.choice(len(MOVES), p=agent.logits[state].softmax(-1).numpy()))
        taken.append((state, action))
        if from_step:
            agent.learn_from_step(state, action)
        if from_replay:
            agent.learn_from_replay(*taken[random.integers(len(taken))])
        if step % SHOWN == 0:
            scores.append(agent.score())
        state = int(NEXT[state, action])
        if state == LAST:
            state = FIRST
    return scores


def needed(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Steps until runs [N, steps / SHOWN] have nine tenths of the best score, infinite where they never do."""
    reached = scores >= 0.9 * BEST
    return np.where(reached.any(1), (reached.argmax(1) + 1) * SHOWN, np.inf)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    scores = {method: np.array([learn(method, seed) for seed in SEEDS]) for method in METHODS}
    with (folder / "pgq_grid.csv").open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["method", "seed", "step", "score"])
        for method, rows in scores.items():
            for seed, row in zip(SEEDS, rows, strict=True):
                kept = enumerate(row[KEPT - 1 :: KEPT], start=1)
                lines.writerows([method, seed, at * KEPT * SHOWN, f"{score:.4f}"] for at, score in kept)
    for method, rows in scores.items():
        found = np.sort(needed(rows))
        print(
            f"{method}: {0.9 * BEST:.3f} after {np.median(found):,.0f} steps (from {found[0]:,.0f} to {found[-1]:,.0f})"
        )
    (folder / "pgq_grid.png").write_bytes(draw(scores))


def draw(scores: dict[str, NDArray[np.float64]]) -> bytes:
    """Mean scores of all seeds, between the lowest and the highest, as a PNG file."""
    steps = np.arange(1, STEPS // SHOWN + 1) * SHOWN
    with drawing(7.0, 3.6) as (figure, ((axes,),)):
        for (method, rows), colour in zip(scores.items(), (INK, ACCENT, MARK), strict=True):
            axes.plot(steps, rows.mean(0), color=colour, label=method)
            axes.fill_between(steps, rows.min(0), rows.max(0), color=colour, alpha=0.15, linewidth=0)
        axes.axhline(BEST, color=INK, linestyle=":", linewidth=1)
        axes.set_xlabel("steps")
        axes.set_ylabel("expected return from the start")
        axes.legend(loc="lower right")
    return to_png(figure)


if __name__ == "__main__":
    main()
