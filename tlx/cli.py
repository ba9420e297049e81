"""`tlx <verb>`: the command line. Nothing heavy is imported before the verb is known."""

import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from tlx.config.completion import OverridesCommand, Verbs
from tlx.errors import RunFailed, UserError, full_disk, out_of_space
from tlx.processes.interruption import Interrupted

app = typer.Typer(
    name="tlx",
    cls=Verbs,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        from tlx import __version__

        typer.echo(f"tlx {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print tlx's version and stop.")
    ] = False,
) -> None:
    """Transfer-learning studies: does transfer help here, by how much, how sure are we, and what did it cost?"""


_OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}
ConfigDir = Annotated[str | None, typer.Option("--config-dir", help="Your own configs/ folder; it goes before ours.")]
Traceback = Annotated[bool, typer.Option("--traceback", help="Show Python's traceback on errors.")]


@app.command(cls=OverridesCommand, context_settings=_OVERRIDES)
def train(
    context: typer.Context,
    multirun: Annotated[bool, typer.Option("-m", "--multirun", help="A sweep: every combination of a,b,c.")] = False,
    dry: Annotated[bool, typer.Option("--dry-run", help="Say what the sweep would do, and what it may cost.")] = False,
    cfg: Annotated[bool, typer.Option("--cfg", help="Print the composed config and stop.")] = False,
    config_dir: ConfigDir = None,
    show_traceback: Traceback = False,
) -> None:
    """One run, or with -m a sweep. Overrides as in Hydra: model=tiny_vision strategy=lora seed=0,1,2 optimizer.lr=1e-3.

    Groups: model, strategy, dataset, optimizer, scheduler, trainer, logger, experiment (see the folder configs/).
    """
    from tlx.config.composer import composer

    if cfg:
        import yaml

        from tlx.record.masking import masked

        with composer(config_dir) as compose:
            jobs = compose.expand(context.args)
            documents = [masked(run.config) for run in compose.all(jobs)]
        typer.echo(yaml.safe_dump_all(documents, sort_keys=False, explicit_start=len(jobs) > 1), nl=False)
        return
    if dry:
        from tlx.sweeps.dry_run import dry_run

        typer.echo("\n".join(dry_run(context.args, config_dir)))
        return
    from tlx.record.record import read_record
    from tlx.results.profile import profile_table
    from tlx.sweeps.execute import run_one, run_sweep

    if not multirun:
        run = run_one(context.args, config_dir)
        record = read_record(run.folder)
        assert record is not None
        scores = [f"{n} {'nan' if v is None else f'{v:.4f}'}" for n, v in record["metrics"].items() if n[:5] == "test/"]
        typer.echo(f"{run.folder}\n{'  '.join(scores)}  ({record['seconds']['total']:.1f} s)")
        if run.config["profile"] and (shown := profile_table(record)):
            typer.echo(shown)
        return
    study = run_sweep(context.args, config_dir)
    typer.echo(study.summary)
    if study.interrupted:
        raise Interrupted(study.interrupted, 130)
    if study.complaint:
        raise RunFailed(study.complaint)


@app.command(cls=OverridesCommand, context_settings=_OVERRIDES)
def plan(
    context: typer.Context,
    config_dir: ConfigDir = None,
    full: Annotated[bool, typer.Option("--full", help="Every parameter, not only layer groups.")] = False,
    show_traceback: Traceback = False,
) -> None:
    """Layers × phases × learning rate × decay of one run; trains nothing but a bundled backbone that is absent."""
    from tlx.plan_table import print_plan

    print_plan(context.args, config_dir, full)


@app.command()
def table(
    runs: Annotated[list[Path], typer.Argument(help="Study folders, or single run folders.")],
    metric: Annotated[list[str] | None, typer.Option("--metric", help="e.g. test/accuracy; may be repeated.")] = None,
    baseline: Annotated[str, typer.Option("--baseline", help="The strategy that gains are over.")] = "scratch",
    format: Annotated[str, typer.Option("--format", help="md, latex, html, csv or json.")] = "md",
    group_by: Annotated[str | None, typer.Option("--group-by", help="Keys that sort and section the rows.")] = None,
    rows: Annotated[str | None, typer.Option("--rows", help="Keys down the side of a pivot.")] = None,
    columns: Annotated[str | None, typer.Option("--columns", help="Keys along the top of a pivot.")] = None,
    tune_over: Annotated[
        str | None, typer.Option("--tune-over", help="Keys, e.g. optimizer.lr: keep the best on validation per cell.")
    ] = None,
    tune_seeds: Annotated[
        str | None, typer.Option("--tune-seeds", help="Seeds that choose for --tune-over, and are not shown: 10,11.")
    ] = None,
    examples: Annotated[
        bool,
        typer.Option("--examples", help="Also how far each gain depends on the draw of test examples."),
    ] = False,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option("--compare", help="One comparison in words: two strategies, or settings (strategy=a,model=b)."),
    ] = None,
    show_traceback: Traceback = False,
) -> None:
    """Mean ± std over seeds, gain over scratch with a 95 % interval and a verdict, forgetting, cost."""
    from tlx.results.collect import collect
    from tlx.results.formats import render
    from tlx.results.table import build_table

    if compare:
        from tlx.results.comparison import compare as compare_sides
        from tlx.results.comparison_text import render as render_comparison

        if group_by or rows or columns or examples or len(metric or ()) > 1:
            raise UserError("--compare takes one metric and no --group-by, --rows, --columns or --examples.")
        name = (metric or ["test/accuracy"])[0]
        compared = compare_sides(collect(runs), *compare, name, tune_over=tune_over, tune_seeds=tune_seeds)
        typer.echo(render_comparison(compared, format), nl=False)
        return
    built = build_table(
        collect(runs),
        metrics=metric or ["test/accuracy"],
        baseline=baseline,
        group_by=group_by,
        tune_over=tune_over,
        tune_seeds=tune_seeds,
        rows=rows,
        columns=columns,
        examples=examples,
    )
    typer.echo(render(built, format), nl=False)


Metric = Annotated[str, typer.Option("--metric", help="The score that is compared.")]
Baseline = Annotated[str, typer.Option("--baseline", help="The strategy that gains are over, or none.")]
TuneOver = Annotated[
    str | None, typer.Option("--tune-over", help="Keys, e.g. optimizer.lr: keep the best on validation per cell.")
]

TuneSeeds = Annotated[
    str | None, typer.Option("--tune-seeds", help="Seeds that choose for --tune-over, and are not shown: 10,11.")
]


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Study folders, or single run folders.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write.")] = Path("report.html"),
    metric: Metric = "test/accuracy",
    baseline: Baseline = "scratch",
    tune_over: TuneOver = None,
    tune_seeds: TuneSeeds = None,
    prices: Annotated[Path | None, typer.Option("--prices", help="Instead of configs/prices.yaml.")] = None,
    show_traceback: Traceback = False,
) -> None:
    """One page that needs no network: verdict, table, every figure, every run's config and command."""
    from tlx.results.report import write_report

    size = write_report(runs, out, metric, baseline, tune_over, prices, tune_seeds)
    typer.echo(f"{out} ({size / 1e6:.1f} MB)")


@app.command()
def plot(
    kind: Annotated[str, typer.Argument(help="Which figure, e.g. learning-curves; a wrong name lists them all.")],
    runs: Annotated[list[Path], typer.Argument(help="Study folders, or single run folders.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write: .pdf, .png or .svg.")],
    metric: Metric = "test/accuracy",
    baseline: Baseline = "scratch",
    tune_over: TuneOver = None,
    tune_seeds: TuneSeeds = None,
    show_traceback: Traceback = False,
) -> None:
    """One figure of the report alone, ready for a paper; prints what its caption should say."""
    from tlx.results.collect import collect
    from tlx.results.figures.paper import check_plot, plot
    from tlx.results.findings import findings

    check_plot(kind, out)  # before the runs are read, which may take a while
    typer.echo(
        " ".join([f"{out}:", *plot(kind, findings(collect(runs), metric, baseline, tune_over, tune_seeds), out)])
    )


@app.command(name="runs")
def runs_(
    runs: Annotated[list[Path], typer.Argument(help="Study folders, or single run folders.")],
    format: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing them; ends with the last one.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Only the failed runs.")] = False,
    log: Annotated[bool, typer.Option("--log", help="With --failed: what each of them printed at last.")] = False,
    show_traceback: Traceback = False,
) -> None:
    """Done, running, failed and missing runs; how far they are, and why each failed."""
    import json

    from rich.console import Console

    from tlx.errors import unknown
    from tlx.results import runs as listing
    from tlx.results.collect import collect
    from tlx.results.live import judged

    if format not in ("text", "json"):
        raise unknown("format", format, ("text", "json"))
    if log and not failed:
        raise UserError("--log shows what failed runs printed: say --failed --log.")
    if watch and (failed or format == "json"):
        raise UserError("--watch shows all runs as text: leave out --failed, --log and --format json, or --watch.")
    console = Console()
    if not console.is_terminal:
        console.width = 1000  # whoever reads a pipe or a file wants whole lines
    if watch:
        from tlx.results.watch import watch as keep_watching

        keep_watching(lambda: judged(collect(runs)), console)
        return
    found = judged(collect(runs))
    if format == "json":
        listed = [run for run in found if run.status == "failed"] if failed else found
        typer.echo(json.dumps(listing.list_runs(listed, log), indent=1))
    elif failed:
        listing.print_failed(found, console, log)
    else:
        listing.print_runs(found, console)


@app.command()
def cache(
    action: Annotated[str, typer.Argument(help="list, verify or clear.")] = "list",
    folder: Annotated[Path, typer.Option("--folder", help="The folder that is paths.cache in your runs.")] = Path(
        ".cache"
    ),
    drop: Annotated[bool, typer.Option("--drop", help="With verify: remove what is damaged.")] = False,
    show_traceback: Traceback = False,
) -> None:
    """Outputs of frozen layers and encoded examples, kept for later runs: list, check, or remove them all."""
    from tlx.cache.listing import clear_all, table, verify
    from tlx.errors import unknown

    if action not in ("list", "verify", "clear"):
        raise unknown("action", action, ("list", "verify", "clear"))
    if drop and action != "verify":
        raise UserError("--drop removes what `tlx cache verify` finds damaged; `tlx cache clear` removes everything.")
    if action == "verify":
        found, whole = verify(folder, drop)
        typer.echo(found)
        if not whole:
            raise RunFailed("something that is kept in the cache was damaged; see above.")
        return
    typer.echo(table(folder) if action == "list" else clear_all(folder))


@app.command()
def check(
    folder: Annotated[
        Path, typer.Argument(envvar="TLX_CONFIG_DIR", help="Your own configs/ folder, as given to --config-dir.")
    ],
    show_traceback: Traceback = False,
) -> None:
    """Your own yamls through our contract tests: each model, strategy, data set, … of a folder of configs."""
    from tlx.contracts.folder import read_folder

    found = read_folder(folder)  # what is wrong with it is said before torch is imported

    from tlx.contracts.check import check_folder

    tally = check_folder(found, typer.echo, show_traceback)
    typer.echo(tally.summary)
    if failed := tally.counts["failed"]:
        raise RunFailed(f"{failed} contract{'s' * (failed > 1)} failed; see above.")


@app.command()
def doctor(show_traceback: Traceback = False) -> None:
    """Versions, devices, write access; what is missing and how to get it."""
    from tlx.doctor import examine

    lines, healthy = examine()
    typer.echo("\n".join(lines))
    if not healthy:
        raise RunFailed("something that tlx needs is missing; see above.")


def main() -> None:
    """Entry point: errors are one message on stderr; exit code 2 for the user's mistake, 1 when a run failed."""
    try:
        # Verbs return nothing: what comes back is the exit code of --help, or of an interruption.
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except Interrupted as left:
        typer.echo(f"tlx: {left}; the same command again goes on from here.", err=True)
        sys.exit(left.code)
    except (UserError, RunFailed) as error:
        if "--traceback" in sys.argv:
            traceback.print_exc()
        typer.echo(f"tlx: {' '.join(str(error).split())}", err=True)
        sys.exit(2 if isinstance(error, UserError) else 1)
    except Exception as error:
        # Typer's own usage errors know their exit code and message; everything else is ours to be ashamed of.
        if hasattr(error, "format_message"):
            typer.echo(f"tlx: {error.format_message()} See `tlx --help`.", err=True)
            sys.exit(2)
        if "--traceback" in sys.argv:
            traceback.print_exc()
        if full := out_of_space(error):
            typer.echo(f"tlx: {full_disk(full)}", err=True)
            sys.exit(1)
        typer.echo(f"tlx: {type(error).__name__}: {error} (a bug? --traceback shows where)", err=True)
        sys.exit(1)
    if code == 130:
        typer.echo("tlx: interrupted; the same command again goes on from here.", err=True)
    sys.exit(code)
