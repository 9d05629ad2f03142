"""``lisa-micro``: the command line. Thin: it reads, calls, writes; heavy imports stand inside the commands,
so that ``--help`` answers at once.

Exit codes are those of :func:`lisa_micro.cli.terminal.run`.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lisa_micro.cli.adapters import merge, push
from lisa_micro.cli.ask import ask as ask_video
from lisa_micro.cli.benchmark import benchmarks
from lisa_micro.cli.correct import correct
from lisa_micro.cli.data import data as data_commands
from lisa_micro.cli.terminal import (
    Device,
    Precision,
    Preset,
    Projectors,
    ask,
    busy,
    complain,
    list_written,
    load_preset,
    load_prompted,
    parse_boxes,
    read_image,
    run,
    run_installed,
    show_answer,
    way_of_looking,
    with_segment,
)
from lisa_micro.cli.track import track
from lisa_micro.language import check_prompt
from lisa_micro.types import InputError

if TYPE_CHECKING:
    from lisa_micro.results.answer import Answer
    from lisa_micro.types import Micrograph

app = typer.Typer(
    name="lisa-micro",
    help="Talk to a micrograph: ask in words, get masks, instances and measured sizes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ImagePath = Annotated[Path, typer.Argument(help="TIFF, PNG, JPEG, MRC, DM3, DM4, EMD, SER ...")]
OutFolder = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")]
PixelSize = Annotated[float | None, typer.Option(metavar="NM", help="Edge of a pixel, instead of the file's.")]
Page = Annotated[int, typer.Option(help="Which image of a stack, from 0.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite results that are there already.")]


def _version(shown: bool) -> None:
    if shown:
        from lisa_micro import __version__

        print(f"lisa-micro {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option(callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Talk to a micrograph: ask in words, get masks, instances and measured sizes."""


# ----------------------------------------------------------------------------------------------------- asking


@app.command()
def segment(
    image: ImagePath,
    out: OutFolder,
    prompt: Annotated[str, typer.Argument(help='What to segment, such as "all sintering necks".')] = "",
    box: Annotated[
        list[str] | None,
        typer.Option(metavar="X0,Y0,X1,Y1", help="A box in px around one object; may be given several times."),
    ] = None,
    everything: Annotated[bool, typer.Option("--everything", help="Segment all objects, without a prompt.")] = False,
    segmenter: Annotated[str | None, typer.Option(help="For boxes and everything: sam_vit_b, sam2 ...")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="The segmenter's weights: a path, or a hub name.")] = None,
    preset: Preset = "micro",
    pixel_size: PixelSize = None,
    page: Page = 0,
    tiles: Annotated[
        str, typer.Option(help="How to see it: auto (tiles above 2048 px), off, tiled, cascade.")
    ] = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    projectors: Projectors = None,
    force: Force = False,
) -> None:
    """Segment what the words ask for, what is in the boxes, or everything, and write masks, tables and an overlay."""
    words, notes = check_prompt(prompt, needed=not (box or everything))
    how = way_of_looking(tiles)
    micrograph, boxes = read_image(image, pixel_size, page), parse_boxes(box or [])
    from lisa_micro.geometry import check_boxes
    from lisa_micro.io import check_output

    if boxes:
        repaired, remarks = check_boxes(boxes, micrograph.shape)
        boxes, notes = repaired.tolist(), (*notes, *remarks)
    check_output(out, force)  # before minutes of work, not after
    assistant = load_prompted(segmenter, checkpoint, words, preset, device, precision, projectors)
    answer = ask(assistant, micrograph, words, how) if words else None
    with busy("Looking at the micrograph"):
        if boxes:
            answer = with_segment(answer, assistant.segment_boxes(micrograph, boxes), words, " from boxes")
        if everything:
            answer = with_segment(answer, assistant.segment_everything(micrograph), words)
    assert answer is not None  # there are words or boxes, or everything is meant
    answer = replace(answer, notes=(*notes, *answer.notes))
    show_answer(answer, micrograph)
    list_written(_save(answer, micrograph, out, assistant, preset, device, force, boxes=boxes or None, page=page))


@app.command()
def chat(
    image: ImagePath,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Keep answers in OUT/1, OUT/2 ...")] = None,
    preset: Preset = "micro",
    pixel_size: PixelSize = None,
    page: Page = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    projectors: Projectors = None,
    force: Force = False,
) -> None:
    """Ask several things about one micrograph; later requests may refer to earlier ones."""
    micrograph = read_image(image, pixel_size, page)
    from lisa_micro.io import check_output

    if out is not None:
        check_output(out / "1", force)
    assistant = load_preset(preset, device, precision, projectors)
    conversation = assistant.chat(micrograph)
    interactive = sys.stdin.isatty()
    if interactive:
        print("Ask about the micrograph; an empty line or Ctrl-D ends.")
    turn = 0
    while True:
        try:
            line = input("> " if interactive else "")
        except EOFError:
            break
        if not line.strip():
            if interactive:
                break
            continue
        try:
            words, notes = check_prompt(line)
            with busy("Looking at the micrograph"):
                answer = conversation.ask(words)
            answer = replace(answer, notes=(*notes, *answer.notes))
            show_answer(answer, micrograph)
            turn += 1
            if out is not None:
                folder = out / str(turn)
                _save(answer, micrograph, folder, assistant, preset, device, force, turn=turn, page=page)
                print(f"kept in {folder}")
        except InputError as error:  # one request that cannot be used does not end the conversation
            complain(str(error))


@app.command()
def compare(
    image: ImagePath,
    out: OutFolder,
    prompt: Annotated[str, typer.Argument(help='In words, such as "segment all particles".')] = "",
    boxes: Annotated[Path | None, typer.Option(help="File of boxes: JSON, or x0,y0,x1,y1 a line.")] = None,
    truth: Annotated[Path | None, typer.Option(help="True labels; boxes and points are derived from them.")] = None,
    wording: Annotated[list[str] | None, typer.Option(help="Another way to say the prompt; repeatable.")] = None,
    jitter: Annotated[float, typer.Option(min=0, help="Move boxes from the truth by up to so many px.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the jitter and of the intervals.")] = 0,
    preset: Preset = "micro",
    pixel_size: PixelSize = None,
    page: Page = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    projectors: Projectors = None,
    force: Force = False,
) -> None:
    """Words against boxes and points, and wordings against each other: a report of what each gave."""
    from lisa_micro.evaluate import comparison as comparing
    from lisa_micro.io import check_output, read_labels

    wordings = [check_prompt(text)[0] for text in (prompt, *(wording or [])) if text.strip()]
    if not (prompt.strip() or boxes or truth):
        raise InputError("There is nothing to compare; give a prompt, --boxes or --truth.")
    if wording and len(wordings) < 2:
        raise InputError("Wordings are compared with each other; give a prompt and at least one --wording.")
    micrograph = read_image(image, pixel_size, page)
    drawn = comparing.read_boxes(boxes) if boxes else None
    labels = read_labels(truth).pixels if truth else None
    check_output(out, force, names=comparing.REPORT_FILES + comparing.WORDING_FILES)
    assistant = load_preset(preset, device, precision, projectors)
    with busy("Comparing"):
        words = wordings[0] if prompt.strip() else None
        options = comparing.ComparisonOptions(jitter_px=jitter, seed=seed)
        result = comparing.compare_prompts(assistant, micrograph, words, drawn, labels, options=options)
        said = comparing.compare_wordings(assistant, micrograph, wordings, labels) if wording else None
    print(result.sentence)
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    columns = ["way", "IoU", "object IoU", "found", "missed", "extra", "seconds", "user actions"]
    if len(result.scores):
        print(result.scores[columns].to_string(index=False, float_format="{:.3f}".format))
    written = result.save(out)
    if said is not None:
        print(f"{len(wordings)} wordings: spread of IoU {said.spread:.3f}")
        written += said.save(out)
    list_written(written)


# -------------------------------------------------------------------------------------------------- measuring


@app.command()
def measure(
    labels: Annotated[Path, typer.Argument(help="Instance labels (k where instance k is), or a mask.")],
    out: OutFolder,
    image: Annotated[Path | None, typer.Option(help="The micrograph, for intensities.")] = None,
    pixel_size: PixelSize = None,
    force: Force = False,
) -> None:
    """Measure the instances of a label image: a table, the necks, a summary and a histogram."""
    from lisa_micro import measure as measuring
    from lisa_micro.io import check_output, read_labels, read_micrograph, write_files, write_json

    instances = read_labels(labels)
    pixels, nm, origin = None, instances.pixel_size_nm, instances.pixel_size_origin
    if image is not None:
        micrograph = read_micrograph(image)
        if micrograph.shape != instances.shape:
            sizes = [f"{shape[1]} x {shape[0]}" for shape in (instances.shape, micrograph.shape)]
            raise InputError(f"The labels are {sizes[0]} px and the image {sizes[1]} px; they must be alike.")
        pixels = micrograph.pixels
        if nm is None:
            nm, origin = micrograph.pixel_size_nm, micrograph.pixel_size_origin
    if pixel_size is not None:
        from lisa_micro.io.units import check_pixel_size

        nm, origin = check_pixel_size(pixel_size), "user"
    check_output(out, force, names=("instances.csv", "necks.csv", "summary.json", "histogram.png"))
    for note in instances.notes:
        print(note)
    with busy("Measuring"):
        table = measuring.measure_particles(instances.pixels, nm, pixels)
        necks = measuring.measure_necks(instances.pixels, nm)
        summary = measuring.summarise(instances.pixels, nm, pixels)
    unit = "px" if nm is None else "nm"
    diameters = table[measuring.column("diameter", unit)]
    record = {"labels": str(labels), "pixel_size_nm": nm, "pixel_size_origin": origin, **summary}
    writers = {
        "instances.csv": lambda path: table.to_csv(path, index=False),
        "necks.csv": lambda path: necks.to_csv(path, index=False),
        "summary.json": lambda path: write_json(path, {**record, "necks": len(necks)}),
        "histogram.png": lambda path: measuring.histogram(diameters, "diameter", unit, out=path),
    }
    written = write_files(out, writers)
    for name, value in summary.items():
        print(f"{name:28} {value:.5g}")
    print(f"{'necks':28} {len(necks)}")
    list_written(written)


@app.command()
def simulate(
    out: OutFolder,
    frames: Annotated[int, typer.Option(min=1, help="1 makes a micrograph, more make a video.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and options give the same pixels.")] = 0,
    kind: Annotated[str | None, typer.Option(help="'any', or a kind of scene; else a sintering experiment.")] = None,
    modality: Annotated[str | None, typer.Option(help="BF-TEM, HAADF-STEM or SEM.")] = None,
    size: Annotated[int, typer.Option(min=16, max=4096, help="Side of the square image in px.")] = 512,
    particles: Annotated[int | None, typer.Option(min=0, help="How many, in a sintering experiment.")] = None,
    mechanism: Annotated[str | None, typer.Option(help="Of neck growth, such as 'viscous flow'.")] = None,
    core_shell: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of core-shell particles in a scene of --kind.")
    ] = None,
    pixel_size: PixelSize = None,
    force: Force = False,
) -> None:
    """Make a micrograph or a video of sintering particles, with exact truth."""
    from lisa_micro.io import check_output
    from lisa_micro.io.units import check_pixel_size
    from lisa_micro.sim import write_simulation

    nm = check_pixel_size(pixel_size)
    check_output(out, force, names=("truth.json",))
    settings = {"shape": (size, size), "modality": modality, "pixel_size_nm": nm}
    if kind in (None, "sintering"):
        settings |= {"n_particles": particles, "mechanism": mechanism}
        if core_shell is not None:
            raise InputError("--core-shell belongs to a scene; name its --kind, such as 'any' or 'isolated'.")
    elif particles is not None or mechanism is not None:
        raise InputError("--particles and --mechanism belong to a sintering experiment; leave out --kind.")
    else:
        settings["core_shell"] = core_shell
    with busy("Simulating"):
        written = write_simulation(out, seed=seed, frames=frames, kind=kind, force=force, **settings)
    list_written(list(written.values()))


# --------------------------------------------------------------------------------------- judging and training


@app.command()
def evaluate(
    suite: Annotated[str, typer.Argument(help="A suite's name, or 'all'; 'list' shows them.")],
    data: Annotated[Path | None, typer.Option(help="Labelled micrographs; else LISA_MICRO_DATA.")] = None,
    preset: Preset = "micro",
    limit: Annotated[int | None, typer.Option(help="Only so many images, scenes or requests.")] = None,
    seed: Annotated[int, typer.Option(help="Of wordings and requests drawn by chance.")] = 0,
    prompts: Annotated[Path | None, typer.Option(help="Requests for the suite 'language', YAML.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the report.")] = None,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Judge a model on validation suites: figures beside their limits."""
    from rich.console import Console

    from lisa_micro import evaluate as judging
    from lisa_micro.io import check_output

    if suite == "list":
        for name, entry in judging.SUITES.items():
            print(f"{name:16} {entry.purpose}")
        return
    if out is not None:
        check_output(out, force, names=judging.REPORT_FILES)
    console = Console()
    report = judging.evaluate(
        suite,
        settings=judging.EvaluationSettings(preset, device, data, limit, seed, prompts),
        out=out,
        show=lambda result: judging.show(result, console),
        progress=sys.stderr.isatty(),
    )
    judging.show_summary(report, console)
    if out is not None:
        list_written(judging.report_files(report, out))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def finetune(context: typer.Context) -> None:
    """Train on your own data: all arguments go to `python -m lisa_micro_finetune`."""
    raise typer.Exit(run_installed("finetune", context.args))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def judge(context: typer.Context) -> None:
    """Judge presets and adapters on your own records: all arguments go to `python -m
    lisa_micro_finetune.adapt.judge`."""
    raise typer.Exit(run_installed("lisa_micro_finetune.adapt.judge", context.args))


@app.command(
    "app", context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def open_app(context: typer.Context) -> None:
    """Talk to micrographs in the browser: all arguments go to `python -m lisa_micro_app`."""
    raise typer.Exit(run_installed("app", context.args, what="The app"))


app.add_typer(benchmarks, name="benchmark")
app.add_typer(data_commands, name="data")
app.command()(track)
app.command()(merge)
app.command()(push)
app.command("ask")(ask_video)
app.command()(correct)


# ---------------------------------------------------------------------------------------------------- helpers


def _save(
    answer: Answer,
    micrograph: Micrograph,
    folder: Path,
    assistant: Any,
    preset: str,
    device: str,
    force: bool,
    boxes: list[list[float]] | None = None,
    **details: Any,
) -> list[Path]:
    from lisa_micro.results import save_answer

    return save_answer(
        answer,
        micrograph,
        folder,
        preset=getattr(assistant, "preset", preset),
        weights_sha256=getattr(assistant, "weights_sha256", None),
        prompt_boxes=boxes,
        details={"device": str(getattr(assistant, "device", device)), **details},
        force=force,
    )


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits."""
    sys.exit(run(lambda: app(args=arguments, standalone_mode=False)))


if __name__ == "__main__":
    main()
