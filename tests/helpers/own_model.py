"""A model that is not Galaxy's, as a user's own package would bring it."""

from torch import Tensor, nn

from galaxy.models import Encoder


class OwnModel(Encoder):
    """The mean colour of each image, through a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.num_features = 4
        self.layer = nn.Linear(3, 4)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, size, size) to (B, 4)."""
        return self.layer(images.mean(dim=(2, 3)))
