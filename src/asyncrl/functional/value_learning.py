"""Losses of value estimates."""

from torch import Tensor


def squared_error(values: Tensor, targets: Tensor) -> Tensor:
    """(target - V)², the targets held constant (Mnih et al. 2016, Algorithms 1, S2 and S3).

    Args:
        values: [T, B].
        targets: [T, B], detached here.

    Returns:
        [T, B].
    """
    return (targets.detach() - values).square()
