"""What `asyncrl inspect` shows of an agent is true of that agent."""

from __future__ import annotations

import io
import itertools
import json
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

import tests.environments  # noqa: F401  (registers the environments)
from asyncrl.algorithms.a3c import A3C
from asyncrl.analysis.drawing import drawing, to_svg
from asyncrl.analysis.inspection.chapter import NotShownError, Picture, Subject
from asyncrl.analysis.inspection.decidedness import RANDOM_WARNING
from asyncrl.analysis.inspection.embedding import embed
from asyncrl.analysis.inspection.episode_chapter import smoothed
from asyncrl.analysis.inspection.notable_states import largest
from asyncrl.analysis.inspection.optimum import Table, catch_table, show_optimum, table_of, tabular_table
from asyncrl.analysis.inspection.recording import RecordedEpisode, RecordedStep, Recording, record
from asyncrl.analysis.inspection.saliency import Saliency, by_gradient, by_perturbation, spaces_of
from asyncrl.analysis.inspection.saliency_agreement import why_they_disagree
from asyncrl.analysis.inspection.saliency_chapter import FADED, SHADES, show_saliency
from asyncrl.analysis.inspection.streams import show_streams
from asyncrl.analysis.inspection.training_curves import show_training
from asyncrl.analysis.inspection.untrained import play_untrained
from asyncrl.analysis.inspection.value_map import most_important, show_map
from asyncrl.analysis.inspection.verdict import verdict_on
from asyncrl.analysis.readout import readout_of
from asyncrl.envs.catch import CatchVectorEnv
from asyncrl.envs.make import describe
from asyncrl.metrics import METRICS
from asyncrl.networks.heads import policy_head
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.agent import Agent
from asyncrl.runtime.networks import make_network
from asyncrl.runtime.rollout_buffer import RewardRule
from asyncrl.tree import tree_map
from tests.experiments import small


@dataclass(frozen=True)
class PolicyOnly(A3C):
    """An algorithm without values."""

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

MASKED: dict[str, dict[str, Any]] = {
    "masked actions": {"environment": "test/Menu-v0"},
    "masked dueling values": {"environment": "test/Menu-v0", "algorithm": "nstep-q", "dueling": True},
}


@cache
def agent_of(kind: str) -> Agent:
    """An agent with perturbed parameters, whose policy differs between states."""
    experiment = small(**(KINDS | MASKED)[kind])
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
    """The input of the head for the policy or the action values."""
    network = agent.network
    number = network.body_of["policy" if "policy" in network.heads else "q"]
    body: Any = network.bodies[number]
    flat = tree_map(lambda rows: rows.flatten(0, 1), decision.observation)
    flat = flat if network.normalizer is None else network.normalizer(flat)
    with torch.no_grad():
        return body(flat, decision.state[network.state_parts[number]], decision.first)[0]["core"].flatten()


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_is_what_was_played(kind: str) -> None:
    agent, recording = agent_of(kind), recording_of(kind)
    assert len(recording) == 40 == len(recording.rewards) == len(recording.features)
    for number, step in enumerate(recording.steps):
        decision = step.decision
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
    assert recording.lengths.sum() == 40
    firsts = [bool(step.decision.first) for step in recording.steps]
    assert np.array_equal(recording.step_numbers == 0, firsts)
    with Image.open(io.BytesIO(recording.steps[0].frame)) as image:
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


def test_returns_are_in_training_units_and_bootstrap_where_an_episode_was_cut() -> None:
    recording = recording_of("policy on boards")
    experiment = replace(recording.agent.experiment, reward_clip=0.5, reward_scale=2.0)
    recording = replace(recording, agent=replace(recording.agent, experiment=experiment))
    discount = experiment.algorithm.discount
    assert [len(episode.steps) for episode in recording.episodes] == [9, 9, 9, 9, 4]
    assert [episode.is_whole for episode in recording.episodes] == [True, True, True, True, False]
    assert [episode.bootstrap for episode in recording.episodes[:4]] == [0, 0, 0, 0]
    assert recording.episodes[4].bootstrap != 0
    expected = []
    for episode in recording.episodes:
        rewards = [2 * np.clip(step.reward, -0.5, 0.5) for step in episode.steps]
        for start in range(len(rewards)):
            terms = [*rewards[start:], episode.bootstrap]
            expected.append(sum(discount**power * term for power, term in enumerate(terms)))
    np.testing.assert_allclose(recording.returns, expected, rtol=1e-5)


def test_normalised_rewards_give_returns_and_the_optimum_in_the_units_of_the_values() -> None:
    recording = recording_of("policy on boards")
    experiment = replace(recording.agent.experiment, reward_clip=None, reward_scale=1.0, normalize_rewards=True)
    discount = experiment.algorithm.discount
    for deviation, paid in ((4.0, 0.25), (0.01, 10.0)):  # normalised rewards are clipped to 10
        agent = replace(recording.agent, experiment=experiment, return_deviation=deviation)
        normalised = replace(recording, agent=agent)
        rewards = [step.reward for step in normalised.episodes[0].steps]
        assert normalised.returns[0] == pytest.approx(discount**8 * np.sign(rewards[-1]) * paid, rel=1e-5)
        best = np.nanmax(table_of(Subject(RunFolder(Path("nowhere")), normalised)).action_values)
        assert best == pytest.approx(paid, rel=1e-6)


@pytest.mark.parametrize("truncate", [True, False])
def test_after_a_time_limit_the_value_counts_and_after_a_terminal_state_nothing(truncate: bool) -> None:
    experiment = small("test/Clock-v0", environment_options={"length": 3, "truncate": truncate})
    info = describe(experiment)
    agent = Agent(experiment, info, make_network(experiment, info), torch.Generator())
    recording = record_of(agent, states=7)
    assert recording.render_problem
    assert [episode.is_whole for episode in recording.episodes] == [True, True, False]
    assert recording.rewards.tolist() == [1, 2, 3, 1, 2, 3, 1]

    def value(episode: int, step: int) -> float:
        with torch.no_grad():
            outputs, _ = agent.network(
                torch.tensor([[[float(episode), step]]]), (), torch.zeros(1, 1, dtype=torch.bool)
            )
        return float(outputs["value"])

    first = int(recording.steps[0].decision.observation[0, 0, 0])  # the environment counts its episodes
    expected = [value(first, 3) if truncate else 0.0, value(first + 1, 3) if truncate else 0.0, value(first + 2, 1)]
    assert [episode.bootstrap for episode in recording.episodes] == pytest.approx(expected, abs=1e-5)


def test_a_video_shows_whole_episodes_until_it_is_long_enough() -> None:
    recording = recording_of("policy on boards")
    assert (recording.video_episodes, recording.video_steps) == (5, slice(0, 40))
    episode = replace(recording.episodes[0], steps=tuple(recording.steps[:1] * 70))
    long = replace(recording, episodes=(episode,) * 8)
    assert (long.video_episodes, long.video_steps) == (3, slice(0, 210))
    assert [long.place(number) for number in (69, 70)] == ["episode 1, step 69", "episode 2, step 0"]


@pytest.mark.parametrize("kind", ["policy on boards", "continuous actions, separate", "bytes as vectors"])
def test_gradients_agree_with_finite_differences(kind: str) -> None:
    recording = recording_of(kind)
    saliency, readout = by_gradient(recording, 3), recording.readout
    decision, network = recording.steps[3].decision, recording.agent.network
    change = 0.25 if decision.observation.dtype == torch.uint8 else 1e-3

    def outputs_at(place: int, change: float) -> Any:
        moved = decision.observation.float().clone()
        moved.view(-1)[place] += change
        with torch.no_grad():
            return network(moved, decision.state, decision.first)[0]

    for gradients, output in ((saliency.policy, readout.preferred), (saliency.value, readout.value)):
        assert gradients is not None
        for place in np.argsort(-gradients.ravel())[:3]:
            difference = output(outputs_at(place, change)) - output(outputs_at(place, -change))
            assert abs(float(difference)) / (2 * change) == pytest.approx(gradients.ravel()[place], rel=0.1, abs=1e-4)


def test_the_streams_of_a_dueling_network_have_their_own_saliency() -> None:
    """|∂V/∂s| and |∂A(s, argmax_a A)/∂s|, each through its own layer of the head (Wang et al. 2016, §4.2)."""
    recording = recording_of("dueling values, lstm")
    network, decision = recording.agent.network, recording.steps[3].decision
    head: Any = network.heads["q"]
    streams: dict[str, torch.Tensor] = {}
    hooks = [
        layer.register_forward_hook(lambda _, __, output, name=name: streams.__setitem__(name, output))
        for name, layer in (("value", head.value), ("advantage", head.advantage))
    ]
    rows = decision.observation.clone().requires_grad_()
    network(rows, decision.state, decision.first)
    for hook in hooks:
        hook.remove()
    advantages = streams["advantage"].flatten()
    expected = {"value": streams["value"].sum(), "policy": (advantages - advantages.mean()).max()}
    found = by_gradient(recording, 3)
    for name, scalar in expected.items():
        (gradient,) = torch.autograd.grad(scalar, rows, retain_graph=True)
        np.testing.assert_allclose(getattr(found, name), gradient.abs().flatten(), rtol=1e-4, atol=1e-7)
    assert not np.allclose(found.policy, found.value)
    titles = [axes.get_title() for axes in show_saliency(subject_of("dueling values, lstm")).pictures[0].figure.axes]
    assert titles == ["advantage stream", "value stream"]


def test_the_gradient_of_a_linear_network_is_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = recording_of("policy on boards")
    generator = torch.Generator().manual_seed(0)
    value, policy = torch.randn(10, 5, generator=generator), torch.randn(3, 10, 5, generator=generator)

    def linear(rows: torch.Tensor, *rest: Any) -> Any:
        return {"value": (rows * value).sum((-1, -2)), "policy": (rows[..., None, :, :] * policy).sum((-1, -2))}, ()

    monkeypatch.setattr(recording.agent.network, "forward", linear)
    saliency = by_gradient(recording, 3)
    preferred = linear(recording.observations([3])[None])[0]["policy"].argmax()
    np.testing.assert_allclose(saliency.value, value.abs(), rtol=1e-6)
    np.testing.assert_allclose(saliency.policy, policy[preferred].abs(), rtol=1e-6)


def test_a_network_that_is_not_differentiable_has_no_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = subject_of("policy on boards")
    forward = subject.agent.network.forward

    def without_gradient(*arguments: Any) -> Any:
        with torch.no_grad():
            return forward(*arguments)

    monkeypatch.setattr(subject.agent.network, "forward", without_gradient)
    chapter = show_saliency(subject)
    assert "not differentiable" in chapter.text
    assert [picture.name for picture in chapter.pictures] == ["saliency_perturbation"]


def test_gradients_reach_the_bytes_of_images() -> None:
    saliency = by_gradient(recording_of("large images"), 3)
    assert saliency.policy.shape == saliency.value.shape == (84, 84)
    assert saliency.policy.max() > 0
    assert saliency.value.max() > 0


def test_perturbing_a_pixel_measures_what_setting_it_to_zero_changes() -> None:
    recording = recording_of("policy on boards")
    saliency = by_perturbation(recording, 5)
    decision, network, readout = recording.steps[5].decision, recording.agent.network, recording.readout
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
    assert (saliency.policy > 1e-9).sum() <= 2  # only the ball and the paddle are not zero already; others only round


def test_perturbing_large_images_finds_the_place_that_matters() -> None:
    recording = recording_of("large images")
    torso: Any = recording.agent.network.bodies[0].torso  # type: ignore[union-attr]
    kept = [parameter.detach().clone() for parameter in recording.agent.network.parameters()]
    try:
        with torch.no_grad():  # only what the convolutions see near the lower right corner counts
            weight = torso.dense.weight.view(-1, 9, 9, torso.convolutions[-1].out_channels)
            weight[:, :7] = 0
            weight[:, :, :7] = 0
        noisy = replace(recording, episodes=tuple(_with_noise(episode) for episode in recording.episodes))
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


def _with_noise(episode: RecordedEpisode) -> RecordedEpisode:
    def noisy(step: RecordedStep) -> RecordedStep:
        noise = torch.randint(0, 256, step.decision.observation.shape, generator=torch.Generator().manual_seed(0))
        return replace(step, decision=replace(step.decision, observation=noise.to(torch.uint8)))

    return replace(episode, steps=tuple(map(noisy, episode.steps)))


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


def test_states_that_stand_out_are_apart() -> None:
    numbers = np.zeros(100, np.float32)
    numbers[[10, 12, 50, 90]] = [9, 8, 7, 6]
    assert largest(numbers, 3, 15) == [10, 50, 90]
    assert len(largest(numbers[:30], 4, 15)) == 2


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


def test_an_agent_that_knows_the_optimum_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = subject_of("policy on boards")
    table = catch_table(CatchVectorEnv(1), subject.agent.experiment.algorithm.discount, RewardRule())
    chapter = show_optimum(subject)
    assert f"all {5 * (1 + 3 + 7 * 5)} reachable states" in chapter.text

    def exact(rows: torch.Tensor, *rest: Any) -> Any:
        values = torch.from_numpy(np.nan_to_num(table.action_values)).float()[None]
        return {"value": values.amax(-1), "policy": values}, ()

    monkeypatch.setattr(subject.agent.network, "forward", exact)
    perfect = show_optimum(subject)
    assert "optimal in 100.0%" in perfect.text
    error = float(perfect.text.split("Its value is wrong by ")[1].split()[0])
    assert error < 1e-6


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("dueling values, lstm", "it is recurrent"),
        ("large images", "no table of states"),
        ("dictionaries, several components, gru", "it is recurrent"),
    ],
)
def test_without_an_optimum_the_reason_is_given(kind: str, reason: str) -> None:
    with pytest.raises(NotShownError, match=reason):
        show_optimum(subject_of(kind))


def test_only_the_plain_game_of_catch_has_a_table() -> None:
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
    assert "Drawn over angular velocity and sin angle." in chapter.text
    for kind in ("policy on boards", "large images", "bytes as vectors"):
        with pytest.raises(NotShownError):
            show_map(subject_of(kind))


def test_logarithmic_axes_have_plain_numbers_for_labels() -> None:
    with drawing(3, 2) as (figure, [[axes]]):
        axes.loglog([1e-4, 1e-2, 1], [0.5, 20, 3000])
    labels = re.findall(r"<text[^>]*>([^<]+)</text>", to_svg(figure))
    assert {"10", "100", "1000", "0.0001", "0.01"} <= set(labels)
    assert not [label for label in labels if "math" in label or "e-" in label]


def test_no_title_of_a_training_curve_is_cut(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    names = [metric.name for metric in METRICS.values() if metric.is_curve]
    lines = [{"steps": 1000 * number, **dict.fromkeys(names, 10.0**number)} for number in range(1, 4)]
    run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (picture,) = show_training(Subject(run, recording_of("policy on boards"))).pictures
    canvas = FigureCanvasAgg(picture.figure)
    boxes = [axes.title.get_window_extent(canvas.get_renderer()) for axes in picture.figure.axes if axes.get_visible()]
    assert len(boxes) == len(names)
    assert all(box.x0 >= 0 and box.x1 <= picture.figure.bbox.x1 for box in boxes)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def fresh(kind: str) -> Subject:
    """An agent with its initial parameters."""
    experiment = agent_of(kind).experiment
    info = describe(experiment)
    agent = Agent(experiment, info, make_network(experiment, info), torch.Generator())
    return Subject(RunFolder(Path("nowhere")), record_of(agent, states=20))


@pytest.mark.parametrize("kind", ["policy on boards", "continuous actions, separate"])
def test_a_policy_that_is_still_random_is_not_to_be_read(kind: str) -> None:
    subject = fresh(kind)
    assert subject.decidedness.is_random
    chapter = show_saliency(subject)
    assert RANDOM_WARNING in chapter.text
    for picture in chapter.pictures:
        assert picture.figure.get_suptitle() == RANDOM_WARNING
        assert opacities(picture) == {FADED}
    network = subject.agent.network
    head: Any = network.heads["policy"]
    with torch.no_grad():  # one action is now certain
        if kind == "policy on boards":
            head.logits.bias[1] += 20
        else:
            head.mean.bias += 1
            head.variance.bias -= 6
    decided = Subject(subject.run, record_of(subject.agent, states=20))
    assert not decided.decidedness.is_random
    assert "The policy is decided" in decided.decidedness.text
    chapter = show_saliency(decided)
    assert RANDOM_WARNING not in chapter.text
    assert not any(picture.figure.get_suptitle() for picture in chapter.pictures)
    assert all(opacities(picture) == {1.0} for picture in chapter.pictures)


def opacities(picture: Picture) -> set[float]:
    """The opacities of the images and bars of a picture."""
    return {drawn.get_alpha() for axes in picture.figure.axes for drawn in (*axes.images, *axes.patches)}


def test_whether_a_masked_policy_is_random_is_judged_by_its_allowed_actions() -> None:
    subject = fresh("masked actions")
    probabilities = subject.recording.reading.preferences
    assert np.array_equal(probabilities > 0, subject.recording.allowed)
    assert 0.3 < subject.recording.allowed.mean() < 0.9
    assert subject.decidedness.is_random
    assert "uniformly random choice among the allowed actions" in subject.decidedness.text


def test_how_far_apart_masked_action_values_are_is_judged_by_the_allowed_actions() -> None:
    subject = subject_of("masked dueling values")
    recording, gaps = subject.recording, []
    for values, allowed in zip(recording.reading.preferences, recording.allowed, strict=True):
        if allowed.sum() > 1:
            second, first = sorted(values[allowed])[-2:]
            gaps.append(first - second)
    assert 0 < len(gaps) < len(recording)
    assert f"the second highest by {np.mean(gaps):.2g} on average" in subject.decidedness.text
    text = show_streams(subject).text
    assert text.endswith("Actions are masked, so V is shown as the mean over the allowed actions.")


def test_saliency_has_one_scale_over_all_moments() -> None:
    picture = show_saliency(subject_of("policy on boards")).pictures[0]
    shown = [np.asarray(axes.images[0].get_array()) for axes in picture.figure.axes if axes.images]
    policy, value = shown[: len(shown) // 2], shown[len(shown) // 2 :]
    for row, colour in ((policy, SHADES["policy"]), (value, SHADES["value"])):
        nearest = [np.abs(image[..., :3] - colour).sum(-1).min() for image in row]
        assert sum(distance < 0.25 for distance in nearest) == 1  # full colour only at the strongest place of all


def test_where_two_methods_disagree_the_reason_is_given() -> None:
    rising = np.linspace(0, 1, 12, dtype=np.float32)
    same, other = Saliency(rising, rising), Saliency(rising[::-1], rising)
    assert why_they_disagree([same], [same]) == ""
    text = why_they_disagree([same], [other])
    assert "about the policy (correlation -1.00)" in text
    assert "values that it has in other states" in text
    board = replace(same, policy=rising.reshape(3, 4), value=None)
    flipped = replace(board, policy=board.policy[::-1, ::-1])
    assert "sets a cell to zero" in why_they_disagree([board], [flipped])
    fine = replace(board, policy=np.kron(flipped.policy, np.ones((5, 5), np.float32)))
    assert "blurs a place" in why_they_disagree([board], [fine])
    assert why_they_disagree([flipped], [fine]) == ""


def test_probabilities_are_smoothed_within_episodes() -> None:
    flickering = np.array([[0.0], [1.0]] * 20, np.float32)
    constant = np.full((10, 1), 3.0, np.float32)
    smooth = smoothed(np.concatenate([flickering, constant]), np.array([40, 10]), 8)
    assert np.abs(smooth[8:32] - 0.5).max() < 0.01
    np.testing.assert_allclose(smooth[40:], 3.0)


def with_frames(recording: Recording, frames: list[Any]) -> Recording:
    """The recording with one episode that has these frames."""
    encoded = []
    for frame in frames:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=92)
        encoded.append(file.getvalue())
    steps = [replace(step, frame=frame) for step, frame in zip(recording.steps, encoded, strict=False)]
    return replace(recording, episodes=(replace(recording.episodes[0], steps=tuple(steps)),))


def test_thumbnails_leave_out_the_margins_that_show_nothing() -> None:
    frames = []
    for number in range(10):  # a cart on a track: the track alone reaches the edges
        frame = np.full((400, 600, 3), 255, np.uint8)
        frame[300:302] = 0
        frame[250:320, 280 + 5 * number : 320 + 5 * number] = 0
        frames.append(frame)
    rows, columns = with_frames(recording_of("policy on boards"), frames).interior
    assert (rows.start, rows.stop) == pytest.approx((250 - 20, 320 + 20), abs=3)
    assert (columns.start, columns.stop) == pytest.approx((280 - 30, 365 + 30), abs=3)
    paddles = []
    for number in range(10):  # what moves at an edge is not cut
        frame = np.zeros((100, 50, 3), np.uint8)
        frame[90:, 5 * number : 5 * number + 5] = 255
        paddles.append(frame)
    rows, columns = with_frames(recording_of("policy on boards"), paddles).interior
    assert (rows.stop, columns) == (100, slice(0, 50))
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    assert with_frames(recording_of("policy on boards"), [noise] * 3).interior == (slice(0, 320), slice(0, 320))
    blank = np.zeros((30, 50, 3), np.uint8)
    assert with_frames(recording_of("policy on boards"), [blank] * 3).interior == (slice(0, 30), slice(0, 50))


def paid(returns: list[float], whole: bool = True) -> Subject:
    """An agent whose episodes on Catch had these returns."""
    recording = recording_of("policy on boards")
    step = recording.steps[0]
    episodes = tuple(
        RecordedEpisode((replace(step, reward=0.0), replace(step, reward=reward)), whole, 0.0) for reward in returns
    )
    return Subject(RunFolder(Path("nowhere")), replace(recording, episodes=episodes))


def test_the_verdict_says_what_is_played_how_well_and_how_sure() -> None:
    plays, well, sure = verdict_on(paid([1.0] * 12), ["A finding."])
    assert plays == "This agent plays Catch-v0. It was trained by a3c for 0 steps."
    before = np.mean([episode.total_reward for episode in paid([1.0]).untrained.episodes])
    assert f"Its mean return is 1. This is clearly better than the untrained agent, which reached {before:.4g}." in well
    assert well.endswith("A finding.")
    assert "All 12 episodes had the same return." in sure
    assert "asyncrl eval" not in sure
    assert "The policy" in sure
    assert "clearly worse than" in verdict_on(paid([-1.0] * 12))[1]
    assert "not clearly different from" in verdict_on(paid([-1.0, -1.0, 1.0, -1.0, 1.0]))[1]
    sure = verdict_on(paid([1.0, 0.0, -1.0, 0.0]))[2]
    assert "The 4 episodes had returns from -1 to 1, so the true mean is probably within 0.82 of 0." in sure
    assert "asyncrl eval nowhere --episodes 100" in sure
    unfinished = verdict_on(paid([0.5], whole=False))
    assert (
        "No episode ended within the 2 recorded steps, so there is no score yet: the return is 0.5 so far"
        in unfinished[1]
    )


def test_the_verdict_knows_what_counts_as_solved(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_experiment(small("Catch-v0", until_return=0.9))
    counts = dict.fromkeys(("frames", "wall_seconds", "updates", "episodes"), 1)
    run.metrics_file.write_text(json.dumps({"steps": 1, "return_mean": 0.0, **counts}) + "\n")
    solved, unsolved = (verdict_on(replace(paid([reward] * 3), run=run))[1] for reward in (1.0, 0.0))
    assert "counts as solved at a mean return of 0.9, which the agent has reached" in solved
    assert "which the agent has not reached" in unsolved


def test_the_optimum_adds_what_optimal_play_is_worth_to_the_verdict() -> None:
    subject = subject_of("policy on boards")
    discount = subject.agent.experiment.algorithm.discount
    assert f"optimal play is worth {discount**8:.3g} on average" in show_optimum(subject).finding


def test_too_few_different_states_have_no_embedding() -> None:
    with pytest.raises(NotShownError, match="only 2 of its states differ"):
        embed(np.repeat(np.eye(2, dtype=np.float32), 50, 0), 0)


def test_before_training_a_value_agent_acts_at_random() -> None:
    steps = play_untrained(agent_of("dueling values, lstm"))
    assert 0.45 < steps.actions.mean() < 0.55  # ε is 1
    assert len(steps.episodes) > 20
