"""SAGM in a loop of your own: train on two emoji styles, test on one that was never seen."""

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from mien.data import emoji_dg
from mien.nn import GroupConvNet
from mien.optim import SAGM

torch.manual_seed(0)
fluent, noto, unseen = emoji_dg().sets  # the third is Twemoji
images = torch.from_numpy(np.concatenate([fluent.images, noto.images])).permute(0, 3, 1, 2) / 255
targets = torch.from_numpy(np.concatenate([fluent.targets, noto.targets]))
net = torch.nn.Sequential(GroupConvNet(8), torch.nn.Linear(128, 10))
optimizer = SAGM(net.parameters(), lambda params: torch.optim.Adam(params, 3e-3), rho=0.05, alpha=1e-3)

for batch in torch.randint(len(images), (200, 64)):

    def closure(batch=batch):  # called twice a step: here, and at the perturbed weights
        optimizer.zero_grad()
        (loss := cross_entropy(net(images[batch]), targets[batch])).backward()
        return loss

    loss = optimizer.step(closure)

found = net(torch.from_numpy(unseen.images).permute(0, 3, 1, 2) / 255).argmax(1).numpy()
print(f"training loss {loss:.3f}, accuracy on the unseen style {(found == unseen.targets).mean():.1%}")
