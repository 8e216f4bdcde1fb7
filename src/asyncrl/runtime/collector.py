"""Acts in a worker's environments and gathers rollouts and finished episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from asyncrl.envs.actions import ActionCodec, action_codec
from asyncrl.envs.checks import DataCheck
from asyncrl.envs.lives import LIFE_LOST
from asyncrl.envs.observations import as_agents_see
from asyncrl.runtime.phases import PhaseClock
from asyncrl.runtime.rollout_buffer import RolloutBuffer, RolloutRules
from asyncrl.tree import pack, tree_map, unpack
from asyncrl.types import Decision, Episode, Rollout, State

Policy = Callable[[Any, State, Tensor], Decision]
"""Decides for observations [1, B, ...], given the recurrent state and first [1, B]."""


class Collector:
    """Runs B environments for T steps at a time.

    Args:
        environments: A vector that resets itself on the step after an end.
        state: The network's initial state, each tensor [B, H].
        rules: How rollouts are collected.
        seed: Seed of the environments.
        source: Whose environments these are, for messages.
        clock: Measures the phases of the work.
        keep_actions: Remember every action, so that `snapshot` can be restored by playing them again.

    Raises:
        UserError: The environments' first observations are not what their space promises.
    """

    def __init__(
        self,
        environments: VectorEnv[Any, Any, Any],
        state: State,
        rules: RolloutRules,
        seed: int,
        source: str = "environments",
        clock: PhaseClock | None = None,
        keep_actions: bool = False,
    ) -> None:
        self.environments, self.state, self.rules = environments, state, rules
        self.chosen: Decision | None = None  # for the next observation, already made
        self.codec = action_codec(environments.single_action_space)
        space = as_agents_see(environments.single_observation_space)
        self.buffer = RolloutBuffer(rules, environments.num_envs, space, self.codec)
        self.check = DataCheck(space, source)
        self.seed = seed
        self.taken = 0  # steps of the vector, including dummy steps
        self.collected = 0  # steps of the last rollout
        self.returns = np.zeros(environments.num_envs)  # of the running episodes
        self.lengths = np.zeros(environments.num_envs, np.int64)  # of the running episodes
        self.finished: list[Episode] = []
        self.clock = clock or PhaseClock()
        self.log = ActionLog(self.codec) if keep_actions else None
        self._reset(seed)

    def collect(self, policy: Policy) -> Rollout:
        """The next rollout. It is a view of the collector's buffer, good until the next call.

        Raises:
            UserError: An observation or a reward is not what the environment promises.
        """
        self.buffer.carry_over(self.collected)
        if self.rules.episode_rollouts and self.buffer.final[0, 0]:
            self._take(0, np.zeros((1, *self.codec.shape), self.codec.dtype))  # the dummy step that resets it
            self._check(1)
            self.buffer.carry_over(1)
            self.chosen = None
        state, before = self.state, self.taken
        try:
            decisions = self._play(policy)
        except Exception:
            self._check(self.taken - before)  # what the environments gave before is a likelier cause than the network
            raise
        length = len(decisions)
        self._check(length)
        self.collected = length
        self._finish_episodes(length)
        next_actions = None if self.chosen is None else self.chosen.actions[0]
        return self.buffer.rollout(length, state, decisions, next_actions)

    def _play(self, policy: Policy) -> list[Decision]:
        """Takes the steps of a rollout and returns the decisions that led to them."""
        rules = self.rules
        decisions: list[Decision] = []
        while (t := len(decisions)) < rules.length and not (rules.episode_rollouts and self.buffer.final[t, 0]):
            decision = self.chosen or self._choose(policy, t)
            self.chosen, self.state = None, decision.state
            self._take(t, decision.actions[0].numpy())
            decisions.append(decision)
        if rules.look_ahead:
            self.chosen = self._choose(policy, t)
        return decisions

    def _check(self, length: int) -> None:
        """Looks at the last steps, which are the first of the buffer."""
        if length:
            observations = tree_map(lambda rows: rows[1 : length + 1], self.buffer.observations)
            self.check.check(observations, self.buffer.rewards[:length], self.taken - length + 1)

    def _reset(self, seed: int) -> None:
        try:
            self.buffer.start(self.environments.reset(seed=seed)[0])
        except (ValueError, TypeError, KeyError) as error:
            self.check.explain(self.environments, 0, error)
            raise
        self.check.check(tree_map(lambda rows: rows[:1], self.buffer.observations), self.buffer.rewards[:0], 0)

    def pop_finished(self) -> tuple[Episode, ...]:
        """Episodes that ended since the last call."""
        episodes, self.finished = tuple(self.finished), []
        return episodes

    def running(self) -> tuple[Episode, ...]:
        """The episode of each environment that has not ended yet, with its return and length so far."""
        return tuple(map(Episode, self.returns.tolist(), self.lengths.tolist(), range(len(self.returns))))

    def snapshot(self) -> dict[str, Tensor]:
        """Everything that decides the next rollouts, with the actions so far in the place of the environments' state.

        Only of a collector that keeps its actions.
        """
        assert self.log is not None
        row = self.collected
        tensors = {
            "actions": self.log.tensor,
            "final": torch.from_numpy(self.buffer.final[row].copy()),
            "first": torch.from_numpy(self.buffer.first[row].copy()),
            "returns": torch.from_numpy(self.returns.copy()),
            "lengths": torch.from_numpy(self.lengths.copy()),
            **_numbered("state", self.state),
            **{name: torch.from_numpy(rows[row].copy()) for name, rows in self._observations()},
        }
        if self.chosen is not None:
            tensors |= {"chosen": self.chosen.actions.clone(), **_numbered("chosen_state", self.chosen.state)}
            tensors |= pack("chosen_behaviour", {name: rows.clone() for name, rows in self.chosen.behaviour.items()})
        return tensors

    def restore(self, tensors: Mapping[str, Tensor]) -> bool:
        """Goes on from a snapshot: the environments, just reset with its seed, take all its actions again.

        Returns:
            Whether they came to the snapshot's observations. Some environments do not repeat themselves, or are not
            as many: they begin new episodes instead.
        """
        assert self.log is not None
        if len(tensors["returns"]) != self.environments.num_envs:
            return False
        for actions in self.log.resume(tensors["actions"], self.environments.num_envs):
            self.taken += 1
            self.buffer.start(self.environments.step(self.codec.to_environment(actions))[0])
        if not all(np.array_equal(rows[0], tensors[name].numpy()) for name, rows in self._observations()):
            self.log.clear()
            self._reset(self.seed)
            return False
        self.buffer.final[0], self.buffer.first[0] = tensors["final"].numpy(), tensors["first"].numpy()
        self.returns, self.lengths = tensors["returns"].numpy().copy(), tensors["lengths"].numpy().copy()
        self.state = _from_numbered("state", tensors)
        if "chosen" in tensors:
            behaviour = {name: rows.clone() for name, rows in unpack("chosen_behaviour", tensors).items()}
            self.chosen = Decision(tensors["chosen"], _from_numbered("chosen_state", tensors), behaviour)
        return True

    def _observations(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """The buffer's arrays [T+1, B, ...] with their names in a snapshot."""
        yield from pack("observations", self.buffer.observations).items()

    def _choose(self, policy: Policy, t: int) -> Decision:
        observations = tree_map(lambda rows: torch.from_numpy(rows[t : t + 1]), self.buffer.observations)
        self.clock.lap("other")
        chosen = policy(observations, self.state, torch.from_numpy(self.buffer.first[t : t + 1]))
        self.clock.lap("act")
        return chosen

    def _take(self, t: int, actions: Any) -> None:
        self.clock.lap("other")
        if self.log is not None:
            self.log.append(actions)
        try:
            step = self.environments.step(self.codec.to_environment(actions))
            self.clock.lap("environment")
            observations, rewards, terminated, truncated, info = step
            life_lost = info.get(LIFE_LOST, False)
            self.buffer.write(t, actions, rewards, terminated, truncated, observations, life_lost)
        except (ValueError, TypeError, KeyError) as error:
            self.check.explain(self.environments, self.taken + 1, error)
            raise
        self.taken += 1

    def _finish_episodes(self, steps: int) -> None:
        valid = ~self.buffer.final[:steps]
        returns = self.returns + np.cumsum(self.buffer.rewards[:steps] * valid, 0, dtype=np.float64)  # [T, B]
        lengths = self.lengths + np.cumsum(valid, 0)
        columns, rows = np.nonzero(self.buffer.final[1 : steps + 1].T)  # ends, one environment after another
        self.returns, self.lengths = returns[-1], lengths[-1]
        if not len(columns):
            return
        total, length = returns[rows, columns], lengths[rows, columns]  # since the first episode of the rollout began
        again = np.flatnonzero(columns[1:] == columns[:-1]) + 1  # a second end of one environment
        starts, length_starts = np.zeros_like(total), np.zeros_like(length)
        starts[again], length_starts[again] = total[again - 1], length[again - 1]
        self.finished += map(Episode, (total - starts).tolist(), (length - length_starts).tolist(), columns.tolist())
        last = np.append(columns[1:] != columns[:-1], True)
        later = np.arange(steps)[:, None] > rows[last]  # what belongs to the episodes that go on
        self.returns[columns[last]] = (self.buffer.rewards[:steps] * valid)[:, columns[last]].sum(0, where=later)
        self.lengths[columns[last]] -= length[last]


class ActionLog:
    """Every action of a vector of environments, in as few bytes as they take."""

    def __init__(self, codec: ActionCodec) -> None:
        few = codec.dtype is np.int64 and max(codec.sizes) <= np.iinfo(np.uint8).max
        self.codec, self.dtype = codec, np.dtype(np.uint8 if few else codec.dtype)
        self.data = bytearray()

    def append(self, actions: NDArray[Any]) -> None:
        """Remembers the agent's actions [B, ...] of one step."""
        self.data += actions.astype(self.dtype).tobytes()

    def clear(self) -> None:
        """Forgets all."""
        self.data = bytearray()

    @property
    def tensor(self) -> Tensor:
        """Its bytes [N], a copy."""
        return torch.from_numpy(np.frombuffer(bytes(self.data), np.uint8).copy())

    def resume(self, data: Tensor, environments: int) -> Iterator[NDArray[Any]]:
        """Takes up the bytes of another log, and gives the actions [B, ...] of each of its steps."""
        self.data = bytearray(data.numpy().tobytes())
        rows = np.frombuffer(bytes(self.data), self.dtype).reshape(-1, environments, *self.codec.shape)
        yield from (row.astype(self.codec.dtype) for row in rows)


def _numbered(name: str, state: State) -> dict[str, Tensor]:
    return pack(name, {number: tensor.clone() for number, tensor in enumerate(state)})


def _from_numbered(name: str, tensors: Mapping[str, Tensor]) -> State:
    parts = unpack(name, tensors)
    return tuple(parts[str(number)].clone() for number in range(len(parts)))
