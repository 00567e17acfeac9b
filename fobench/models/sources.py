"""Where networks from elsewhere come from: torchvision, timm, a file of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from fobench.errors import UserError
from fobench.machine.home import expand_user
from fobench.models.elsewhere import ElsewhereOptions
from fobench.models.file_content import require_file, require_source_unchanged, source_digest_of

if TYPE_CHECKING:
    from torch import nn

    from fobench.models.base import Comparison


class TorchvisionOptions(ElsewhereOptions):
    """A classification network of torchvision: torchvision:resnet18, torchvision:vit_b_16 …"""

    package: ClassVar[str | None] = "torchvision"

    name: str = Field(pattern=r"^torchvision:.+$", description="torchvision: and a model's name")

    def constructor(self) -> Any:
        from torchvision import models

        from fobench.models.construct import require_known

        name = self.name.partition(":")[2]
        require_known(self.name, name, models.list_models(module=models))
        return models.get_model_builder(name)

    def offered(self, num_classes: int, image_shape: tuple[int, int, int]) -> dict[str, Any]:
        height, width, _ = image_shape
        square = {"image_size": height} if height == width else {}
        given = {"num_classes": num_classes, "aux_logits": False, "input_size": (height, width)}
        return given | square


class TimmOptions(ElsewhereOptions):
    """A network of timm: timm:convnext_atto, timm:vit_tiny_patch16_224 …"""

    package: ClassVar[str | None] = "timm"

    name: str = Field(pattern=r"^timm:.+$", description="timm: and a model's name")

    def constructor(self) -> Any:
        try:
            import timm
        except ImportError as error:
            raise UserError(
                f'[model] name = "{self.name}": timm is not installed: pip install "fobench[timm]"'
            ) from error
        from functools import partial

        from fobench.models.construct import require_known

        name = self.name.partition(":")[2]
        require_known(self.name, name.partition(".")[0], timm.list_models())
        return partial(timm.create_model, name)

    def offered(self, num_classes: int, image_shape: tuple[int, int, int]) -> dict[str, Any]:
        height, width, channels = image_shape
        size = height if height == width else (height, width)
        return {"num_classes": num_classes, "in_chans": channels, "img_size": size}


class FileOptions(ElsewhereOptions):
    """A class or function in a file of your own: ./mynet.py:Net"""

    name: str = Field(
        pattern=r"^.+\.py:[A-Za-z_]\w*$",
        description="a file, and a class or function in it that makes the network",
    )

    @field_validator("name")
    @classmethod
    def _file_is_there(cls, name: str) -> str:
        require_file("name", name.rpartition(":")[0])
        return name

    @property
    def path(self) -> Path:
        return expand_user(self.name.rpartition(":")[0])

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        self._digests["source_sha256"] = source_digest_of(self.path)

    def short_name(self) -> str:
        return f"{self.path.name}:{self.name.rpartition(':')[2]}"

    def network(self, num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
        from fobench.models.user_file import importing_only_what_is_known

        with importing_only_what_is_known(self.path):
            return super().network(num_classes, image_shape)

    def require_buildable(
        self, num_classes: int, image_shape: tuple[int, int, int]
    ) -> Comparison | None:
        from fobench.models.user_file import importing_only_what_is_known

        with importing_only_what_is_known(self.path):  # its forward pass can import, too
            return super().require_buildable(num_classes, image_shape)

    def constructor(self) -> Any:
        from fobench.models.user_file import load

        digest = self._digests["source_sha256"]
        require_source_unchanged(self.path, digest)
        return load(self.path, self.name.rpartition(":")[2], digest)

    def offered(self, num_classes: int, image_shape: tuple[int, int, int]) -> dict[str, Any]:
        height, width, channels = image_shape
        size = height if height == width else (height, width)
        return {
            **dict.fromkeys(("num_classes", "n_classes", "classes"), num_classes),
            **dict.fromkeys(("in_channels", "in_chans"), channels),
            **dict.fromkeys(("image_size", "img_size"), size),
        }
