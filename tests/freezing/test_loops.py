"""FreezeOut in the training loops that people have.

Mixed precision, accumulation, checkpointing of activations, moving averages of the weights; and the
trainers of Lightning and Transformers, where they are installed.
"""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from fobench import FreezeOut
from tests.docs.pages import examples_of

STEPS, CLASSES = 16, 3


def network() -> nn.Sequential:
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.1)) for _ in range(3)]
    return nn.Sequential(*blocks, nn.Linear(6, CLASSES))


def start(units: nn.Module, make=SGD, steps: int = STEPS) -> FreezeOut:
    optimizer = make([{"params": unit.parameters()} for unit in units], lr=0.05, weight_decay=1e-2)
    return FreezeOut(units, optimizer, steps, t0=0.2, scaling="linear")


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(step)
    return torch.randn(8, 6, generator=random), torch.randint(0, CLASSES, (8,), generator=random)


class Frozen:
    """Asserts that units are as they were when this first saw them frozen."""

    def __init__(self, units: nn.Module, freezeout: FreezeOut) -> None:
        self.units, self.freezeout, self.states = units, freezeout, {}

    def check(self) -> None:
        for index in range(self.freezeout.frozen):
            state = copy.deepcopy(self.units[index].state_dict())
            before = self.states.setdefault(index, state)
            assert all(torch.equal(each, before[key]) for key, each in state.items()), index
            assert all(parameter.grad is None for parameter in self.units[index].parameters())

    def require_all(self) -> None:
        """That every unit but the head was frozen and checked."""
        assert len(self.states) == len(self.units) - 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_with_a_gradient_scaler(dtype):
    """The scaler skips parameters without gradients, and a step whose gradients are not finite."""
    units = network()
    freezeout = start(units)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60, growth_interval=4)
    frozen, scales = Frozen(units, freezeout), []
    for step in range(STEPS):
        freezeout.step()
        frozen.check()
        images, labels = batch(step)
        freezeout.optimizer.zero_grad()
        with torch.autocast("cpu", dtype):
            loss = cross_entropy(units(images), labels)
        scaler.scale(loss).backward()
        scaler.unscale_(freezeout.optimizer)
        nn.utils.clip_grad_norm_(units.parameters(), 1.0)
        scaler.step(freezeout.optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
        frozen.check()
    frozen.require_all()
    if dtype == torch.float16:
        assert scales[0] < 2.0**60, "the first steps were skipped"


@pytest.mark.parametrize("set_to_none", [True, False])
def test_accumulated_gradients(set_to_none):
    """One `step()` a training step, `train()` in every micro-batch."""
    units = network()
    freezeout = start(units, AdamW, steps=STEPS // 2)
    frozen = Frozen(units, freezeout)
    freezeout.optimizer.zero_grad()
    for micro_batch in range(STEPS):
        if micro_batch % 2 == 0:
            freezeout.step()
            frozen.check()
        units.train()
        images, labels = batch(micro_batch)
        cross_entropy(units(images), labels).backward()
        if micro_batch % 2:
            freezeout.optimizer.step()
            freezeout.optimizer.zero_grad(set_to_none=set_to_none)
        frozen.check()
    frozen.require_all()


def test_a_unit_frozen_in_the_middle_of_an_accumulation_is_not_updated():
    """`step()` in every micro-batch: what had been accumulated for the unit is dropped."""
    units = network()
    freezeout = start(units)
    frozen = Frozen(units, freezeout)
    for micro_batch in range(STEPS):
        freezeout.step()
        frozen.check()
        images, labels = batch(micro_batch)
        cross_entropy(units(images), labels).backward()
        if micro_batch % 5 == 4:
            freezeout.optimizer.step()
            freezeout.optimizer.zero_grad()
        frozen.check()
    frozen.require_all()


def gradients_with(reentrant: bool | None, frozen_units: int) -> list[torch.Tensor | None]:
    """The gradients of all parameters, each unit checkpointed, once so many are frozen."""
    units = network()
    freezeout = start(units)
    while freezeout.frozen < frozen_units:
        freezeout.step()
    outputs, labels = batch(0)
    torch.manual_seed(1)
    for unit in units:
        if reentrant is None:
            outputs = unit(outputs)
        else:
            outputs = checkpoint(unit, outputs, use_reentrant=reentrant)
    loss = cross_entropy(outputs, labels)
    if loss.requires_grad:
        loss.backward()
    return [parameter.grad for parameter in units.parameters()]


@pytest.mark.parametrize("frozen_units", [0, 1, 3])
def test_checkpointed_activations_give_the_same_gradients(frozen_units):
    expected = gradients_with(None, frozen_units)
    for one, other in zip(gradients_with(False, frozen_units), expected, strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one, other)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_reentrant_checkpoints_lose_the_gradients_behind_frozen_units():
    """torch's own limit, which the page on loops warns of: nothing trains, and it only warns."""
    assert gradients_with(True, 1) == [None] * len(list(network().parameters()))


def test_a_moving_average_of_the_weights():
    """The average's copy of a unit that is frozen approaches it, and is a network of its own."""
    units = network()
    freezeout = start(units)
    average = AveragedModel(units, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
    frozen = Frozen(units, freezeout)
    for step in range(STEPS):
        freezeout.step()
        frozen.check()
        images, labels = batch(step)
        freezeout.optimizer.zero_grad()
        cross_entropy(units(images), labels).backward()
        freezeout.optimizer.step()
        average.update_parameters(units)
        frozen.check()
    frozen.require_all()
    torch.testing.assert_close(average.module[0][0].weight, units[0][0].weight, rtol=0, atol=1e-3)
    late = AveragedModel(units)
    late.train()
    assert late.module[0].training
    assert not units[0].training


def test_a_scheduler_of_torch_beside_it_cannot_undo_a_freeze():
    """It writes rates into all groups; FreezeOut writes its own before the next training step."""
    units = network()
    freezeout = start(units)
    other = torch.optim.lr_scheduler.StepLR(freezeout.optimizer, 3)
    frozen = Frozen(units, freezeout)
    for step in range(STEPS):
        freezeout.step()
        frozen.check()
        rates = [group["lr"] for group in freezeout.optimizer.param_groups]
        assert all((rate == 0) == (index < freezeout.frozen) for index, rate in enumerate(rates))
        images, labels = batch(step)
        freezeout.optimizer.zero_grad()
        cross_entropy(units(images), labels).backward()
        freezeout.optimizer.step()
        other.step()
        frozen.check()
    frozen.require_all()


# The trainers.


def images_and_labels() -> TensorDataset:
    batches = [batch(step) for step in range(STEPS)]
    return TensorDataset(*(torch.cat(each) for each in zip(*batches, strict=True)))


def names_from_the_page(heading: str, **known: object) -> dict:
    """What the page's example of a trainer defines, as it stands there."""
    names = {"torch": torch, "FreezeOut": FreezeOut, **known}
    exec(examples_of("docs/freezeout-in-your-loop.md", heading), names)
    return names


@pytest.mark.parametrize("accumulated", [1, 3])
def test_lightning_as_on_the_page(tmp_path, accumulated):
    """Trained to the end; and from a checkpoint in the middle, to the same end."""
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed")
    page = names_from_the_page("Lightning", lightning=lightning)

    class Module(page["Module"]):
        def __init__(self) -> None:
            super().__init__()
            self.units = network()

        def training_step(self, one_batch, batch_index):
            self.frozen.check()
            torch.manual_seed(batch_index)  # dropout, the same after a resume
            images, labels = one_batch
            return cross_entropy(self.units(images), labels)

        def validation_step(self, one_batch, _):
            assert not self.units.training
            self.units(one_batch[0])

        def on_train_start(self):
            super().on_train_start()
            self.frozen = Frozen(self.units, self.freezeout)

        def on_train_batch_end(self, *_):
            self.frozen.check()

    def trained(epochs: int, resumed_from: str | None = None) -> Module:
        trainer = lightning.Trainer(
            max_epochs=4,
            accelerator="cpu",
            default_root_dir=tmp_path,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            gradient_clip_val=1.0,
            accumulate_grad_batches=accumulated,
            callbacks=[StopAfter(epochs)],
        )
        module, loader = Module(), DataLoader(images_and_labels(), batch_size=8)
        trainer.fit(module, loader, loader, ckpt_path=resumed_from)
        return module

    class StopAfter(lightning.Callback):
        def __init__(self, epochs: int) -> None:
            self.epochs = epochs

        def on_train_epoch_end(self, trainer, _):
            if trainer.current_epoch + 1 == self.epochs:
                trainer.save_checkpoint(tmp_path / f"{self.epochs}.ckpt")
                trainer.should_stop = True

    whole = trained(4)
    assert whole.freezeout.total_steps == 4 * -(-STEPS // accumulated)
    with pytest.raises(ValueError, match="more often than total_steps"):
        whole.freezeout.step()
    whole.frozen.require_all()
    assert trained(3).freezeout.frozen == 2
    resumed = trained(4, resumed_from=str(tmp_path / "3.ckpt"))
    assert resumed.freezeout.frozen == 3
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_transformers_as_on_the_page(tmp_path):
    """Trained to the end; and from a checkpoint in the middle, to the same end."""
    transformers = pytest.importorskip("transformers", reason="Transformers is not installed")
    pytest.importorskip("accelerate", reason="Accelerate is not installed")

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.units = network()

        def forward(self, images, labels):
            self.frozen.check()
            logits = self.units(images)
            self.frozen.check()
            return {"loss": cross_entropy(logits, labels), "logits": logits}

    def trained(resumed: bool) -> tuple[Model, FreezeOut]:
        model = Model()
        freezeout = start(model.units, AdamW, 2 * STEPS)
        model.frozen = Frozen(model.units, freezeout)
        arguments = transformers.TrainingArguments(
            str(tmp_path),
            num_train_epochs=2,
            per_device_train_batch_size=8,
            report_to=[],
            save_strategy="steps",
            save_steps=STEPS + 3,
            use_cpu=True,
            disable_tqdm=True,
        )
        page = names_from_the_page(
            "Transformers",
            transformers=transformers,
            model=model,
            arguments=arguments,
            optimizer=freezeout.optimizer,
            freezeout=freezeout,
            dataset=[
                {"images": images, "labels": labels} for images, labels in images_and_labels()
            ],
        )
        checkpoint = str(tmp_path / f"checkpoint-{STEPS + 3}") if resumed else None
        page["trainer"].train(resume_from_checkpoint=checkpoint)
        assert page["trainer"].state.global_step == 2 * STEPS
        model.frozen.check()
        model.frozen.require_all()
        return model, freezeout

    whole, _ = trained(resumed=False)
    resumed, freezeout = trained(resumed=True)
    with pytest.raises(ValueError, match="more often than total_steps"):
        freezeout.step()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
