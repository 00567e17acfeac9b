"""A network that runs on contiguous images alone trains on those: frozen, stored, as snapshots."""

import csv
import json
from pathlib import Path

SOURCE = """
from torch import nn
from torch.nn import functional as F


class LeNet(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 16, 3)
        self.fc1, self.fc2 = nn.Linear(16 * 2 * 2, 8), nn.Linear(8, num_classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(x.size(0), -1)
        return self.fc2(F.relu(self.fc1(x)))
"""

CONFIG = """
[experiment]
name = "lenet"
[data]
dataset = "synthetic"
train_size = 45
validation = 10
test_size = 20
image_size = 16
augment = "none"
[model]
name = "./lenet.py:LeNet"
[train]
epochs = 4
batch_size = 10
lr = 0.05
[[method]]
name = "freezeout"
scaling = "linear"
t0 = 0.25
[[method]]
name = "freezeout"
scaling = "linear"
t0 = 0.25
precompute = true
store = "float32"
plan = [[2, 1], [3, 2]]
[[method]]
name = "snapshot"
cycles = 2
"""


def test_a_lenet_with_view_trains_and_its_stores_change_no_bit(fobench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("lenet.py").write_text(SOURCE)
    Path("lenet.toml").write_text(CONFIG)
    ran = fobench("run", "lenet.toml", "--device", "cpu")
    assert ran.exit_code == 0, ran.output
    losses, stored = [], []
    for path in sorted(Path("results/lenet").glob("*/run.json")):
        record = json.loads(path.read_text())
        assert record["status"] == "finished"
        assert [unit["name"] for unit in record["units"]] == ["conv1", "conv2", "fc1", "fc2"]
        with (path.parent / "epochs.csv").open() as file:
            rows = list(csv.DictReader(file))
        if record["run"]["method"]["name"] == "freezeout":
            losses.append([(row["train_loss"], row["val_loss"]) for row in rows])
            stored.append(any(int(row["cached_units"]) == 2 for row in rows))
    assert sorted(stored) == [False, True]
    assert losses[0] == losses[1]
