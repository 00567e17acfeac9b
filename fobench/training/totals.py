"""Running sums over the images of an epoch or of an evaluation."""

from dataclasses import dataclass

import torch

from fobench.machine.ranks import Ranks


@dataclass
class Totals:
    """Sums over images: loss and wrong answers on the device, their number on the host."""

    loss: torch.Tensor
    wrong: torch.Tensor
    images: int = 0

    @classmethod
    def zero(cls, device: torch.device) -> "Totals":
        return cls(*torch.zeros(2, dtype=torch.float64, device=device))

    def add(self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Add a batch with its mean loss []; its images are counted apart.

        In place, and all of it on the device.
        """
        self.loss += loss.detach() * len(labels)
        self.wrong += (logits.detach().argmax(dim=1) != labels).sum()

    def add_up(self, ranks: Ranks) -> None:
        """Add those of all ranks, which count the same images, each a part of them."""
        ranks.add([self.loss, self.wrong])

    def reset(self) -> None:
        self.loss.zero_()
        self.wrong.zero_()
        self.images = 0

    def means(self) -> tuple[float, float]:
        """Mean loss, and error in percent."""
        return float(self.loss) / self.images, 100 * float(self.wrong) / self.images
