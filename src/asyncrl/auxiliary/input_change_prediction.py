"""Predicting how an action changes the image, a baseline of pixel control (Jaderberg et al. 2017, §4.1)."""

from asyncrl.auxiliary.pixel_control import PixelControl


class InputChangePrediction(PixelControl):
    """Predicts the change in each cell by the step that was taken: pixel control that looks no further than one step.

    Deviation: the paper does not say how its prediction depends on the action; here it has the head of pixel control.
    """

    name = "input_change_prediction"
    discount = 0.0
