"""What every algorithm must keep, for every kind of action and every memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space
from torch import Tensor

from asyncrl.algorithms import ALGORITHMS, VALUE_BASED
from asyncrl.algorithms.base import statistics
from asyncrl.algorithms.nstep_q import NStepQ
from asyncrl.envs.actions import action_codec
from asyncrl.errors import UserError
from asyncrl.memory.trajectories import Trajectories
from asyncrl.memory.with_auxiliary_replay import Supplemented
from asyncrl.networks.assemble import Networks
from asyncrl.optim.hogwild import gradients
from asyncrl.runtime.networks import make_network
from asyncrl.types import EnvironmentInfo, Progress, Rollout, WorkerInfo
from tests.experiments import small

T, B, A = 6, 3, 4
OBSERVATIONS = Box(-1, 1, (5,), np.float32)
ACTIONS: dict[str, Space[Any]] = {
    "discrete": Discrete(A),
    "multi-discrete": MultiDiscrete([2, 3]),
    "box": Box(-2, 2, (2,), np.float32),
}
INFO = EnvironmentInfo("x", OBSERVATIONS, ACTIONS["discrete"], 1)
Settings = dict[str, Any]
REPLAY: Settings = {
    "rollout_length": T,
    "replay_start": 1,
    "batch_size": 3,
    "replay_ratio": 0.2,
    "sequence_length": 1,
    "burn_in": 3,
}
"""Settings with which one minibatch is drawn after a single rollout of the tests."""
SETTINGS: dict[str, Settings] = {
    "unreal": {"rollout_length": T, "pixel_control": 0.0, "reward_prediction": 0.5},
    "dqn": REPLAY,
    "acer": {"rollout_length": T},
    "pgq": {"rollout_length": T},
    "pqn": {"epochs": 1, "minibatches": 1},
    "ppo": {"epochs": 1, "minibatches": 1},
    "impala": {"epochs": 1},
    "nfq": {"rollout_length": T, "replay_start": 1, "epochs": 1},
}
"""Settings that algorithms need here."""
SPACES: dict[str, tuple[str, ...]] = {
    "a3c": tuple(ACTIONS),
    "unreal": tuple(ACTIONS),
    "acer": ("discrete", "box"),
    "ppo": tuple(ACTIONS),
    "impala": tuple(ACTIONS),
    "pgq": ("discrete", "multi-discrete"),
}
"""Kinds of actions that algorithms can have beside discrete ones."""
VARIANTS: dict[str, Settings] = {"double": {"double": True}, "dueling": {"dueling": True}}


def _cases() -> Iterator[Any]:
    for name in ALGORITHMS:
        settings = SETTINGS.get(name, {})
        for actions in SPACES.get(name, ("discrete",)):
            for memory in ("none", "lstm", "gru") if name != "nfq" else ("none",):
                yield pytest.param(name, actions, memory, settings, id=f"{name}-{actions}-{memory}")
                if name in ("a3c", "acer"):
                    separate = {**settings, "separate": True}
                    yield pytest.param(name, actions, memory, separate, id=f"{name}-{actions}-{memory}-separate")
        if name == "dqn":
            for memory in ("none", "gru"):
                for prioritized in ("proportional", "rank"):
                    variant = {"double": True, "dueling": True, "prioritized": prioritized, "multi_step": 2}
                    yield pytest.param(
                        name, "discrete", memory, {**REPLAY, **variant}, id=f"dqn-{prioritized}-{memory}"
                    )
        if name == "pqn":
            yield pytest.param(name, "discrete", "gru", {**settings, "dueling": True}, id="pqn-dueling")
        if hasattr(ALGORITHMS[name], "exploration_persistence"):
            persistent = {**settings, "exploration_persistence": 0.9}
            yield pytest.param(name, actions, "none", persistent, id=f"{name}-{actions}-persistent")
        if name == "nfq":
            variant = {"separate_actions": True, "hint_to_goal": "terminal"}
            yield pytest.param(name, "discrete", "none", {**settings, **variant}, id="nfq-separate-hints")
        if name in VALUE_BASED:
            for variant, settings in VARIANTS.items():
                if (name, variant) != ("sarsa", "double"):
                    yield pytest.param(name, "discrete", "lstm", settings, id=f"{name}-{variant}")


CASES = pytest.mark.parametrize(("name", "actions", "memory", "settings"), list(_cases()))
CASES_OF_ROLLOUTS = pytest.mark.parametrize(
    ("name", "actions", "memory", "settings"), [case for case in _cases() if case.values[0] != "dqn"]
)
"""The cases that learn from whole rollouts, in which every environment counts alike."""


def setup(name: str, actions: str, memory: str, settings: dict[str, Any]) -> tuple[Any, Networks]:
    experiment = small(algorithm=name, memory=memory, initialization="torch", **settings)
    assert isinstance(experiment.algorithm, ALGORITHMS[name])
    info = dataclasses.replace(INFO, action_space=ACTIONS[actions])
    network = make_network(experiment, info)
    if experiment.algorithm.target_update is None:
        return experiment.algorithm, Networks(network)
    return experiment.algorithm, Networks(network, make_network(dataclasses.replace(experiment, seed=2), info))


def some_actions(space: Space[Any], *shape: int, seed: int) -> Tensor:
    space.seed(seed)
    codec = action_codec(space)
    flat = np.stack([np.asarray(space.sample()) for _ in range(int(np.prod(shape)))])
    return torch.from_numpy(flat.reshape(*shape, *codec.shape).astype(codec.dtype))


def rollout(
    networks: Networks, actions: str = "discrete", dummies: tuple[tuple[int, int], ...] = (), seed: int = 0
) -> Rollout:
    random = torch.Generator().manual_seed(seed)
    valid = torch.ones(T, B, dtype=torch.bool)
    first = torch.zeros(T + 1, B, dtype=torch.bool)
    for t, b in dummies:
        valid[t, b], first[t + 1, b] = False, True
    observations, state = torch.randn(T + 1, B, 5, generator=random), networks.online.initial_state(B)
    with torch.no_grad():
        outputs = networks.online(observations[:-1], state, first[:-1])[0]
    return Rollout(
        observations=observations,
        actions=some_actions(ACTIONS[actions], T, B, seed=seed),
        rewards=torch.randn(T, B, generator=random),
        discounts=torch.full((T, B), 0.9),
        valid=valid,
        first=first,
        state=state,
        next_actions=some_actions(ACTIONS[actions], B, seed=seed + 1),
        behaviour={  # of a policy that is near the present one
            name: rows * (0.7 + 0.6 * torch.rand(rows.shape, generator=random)) for name, rows in outputs.items()
        },
    )


def drawn(algorithm: Any, networks: Networks, data: Rollout, memory: Any = None) -> Any:
    """What the algorithm's memory (a new one by default) says to learn from after a rollout."""
    space = ACTIONS["box" if data.actions.is_floating_point() else "discrete"]
    memory = memory or algorithm.make_memory(WorkerInfo(dataclasses.replace(INFO, action_space=space), B, 0, 1))
    memory.add(data)
    (experience,) = memory.draw(networks, torch.Generator(), Progress(0, 1000))
    return experience


def loss_and_gradient(algorithm: Any, networks: Networks, data: Rollout) -> tuple[float, Tensor]:
    return learned_from(algorithm, networks, drawn(algorithm, networks, data))


def learned_from(algorithm: Any, networks: Networks, experience: Any) -> tuple[float, Tensor]:
    loss = algorithm.loss(networks, experience).total
    return float(loss.detach()), gradients(loss, networks.online)


@CASES
def test_statistics_of_values_and_targets_belong_together(
    name: str, actions: str, memory: str, settings: dict[str, Any]
) -> None:
    algorithm, networks = setup(name, actions, memory, settings)
    data = rollout(networks, actions, dummies=((1, 0),))
    statistics_of = algorithm.loss(networks, drawn(algorithm, networks, data)).statistics
    found = {key: float(value) for key, value in statistics_of.items()}
    variance = found["target_square"] - found["target_mean"] ** 2
    assert variance > 0
    bias = found["target_mean"] - found["value_mean"]
    assert found["value_loss"] > bias**2  # E[(y - V)²] > E[y - V]²


def test_statistics_are_exact_means_over_valid_steps() -> None:
    random = torch.Generator().manual_seed(0)
    values, targets = torch.randn(T, B, generator=random), 3000 + 0.1 * torch.randn(T, B, generator=random)
    valid = torch.rand(T, B, generator=random) < 0.7
    found = statistics(valid, values, targets, {"value_loss": (targets - values).square()})
    exact = targets[valid].double()
    torch.testing.assert_close(found["value_mean"], values[valid].double().mean())
    torch.testing.assert_close(found["value_loss"], (targets - values)[valid].square().double().mean())
    variance = found["target_square"] - found["target_mean"] ** 2  # of numbers whose squares are 10⁹ times as large
    torch.testing.assert_close(variance, exact.var(correction=0), rtol=1e-4, atol=0.0)
    assert not any(statistics(torch.zeros(T, B, dtype=torch.bool), values, targets, {}).values())


@CASES
def test_finite_repeatable_and_the_gradient_reaches_every_parameter(
    name: str, actions: str, memory: str, settings: dict[str, Any]
) -> None:
    algorithm, networks = setup(name, actions, memory, settings)
    data = rollout(networks, actions, dummies=((3, 1),))
    loss, gradient = loss_and_gradient(algorithm, networks, data)
    again, same = loss_and_gradient(algorithm, networks, data)
    assert np.isfinite(loss)
    assert loss == again
    assert torch.equal(gradient, same)
    if networks.target is not None:  # its parameters are the shared θ⁻: no gradient may reach them
        loss_of_target = algorithm.loss(networks, drawn(algorithm, networks, data)).total
        assert not gradients(loss_of_target, networks.target).any()
    sizes = [parameter.numel() for parameter in networks.online.parameters()]
    parts = dict(zip(dict(networks.online.named_parameters()), gradient.split(sizes), strict=True))  # type: ignore[no-untyped-call]
    assert [key for key, part in parts.items() if not part.any()] == []


@CASES_OF_ROLLOUTS
def test_permuting_environments_leaves_the_loss_unchanged(
    name: str, actions: str, memory: str, settings: dict[str, Any]
) -> None:
    algorithm, networks = setup(name, actions, memory, settings)
    data = rollout(networks, actions, dummies=((2, 0), (4, 2)))
    order = torch.tensor([2, 0, 1])
    assert data.next_actions is not None
    fields = ("observations", "actions", "rewards", "discounts", "valid", "first")
    rows = {field: getattr(data, field)[:, order] for field in fields}
    behaviour = {name: rows[:, order] for name, rows in data.behaviour.items()}
    shuffled = Rollout(**rows, state=data.state, next_actions=data.next_actions[order], behaviour=behaviour)
    experience, other = drawn(algorithm, networks, data), drawn(algorithm, networks, shuffled)
    if isinstance(experience, Trajectories):  # the noise belongs to the environments too
        other = dataclasses.replace(experience, rollout=other.rollout, noise=experience.noise[:, :, order])
    if isinstance(experience, Supplemented):  # what is drawn from a replay is drawn by chance
        other = dataclasses.replace(experience, main=other.main)
    one, two = learned_from(algorithm, networks, experience), learned_from(algorithm, networks, other)
    assert one[0] == pytest.approx(two[0], rel=1e-5)
    torch.testing.assert_close(one[1], two[1], rtol=1e-4, atol=1e-6)


@CASES_OF_ROLLOUTS
def test_what_a_dummy_step_holds_does_not_matter(
    name: str, actions: str, memory: str, settings: dict[str, Any]
) -> None:
    algorithm, networks = setup(name, actions, memory, settings)
    data = rollout(networks, actions, dummies=((3, 1),))
    before = loss_and_gradient(algorithm, networks, data)
    data.rewards[3, 1], data.discounts[3, 1] = 1e3, 0.0
    if name != "sarsa":  # its last real step learns from the action it would take in the final observation
        data.actions[3, 1] = 1 - data.actions[3, 1].clamp(max=1)
    after = loss_and_gradient(algorithm, networks, data)
    assert before[0] == after[0]
    assert torch.equal(before[1], after[1])


@CASES
@torch.no_grad()
def test_acting_fits_the_action_space(name: str, actions: str, memory: str, settings: Settings) -> None:
    algorithm, networks = setup(name, actions, memory, settings)
    network, random, space = networks.online, torch.Generator().manual_seed(0), ACTIONS[actions]
    outputs, _ = network(torch.randn(1, 100, 5), network.initial_state(100), torch.ones(1, 100, dtype=torch.bool))
    codec = action_codec(space)
    explored = algorithm.explorer(network, WorkerInfo(INFO, 100, 0, 1), random)(outputs, Progress(0, 1000))
    for chosen in (explored, algorithm.act(network, outputs, random), algorithm.act_greedily(network, outputs)):
        assert chosen.shape == (1, 100, *codec.shape)
        assert all(action in space for action in codec.to_environment(chosen[0].numpy()))
    distinct = {tuple(np.atleast_1d(action)) for action in explored[0].numpy()}
    assert len(distinct) == {"discrete": A, "multi-discrete": 6, "box": 100}[actions]  # a new agent tries everything


@pytest.mark.parametrize("name", [*VALUE_BASED, "dqn", "pqn", "nfq"])
@pytest.mark.parametrize("actions", ["multi-discrete", "box"])
def test_value_based_methods_refuse_other_actions_in_one_line(name: str, actions: str) -> None:
    with pytest.raises(UserError, match=r"needs Discrete actions, not .*: take --algorithm a3c"):
        setup(name, actions, "none", {})


@pytest.mark.parametrize("memory", ["lstm", "gru"])
def test_nfq_refuses_recurrent_networks_in_one_line(memory: str) -> None:
    with pytest.raises(UserError, match=f"does not learn recurrent networks: leave out --memory {memory}"):
        setup("nfq", "discrete", memory, {})


@pytest.mark.parametrize("name", VALUE_BASED)
@pytest.mark.parametrize("double", [False, True])
def test_value_based_losses_equal_the_papers_sums(name: str, double: bool) -> None:
    if (name, double) == ("sarsa", True):
        with pytest.raises(UserError, match="--double needs a maximum"):
            setup(name, "discrete", "none", {"double": True})
        return
    algorithm, networks = setup(name, "discrete", "none", {"double": double})
    data = rollout(networks, dummies=((3, 1),))
    data.discounts[4, 2] = 0.0  # a terminal state without its dummy step, to keep the arithmetic visible
    assert networks.target is not None
    assert data.next_actions is not None
    online = networks.online(data.observations, (), data.first)[0]["q"].detach()
    target = networks.target(data.observations, (), data.first)[0]["q"].detach()

    def best(t: int, b: int) -> float:
        return float(target[t, b, online[t, b].argmax()] if double else target[t, b].max())

    def y(t: int, b: int) -> float:
        reward, discount = float(data.rewards[t, b]), float(data.discounts[t, b])
        if name == "onestep-q":
            return reward + discount * best(t + 1, b)
        if name == "sarsa":
            following = data.actions[t + 1, b] if t + 1 < T else data.next_actions[b]  # type: ignore[index]
            return reward + discount * float(target[t + 1, b, following])
        ends = t + 1 == T or not data.valid[t + 1, b]
        return reward + discount * (best(t + 1, b) if ends else y(t + 1, b))

    total = sum(
        (y(t, b) - float(online[t, b, data.actions[t, b]])) ** 2 for b in range(B) for t in range(T) if data.valid[t, b]
    )
    loss, _ = loss_and_gradient(algorithm, networks, data)
    assert loss == pytest.approx(total / B, rel=1e-4)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("error", ["squared", "huber"])
def test_the_loss_of_replayed_steps_equals_the_papers_sum(double: bool, error: str) -> None:
    settings = {**REPLAY, "double": double, "error": error, "prioritized": "proportional", "batch_size": 12}
    algorithm, networks = setup("dqn", "discrete", "none", {**settings, "replay_ratio": 0.8})
    data = rollout(networks, dummies=((3, 1),))
    memory = algorithm.make_memory(WorkerInfo(INFO, B, 0, 1))
    memory.add(data)
    items = np.delete(np.arange(5 * B), 3 * B + 1)  # of the first five steps, without the dummy one
    memory.selection.update(items, np.linspace(0.1, 2, len(items), dtype=np.float32))
    (experience,) = memory.draw(networks, torch.Generator().manual_seed(2), Progress(0, 1000))
    batch = experience.rollout
    assert networks.target is not None
    online = networks.online(batch.observations, (), batch.first)[0]["q"].detach()  # [2, N, A]
    target = networks.target(batch.observations, (), batch.first)[0]["q"].detach()
    total, sizes = 0.0, []
    for item, weight in enumerate(experience.weights.tolist()):
        best = target[1, item, online[1, item].argmax()] if double else target[1, item].max()
        y = float(batch.rewards[0, item] + batch.discounts[0, item] * best)
        size = abs(y - float(online[0, item, batch.actions[0, item]]))
        sizes.append(size)
        total += weight * (size**2 / 2 if error == "squared" or size < 1 else size - 0.5)
    assert min(sizes) < 1 < max(sizes)  # errors on both sides of the Huber loss's border
    loss = algorithm.loss(networks, experience)
    assert float(loss.total.detach()) == pytest.approx(total / 12, rel=1e-4)
    assert loss.feedback.tolist() == pytest.approx(sizes, rel=1e-4)


def test_a_sequence_begins_to_learn_with_the_state_after_its_burn_in() -> None:
    settings = {**REPLAY, "sequence_length": 2, "burn_in": 3, "replay_ratio": 0.4, "prioritized": "rank"}
    algorithm, networks = setup("dqn", "discrete", "lstm", settings)
    data = rollout(networks, dummies=((1, 0),))
    experience = drawn(algorithm, networks, data)
    whole, _ = networks.online(
        experience.rollout.observations, experience.rollout.state, experience.rollout.first
    )  # from the stored state on, the episode's end included
    part = experience.learned_by(networks.online)
    assert part.rewards.shape == (2, 3)
    torch.testing.assert_close(networks.online.unroll(part)["q"], whole["q"][3:])


def test_the_target_network_remembers_for_itself() -> None:
    # two rollouts of T steps must give the same target values as one of 2T, whatever the acting network remembers
    algorithm, networks = setup("nstep-q", "discrete", "lstm", {})
    assert networks.target is not None
    one, two = rollout(networks, seed=1), rollout(networks, seed=2)
    two.observations[0] = one.observations[-1]
    memory = algorithm.make_memory(WorkerInfo(INFO, B, 0, 1))
    parts = [drawn(algorithm, networks, data, memory).target_values for data in (one, two)]
    joined = torch.cat([one.observations[:-1], two.observations])
    first = torch.zeros(2 * T + 1, B, dtype=torch.bool)
    whole = networks.target(joined, networks.target.initial_state(B), first)[0]["q"].detach()
    torch.testing.assert_close(torch.cat([parts[0][:-1], parts[1]]), whole)
    torch.testing.assert_close(parts[0][-1], parts[1][0])


def test_epsilons_are_drawn_for_each_environment_and_fall_to_their_final_values() -> None:
    _, networks = setup("nstep-q", "discrete", "none", {})
    algorithm = NStepQ(exploration_steps=1000, epsilon_probabilities=(0.4, 0.3, 0.3))  # and the paper's final values
    count, random = 3000, torch.Generator().manual_seed(0)
    explore = algorithm.explorer(networks.online, WorkerInfo(INFO, count, 0, 1), random)
    outputs = {"q": torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(1, count, A)}  # action 3 is the best

    def random_share(steps: int) -> Tensor:
        drawn = torch.stack([explore(outputs, Progress(steps, 10_000))[0] != 3 for _ in range(400)]).float().mean(0)
        return drawn * A / (A - 1)  # a random action is the best one in 1 of A cases

    assert float(random_share(0).mean()) == pytest.approx(1.0, abs=0.02)
    final = random_share(5000)
    shares = [
        float(((low < final) & (final < high)).float().mean()) for low, high in ((0.05, 0.2), (-1, 0.05), (0.35, 1))
    ]
    assert shares == pytest.approx([0.4, 0.3, 0.3], abs=0.05)
    assert float(random_share(500).mean()) == pytest.approx((1 + float(final.mean())) / 2, abs=0.02)


def test_epsilons_are_spread_over_all_environments_of_the_run_as_in_ape_x() -> None:
    _, networks = setup("nstep-q", "discrete", "none", {})
    algorithm = NStepQ(exploration_steps=1, final_epsilons=(0.4,), epsilon_spread=7.0)
    count, workers, random = 4, 2, torch.Generator().manual_seed(0)
    outputs = {"q": torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(1, count, A)}  # action 3 is the best
    for number in range(workers):
        explore = algorithm.explorer(networks.online, WorkerInfo(INFO, count, number, workers), random)
        drawn = torch.stack([explore(outputs, Progress(1, 10_000))[0] != 3 for _ in range(20_000)]).double().mean(0)
        papers = [0.4 ** (1 + 7 * i / (count * workers - 1)) for i in range(number, count * workers, workers)]
        torch.testing.assert_close(drawn * A / (A - 1), torch.tensor(papers).double(), atol=0.015, rtol=0)
    acted = torch.cat([algorithm.act(networks.online, outputs, random) for _ in range(20_000)])
    assert float((acted != 3).double().mean()) * A / (A - 1) == pytest.approx(0.4**8, abs=0.001)
    alone = algorithm.explorer(networks.online, WorkerInfo(INFO, 1, 0, 1), random)
    drawn = torch.stack([alone({"q": outputs["q"][:, :1]}, Progress(1, 2))[0] != 3 for _ in range(20_000)]).double()
    assert float(drawn.mean()) * A / (A - 1) == pytest.approx(0.4, abs=0.02)


def test_a3c_loss_equals_the_papers_sum() -> None:
    # one environment, no end of an episode: the literal sum of Algorithm S3 with §4's entropy term
    algorithm, networks = setup("a3c", "discrete", "none", {})
    data = rollout(networks)
    network = networks.online
    outputs, _ = network(data.observations, (), data.first)
    values = outputs["value"].detach()
    total = 0.0
    for b in range(B):
        for t in range(T):
            ret = sum(0.9 ** (k - t) * float(data.rewards[k, b]) for k in range(t, T)) + 0.9 ** (T - t) * float(
                values[T, b]
            )
            pi = torch.softmax(outputs["policy"][t, b], -1).detach()
            log_pi = float(pi[data.actions[t, b]].log())
            entropy = -float((pi * pi.log()).sum())
            advantage = ret - float(values[t, b])
            total += -log_pi * advantage - algorithm.entropy_weight * entropy + algorithm.value_weight * advantage**2
    loss, _ = loss_and_gradient(algorithm, networks, data)
    assert loss == pytest.approx(total / B, rel=1e-4)
