"""What `asyncrl inspect` says of an agent is true of the agent."""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from PIL import Image

import tests.environments  # noqa: F401  (registers the environments)
from asyncrl.agent import Agent
from asyncrl.algorithms.a3c import A3C
from asyncrl.analysis.inspection.chapter import NotShownError, Subject
from asyncrl.analysis.inspection.embedding import embed
from asyncrl.analysis.inspection.first_policy import play_untrained
from asyncrl.analysis.inspection.moments import stand_out
from asyncrl.analysis.inspection.optimum import Table, catch_table, show_optimum, tabular_table
from asyncrl.analysis.inspection.recording import Recording, record
from asyncrl.analysis.inspection.saliency import by_gradient, by_perturbation, spaces_of
from asyncrl.analysis.inspection.value_map import most_important, show_map
from asyncrl.analysis.readout import readout_of
from asyncrl.envs.catch import CatchVectorEnv
from asyncrl.envs.make import describe
from asyncrl.memory.rollout import RewardRule
from asyncrl.networks.assemble import make_network
from asyncrl.networks.heads import policy_head
from asyncrl.run_folder import RunFolder
from asyncrl.tree import tree_map
from tests.experiments import small


@dataclass(frozen=True)
class PolicyOnly(A3C):
    """An algorithm that knows no values."""

    def heads(self, action_space: Any) -> Any:
        return {"policy": policy_head(action_space)}


KINDS: dict[str, dict[str, Any]] = {
    "policy on boards": {"environment": "Catch-v0"},
    "dueling values, lstm": {"environment": "CartPole-v1", "algorithm": "nstep-q", "dueling": True, "memory": "lstm"},
    "small images": {"environment": "MinAtar/Breakout-v1"},
    "large images": {"environment": "ALE/Pong-v5"},
    "dictionaries, several components, gru": {
        "environment": "test/Rooms-v0",
        "memory": "gru",
        "last_action_reward": True,
    },
    "continuous actions, separate": {"environment": "Pendulum-v1", "separate": True, "normalize_observations": True},
    "bytes as vectors": {"environment": "test/Bytes-v0"},
    "four axes, not to be drawn": {"environment": "test/Plain-v0"},
    "a policy without values": {"environment": "Catch-v0", "algorithm": f"{__name__}:PolicyOnly"},
}


@cache
def agent_of(kind: str) -> Agent:
    """An agent with parameters far from a policy that is the same everywhere."""
    experiment = small(**KINDS[kind])
    info = describe(experiment)
    network = make_network(experiment, info)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return Agent(experiment, info, network, torch.Generator())


@cache
def recording_of(kind: str) -> Recording:
    return record_of(agent_of(kind))


def record_of(agent: Agent, states: int = 40) -> Recording:
    return record(
        agent,
        readout_of(agent),
        states=states,
        seconds=30,
        deterministic=False,
        seed=0,
        progress=lambda share: None,
    )


def subject_of(kind: str, **changes: Any) -> Subject:
    return Subject(RunFolder(Path("nowhere")), recording_of(kind), **changes)


def features_of(agent: Agent, decision: Any) -> Any:
    """What the policy's head, or that of the action values, is given."""
    network = agent.network
    number = network.body_of["policy" if "policy" in network.heads else "q"]
    body: Any = network.bodies[number]
    flat = tree_map(lambda rows: rows.flatten(0, 1), decision.observation)
    flat = flat if network.normalizer is None else network.normalizer(flat)
    with torch.no_grad():
        return body(flat, decision.state[network.state_parts[number]], decision.first)[0].flatten()


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_is_what_was_played(kind: str) -> None:
    agent, recording = agent_of(kind), recording_of(kind)
    assert len(recording) == 40 == len(recording.rewards) == len(recording.features)
    for number, decision in enumerate(recording.decisions):
        with torch.no_grad():
            outputs, _ = agent.network(decision.observation, decision.state, decision.first)
        reading = recording.readout.read(outputs)
        np.testing.assert_allclose(reading.preferences[0], recording.reading.preferences[number], rtol=1e-5, atol=1e-6)
        assert reading.preferences.shape[1] == len(recording.readout.names)
        np.testing.assert_allclose(features_of(agent, decision), recording.features[number], rtol=1e-5, atol=1e-6)
    if recording.readout.kind == "probabilities":
        groups = np.split(recording.reading.preferences, np.cumsum(recording.readout.sizes)[:-1], 1)
        for group in groups:
            np.testing.assert_allclose(group.sum(1), 1, rtol=1e-5)
    starts = np.flatnonzero(recording.step == 0)
    assert np.array_equal(recording.episode[starts], np.arange(len(starts)))
    with Image.open(io.BytesIO(recording.frames[0])) as image:
        assert min(image.size) > 20


def test_the_value_of_a_dueling_network_is_its_value_stream() -> None:
    recording = recording_of("dueling values, lstm")
    head: Any = recording.agent.network.heads["q"]
    features = torch.from_numpy(recording.features)[:, None]
    with torch.no_grad():
        outputs = {"q": head(features)}
        expected = head.value(features).flatten()
    torch.testing.assert_close(recording.readout.value(outputs), expected)
    policy = head.advantage(features) - head.advantage(features).mean(-1, keepdim=True)
    torch.testing.assert_close(recording.readout.policy(outputs), policy.flatten(0, 1))


def test_returns_are_discounted_as_learned_from_and_go_on_where_an_episode_was_cut() -> None:
    recording = recording_of("policy on boards")
    experiment = replace(recording.agent.experiment, reward_clip=0.5, reward_scale=2.0)
    recording = replace(recording, agent=replace(recording.agent, experiment=experiment))
    discount = experiment.algorithm.discount
    assert recording.ends == (True, True, True, True, False)  # 40 states are no multiple of an episode of 9
    assert recording.after[:4] == (0, 0, 0, 0)
    for number in range(len(recording)):
        same = [other for other in range(number, 40) if recording.episode[other] == recording.episode[number]]
        total = sum(discount ** (other - number) * 2 * np.clip(recording.rewards[other], -0.5, 0.5) for other in same)
        total += discount ** len(same) * recording.after[recording.episode[number]]
        assert recording.returns[number] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("truncate", [True, False])
def test_after_a_time_limit_the_value_counts_and_after_a_terminal_state_nothing(truncate: bool) -> None:
    experiment = small("test/Clock-v0", environment_options={"length": 3, "truncate": truncate})
    info = describe(experiment)
    agent = Agent(experiment, info, make_network(experiment, info), torch.Generator())
    recording = record_of(agent, states=7)
    assert recording.why_shades  # it draws nothing
    assert recording.ends == (True, True, False)
    assert recording.rewards.tolist() == [1, 2, 3, 1, 2, 3, 1]

    def value(episode: int, step: int) -> float:
        with torch.no_grad():
            outputs, _ = agent.network(
                torch.tensor([[[float(episode), step]]]), (), torch.zeros(1, 1, dtype=torch.bool)
            )
        return float(outputs["value"])

    first = int(recording.decisions[0].observation[0, 0, 0])  # the environment counts its episodes
    expected = [value(first, 3) if truncate else 0.0, value(first + 1, 3) if truncate else 0.0, value(first + 2, 1)]
    assert recording.after == pytest.approx(expected, abs=1e-5)


def test_a_film_of_short_episodes_goes_on_with_the_next() -> None:
    recording = recording_of("policy on boards")
    assert recording.film == slice(0, 40)
    long = replace(recording, episode=np.repeat(np.arange(8), 100))
    assert long.film == slice(0, 200)


@pytest.mark.parametrize("kind", ["policy on boards", "continuous actions, separate", "bytes as vectors"])
def test_gradients_are_those_of_finite_differences(kind: str) -> None:
    recording = recording_of(kind)
    saliency = by_gradient(recording, 3)
    decision, network = recording.decisions[3], recording.agent.network

    def value(observation: torch.Tensor) -> float:
        with torch.no_grad():
            outputs, _ = network(observation, decision.state, decision.first)
        return float(recording.readout.value(outputs))

    assert saliency.value is not None
    gradients, step = saliency.value.ravel(), 0.25 if decision.observation.dtype == torch.uint8 else 1e-2
    start = decision.observation.float()
    for place in np.argsort(-gradients)[:3]:
        near = []
        for change in (step, -step):
            moved = start.clone()
            moved.view(-1)[place] += change
            near.append(value(moved))
        assert abs(near[0] - near[1]) / (2 * step) == pytest.approx(gradients[place], rel=0.1, abs=1e-4)


def test_gradients_reach_the_bytes_of_images() -> None:
    saliency = by_gradient(recording_of("large images"), 3)
    assert saliency.policy.shape == saliency.value.shape == (84, 84)
    assert saliency.policy.max() > 0
    assert saliency.value.max() > 0


def test_perturbing_a_cell_says_what_setting_it_to_zero_changes() -> None:
    recording = recording_of("policy on boards")
    saliency = by_perturbation(recording, 5)
    decision, network, readout = recording.decisions[5], recording.agent.network, recording.readout
    with torch.no_grad():
        before, _ = network(decision.observation, (), decision.first)
        for row, column in itertools.product(range(10), range(5)):
            changed = decision.observation.clone()
            changed[..., row, column] = 0
            after, _ = network(changed, (), decision.first)
            expected = 0.5 * (readout.policy(after) - readout.policy(before)).square().sum()
            assert saliency.policy[row, column] == pytest.approx(float(expected), abs=1e-6)
            expected = 0.5 * (readout.value(after) - readout.value(before)).square().sum()
            assert saliency.value[row, column] == pytest.approx(float(expected), abs=1e-6)
    # only the ball and the paddle are not zero already; elsewhere nothing but rounding can differ
    assert np.count_nonzero(saliency.policy > 1e-6 * saliency.policy.max()) <= 2


def test_perturbing_large_images_finds_the_place_that_matters() -> None:
    recording = recording_of("large images")
    torso: Any = recording.agent.network.bodies[0].torso  # type: ignore[union-attr]
    kept = [parameter.detach().clone() for parameter in recording.agent.network.parameters()]
    try:
        with torch.no_grad():  # only what the convolutions see near the lower right corner counts
            weight = torso.dense.weight.view(-1, 9, 9, torso.convolutions[-1].out_channels)
            weight[:, :7] = 0
            weight[:, :, :7] = 0
        noisy = replace(recording, decisions=tuple(_with_noise(decision) for decision in recording.decisions))
        saliency = by_perturbation(noisy, 3)
        for found in (saliency.policy, saliency.value):
            row, column = np.unravel_index(found.argmax(), found.shape)
            assert row / found.shape[0] > 0.65
            assert column / found.shape[1] > 0.65
            assert found[: len(found) // 2].max() < 1e-3 * found.max()
    finally:
        with torch.no_grad():
            for parameter, old in zip(recording.agent.network.parameters(), kept, strict=True):
                parameter.copy_(old)


def _with_noise(decision: Any) -> Any:
    noise = torch.randint(0, 256, decision.observation.shape, generator=torch.Generator().manual_seed(0))
    return replace(decision, observation=noise.to(torch.uint8))


@pytest.mark.parametrize("kind", KINDS)
def test_saliency_of_every_kind_has_a_map_for_each_part(kind: str) -> None:
    recording = recording_of(kind)
    spaces = spaces_of(recording.agent)
    assert set(spaces) == (set(recording.agent.info.observation_space) if kind.startswith("dict") else {""})
    for key, space in spaces.items():
        for method in (by_perturbation, by_gradient):
            saliency = method(recording, 7, key)
            assert (saliency.value is None) == (kind == "a policy without values")
            for found in (saliency.policy, saliency.value):
                if found is not None:
                    assert found.ndim == min(2, len(space.shape))
                    assert np.isfinite(found).all()
                    assert (found >= 0).all()


def test_moments_that_stand_out_lie_apart() -> None:
    order = np.zeros(100, np.float32)
    order[[10, 12, 50, 90]] = [9, 8, 7, 6]
    assert stand_out(order, 3, 15) == [10, 50, 90]
    assert len(stand_out(order[:30], 4, 15)) == 2


def test_the_table_of_catch_is_what_the_game_pays() -> None:
    game, discount = CatchVectorEnv(1, rows=6, columns=4, paddle_width=2), 0.9
    table = catch_table(game, discount, RewardRule(scale=3.0))
    alive = np.flatnonzero(~np.isnan(table.action_values[:, 0]))
    boards = {table.observations[state].tobytes(): state for state in alive}
    assert len(boards) == len(alive) == 4 * (1 + 4 * 3)  # at first the paddle is in the middle
    play = CatchVectorEnv(len(alive), rows=6, columns=4, paddle_width=2)
    time, ball, paddle = (part.ravel()[alive] for part in np.meshgrid(range(6), range(4), range(3), indexing="ij"))
    play.reset()
    observations = play.boards_of(time, ball, paddle)
    play.ended[:] = False
    totals, scale, over = np.zeros(len(alive)), 1.0, np.zeros(len(alive), bool)
    while not over.all():  # whoever acts by the table gets what the table says
        states = np.array([boards.get(board.tobytes(), 0) for board in observations])
        observations, rewards, terminated, _, _ = play.step(table.action_values[states].argmax(-1))
        totals += scale * 3.0 * rewards * ~over
        over |= terminated
        scale *= discount
    np.testing.assert_allclose(totals, table.action_values[alive].max(-1), rtol=1e-6)
    assert set(np.sign(totals)) == {-1.0, 1.0}  # some balls cannot be reached any more


def test_the_table_of_frozen_lake_has_the_known_value() -> None:
    pytest.importorskip("pygame")
    environment: Any = gymnasium.make("FrozenLake-v1").unwrapped
    table = tabular_table(environment, 0.99, RewardRule())
    assert table.action_values[0].max() == pytest.approx(0.5420, abs=1e-3)  # of the slippery 4 × 4 map
    assert np.isnan(table.action_values[[5, 7, 11, 12, 15]]).all()  # holes and goal
    assert table.maps[""].shape == (4, 4)


def test_an_agent_that_knows_the_optimum_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = subject_of("policy on boards")
    table = catch_table(CatchVectorEnv(1), subject.agent.experiment.algorithm.discount, RewardRule())
    chapter = show_optimum(subject)
    assert f"All {5 * (1 + 3 + 7 * 5)} states" in chapter.text

    def exact(rows: torch.Tensor, *rest: Any) -> Any:
        values = torch.from_numpy(np.nan_to_num(table.action_values)).float()[None]
        return {"value": values.amax(-1), "policy": values}, ()

    monkeypatch.setattr(subject.agent.network, "forward", exact)
    perfect = show_optimum(subject)
    assert "a best one in 100.0%" in perfect.text
    error = float(perfect.text.split("its value is ")[1].split()[0])
    assert error < 1e-6


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("dueling values, lstm", "it remembers"),
        ("large images", "no table of states"),
        ("dictionaries, several components, gru", "it remembers"),
    ],
)
def test_where_there_is_no_optimum_the_reason_is_told(kind: str, reason: str) -> None:
    with pytest.raises(NotShownError, match=reason):
        show_optimum(subject_of(kind))


def test_of_catch_only_the_plain_game_has_a_table() -> None:
    for options in ({"noise": 0.1}, {"balls": 2}, {"memory": True}):
        with pytest.raises(NotShownError, match="plain game"):
            catch_table(CatchVectorEnv(1, **options), 0.99, RewardRule())  # type: ignore[arg-type]
    assert isinstance(catch_table(CatchVectorEnv(1), 0.99, RewardRule()), Table)


def test_the_map_is_drawn_over_the_dimensions_that_matter() -> None:
    recording = recording_of("continuous actions, separate")
    first: Any = [body.torso.layers[0] for body in recording.agent.network.bodies]  # type: ignore[union-attr]
    kept = [layer.weight.detach().clone() for layer in first]
    try:
        with torch.no_grad():
            for layer in first:
                layer.weight[:, 1] = 0
        assert most_important(recording) == (0, 2)
    finally:
        with torch.no_grad():
            for layer, old in zip(first, kept, strict=True):
                layer.weight.copy_(old)
    chapter = show_map(subject_of("continuous actions, separate", dimensions=(2, 1)))
    assert "Over angular velocity and sin angle;" in chapter.text
    for kind in ("policy on boards", "large images", "bytes as vectors"):
        with pytest.raises(NotShownError):
            show_map(subject_of(kind))


def test_too_few_different_states_have_no_embedding() -> None:
    with pytest.raises(NotShownError, match="only 2 of its states differ"):
        embed(np.repeat(np.eye(2, dtype=np.float32), 50, 0), 0)


def test_before_training_a_value_agent_acts_at_random() -> None:
    steps = play_untrained(agent_of("dueling values, lstm"))
    assert 0.45 < steps.actions.mean() < 0.55  # ε is 1
    assert len(steps.episodes) > 20
