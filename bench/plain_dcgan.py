"""A plain DCGAN loop as tutorials write it: the other side of `gantlet bench speed`.

64 x 64 images, 64 filters, batch 64, eager float32, default Adam, the fake batch shared between the two updates.
"""

from __future__ import annotations

import torch
from torch import nn


class Generator(nn.Sequential):
    def __init__(self, nz: int = 100, ngf: int = 64, nc: int = 3) -> None:
        super().__init__(
            nn.ConvTranspose2d(nz, ngf * 8, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 8),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 8, ngf * 4, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf * 4),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 4, ngf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf, nc, 4, 2, 1, bias=False),
            nn.Tanh(),
        )


class Discriminator(nn.Sequential):
    def __init__(self, ndf: int = 64, nc: int = 3) -> None:
        super().__init__(
            nn.Conv2d(nc, ndf, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 2, ndf * 4, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 4),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 4, ndf * 8, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 8),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 8, 1, 4, 1, 0, bias=False),
            nn.Sigmoid(),
        )


class Loop:
    """The tutorial's training step."""

    def __init__(self, *, channels_last: bool = False) -> None:
        torch.manual_seed(0)
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.g = Generator().to(memory_format=self.format)
        self.d = Discriminator().to(memory_format=self.format)
        self.loss = nn.BCELoss()
        self.opt_d = torch.optim.Adam(self.d.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.opt_g = torch.optim.Adam(self.g.parameters(), lr=2e-4, betas=(0.5, 0.999))

    def step(self, real: torch.Tensor) -> tuple[float, float]:
        real = real.contiguous(memory_format=self.format)
        n = real.shape[0]
        self.d.zero_grad()
        on_real = self.loss(self.d(real).view(-1), torch.ones(n))
        on_real.backward()
        fake = self.g(torch.randn(n, 100, 1, 1))
        on_fake = self.loss(self.d(fake.detach()).view(-1), torch.zeros(n))
        on_fake.backward()
        self.opt_d.step()
        self.g.zero_grad()
        wanted = self.loss(self.d(fake).view(-1), torch.ones(n))
        wanted.backward()
        self.opt_g.step()
        return (on_real + on_fake).item(), wanted.item()
