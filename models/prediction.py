"""What the network predicts, and how a clean image follows from it.

eps: the noise (Ho et al. 2020); x0: the image; v = alpha eps - sigma x_0 (Salimans & Ho 2022).
Each is linear: x0_hat = P x_t + Q m for the network's output m.
"""

from typing import Literal, get_args

from torch import Tensor

from models.schedule import Floats

Prediction = Literal["eps", "v", "x0"]
PREDICTIONS: tuple[Prediction, ...] = get_args(Prediction)


def to_x0(prediction: Prediction, alpha: Floats, sigma: Floats) -> tuple[Floats, Floats]:
    """Coefficients (P, Q) with x0_hat = P x_t + Q m, elementwise over alpha and sigma."""
    if prediction == "eps":
        return 1 / alpha, -sigma / alpha
    if prediction == "v":
        return alpha, -sigma
    return 0 * alpha, 0 * alpha + 1


def to_eps(prediction: Prediction, alpha: Floats, sigma: Floats) -> tuple[Floats, Floats]:
    """Coefficients (P, Q) with eps_hat = P x_t + Q m, elementwise over alpha and sigma."""
    if prediction == "eps":
        return 0 * alpha, 0 * alpha + 1
    if prediction == "v":
        return sigma, alpha
    return 1 / sigma, -alpha / sigma


def target(
    prediction: Prediction, x_0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor
) -> Tensor:
    """What the network should output; alpha and sigma broadcast against (B, C, H, W)."""
    if prediction == "eps":
        return noise
    if prediction == "v":
        return alpha * noise - sigma * x_0
    return x_0
