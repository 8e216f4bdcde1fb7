"""One file per auxiliary task; this table has those that are settings of an algorithm, by the name of the setting."""

from asyncrl.auxiliary.base import AuxiliaryTask
from asyncrl.auxiliary.feature_control import FeatureControl
from asyncrl.auxiliary.input_change_prediction import InputChangePrediction
from asyncrl.auxiliary.input_reconstruction import InputReconstruction
from asyncrl.auxiliary.pixel_control import PixelControl
from asyncrl.auxiliary.reward_prediction import RewardPrediction
from asyncrl.auxiliary.value_replay import ValueReplay
from asyncrl.errors import UserError
from asyncrl.importing import import_object

TASKS: dict[str, type[AuxiliaryTask]] = {
    task.name: task
    for task in (
        PixelControl,
        RewardPrediction,
        ValueReplay,
        FeatureControl,
        InputReconstruction,
        InputChangePrediction,
    )
}


def task_at(path: str) -> AuxiliaryTask:
    """A user's own task, by its import path `module:Class`.

    Raises:
        UserError: There is none, or it cannot be made.
    """
    made = import_object(path, "auxiliary task")
    try:
        task: AuxiliaryTask = made()
    except TypeError as error:
        raise UserError(f"the auxiliary task {path!r} cannot be made without arguments: {error}") from error
    return task
