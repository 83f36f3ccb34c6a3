"""Selective search side by side with OpenCV's (ximgproc) and PyPI's `selectivesearch`: recall and time, in one run.

    python scripts/bench_proposals.py VOC_ROOT [--images N] [--time-images 40] [--json FILE] [--plot FILE]

First the boxes of every image, by several processes at once. They are kept in a folder, so that an interrupted run goes
on. OpenCV's ranks are the paper's upside down, small regions first, so its boxes are also counted from the last one.

Then time, on some of the images: each program waits in a process of its own and they take turns (A B C A B C ...), all
warmed up, no two at once. Medians are compared: times depend on the machine, ratios hardly do, so those are printed
(--json has the seconds).

The peers get an environment of their own, since OpenCV's contrib wheel and the plain one clash. Where none can be made,
as without a network, their rows are left out.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import click
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Column, Table
from tqdm import tqdm

from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.proposals.npz import write_proposals
from frcnn_cli.data.samples import ImageRecord
from frcnn_cli.errors import DataError
from frcnn_cli.files import atomic_write
from frcnn_cli.metrics.proposal_recall import ProposalRecall
from proposals import MODES
from proposals.colour import convert
from proposals.features import describe, pixel_codes
from proposals.grouping import group
from proposals.ranking import rank
from proposals.search import MIN_SIDE, working_image
from proposals.segmentation import pixel_graph, segment, smooth

T = TypeVar("T")
WORKER = Path(__file__).with_name("proposal_worker.py")
OURS, OURS_ON_SKIMAGE, OPENCV, SELECTIVESEARCH = (
    "this package",
    "this package on scikit-image",
    "OpenCV",
    "selectivesearch",
)
PEERS = ("opencv-contrib-python", "selectivesearch", "scikit-image", "pillow")
COUNTS = (100, 200, 500, 1000, 2000)
PRINTED = (200, 500, 2000)
LARGE = 4000, 3000
"""Width and height of the photograph of 12 megapixels."""


@dataclass(frozen=True)
class Method:
    """A program of proposal_worker.py in one of its modes."""

    program: str
    mode: str

    @property
    def name(self) -> str:
        return f"{self.program}, {self.mode}"

    @property
    def like(self) -> Method:
        """What of ours it is compared with."""
        return Method(OURS, self.mode if self.mode in MODES else "fast")


FAST = Method(OURS, "fast")


@dataclass(frozen=True)
class Result:
    """A row of the table.

    Attributes:
        from_last: whether the box that the program returns last counts as the best.
        boxes: mean number an image.
        recall: each figure, at each of `COUNTS`.
        seconds: median by number of threads.
    """

    method: Method
    from_last: bool
    boxes: float
    recall: dict[str, list[float]]
    seconds: dict[int, float]

    @property
    def name(self) -> str:
        return f"{self.method.name}, from the last" if self.from_last else self.method.name


@click.command()
@click.argument("root", metavar="VOC_ROOT", type=click.Path(path_type=Path))
@click.option("--split", default="val", show_default=True)
@click.option("--images", type=click.IntRange(1), help="Only so many images, spread over the list.")
@click.option("--time-images", type=click.IntRange(1), default=40, show_default=True, help="So many of them are timed.")
@click.option(
    "--threads", type=click.IntRange(1), multiple=True, default=(1, 2), show_default=True, help="To time with."
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=os.cpu_count(),
    show_default=True,
    help="That propose, while none is timed.",
)
@click.option("--skimage", is_flag=True, help='Our fast mode with method="skimage" as well.')
@click.option("--env", type=click.Path(path_type=Path), help="The peers' environment.  [default: VOC_ROOT/.peers/env]")
@click.option("--boxes", type=click.Path(path_type=Path), help="Keep boxes here.  [default: VOC_ROOT/.peers/boxes]")
@click.option("--require-peers", is_flag=True, help="Fail where the peers' environment cannot be made.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the figures here.")
@click.option("--files", type=click.Path(path_type=Path), help="Write proposal files, for frcnn eval, to this folder.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), help="Draw recall against time.")
def main(
    root: Path,
    split: str,
    images: int | None,
    time_images: int,
    threads: Sequence[int],
    processes: int,
    skimage: bool,
    env: Path | None,
    boxes: Path | None,
    require_peers: bool,
    json_file: Path | None,
    files: Path | None,
    plot_file: Path | None,
) -> None:
    """Compare selective search with OpenCV's and PyPI's on the images of a VOC list."""
    records = spread(load_voc(root, split).records, images)
    timed = spread(records, time_images)
    methods = [Method(OURS, mode) for mode in MODES] + [Method(OURS_ON_SKIMAGE, "fast")] * skimage
    pythons = dict.fromkeys((OURS, OURS_ON_SKIMAGE), Path(sys.executable))
    try:
        pythons |= dict.fromkeys((OPENCV, SELECTIVESEARCH), peers_python(env or root / ".peers/env"))
        methods += [*(Method(OPENCV, mode) for mode in MODES), Method(SELECTIVESEARCH, "README")]
    except DataError as error:
        if require_peers:
            raise click.ClickException(str(error)) from error
        click.echo(f"{error}; OpenCV and selectivesearch are left out", err=True)

    versions: dict[str, str] = {}
    folders: dict[Method, Path] = {}
    for method in methods:
        with Worker(method.program, pythons[method.program]) as worker:
            versions[method.program] = worker.version
        folders[method] = (boxes or root / ".peers/boxes") / f"{method.name}, {versions[method.program]}"
        propose_all(method, pythons[method.program], records, folders[method], processes)
        if files:
            write_file(files / f"{method.name}.npz", folders[method], records)
    seconds = time_in_turn(methods, pythons, timed, threads)
    results = [
        Result(method, from_last, *recall(folders[method], records, from_last), seconds[method])
        for method in methods
        for from_last in ([False, True] if method.program == OPENCV else [False])
    ]
    large = large_photograph(records[0].path, max(threads))
    parts = breakdown(records[0].path)

    about = {"split": split, "images": len(records), "timed": len(timed), "versions": versions}
    print_results(results, large, parts, about)
    if json_file:
        figures = {
            **about,
            "counts": COUNTS,
            "large": large,
            "parts": parts,
            "results": [asdict(result) for result in results],
        }
        json_file.write_text(json.dumps(figures, indent=2) + "\n")
    if plot_file:
        draw(results, max(threads), plot_file)


def spread(records: Sequence[ImageRecord], count: int | None) -> list[ImageRecord]:
    """So many of the images, or all, evenly over the list."""
    count = min(count or len(records), len(records))
    return [records[i * len(records) // count] for i in range(count)]


def peers_python(folder: Path) -> Path:
    """The interpreter of an environment that has OpenCV's contrib wheel and selectivesearch, made unless it is there.

    Raises:
        DataError: it cannot be made.
    """
    python = folder.absolute() / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    check = [python, "-c", "import PIL, cv2, selectivesearch; cv2.ximgproc"]
    make = [sys.executable, "-m", "venv", folder]
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEERS]
    if python.exists() and subprocess.run(check, stderr=subprocess.DEVNULL).returncode == 0:
        return python
    click.echo(f"{folder}: installing {', '.join(PEERS)}", err=True)
    for command in ([] if python.exists() else [make]) + [install, check]:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            fault = (done.stdout.strip().splitlines() or ["no reason given"])[-1]
            raise DataError(f"{folder}: the peers' environment could not be made ({fault})")
    return python


class Worker:
    """proposal_worker.py, running until the `with` block ends. The version is the program's."""

    def __init__(self, program: str, python: Path, threads: int = 1) -> None:
        self.program = program
        # Libraries that have threads beside those the program is told of.
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads))
        self.process = subprocess.Popen(
            [python, "-W", "ignore", WORKER, program, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | limits,
        )
        self.version = self._answer("at the start")

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.__exit__(*error)

    def ask(self, image: Path, mode: str) -> dict:
        """Seconds, boxes and peak_bytes."""
        self.process.stdin.write(json.dumps([str(image), mode]) + "\n")
        self.process.stdin.flush()
        return self._answer(f"with {image}")

    def _answer(self, when: str) -> object:
        line = self.process.stdout.readline()
        if not line:
            raise click.ClickException(f"{self.program} failed {when}")
        return json.loads(line)


def propose_all(method: Method, python: Path, records: Sequence[ImageRecord], folder: Path, processes: int) -> None:
    """Put the boxes of every image into the folder, but for those that are there already."""
    missing = [record for record in records if not box_file(folder, record).exists()]
    bar = tqdm(total=len(records), initial=len(records) - len(missing), desc=method.name, unit="image")

    def propose(part: Sequence[ImageRecord]) -> None:
        with Worker(method.program, python) as worker:
            for record in part:
                boxes = np.array(worker.ask(record.path, method.mode)["boxes"], np.float32).reshape(-1, 4)
                with atomic_write(box_file(folder, record)) as temporary, temporary.open("wb") as file:
                    np.savez_compressed(file, boxes=boxes)
                bar.update()

    with bar, ThreadPoolExecutor(processes) as pool:
        list(pool.map(propose, (missing[i::processes] for i in range(min(processes, len(missing))))))


def box_file(folder: Path, record: ImageRecord) -> Path:
    return folder / f"{record.id}.npz"


def write_file(file: Path, folder: Path, records: Sequence[ImageRecord]) -> None:
    """A proposal file of the best boxes as they were returned."""
    boxes = {record.id: np.load(box_file(folder, record))["boxes"][: COUNTS[-1]] for record in records}
    sizes = {record.id: (record.width, record.height) for record in records}
    write_proposals(file, boxes, {"mode": file.stem, "max_proposals": COUNTS[-1], "seed": 0, "sizes": sizes})


def recall(folder: Path, records: Sequence[ImageRecord], from_last: bool) -> tuple[float, dict[str, list[float]]]:
    """Boxes an image, and the figures at each of `COUNTS`."""
    gathered, numbers = ProposalRecall(COUNTS), []
    for record in records:
        with np.load(box_file(folder, record)) as archive:
            boxes = archive["boxes"]
        counts = ~record.objects.difficult
        gathered.add(boxes[::-1] if from_last else boxes, record.objects.boxes[counts], record.objects.labels[counts])
        numbers.append(len(boxes))
    coverage = gathered.result()
    figures = {
        "recall at IoU 0.5": coverage.recall(0.5),
        "recall at IoU 0.7": coverage.recall(0.7),
        "average recall": coverage.average_recall,
        "MABO": coverage.mabo,
    }
    return statistics.mean(numbers), {name: values.tolist() for name, values in figures.items()}


def time_in_turn(
    methods: Sequence[Method], pythons: dict[str, Path], records: Sequence[ImageRecord], threads: Sequence[int]
) -> dict[Method, dict[int, float]]:
    """Median seconds of each method by number of threads."""
    with ExitStack() as running:
        workers = {
            (program, n): running.enter_context(Worker(program, pythons[program], n))
            for program in dict.fromkeys(method.program for method in methods)
            for n in threads
        }
        runs = [(method, n) for n in threads for method in methods]
        seconds: dict[tuple[Method, int], list[float]] = {run: [] for run in runs}
        for record in tqdm([records[0], *records], desc="time, after a warm-up", unit="image"):
            for method, n in runs:
                seconds[method, n].append(workers[method.program, n].ask(record.path, method.mode)["seconds"])
    return {method: {n: statistics.median(seconds[method, n][1:]) for n in threads} for method in methods}


def large_photograph(photograph: Path, threads: int) -> dict:
    """Our fast mode with 12 megapixels: seconds, the median of three, and the most bytes of its process meanwhile.

    The bytes are those of the interpreter, the libraries and the image as well; None where the system does not say.
    """
    with tempfile.TemporaryDirectory() as folder, Worker(OURS, Path(sys.executable), threads) as worker:
        file = Path(folder, "large.bmp")
        with Image.open(photograph) as image:
            image.convert("RGB").resize(LARGE).save(file)
        worker.ask(photograph, FAST.mode)  # compiled code is loaded
        answers = [worker.ask(file, FAST.mode) for _ in range(3)]
    seconds = statistics.median(answer["seconds"] for answer in answers)
    return {"threads": threads, "seconds": seconds, "peak_bytes": answers[-1]["peak_bytes"]}


def breakdown(photograph: Path, repeats: int = 15) -> dict[str, float]:
    """Where the time of our fast mode goes: median seconds of each stage on one thread, at 500 x 375 pixels."""
    with Image.open(photograph) as opened:
        image = np.asarray(opened.convert("RGB").resize((500, 375)))
    mode = MODES["fast"]
    seconds: dict[str, list[float]] = {}

    def timed(stage: str, function: Callable[..., T], *arguments: object) -> T:
        start = time.perf_counter()
        result = function(*arguments)
        spent[stage] = spent.get(stage, 0) + time.perf_counter() - start
        return result

    for _ in range(repeats + 1):
        spent: dict[str, float] = {}
        rgb = timed("colour", working_image, image)
        hierarchies = []
        for space in mode.colour_spaces:
            planes = timed("colour", convert, rgb, space)
            smoothed = timed("segments", smooth, planes)
            graph = timed("segments", pixel_graph, smoothed)
            codes = timed("features", pixel_codes, planes, smoothed)
            for k in mode.ks:
                regions = timed("features", describe, codes, timed("segments", segment, graph, k))
                hierarchies += [timed("grouping", group, regions, by, rgb[..., 0].size) for by in mode.similarities]
        timed("ranking", rank, hierarchies, MIN_SIDE)
        for stage, spell in spent.items():
            seconds.setdefault(stage, []).append(spell)
    return {stage: statistics.median(spells[1:]) for stage, spells in seconds.items()}


def print_results(results: Sequence[Result], large: dict, parts: dict[str, float], about: dict) -> None:
    """The table, and our own time in seconds, which is what a user waits."""
    seconds = {result.method: result.seconds for result in results}
    threads = list(seconds[FAST])
    right = [f"times ours,\n{n} thread{'s' * (n > 1)}" for n in threads] + ["boxes an\nimage"]
    right += [f"{name}, %\n" + " ".join(f"{n:5}" for n in PRINTED) for name in results[0].recall]
    table = Table("", *(Column(name, justify="right") for name in right))
    for result in results:
        times = [f"{result.seconds[n] / seconds[result.method.like][n]:.1f}" for n in threads]
        figures = [
            " ".join(f"{100 * values[COUNTS.index(n)]:5.1f}" for n in PRINTED) for values in result.recall.values()
        ]
        table.add_row(result.name, *times, f"{result.boxes:,.0f}", *figures)
    console = Console(highlight=False, soft_wrap=True, width=180)
    console.print(table)
    console.print(f"{about['split']}: {about['images']} images, of which {about['timed']} were timed (medians)")
    console.print(", ".join(f"{program} {version}" for program, version in about["versions"].items()))
    times = ", ".join(f"{1000 * seconds[FAST][n]:.0f} ms on {n} thread{'s' * (n > 1)}" for n in threads)
    console.print(f"our fast mode takes {times}")
    shares = ", ".join(f"{stage} {spent / sum(parts.values()):.0%}" for stage, spent in parts.items())
    console.print(f"of which, at 500 x 375 pixels: {shares}")
    memory = "" if large["peak_bytes"] is None else f", {large['peak_bytes'] / 1e6:.0f} MB at most"
    width, height = LARGE
    console.print(f"of {width} x {height} pixels {1000 * large['seconds']:.0f} ms on {large['threads']}{memory}")


def draw(results: Sequence[Result], threads: int, file: Path) -> None:
    """Recall and MABO at 2,000 boxes against time, OpenCV's in the order that is better for it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator

    seconds = {result.method: result.seconds[threads] for result in results if result.method.program != OURS_ON_SKIMAGE}
    figure, both = pyplot.subplots(1, 2, figsize=(12, 5), dpi=100, layout="constrained")
    for axes, name in zip(both, ("recall at IoU 0.5", "MABO"), strict=True):
        for method, spent in seconds.items():
            best = 100 * max(result.recall[name][-1] for result in results if result.method == method)
            colour, up = ("tab:blue", -20) if method.program == OURS else ("tab:red", 10)
            axes.semilogx(spent / seconds[FAST], best, "o", color=colour, markersize=9)
            style = {"xytext": (0, up), "textcoords": "offset points", "ha": "center", "color": colour}
            axes.annotate(method.name.replace(OURS, "ours"), (spent / seconds[FAST], best), **style)
        axes.margins(0.2)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_xlabel(f"time an image, {FAST.name} = 1 ({threads} thread{'s' * (threads > 1)})")
        axes.set_title(f"{name}, %, {COUNTS[-1]:,} boxes", loc="left")
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file)


if __name__ == "__main__":
    main()
