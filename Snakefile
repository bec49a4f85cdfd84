"""The one workflow: runs of experiments -> chapters -> book.

A run is one experiment on one task with one gate, one optimiser and a block of seeds; it makes one file of tables. A
chapter goes through papermill, reads the tables of its runs, and leaves an executed notebook and artefacts.
`make book` runs it, and `make book ON=slurm` has SLURM run the jobs. A profile with `only` is a study: runs of one chapter
and their tables, without the book.
"""

import json
import math
import os
import sys

sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))
import address
import dependencies
import limits
import parameters
import toc

CHAPTERS = list(toc.chapters())
SOURCES = {c: Path("notebooks") / f"{c}.py" for c in CHAPTERS}
PROFILE, DEVICE = config.get("profile", "ci"), config.get("device", "auto")
PROFILES = parameters.load(Path("profiles.yaml"), CHAPTERS)
PARAMETERS = {c: parameters.resolve(PROFILES, PROFILE, SOURCES[c], DEVICE) for c in CHAPTERS}
PLANS = dependencies.plans({c: parameters.declared(SOURCES[c]) | PARAMETERS[c] for c in CHAPTERS})
ONLY = PROFILES[PROFILE].get("only", {})
LABELS = {name: value for name, value in ONLY.items() if name != "chapter"}
STUDIED = [run for run in PLANS.get(ONLY.get("chapter"), []) if LABELS.items() <= run["labels"].items()]
RUNS = {run["path"]: run for runs in PLANS.values() for run in runs}
LIMITS = limits.load()
LOCK = dependencies.digest(["requirements.lock"])


def files(chapter):
    """What a chapter's results depend on, beside the code of the library and its runs."""
    source = SOURCES[chapter]
    more = ["requirements.lock", "workflow/chapter.py", "workflow/environment.py"]
    return [str(path) for path in [source, *dependencies.data(source), *more]]


FILES = {chapter: files(chapter) for chapter in CHAPTERS}

# The prose, and what puts it together. The generated pages come from their own rule.
PROSE = sorted(str(p) for p in Path("book").rglob("*") if p.is_file() and not {"generated", "__pycache__"} & {*p.parts})
BOOK = [*PROSE, "_config.yml", "_toc.yml", "requirements.lock", "workflow/book.py", "workflow/toc.py"]
BOOK += ["CITATION.cff", "workflow/citation.py", "workflow/address.py"]
# What a downloaded notebook carries, and what makes it; the library is also what the reference is made of.
BOOK += ["pyproject.toml", "workflow/portable.py", "workflow/plain.py", "workflow/templates/setup.py.j2"]
BOOK += map(str, dependencies.library())
GENERATED = expand("book/generated/{page}.md", page=["execution", "ledger", "figures", "tables"])
PAGES = ["workflow/pages.py", "workflow/six_words.py", "workflow/toc.py", "_toc.yml", *sorted(map(str, Path("workflow/templates").glob("*.j2")))]
MEASURED = sorted(map(str, Path("benchmarks/results/scale").glob("*.json")))
GENERATED += ["book/generated/scale.md"] if MEASURED else []
PAGES += MEASURED
PAGES += ["workflow/references.py", *map(str, Path("reference").glob("manifest.json"))]
PAGES += map(str, Path("book").glob("notation.md"))  # the ledger takes the names of the claims from it
# The figure of the first page stands on the claims of two chapters.
GENERATED += ["book/generated/six-words.svg"] if {"gate-corrections", "gates-against-optimisers"} <= {*CHAPTERS} else []
PAPER = ["workflow/pdf.py", "workflow/browser.py", *sorted(map(str, Path("workflow/paper").iterdir()))]

# What re-runs is decided by contents. Each rule has a fingerprint of its sources among its parameters, so that an edit
# counts even when the file's date is old (a file moved or unpacked into place). A new date on old contents does not
# count: see max-checksum-file-size in workflow/profiles/default.


def needs(kind, name):
    """What a job asks a scheduler for, which is no reason to run again; memory grows from attempt to attempt."""
    limit = lambda wildcards: limits.of(LIMITS, kind, getattr(wildcards, name))
    return {
        # of the scheduler a little more, since starting counts there
        "runtime": lambda wildcards: math.ceil(limit(wildcards).minutes) + 10,
        "seconds": lambda wildcards: math.ceil(60 * limit(wildcards).minutes),
        "attempt": lambda wildcards, attempt: attempt,
        "mem_mb": lambda wildcards, attempt: limit(wildcards).megabytes * attempt,
        **({"gpu": 1} if DEVICE == "cuda" else {}),
    }


wildcard_constraints:
    chapter="|".join(CHAPTERS) or "none",
    experiment="[a-z_]+",


localrules:
    pages,
    book,
    pdf,
    study,


rule book:
    default_target: True
    input:
        sources=BOOK,
        pages=GENERATED,
        notebooks=expand("notebooks/{chapter}.ipynb", chapter=CHAPTERS),
    output:
        "_build/html/index.html",
    params:
        contents=dependencies.digest(BOOK),
        published=f"{address.repository()} {address.url()}",
    threads: workflow.cores or 1
    shell:
        "{sys.executable:q} workflow/book.py --jobs {threads}"


rule pdf:
    input:
        PAPER,
        # The root page alone says the same whatever the chapters say.
        rules.book.input,
        book=rules.book.output,
    output:
        "_build/gates-as-learning-rates.pdf",
    params:
        paper=config.get("paper", "A4"),
        url=os.environ.get("GATELR_URL", ""),
        contents=dependencies.digest([*BOOK, *PAPER]),
    shell:
        "{sys.executable:q} workflow/pdf.py --paper {params.paper:q}"


rule pages:
    input:
        sources=PAGES,
        results=expand("artifacts/{c}/{file}.json", c=CHAPTERS, file=["results", "manifest", "run"]),
    output:
        GENERATED,
    params:
        chapters=CHAPTERS,
        contents=dependencies.digest(PAGES),
    shell:
        "{sys.executable:q} workflow/pages.py {params.chapters:q}"


def planned(wildcards):
    """The run of a file, as its plan has it."""
    return RUNS[f"artifacts/runs/{wildcards.experiment}/{wildcards.name}.json"]


rule run:
    output:
        "artifacts/runs/{experiment}/{name}.json",
    params:
        # of wildcards alone: what is made from `output` is not kept, and its change would go unseen
        run=lambda wildcards: json.dumps(planned(wildcards)["run"], sort_keys=True),
        code=lambda wildcards: f"{planned(wildcards)['code']} {LOCK}",
        device=DEVICE,
    threads: 1
    resources:
        **needs("runs", "experiment"),
    shell:
        "{sys.executable:q} workflow/run.py {params.run:q} --device {params.device:q}"
        " --threads {threads} --attempt {resources.attempt}"


rule chapter:
    input:
        sources=lambda wildcards: FILES[wildcards.chapter],
        runs=lambda wildcards: [run["path"] for run in PLANS.get(wildcards.chapter, [])],
    output:
        "notebooks/{chapter}.ipynb",
        "artifacts/{chapter}/results.json",
        "artifacts/{chapter}/manifest.json",
        "artifacts/{chapter}/run.json",
    params:
        values=lambda wildcards: json.dumps(PARAMETERS[wildcards.chapter], sort_keys=True),
        contents=lambda wildcards: dependencies.digest(FILES[wildcards.chapter]),
        code=lambda wildcards: dependencies.code(SOURCES[wildcards.chapter]),
    threads: 1
    resources:
        **needs("chapters", "chapter"),
    shell:
        "{sys.executable:q} workflow/chapter.py {input.sources[0]:q}"
        " --threads {threads} --seconds {resources.seconds} --attempt {resources.attempt}"
        " --parameters {params.values:q}"


rule study:
    input:
        ["workflow/study.py", *(run["path"] for run in STUDIED)],
    output:
        f"artifacts/studies/{PROFILE}/run.csv",
    params:
        chapter=ONLY.get("chapter", ""),
        values=json.dumps(PARAMETERS.get(ONLY.get("chapter"), {}), sort_keys=True),
        labels=json.dumps(LABELS, sort_keys=True),
        folder=f"artifacts/studies/{PROFILE}",
    shell:
        "{sys.executable:q} workflow/study.py {params.chapter:q} --parameters {params.values:q}"
        " --labels {params.labels:q} --out {params.folder:q}"
