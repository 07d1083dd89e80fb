"""The line-art network: a small U-Net, photo in, line drawing out."""

import torch
from torch import nn

WIDTHS = (16, 32, 64, 64)  # multiples of 16, which fill AVX-512 registers
MULTIPLE = 8  # of which height and width must be: each level but the first halves them


def convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),  # the norm has the bias
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class LineArtNet(nn.Module):
    """(N, 3, H, W) RGB from 0 to 1 to (N, 1, H, W) from 0, ink, to 1, paper.

    Nothing in it looks at the whole picture, so that a picture drawn in tiles is the same picture.
    It grows by nearest-neighbour resizing and then a convolution, as transposed convolutions leave
    checkerboards (Odena et al. 2016).
    """

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            nn.Sequential(convolution(inputs, width), convolution(width, width))
            for inputs, width in zip((3, *WIDTHS), WIDTHS)
        )
        self.narrow = nn.ModuleList(map(convolution, WIDTHS[1:], WIDTHS))
        self.up = nn.ModuleList(convolution(2 * width, width) for width in WIDTHS[:-1])
        self.head = nn.Conv2d(WIDTHS[0], 1, 3, padding=1)

    def logits(self, photo: torch.Tensor) -> torch.Tensor:
        levels = [self.down[0](photo)]
        for down in self.down[1:]:
            levels.append(down(nn.functional.max_pool2d(levels[-1], 2)))
        x = levels.pop()
        for narrow, up in zip(reversed(self.narrow), reversed(self.up)):
            x = nn.functional.interpolate(narrow(x), scale_factor=2.0, mode="nearest")
            x = up(torch.cat([x, levels.pop()], 1))
        return self.head(x)

    def forward(self, photo: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.logits(photo))


@torch.no_grad()
def radius() -> int:
    """How far a pixel reaches, in pixels: the overlap with which tiles have no seams.

    Measured: with positive weights alone every path counts and none cancels, so all that a pixel
    can change does change. Its place within a pooled block matters, so all are tried; rows and
    columns are alike, so those on the diagonal will do.
    """
    net = LineArtNet().double().eval()
    for parameter in net.parameters():
        parameter.abs_().clamp_(min=1e-3)
    middle = 10 * MULTIPLE
    blank = torch.zeros(1, 3, 2 * middle, 2 * middle, dtype=torch.double)
    without = net.logits(blank)
    reach = 0
    for place in range(middle, middle + MULTIPLE):
        photo = blank.clone()
        photo[..., place, place] = 1
        changed = (net.logits(photo) != without)[0, 0].nonzero()
        reach = max(reach, (changed - place).abs().max().item())
    return reach
