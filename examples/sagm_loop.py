"""SAGM in a loop of your own: train on two emoji styles, test on one that was never seen."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mien.data import emoji_dg
from mien.optim import SAGM

torch.manual_seed(0)
fluent, noto, unseen = emoji_dg().sets  # the third is Twemoji
images = torch.from_numpy(np.concatenate([fluent.images, noto.images])).permute(0, 3, 1, 2) / 255
targets = torch.from_numpy(np.concatenate([fluent.targets, noto.targets]))
net = nn.Sequential(
    nn.Conv2d(3, 16, 3, 2, 1),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, 2, 1),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(2048, 10),
)
optimizer = SAGM(net.parameters(), lambda params: torch.optim.Adam(params, 3e-3), rho=0.05, alpha=1e-3)

for _ in range(300):
    batch = torch.randint(len(images), (64,))

    def closure(batch=batch):  # called twice a step: here, and at the perturbed weights
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images[batch]), targets[batch])
        loss.backward()
        return loss

    loss = optimizer.step(closure)

with torch.no_grad():
    found = net(torch.from_numpy(unseen.images).permute(0, 3, 1, 2) / 255).argmax(1)
accuracy = (found == torch.from_numpy(unseen.targets)).float().mean()
print(f"training loss {loss:.3f}, accuracy on the unseen style {accuracy:.1%}")
