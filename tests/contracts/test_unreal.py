"""UNREAL: A3C with weights of 0, each task's gradient where it belongs, and tasks of a user's own on any algorithm."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Space
from torch import Tensor

from asyncrl.agent import load
from asyncrl.algorithms.auxiliary_tasks import WEIGHTS, AuxiliaryTasks
from asyncrl.algorithms.base import reduce
from asyncrl.algorithms.nstep_q import NStepQ
from asyncrl.algorithms.unreal import Unreal
from asyncrl.api import train
from asyncrl.auxiliary import TASKS
from asyncrl.auxiliary.base import AuxiliaryTask, TaskLoss
from asyncrl.auxiliary.cells import Cells
from asyncrl.auxiliary.control import control_losses
from asyncrl.auxiliary.pixel_control import Changing, PixelControl
from asyncrl.auxiliary.value_replay import Cut, ValueReplay
from asyncrl.config import Experiment
from asyncrl.envs.make import describe
from asyncrl.errors import UserError
from asyncrl.memory.auxiliary_replay import AuxiliaryReplay
from asyncrl.networks.assemble import Network, Networks
from asyncrl.networks.heads import Head, Output
from asyncrl.optim.hogwild import gradients
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.networks import make_network
from asyncrl.runtime.supervisor import Supervisor
from asyncrl.types import EnvironmentInfo, Loss, Progress, Rollout, WorkerInfo
from tests.experiments import small

T, B, A = 5, 3, 4
OFF: dict[str, Any] = dict.fromkeys(WEIGHTS, 0.0)
IMAGES = Box(0, 255, (12, 10, 3), np.uint8)
INFO = EnvironmentInfo("test", IMAGES, Discrete(A), 1)


def made(algorithm: str = "unreal", memory: str = "lstm", info: EnvironmentInfo = INFO, **settings: Any) -> Any:
    """An algorithm and its networks."""
    settings = {"torso": "minatar", "memory": memory, **OFF, **settings}
    experiment = small("Catch-v0", algorithm, initialization="torch", **settings)
    return experiment.algorithm, Networks(make_network(experiment, info))


def rollout(seed: int, memory: str = "lstm", dummies: tuple[tuple[int, int], ...] = ()) -> Rollout:
    random = torch.Generator().manual_seed(seed)
    valid, first = torch.ones(T, B, dtype=torch.bool), torch.zeros(T + 1, B, dtype=torch.bool)
    for t, b in dummies:
        valid[t, b], first[t + 1, b] = False, True
    return Rollout(
        observations=torch.randint(256, (T + 1, B, *IMAGES.shape), generator=random, dtype=torch.uint8),
        actions=torch.randint(A, (T, B), generator=random),
        rewards=torch.randn(T, B, generator=random),
        discounts=torch.full((T, B), 0.99),
        valid=valid,
        first=first,
        state=() if memory == "none" else tuple(torch.randn(B, 8, generator=random) for _ in range(2)),
    )


def experience(algorithm: Any, networks: Networks, memory: str = "lstm", info: EnvironmentInfo = INFO) -> Any:
    kept = algorithm.make_memory(WorkerInfo(info, B, 0, 1, memory != "none"))
    for seed in range(3):
        kept.add(rollout(seed, memory, dummies=((2, 1),)))
    (item,) = kept.draw(networks, torch.Generator().manual_seed(0), Progress(0, 1000))
    return item


def parts_with_gradient(loss: Tensor, network: Network) -> set[str]:
    """The torso, the core, or the name of a head, for each part of the network that a loss has a gradient by."""
    sizes = [parameter.numel() for parameter in network.parameters()]
    named = zip(dict(network.named_parameters()), gradients(loss, network).split(sizes), strict=True)  # type: ignore[no-untyped-call]
    return {name.split(".")[2 if name.startswith("bodies") else 1] for name, part in named if part.any()}


REACHED = {
    "pixel_control": {"torso", "core", "pixel_control"},
    "reward_prediction": {"torso", "reward_prediction"},
    "value_replay": {"torso", "core", "value"},
    "feature_control": {"torso", "core", "feature_control"},
    "input_reconstruction": {"torso", "input_reconstruction"},
    "input_change_prediction": {"torso", "core", "input_change_prediction"},
}


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("memory", ["lstm", "none"])
def test_the_gradient_of_each_task_reaches_what_the_paper_says(name: str, memory: str) -> None:
    algorithm, networks = made(memory=memory, **{name: 0.3})
    item = experience(algorithm, networks, memory)
    assert set(item.samples) == {name}
    learned = TASKS[name]().loss(networks.online, item.samples[name])
    total = reduce(learned.losses, learned.valid)
    reached = parts_with_gradient(total, networks.online)
    assert reached == REACHED[name] - ({"core"} if memory == "none" else set())
    loss, main = algorithm.loss(networks, item), super(AuxiliaryTasks, algorithm).loss(networks, item.main)
    torch.testing.assert_close(loss.total, main.total + 0.3 * total)
    assert set(loss.statistics) - set(main.statistics) == {f"{name}_loss", *learned.statistics}
    same = learned.losses[learned.valid].mean()
    torch.testing.assert_close(loss.statistics[f"{name}_loss"], same.detach(), rtol=1e-4, atol=1e-5)


def parameters_after(experiment: Experiment, folder: Path) -> Tensor:
    folder.mkdir()
    supervisor = Supervisor(experiment, describe(experiment), RunFolder(folder))
    supervisor.run([])
    return supervisor.model.parameters.clone()


@pytest.mark.parametrize("memory", ["lstm", "none"])
def test_with_all_weights_0_it_is_a3c_to_the_last_bit(tmp_path: Path, memory: str) -> None:
    settings: dict[str, Any] = {"memory": memory, "last_action_reward": True, "workers": 2, "steps": 600}
    settings["max_gradient_norm"] = 0.5  # the tuned presets differ in it
    a3c = parameters_after(small("Catch-v0", "a3c", **settings), tmp_path / "a3c")
    unreal = parameters_after(small("Catch-v0", "unreal", **settings, **OFF), tmp_path / "unreal")
    assert torch.equal(a3c, unreal)
    other = parameters_after(small("Catch-v0", "unreal", **settings), tmp_path / "other")
    assert other.shape != a3c.shape  # with their usual weights the tasks have heads


def test_tasks_without_a_weight_cost_nothing() -> None:
    algorithm, networks = made()
    worker = WorkerInfo(INFO, B, 0, 1)
    assert type(algorithm.make_memory(worker)) is type(small("Catch-v0", "a3c").algorithm.make_memory(worker))
    assert algorithm.memory_bytes(worker) == 0
    assert set(networks.online.heads) == {"policy", "value"}
    assert made(pixel_control=0.1)[0].memory_bytes(worker) == 2_000 * B * (360 + 10 + 8)


def test_auxiliary_heads_are_computed_for_their_task_alone() -> None:
    _, networks = made(**dict.fromkeys(WEIGHTS, 1.0))
    network, data = networks.online, rollout(0)
    computed: list[str] = []
    for name, head in network.heads.items():
        head.register_forward_hook(lambda *_, name=name: computed.append(name))
    network.act(data.observations[:1], data.state, data.first[:1])
    assert computed == ["policy"]
    assert set(network(data.observations, data.state, data.first)[0]) == {"policy", "value"}
    assert set(network.unroll(data)) == {"policy", "value"}
    computed.clear()
    asked = network.unroll(data, heads=["pixel_control"])
    assert computed == list(asked) == ["pixel_control"]
    assert asked["pixel_control"].shape == (T + 1, B, 12, 10, A)


@pytest.mark.parametrize(
    ("shape", "frame_stack", "grid", "side", "corner"),
    [
        ((84, 84, 4), 4, (20, 20), 4, (2, 2)),  # of the paper: the central 80 x 80
        ((84, 84, 3), 1, (20, 20), 4, (2, 2)),
        ((3, 64, 64), 1, (20, 20), 3, (2, 2)),
        ((210, 160, 3), 1, (26, 20), 8, (1, 0)),
        ((10, 10, 6), 1, (10, 10), 1, (0, 0)),  # MinAtar
        ((10, 5), 1, (10, 4), 1, (0, 0)),  # Catch
    ],
)
def test_cells_and_deconvolutions_fit_the_image(
    shape: tuple[int, ...], frame_stack: int, grid: tuple[int, int], side: int, corner: tuple[int, int]
) -> None:
    space = Box(0, 255, shape, np.uint8)
    info = dataclasses.replace(INFO, observation_space=space, frame_stack=frame_stack)
    cells = Cells.of(info, "--pixel-control")
    assert (cells.rows, cells.columns, cells.side, cells.top, cells.left) == (*grid, side, *corner)
    images = torch.randint(256, (2, 3, *shape), dtype=torch.uint8)
    cropped = cells.images(images)
    assert cropped.shape[2:4] == (grid[0] * side, grid[1] * side)
    with_channels = images.unsqueeze(-1) if len(shape) == 2 else images.movedim(2, -1) if shape[0] == 3 else images
    newest = with_channels[..., -1].float() / 255
    torch.testing.assert_close(cropped[0, 0, 0, 0, -1], newest[0, 0, corner[0], corner[1]])
    assert cropped.shape[-1] == (1 if frame_stack == 4 else with_channels.shape[-1])
    head = PixelControl().heads(info)["pixel_control"].make(7)
    assert head(torch.randn(2, 3, 7)).shape == (2, 3, *grid, A)
    mask = torch.tensor([1, 0, 1, 1]).expand(2, 3, A)
    assert bool((head(torch.randn(2, 3, 7), mask).argmax(-1) != 1).all())


def test_the_image_of_a_dictionary_and_intensities_between_0_and_1() -> None:
    spaces: dict[str, Space[Any]] = {
        "speed": Box(-1, 1, (3,)),
        "board": Box(0, 1, (4, 4)),
        "seen": Box(-2, 2, (8, 8, 3)),
    }
    cells = Cells.of(dataclasses.replace(INFO, observation_space=Dict(spaces)), "--pixel-control")
    assert cells.frame.key == "seen"
    observations = {"seen": torch.full((1, 1, 8, 8, 3), 1.0)}
    assert cells.images(observations).unique().tolist() == [0.75]


@pytest.mark.parametrize(
    ("space", "actions", "problem"),
    [
        (Box(-1, 1, (5,)), Discrete(2), "--pixel-control needs images of at least 4 x 4 pixels"),
        (Box(0, 1, (3, 8)), Discrete(2), "--pixel-control needs images of at least 4 x 4 pixels"),
        (IMAGES, MultiDiscrete([2, 3]), "--pixel-control needs Discrete actions"),
        (IMAGES, Box(-1, 1, (2,)), "--pixel-control needs Discrete actions"),
    ],
    ids=str,
)
def test_what_pixel_control_cannot_do_is_refused_in_one_line(
    space: Space[Any], actions: Space[Any], problem: str
) -> None:
    info = dataclasses.replace(INFO, observation_space=space, action_space=actions)
    with pytest.raises(UserError, match=rf"{problem}.*: add --pixel-control 0$"):
        made(info=info, torso="auto", pixel_control=0.1)


def test_settings_that_make_no_sense_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="--value-replay must be 0 or more, not -1"):
        Unreal(value_replay=-1.0)
    with pytest.raises(UserError, match="--auxiliary-steps must be at least 1"):
        Unreal(auxiliary_steps=0)
    with pytest.raises(UserError, match=r"auxiliary tasks teach .*: leave out --separate"):
        made(reward_prediction=1.0, separate=True)
    made(separate=True)


def test_the_loss_of_pixel_control_equals_the_sum_over_cells_and_steps() -> None:
    algorithm, networks = made(pixel_control=1.0)
    data = rollout(4, dummies=((2, 1),))
    data.discounts[1, 0] = 0.0
    random = torch.Generator().manual_seed(0)
    values, changes = torch.randn(T + 1, B, 2, 2, A, generator=random), torch.rand(T, B, 2, 2, generator=random)
    losses = control_losses(values, changes, data)
    for b in range(B):
        targets = values[T, b].amax(-1)
        for t in reversed(range(T)):
            if not data.valid[t, b]:
                assert float(losses[t, b]) == 0
                targets = values[t, b].amax(-1)
                continue
            targets = changes[t, b] + (0.9 if data.discounts[t, b] else 0.0) * targets
            expected = (targets - values[t, b, :, :, data.actions[t, b]]).square().sum()
            assert float(losses[t, b]) == pytest.approx(float(expected), rel=1e-5)
    sample = Changing(data, torch.rand(T, B, 12, 10))
    assert algorithm.tasks["pixel_control"].task.loss(networks.online, sample).losses.shape == (T, B)


def test_value_replay_learns_the_value_alone_from_returns_that_are_cut() -> None:
    _, networks = made(value_replay=1.0)
    data, cuts = rollout(5, dummies=((3, 2),)), torch.tensor([2, 5, 4])
    learned = ValueReplay().loss(networks.online, Cut(data, cuts))
    values = networks.online.unroll(data)["value"].detach()
    for b in range(B):
        following = float(values[T, b])
        for t in reversed(range(T)):
            if t + 1 == int(cuts[b]):
                following = float(values[t + 1, b])
            valid = bool(data.valid[t, b])
            following = float(data.rewards[t, b] + data.discounts[t, b] * following) if valid else float(values[t, b])
            assert float(learned.losses[t, b].detach()) == pytest.approx(
                (following - float(values[t, b])) ** 2, abs=1e-5
            )


def test_forbidden_actions_do_not_make_a_loss_infinite() -> None:
    data = rollout(6, dummies=((2, 1),))
    values = torch.randn(T + 1, B, 2, 2, A).requires_grad_()
    with torch.no_grad():
        values[2, 1, ..., int(data.actions[2, 1])] = torch.finfo(torch.float32).min
    losses = control_losses(values, torch.rand(T, B, 2, 2), data)
    (gradient,) = torch.autograd.grad(reduce(losses, data.valid), [values])
    assert bool(losses.isfinite().all())
    assert bool(gradient.isfinite().all())


class MeanColour(AuxiliaryTask):
    """Predicts the mean intensity of the image from what the core gives."""

    name = "mean_colour"

    def heads(self, info: EnvironmentInfo) -> Mapping[str, Head]:
        return {"mean_colour": Head(lambda features: Output(features, 1), auxiliary=True)}

    def draw(self, replay: AuxiliaryReplay, random: torch.Generator) -> Rollout | None:
        return replay.sequences(random)

    def loss(self, network: Network, sample: Rollout) -> TaskLoss:
        means = sample.observations[:-1].float().flatten(2).mean(-1)
        said = network.unroll(sample, final=False, heads=["mean_colour"])["mean_colour"].squeeze(-1)
        return TaskLoss((said - means).square(), sample.valid)


class AsValue(MeanColour):
    """Has a head with a name that is taken."""

    name = "as_value"

    def heads(self, info: EnvironmentInfo) -> Mapping[str, Head]:
        return {"value": Head(lambda features: Output(features, 1), auxiliary=True)}


@dataclasses.dataclass(frozen=True)
class UnrealQ(AuxiliaryTasks, NStepQ):
    """n-step Q-learning with auxiliary tasks."""

    value_replay: float = 0.0


OWN = f"{__name__}:MeanColour"
SHORT: dict[str, Any] = {"runtime": "serial", "workers": 1, "envs_per_worker": 4, "steps": 600, "quiet": True}


def test_a_task_of_ones_own_is_named_by_its_import_path(tmp_path: Path) -> None:
    settings: dict[str, Any] = {**OFF, "auxiliary": [MeanColour], "auxiliary_weight": 0.5, **SHORT}
    result = train("Catch", algorithm="unreal", run_dir=tmp_path / "run", **settings)
    assert '"mean_colour_loss"' in (result.run_dir / "metrics.jsonl").read_text("utf-8")
    with pytest.raises(UserError, match=f"uses code that is not asyncrl's: .*--import {__name__}"):
        load(result.run_dir)
    agent = load(result.run_dir, modules=[__name__])
    assert "mean_colour" in agent.network.heads
    assert agent.experiment.algorithm.auxiliary == (OWN,)  # type: ignore[attr-defined]
    for path, problem in {
        f"{__name__}:Nothing": "cannot import the auxiliary task",
        f"{__name__}:experience": "cannot be made without arguments",
        f"{__name__}:AsValue": "the auxiliary task as_value has a head 'value', and so has another",
    }.items():
        with pytest.raises(UserError, match=problem):
            made(auxiliary=(path,))
    with pytest.raises(UserError, match="two auxiliary tasks have one name"):
        made(auxiliary=(OWN, OWN))


def test_tasks_on_top_of_n_step_q_learning(tmp_path: Path) -> None:
    path = f"{__name__}:UnrealQ"
    settings: dict[str, Any] = {"memory": "lstm", "target_interval": 100, "steps": 600}
    plain = small("Catch-v0", "nstep-q", **settings)
    off = dataclasses.replace(plain, algorithm=UnrealQ(**dataclasses.asdict(plain.algorithm), **OFF))  # type: ignore[call-overload]
    assert torch.equal(parameters_after(plain, tmp_path / "plain"), parameters_after(off, tmp_path / "off"))
    on: dict[str, Any] = {**SHORT, "target_interval": 100, "pixel_control": 0.1, "reward_prediction": 1.0}
    result = train("Catch", algorithm=path, run_dir=tmp_path / "on", **on)
    text = (result.run_dir / "metrics.jsonl").read_text("utf-8")
    assert '"pixel_control_loss"' in text
    assert '"reward_prediction_accuracy"' in text
    with pytest.raises(UserError, match=r"value_replay needs an algorithm with the head 'value'.*--value-replay 0"):
        parameters_after(small("Catch-v0", path, **settings, value_replay=1.0), tmp_path / "wrong")


def test_the_loss_of_an_update_without_samples_is_the_algorithms() -> None:
    algorithm, networks = made(pixel_control=1.0)
    kept = algorithm.make_memory(WorkerInfo(INFO, B, 0, 1, True))
    kept.add(rollout(0))
    (item,) = kept.draw(networks, torch.Generator(), Progress(0, 1000))
    loss: Loss = algorithm.loss(networks, item)
    assert item.samples == {}
    assert torch.equal(loss.total, super(AuxiliaryTasks, algorithm).loss(networks, item.main).total)
