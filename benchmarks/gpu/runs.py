"""Runs of `fobench run`, as many as there is time for, packed whenever one has ended.

    python benchmarks/gpu/runs.py timed|errors --device cuda|cpu --out DIR \\
        --seconds N --work FOLDER

`timed` trains the network of the profile, DIR/profile.csv, with and without freezing, and writes
DIR/predicted.csv: the seconds that the profile predicts beside those measured. `errors` trains two
networks for their error. DIR/runs.tar.gz holds the configs, and of each run its run.json and
epochs.csv. No torch here, so that packing takes little from the runs.
"""

import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from profile_times import PredictedRow, Profile, predict
from rows import StepRow, Table, parser_of
from run_configs import error_configs, timed_configs
from sizes import Sizes, sizes_for

from fobench.records.runs import ENDED, read_run

FOBENCH = "from fobench.cli import main; main(prog_name='fobench')"
GRACE = 8.0  # seconds from the time limit of a command until it is killed
LEAST_SECONDS = 25.0  # for which another command is worth its start
OUT_OF_TIME, STOPPED = 75, 2  # exit statuses
EVERY = 0.5  # seconds


class Runs:
    """Configs and results in a folder of work, and the archive of what counts of them."""

    def __init__(self, work: Path, archive: Path, device: str, seconds: float) -> None:
        self.results = work / "results"
        self._configs, self._archive, self._device = work / "configs", archive, device
        self._end = time.monotonic() + seconds
        self._configs.mkdir(parents=True, exist_ok=True)

    @property
    def seconds_left(self) -> float:
        return self._end - time.monotonic() - GRACE

    def write(self, configs: dict[str, str]) -> list[Path]:
        paths = [self._configs / f"{name}.toml" for name in configs]
        for path, text in zip(paths, configs.values(), strict=True):
            path.write_text(text)
        return paths

    def train(self, configs: Iterable[Path], *options: str) -> int:
        """The exit status of `fobench run`, which the time limit stops, or a kill soon after.

        If it stops for another reason, it is tried once more with eager steps.
        """
        limit = f"{max(1, int(self.seconds_left))}s"
        where = ("--results", self.results, "--device", self._device, "--time-limit", limit)
        command = [sys.executable, "-c", FOBENCH, "run", *configs, *where, *options]
        status = self._wait_for(list(map(str, command)))
        if status == STOPPED and self.seconds_left > LEAST_SECONDS:
            # A step could not be captured, or the device was lost.
            status = self._wait_for([*map(str, command), "--set", "train.step=eager"])
        return status

    def _wait_for(self, command: list[str]) -> int:
        child = subprocess.Popen(command)
        packed: set[Path] = set()
        try:
            while child.poll() is None:
                if time.monotonic() > self._end:
                    child.kill()
                time.sleep(EVERY)
                ended = set(self.ended())
                if ended != packed:
                    self.pack()
                    packed = ended
        finally:
            child.kill()  # nothing, if it has ended
            child.wait()
        self.pack()
        return child.returncode

    def folders(self) -> Iterator[Path]:
        """Those of runs."""
        return (path.parent for path in sorted(self.results.glob("*/*/run.json")))

    def ended(self) -> Iterator[Path]:
        for folder in self.folders():
            if json.loads((folder / "run.json").read_text())["status"] in ENDED:
                yield folder

    def pack(self) -> None:
        """Write the archive anew."""
        files = [
            *self._configs.glob("*.toml"),
            *self.results.glob("*/*.json"),
            *self.results.glob("*/*/run.json"),
            *self.results.glob("*/*/epochs.csv"),
        ]
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as packed:
            for path in sorted(files):
                packed.add(path, path.relative_to(self._configs.parent))
        self._archive.write_bytes(content.getvalue())


def timed(sizes: Sizes, profile: Profile, runs: Runs, out: Path) -> list[int]:
    configs = timed_configs(sizes, profile, runs.seconds_left)
    status = runs.train(runs.write(configs))
    times = profile.times(sizes.timed.title())
    if len(times.step) < max(1, profile.units(sizes.timed.title())):
        print("nothing is predicted: the profile lacks depths")
        return [status, 1]
    table = Table(out / "predicted.csv", PredictedRow)
    for folder in runs.ended():
        result = read_run(folder)
        is_of_profile = result.record["environment"]["step"] == times.mode
        if folder.parent.name in configs and result.epochs and is_of_profile:
            row = predict(folder.parent.name, result, times)
            print(f"{row.experiment} {row.run}: {row.difference_percent:+.1f} %")
            table.add(row)
    return [status]


def errors(sizes: Sizes, profile: Profile, runs: Runs, out: Path) -> list[int]:
    paths = runs.write(error_configs(sizes, profile, runs.seconds_left))
    statuses = []
    for number, seed in enumerate(sizes.error_seeds):
        if not number or runs.seconds_left > LEAST_SECONDS:
            statuses.append(runs.train(paths, "--only", f"_seed{seed}-"))
    return statuses


MEASURED = {"timed": timed, "errors": errors}


def main() -> None:
    parser = parser_of(__doc__, MEASURED)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    profile = Profile(Table(options.out / "profile.csv", StepRow).rows())
    runs = Runs(options.work, options.out / "runs.tar.gz", options.device, options.seconds)
    statuses = MEASURED[options.what](sizes_for(options.device), profile, runs, options.out)
    # Negative if it was killed.
    sys.exit(max(abs(status) for status in (0, *statuses) if status != OUT_OF_TIME))


if __name__ == "__main__":
    main()
