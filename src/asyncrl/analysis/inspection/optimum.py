"""The agent's values beside the exact optimum, for environments that are small enough to compute it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asyncrl.analysis.drawing import draw_image, drawing
from asyncrl.analysis.inspection.chapter import Chapter, NotShownError, Picture, Subject
from asyncrl.analysis.inspection.recording import Recording
from asyncrl.analysis.picture import COLOURS
from asyncrl.analysis.readout import first_outputs
from asyncrl.envs.catch import CatchVectorEnv
from asyncrl.envs.make import make_environments
from asyncrl.runtime.rollout_buffer import RewardRule

Array = NDArray[np.float64]
SWEEPS, TOLERANCE = 100_000, 1e-9
"""Value iteration stops after this many sweeps, or when no value changes by more than the tolerance."""
MOST_PANELS = 6
MOST_STATES = 2_000


@dataclass(frozen=True)
class Table:
    """Every state of an environment with the exact value of each action.

    A map lays states out in a plane, as the environment draws them.
    """

    observations: NDArray[Any]  # [S, ...]
    action_values: Array  # Q* [S, A] in training units; NaN for states after the end and for unreachable states
    maps: dict[str, NDArray[np.int64]]  # by title, the state of each cell [rows, columns]
    axes: tuple[str, str] = ("", "")  # names of a map's horizontal and vertical axis


def show_optimum(subject: Subject) -> Chapter:
    """Compares the agent's value and preferred action in each state with the optimal ones.

    Raises:
        NotShownError: The environment has no table of its states, or the agent is recurrent or has no value output.
    """
    recording, readout = subject.recording, subject.recording.readout
    if recording.reading.values is None:
        raise NotShownError("its network has no value output")
    if subject.is_recurrent:
        raise NotShownError("it is recurrent, so its value of a state depends on what came before")
    table = table_of(subject)
    network = subject.agent.network
    outputs = first_outputs(subject.agent, table.observations)
    with torch.no_grad():
        greedy = subject.agent.experiment.algorithm.act_greedily(network, outputs)[0].numpy()
    values = readout.read(outputs).values
    assert values is not None
    alive = ~np.isnan(table.action_values[:, 0])
    best = table.action_values[alive].max(-1)
    taken = np.take_along_axis(table.action_values, greedy[:, None], -1)[alive, 0]
    is_best = taken >= best - 1e-6
    error = float(np.abs(values[alive] - best).mean())
    pictures = [Picture("optimum", _scatter(values[alive], best, is_best))]
    if table.maps:
        pictures.insert(
            0,
            Picture(
                "optimum_maps",
                _maps(table, values),
                "Above: the agent's values. Below: the exact values. Empty cells end an episode or cannot be reached.",
            ),
        )
    return Chapter(
        f"Dynamic programming gives the exact value of all {int(alive.sum()):,} reachable states. The agent's "
        f"preferred action is optimal in {is_best.mean():.1%} of them. Its value is wrong by {error:.3g} on average, "
        f"where the exact values lie between {best.min():.3g} and {best.max():.3g}. This includes states that a good "
        "agent never visits.",
        tuple(pictures),
        finding=_finding(subject.recording, table, float(is_best.mean())),
    )


def _finding(recording: Recording, table: Table, share: float) -> str:
    """What the optimum says of the agent: its discounted return from the start beside that of optimal play."""
    best = {
        board.tobytes(): value for board, value in zip(table.observations, table.action_values.max(-1), strict=True)
    }
    starts = np.flatnonzero(recording.step_numbers == 0)
    observed = recording.observations(starts).numpy().astype(table.observations.dtype)
    optimal = float(np.mean([best[board.tobytes()] for board in observed]))
    return (
        f"From the start of an episode, optimal play is worth {optimal:.3g} on average, and the agent got "
        f"{recording.returns[starts].mean():.3g} (discounted, in training units). Its preferred action is optimal in "
        f"{share:.0%} of all reachable states."
    )


def table_of(subject: Subject) -> Table:
    """The table of an agent's environment.

    Raises:
        NotShownError: There is none.
    """
    experiment = subject.agent.experiment
    if experiment.network.last_action_reward:
        raise NotShownError("it also observes its last action and reward, which are not part of a table of states")
    if experiment.exploration_bonus != "none":
        raise NotShownError("its values include exploration bonuses, which a table of states does not know")
    if subject.agent.info.masked:
        raise NotShownError("its actions are masked, which a table of states does not say")
    rule = subject.agent.reward_rule
    environments: Any = make_environments(experiment, 1)
    try:
        base = environments.unwrapped
        if isinstance(base, CatchVectorEnv):
            return catch_table(base, experiment.algorithm.discount, rule)
        inner = base.envs[0].unwrapped if hasattr(base, "envs") else base
        if _has_table(inner) and subject.agent.info.observation_space.shape == (len(inner.P),):
            return tabular_table(inner, experiment.algorithm.discount, rule)
    finally:
        environments.close()
    raise NotShownError(
        "its environment has no table of states and transitions (Catch and Gymnasium's toy text environments have one)"
    )


def _has_table(environment: Any) -> bool:
    """Whether the environment has a table of transitions by state and action, as Gymnasium's toy text has."""
    table = getattr(environment, "P", None)
    return isinstance(table, Mapping) and all(isinstance(row, Mapping) for row in table.values())


def catch_table(game: CatchVectorEnv, discount: float, rule: RewardRule) -> Table:
    """The exact values of every board of Catch with one ball, computed from the last row up.

    Raises:
        NotShownError: The game has options with which a board is not the whole state, or too many states.
    """
    if game.memory or game.noise or game.balls > 1:
        raise NotShownError("only the plain game of Catch, with one ball, has a table of its states")
    rows, columns, paddles = game.rows, game.columns, game.columns - game.paddle_width + 1
    if rows * columns * paddles > MOST_STATES:
        raise NotShownError(f"it has {rows * columns * paddles:,} states, too many for a table")
    time, ball, paddle = (
        part.ravel() for part in np.meshgrid(range(rows), range(columns), range(paddles), indexing="ij")
    )
    caught = (ball >= paddle) & (ball < paddle + game.paddle_width)
    rewards = rule.apply(torch.from_numpy(np.where(caught, 1.0, -1.0))).numpy()
    values = np.full((rows, columns, paddles, 3), np.nan)
    landed = rewards.reshape(rows, columns, paddles)[0]  # [columns, paddles], the same in each row
    for row in reversed(range(rows - 1)):
        for action in range(3):
            after = np.clip(np.arange(paddles) + action - 1, 0, paddles - 1)
            following = landed if row == rows - 2 else discount * values[row + 1].max(-1)
            values[row, :, :, action] = following[:, after]
    start = (columns - game.paddle_width) // 2
    table = values.reshape(-1, 3)
    table[np.abs(paddle - start) > time] = np.nan  # the paddle cannot have moved so far yet
    boards = CatchVectorEnv(len(time), rows=rows, columns=columns, paddle_width=game.paddle_width)
    states = np.arange(len(time)).reshape(rows, columns, paddles)
    shown = np.unique(np.linspace(0, columns - 1, min(columns, MOST_PANELS)).astype(int))
    maps = {f"ball in column {column}": states[: rows - 1, column] for column in shown}
    return Table(boards.boards_of(time, ball, paddle), table, maps, ("paddle's column", "ball's row"))


def tabular_table(environment: Any, discount: float, rule: RewardRule) -> Table:
    """The exact values of a toy text environment of Gymnasium, by value iteration.

    Raises:
        NotShownError: It has too many states.
    """
    transitions = environment.P
    states, actions = len(transitions), len(transitions[0])
    if states > MOST_STATES:
        raise NotShownError(f"it has {states:,} states, too many for a table")
    probability, expected = np.zeros((states, actions, states)), np.zeros((states, actions))
    ends = np.zeros(states, bool)
    for state in range(states):
        for action in range(actions):
            for share, following, paid, terminal in transitions[state][action]:
                paid = float(rule.apply(torch.tensor(float(paid))))
                expected[state, action] += share * paid
                probability[state, action, following] += share * (not terminal)
                ends[following] |= terminal
    values = np.zeros((states, actions))
    for _ in range(SWEEPS):
        updated = expected + discount * probability @ values.max(-1)
        change = np.abs(updated - values).max()
        values = updated
        if change < TOLERANCE:
            break
    values[ends | ~_reachable(environment, probability)] = np.nan
    shape = getattr(environment, "shape", None) or (getattr(environment, "nrow", 0), getattr(environment, "ncol", 0))
    is_map = len(shape) == 2 and shape[0] * shape[1] == states
    maps = {"": np.arange(states).reshape(shape)} if is_map else {}
    return Table(np.eye(states, dtype=np.float32), values, maps)


def _reachable(environment: Any, probability: Array) -> NDArray[np.bool_]:
    """Which states [S] can be reached, by the probabilities of transitions that do not end the episode [S, A, S]."""
    starts = getattr(environment, "initial_state_distrib", None)
    reached = np.ones(len(probability), bool) if starts is None else np.asarray(starts) > 0
    edges = probability.sum(1) > 0
    for _ in range(len(probability)):
        more = reached | edges[reached].any(0)
        if (more == reached).all():
            break
        reached = more
    return reached


def _maps(table: Table, values: NDArray[np.float32]) -> Figure:
    exact = table.action_values.max(-1)
    known = exact[~np.isnan(exact)]
    shown = values[~np.isnan(exact)]
    low, high = min(known.min(), shown.min()), max(known.max(), shown.max())
    columns = len(table.maps)
    cells = next(iter(table.maps.values())).shape
    panel = min(3.2, 9 / columns)
    with drawing(panel * columns, 2 * min(2.6, panel * cells[0] / cells[1]) + 0.9, 2, columns) as (figure, grid):
        for column, (title, states) in enumerate(table.maps.items()):
            for axes, numbers in zip(grid[:, column], (np.where(np.isnan(exact), np.nan, values), exact), strict=True):
                drawn = draw_image(
                    axes, numbers[states], "", vmin=low, vmax=high, aspect="auto" if cells[0] > cells[1] else "equal"
                )
            grid[0, column].set_title(title)
            grid[1, column].set_xlabel(table.axes[0])
        for axes, label in zip(grid[:, 0], ("agent", "optimum"), strict=True):
            axes.set_ylabel(f"{label}\n{table.axes[1]}")
        figure.colorbar(drawn, ax=grid, label="value (training units)", pad=0.01)
        return figure


def _scatter(values: NDArray[np.float32], best: Array, is_best: NDArray[np.bool_]) -> Figure:
    with drawing(4.5, 3.6) as (figure, [[axes]]):
        for chosen, label, colour in (
            (is_best, "an optimal action", COLOURS[0]),
            (~is_best, "another one", COLOURS[1]),
        ):
            axes.scatter(
                best[chosen], values[chosen], s=10, alpha=0.6, linewidths=0, color=colour, label=f"prefers {label}"
            )
        ends = [min(best.min(), values.min()), max(best.max(), values.max())]
        axes.plot(ends, ends, color="0.5", linewidth=0.8, linestyle=":")
        axes.set_xlabel("exact value of acting optimally (training units)")
        axes.set_ylabel("agent's value (training units)")
        axes.legend()
        return figure
