"""The average of the weights against its formula."""

import pytest
import torch
from torch import nn

from models.ema import EMA


def test_the_average_warms_up_and_then_follows_slowly() -> None:
    network = nn.Linear(1, 1, bias=False)
    values = [network.weight.item(), 1.0, -2.0, 3.0, 0.5]
    ema, expected = EMA(network, decay=0.25), values[0]
    for update, value in enumerate(values[1:]):
        with torch.no_grad():
            network.weight.fill_(value)
        ema.update()
        decay = min(0.25, (1 + update) / (10 + update))  # 0.1, 0.18, 0.25, 0.25
        expected = decay * expected + (1 - decay) * value
        assert float(ema.weights["weight"]) == pytest.approx(expected, rel=1e-6)
    ema.copy_to(network)
    assert network.weight.item() == pytest.approx(expected, rel=1e-6)
