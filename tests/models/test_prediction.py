"""What a network that is right about its target says of the picture and of the noise."""

import numpy as np
import pytest
import torch

from models.prediction import PREDICTIONS, Prediction, target, to_eps, to_x0
from models.schedule import Schedule


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_picture_and_noise_follow_from_the_target(prediction: Prediction) -> None:
    schedule = Schedule("cosine", 50)
    x_0, noise = torch.randn(2, 50, 1, 2, 2, dtype=torch.float64)
    alpha, sigma = (
        torch.from_numpy(values.copy())[:, None, None, None]
        for values in (schedule.alphas, schedule.sigmas)
    )
    x_t, output = alpha * x_0 + sigma * noise, target(prediction, x_0, noise, alpha, sigma)
    for convert, expected in ((to_x0, x_0), (to_eps, noise)):
        p, q = convert(prediction, alpha.numpy(), sigma.numpy())
        found = p * x_t.numpy() + q * output.numpy()
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-9)
