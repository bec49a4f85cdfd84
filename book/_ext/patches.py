"""All that reaches into the insides of others, in one place: what, of which version, and why.

What an extension offers is used where it is needed. What it does not offer, and is done here all the same, may break
with its next version: `tests/book/test_patches.py` fails when a version other than the one written here is installed.
Then look whether the reason is gone, or whether the patch still fits, and write the new version down.
"""

from __future__ import annotations

import functools
import html
import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import side_by_side
from bs4 import BeautifulSoup
from docutils import nodes
from markupsafe import escape
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.std import StandardDomain
from sphinx.environment import BuildEnvironment
from sphinx.util.images import get_image_size

#: The packages that are patched, each in the version that its patches were written for.
VERSIONS = {
    "docutils": "0.21.2",
    "jupyter-book": "1.0.4.post1",
    "myst-nb": "1.4.0",
    "pandas": "3.1.1",
    "pydata-sphinx-theme": "0.17.1",
    "Sphinx": "7.4.7",
    "sphinx-book-theme": "1.3.0",
    "sphinx-codeautolink": "0.19.0",
    "sphinx-jupyterbook-latex": "1.0.0",
    "sphinx-mathjax-offline": "0.0.2",
    "sphinx-multitoc-numbering": "0.1.3",
    "sphinx-proof": "0.4.0",
    "sphinx_tippy": "0.4.3",
    "sphinxext-opengraph": "0.13.0",
}

Context = dict[str, Any]
Doctree = nodes.document | None


@dataclass(frozen=True)
class Patch:
    """One of them.

    Attributes:
        package: one of ``VERSIONS``.
        why: what is wrong without it.
        does: the function.
        event: of Sphinx, at which it is called; it is applied at once if there is none.
        priority: among all that is called at the event.
        extension: without which there is nothing to patch.
    """

    package: str
    why: str
    does: Callable[..., Any]
    event: str = ""
    priority: int = 500
    extension: str = ""


PATCHES: list[Patch] = []


def patch(package: str, why: str, **more: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put a function among the patches."""

    def note(does: Callable[..., Any]) -> Callable[..., Any]:
        PATCHES.append(Patch(package, why, does, **more))
        return does

    return note


# jupyter-book


@patch(
    "jupyter-book",
    "It has no option for how many processes may read and write pages at a time.",
)
def share_pages(app: Sphinx) -> None:
    """As many as the build may use."""
    app.parallel = side_by_side.jobs()


# myst-nb


@patch(
    "myst-nb",
    "A fold's label for screen readers says neither what is in it nor whether it is open.",
    extension="myst_nb",
)
def name_folds(app: Sphinx) -> None:
    """A fold is named by what is seen."""
    from myst_nb.sphinx_ import HideCodeCellNode

    def visit(translator: Any, node: nodes.Element) -> None:
        translator.body.append(f'<details class="fold hide {" ".join(node["classes"])}">\n')
        translator.body.append(f"<summary>{escape(node['prompt_show'])}</summary>\n")

    def depart(translator: Any, node: nodes.Element) -> None:
        translator.body.append("</details>\n")

    app.add_node(HideCodeCellNode, override=True, html=(visit, depart))


# pandas


@patch(
    "pandas",
    "A frame whose index has a name gets two rows of header, and no cell says which header it belongs to.",
    event="html-page-context",
    priority=400,  # sphinx-tippy reads the page at 450
)
def name_headers(app: Sphinx, page: str, template: str, context: Context, doctree: Doctree) -> None:
    """One row of header, and each header says whether it is of a column or of a row."""
    if doctree is not None and 'class="dataframe"' in context["body"]:
        pattern = r'<table border="\d+" class="dataframe">.*?</table>'
        context["body"] = re.sub(pattern, lambda table: one_header(table[0]), context["body"], flags=re.DOTALL)


def one_header(table: str) -> str:
    """A frame as HTML with the names of its index beside those of its columns."""
    soup = BeautifulSoup(table, "html.parser")
    rows = soup.select("thead > tr")
    if len(rows) == 2:
        for upper, lower in zip(rows[0].find_all("th"), rows[1].find_all("th"), strict=True):
            if lower.string and not upper.string:
                upper.string = lower.string
        rows[1].decompose()
    for header in soup.find_all("th"):
        header["scope"] = "col" if header.find_parent("thead") else "row"
    return str(soup)


# docutils and Sphinx


@patch(
    "docutils",
    "A bibliography is said to be a list, but its entries have a role that is no more.",
    event="html-page-context",
    priority=400,  # sphinx-tippy reads the page at 450
)
def mend_bibliography(app: Sphinx, page: str, template: str, context: Context, doctree: Doctree) -> None:
    """Its entries are list items."""
    if doctree is not None and "citation-list" in context["body"]:
        context["body"] = context["body"].replace(' role="doc-biblioentry"', ' role="listitem"')


@patch(
    "Sphinx",
    "A long signature is set as a list of descriptions without words described.",
    event="html-page-context",
    priority=400,
)
def mend_signatures(app: Sphinx, page: str, template: str, context: Context, doctree: Doctree) -> None:
    """Lines of code say the same."""

    def lines(match: re.Match[str]) -> str:
        return match[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")

    if "body" in context:
        pattern = r'<dl>\s*((?:<dd><em class="sig-param">.*?</dd>\s*)+)</dl>'
        context["body"] = re.sub(pattern, lines, context["body"])


@patch(
    "Sphinx",
    "napoleon writes the type of a field into its text in full, and other types stand by their short names.",
    event="autodoc-process-docstring",
    priority=600,  # after napoleon
    extension="sphinx.ext.napoleon",
)
def type_fields(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """The type of a field where Sphinx reads it as a type, by its short name."""
    own = r"(?:(?!\.\. attribute::).)*?"  # up to the next field
    pattern = rf"(\.\. attribute:: \w+\n)({own})\n\n   :type: ([^\n]+)"

    def moved(match: re.Match[str]) -> str:
        short = re.sub(r"(?<![~.\w])(?=[a-z]\w*[.])", "~", match[3])
        return f"{match[1]}   :type: {short}\n{match[2]}"

    lines[:] = re.sub(pattern, moved, "\n".join(lines), flags=re.DOTALL).split("\n")


@patch(
    "Sphinx",
    "An alias such as dict[str, Any] says that it comes from a module that has no entry here, or no source, which "
    "viewcode gives a page; and the source of what another module passes on leads back to that one.",
    event="html-collect-pages",
    priority=400,  # before viewcode lists its pages
    extension="sphinx.ext.viewcode",
)
def keep_own_modules(app: Sphinx) -> Iterator[Any]:
    """A module of which nothing is described has no page, and others lead back to their own entries."""
    modules, described = getattr(app.env, "_viewcode_modules", {}), app.env.domains["py"].data["modules"]
    for name, entry in list(modules.items()):
        if not entry or not entry[2]:
            del modules[name]
        elif name in described:
            modules[name] = (*entry[:3], name)
    return iter(())


class ReadOnce(StandardDomain):
    """The standard domain, which looks numbers up in one copy of a page."""

    def _resolve_numref_xref(self, env: BuildEnvironment, *more: Any) -> nodes.Element | None:
        copies = self.__dict__.setdefault("copies", {})

        def get_doctree(page: str) -> nodes.document:
            if page not in copies:
                copies[page] = BuildEnvironment.get_doctree(env, page)
            return copies[page]

        vars(env)["get_doctree"] = get_doctree
        try:
            return super()._resolve_numref_xref(env, *more)
        finally:
            del vars(env)["get_doctree"]


@patch(
    "Sphinx",
    "It reads a whole page anew for each numbered reference to it, which takes a fifth of the time of a build.",
)
def read_once(app: Sphinx) -> None:
    """A page is read once."""
    app.add_domain(ReadOnce, override=True)


@patch(
    "Sphinx",
    "For the sidebar of each page it copies the contents of all pages with each name of the reference, and then throws "
    "away all but titles; that takes a quarter of the time of a build.",
    event="builder-inited",
)
def copy_titles(app: Sphinx) -> None:
    """Where titles alone are wanted, the rest is thrown away once, before it is copied."""
    if app.builder.format != "html":
        return
    whole, titles = app.builder._get_local_toctree, dict[str, nodes.Element]()

    def local_toctree(page: str, collapse: bool = True, **options: Any) -> str:
        if not options.get("titles_only"):
            return str(whole(page, collapse, **options))
        contents = app.env.tocs
        for name in contents.keys() - titles.keys():
            titles[name] = contents[name].deepcopy()
            for entry in titles[name].children:
                if len(entry) > 1:
                    entry[1][:] = entry.findall(addnodes.toctree)
                    entry[1:] = [part for part in entry[1:] if len(part)]
        app.env.tocs = titles
        try:
            return str(whole(page, collapse, **options))
        finally:
            app.env.tocs = contents

    app.builder._get_local_toctree = local_toctree


PICTURE = re.compile(r'<img(?P<rest>\b[^>]*\bsrc="[^"]*_images/(?P<name>[^"/]+)"[^>]*>)')
CSS_PIXELS = {"px": 1.0, "pt": 4 / 3}


@patch(
    "Sphinx",
    "A page loads all its pictures at once, both colours of each, and moves as they arrive.",
    event="html-page-context",
)
def wait(app: Sphinx, page: str, template: str, context: Context, doctree: Doctree) -> None:
    """A picture is fetched when it comes near the window, and its place is kept."""
    folder = Path(app.outdir, app.builder.imagedir)
    sources = {name: Path(app.srcdir, source) for source, name in app.builder.images.items()}  # not copied yet

    def waiting(tag: re.Match[str]) -> str:
        more = "" if " loading=" in tag["rest"] else ' loading="lazy" decoding="async"'
        picture = sources.get(tag["name"], folder / tag["name"])
        if not re.search(r"\s(width|height|style)=", tag["rest"]) and picture.is_file() and (pixels := size(picture)):
            more += f' width="{pixels[0]}" height="{pixels[1]}"'
        return f"<img{more}{tag['rest']}"

    if "body" in context:
        context["body"] = PICTURE.sub(waiting, context["body"])


@functools.cache
def size(picture: Path) -> tuple[int, int] | None:
    """Width and height of a picture in CSS pixels, or None if it does not say."""
    if picture.suffix != ".svg":
        return get_image_size(str(picture))
    root = re.search(r"<svg\b[^>]*>", picture.read_text())
    sides = re.findall(r'\s(width|height)="([\d.]+)(pt|px|)"', root[0] if root else "")
    lengths = {side: float(number) * CSS_PIXELS[unit or "px"] for side, number, unit in sides}
    return (round(lengths["width"]), round(lengths["height"])) if len(lengths) == 2 else None


@patch(
    "sphinx-mathjax-offline",
    "It brings all of MathJax, more than half of the book's bytes on disk; without its menu nothing asks for the rest.",
    event="build-finished",
    priority=900,  # after MathJax has been copied
)
def prune(app: Sphinx, exception: Exception | None) -> None:
    """What pages never load of MathJax is removed."""
    folder, used = Path(app.outdir, "_static", "mathjax"), Path(app.config.mathjax_path).name
    kept = (used, "output/chtml/fonts/", "input/tex/extensions/")
    if exception is None and (folder / used).is_file():
        for file in [p for p in folder.rglob("*") if p.is_file()]:
            if not file.relative_to(folder).as_posix().startswith(kept):
                file.unlink()


def may_read_side_by_side(package: str, extension: str, since: str) -> None:
    """Say so of an extension that does not."""

    @patch(
        package,
        f"It does not say whether pages may be read side by side. They may, since {since}.",
        event="env-before-read-docs",
    )
    def say(app: Sphinx, env: BuildEnvironment, pages: list[str]) -> None:
        """It is said."""
        if extension in app.extensions:
            app.extensions[extension].parallel_read_safe = True


may_read_side_by_side(
    "sphinx-mathjax-offline", "sphinx-mathjax-offline", "it does no more than copy MathJax when the book is done"
)
may_read_side_by_side(
    "sphinx-multitoc-numbering", "sphinx_multitoc_numbering", "it numbers sections when all pages have been read"
)
may_read_side_by_side("sphinx-jupyterbook-latex", "sphinx_jupyterbook_latex", "it looks at each page by itself")


# sphinx-proof


@patch(
    "sphinx-proof",
    "Every box of a page has contents called proof-content, and every proof is called proof.",
    event="doctree-read",
    priority=400,  # before Sphinx notes the sections
    extension="sphinx_proof",
)
def name_proofs(app: Sphinx, doctree: nodes.document) -> None:
    """The contents are named after their box, and proofs are counted."""
    for content in doctree.findall(lambda node: isinstance(node, nodes.Element) and "proof-content" in node["ids"]):
        content["ids"] = [f"{content.parent['label']}-content"]
    proofs = doctree.findall(lambda node: isinstance(node, nodes.admonition) and node["ids"] == ["proof"])
    for place, proof in enumerate(list(proofs), start=1):
        proof["ids"] = [f"proof-{place}"]


@patch(
    "sphinx-proof",
    "It says that pages may be read side by side, and its domain does not say how what was read comes together.",
    extension="sphinx_proof",
)
def merge_proofs(app: Sphinx) -> None:
    """The domain has nothing of its own: its list of proofs comes together at an event."""
    from sphinx_proof.domain import ProofDomain

    ProofDomain.merge_domaindata = lambda *_: None


# sphinx-codeautolink


def code_names(env: BuildEnvironment) -> Iterator[tuple[Any, list[Any]]]:
    """For each piece of code that sphinx-codeautolink read: where it stands, and the names of the library in it."""
    for transforms in getattr(env, "sphinx_codeautolink_transforms", {}).values():
        for transform in transforms:
            yield transform.example, transform.names


@patch(
    "sphinx-codeautolink",
    "It matches code with its print, and Pygments prints no empty lines at the beginning of a cell.",
    event="doctree-read",
    priority=400,  # before it looks
    extension="sphinx_codeautolink",
)
def trim(app: Sphinx, doctree: nodes.document) -> None:
    """Such lines are taken away."""
    for block in doctree.findall(nodes.literal_block):
        if block.astext().startswith("\n"):
            block.rawsource = block.astext().lstrip("\n")
            block[:] = [nodes.Text(block.rawsource)]


@patch(
    "sphinx-codeautolink",
    "It links each variable whose type it knows, so that `model` leads to GatedRNN wherever it stands.",
    event="env-updated",
    priority=600,  # when the names have been resolved
    extension="sphinx_codeautolink",
)
def keep_names(app: Sphinx, env: BuildEnvironment) -> None:
    """Of the links those whose text is a name of the library stay: `model.run`, but not each `model`."""
    for _, names in code_names(env):
        names[:] = [name for name in names if name.code_str.split(".")[-1] == name.resolved_location.split(".")[-1]]


@patch(
    "sphinx-codeautolink",
    "It puts links into one page after the other, which takes a fifth of the time of a build.",
    extension="sphinx_codeautolink",
)
def link_side_by_side(app: Sphinx) -> None:
    """Each page by itself, side by side."""
    from sphinx_codeautolink import extension

    link = extension.link_html
    if not isinstance(link, functools.partial):  # of an earlier book in this process
        link = functools.partial(_link_later, link)
        extension.link_html = link


def _link_later(link: Callable[..., None], *page: Any, **how: Any) -> None:
    side_by_side.later(functools.partial(link, *page, **how))


# sphinx-tippy


#: How many rows of a table its preview shows.
ROWS = 8
#: What of an element is of no use in its preview.
NOT_IN_PREVIEWS = (
    ".headerlink, .copybtn, button, script, summary, details, nav, .figure-menu, .rubric, .viewcode-link, .used-in"
)
#: A span for each word of a signature is nine tenths of it.
WITHOUT_MARKUP = "code .pre, dt.sig span:not(.sig-line, .sig-name, .sig-prename)"


@patch(
    "sphinx_tippy",
    "It draws the names of its files at random, so that no two builds of the same book would be the same.",
    extension="sphinx_tippy",
)
def name_files(app: Sphinx) -> None:
    """A name that stays."""
    import sphinx_tippy

    sphinx_tippy.uuid4 = lambda: "previews"


def previews(env: BuildEnvironment) -> dict[str, Any]:
    """What sphinx-tippy read of each page."""
    if not hasattr(env, "tippy_data"):
        env.tippy_data = {"pages": {}, "wiki_titles": set()}  # type: ignore[attr-defined]
    pages: dict[str, Any] = env.tippy_data["pages"]
    return pages


@patch(
    "sphinx_tippy",
    "It shows of a symbol the symbol alone.",
    event="html-page-context",
    priority=460,  # after it has read the page
    extension="sphinx_tippy",
)
def preview_symbols(app: Sphinx, page: str, template: str, context: Context, doctree: Doctree) -> None:
    """The row of a table in which a symbol stands is its preview."""
    data = previews(app.env).get(page)
    if data is None or 'class="symbol"' not in context["body"]:
        return
    for symbol in BeautifulSoup(context["body"], "html.parser").select("tr .symbol[id]"):
        row = f'<table class="table"><tbody>{symbol.find_parent("tr")}</tbody></table>'
        data["id_to_html"][symbol["id"]] = row


@patch(
    "sphinx_tippy",
    "A preview has names that the page has already, what cannot be clicked there, and tables in full; and what it read "
    "of a page is lost if another process writes the page.",
    event="html-page-context",
    priority=470,
    extension="sphinx_tippy",
)
def keep_previews(app: Sphinx, page: str, template: str, context: Context, doctree: Doctree) -> None:
    """Previews are cut down to what is read in them, and kept in a file for the process that gathers them."""
    data = previews(app.env).get(page) if doctree is not None else None
    if data is None:
        return
    data["id_to_html"] = {name: tidy(shown) for name, shown in data["id_to_html"].items()}
    if app.parallel > 1:
        file = Path(app.doctreedir, "previews", f"{page}.pickle")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(data))


@patch(
    "sphinx_tippy",
    "What other processes read of the pages that they wrote is not known to the one that writes the previews.",
    event="build-finished",
    priority=200,
    extension="sphinx_tippy",
)
def gather_previews(app: Sphinx, exception: Exception | None) -> None:
    """It is read from their files."""
    folder = Path(app.doctreedir, "previews")
    for file in sorted(folder.rglob("*.pickle")):
        page = file.relative_to(folder).with_suffix("").as_posix()
        previews(app.env)[page] = pickle.loads(file.read_bytes())


@patch(
    "sphinx_tippy",
    "It reads the pages before sphinx-codeautolink has put links into their code.",
    event="build-finished",
    priority=300,  # before the previews are put in order
    extension="sphinx_tippy",
)
def preview_code(app: Sphinx, exception: Exception | None) -> None:
    """What these links lead to gets a preview, too."""
    if exception is not None:
        return
    pages, objects = previews(app.env), app.env.domains["py"].data["objects"]
    for example, names in code_names(app.env):
        for name in names if example.document in pages else ():
            entry = objects[name.resolved_location]
            pages[example.document]["refs_in_page"].add((entry.docname, entry.node_id))


@patch(
    "sphinx_tippy",
    "The order of the previews is another in each build, as that of any set of words.",
    event="build-finished",
    priority=400,  # before it writes them
    extension="sphinx_tippy",
)
def order_previews(app: Sphinx, exception: Exception | None) -> None:
    """They have an order of their own."""
    if exception is None and app.builder.format == "html":
        for data in previews(app.env).values():
            data["refs_in_page"] = sorted(data["refs_in_page"], key=str)


def tidy(preview: str) -> str:
    """A preview: without what can be clicked, without names that the page has already, and without a long tail.

    Its images wait until it is shown: a page with fifty references would otherwise load fifty figures.
    """
    soup = BeautifulSoup(preview, "html.parser")
    for element in soup.select(NOT_IN_PREVIEWS):
        element.decompose()
    for element in soup.select(WITHOUT_MARKUP):
        element.unwrap()
    for row in [row for body in soup.find_all("tbody") for row in body.find_all("tr")[ROWS:]]:
        row.decompose()
    for element in soup.find_all(True):
        for name in ("id", "href", "tabindex", "role"):
            element.attrs.pop(name, None)
        if element.name == "a":
            element.name = "span"
        if element.name == "img":
            element["loading"] = "lazy"
    return str(soup)


# Themes


@patch(
    "sphinx-book-theme",
    "Its download button gives a page's source, which does not run without the repository around it.",
    event="html-page-context",
    priority=502,  # the theme has put its buttons there by then; it may come after all extensions
)
def buttons(app: Sphinx, page: str, template: str, context: Context, doctree: Doctree) -> None:
    """The button gives what was made to be taken away."""
    stem = context["pathto"](f"downloads/{Path(page).name}", 1)
    files = [
        (".ipynb", "A notebook that runs anywhere", "fas fa-book", "download-notebook-button"),
        (".py", "The same as Python", "fab fa-python", "download-source-button"),
    ]
    links = [
        {"type": "link", "url": f"{stem}{suffix}", "text": suffix, "tooltip": tooltip, "icon": icon, "label": label}
        for suffix, tooltip, icon, label in files
    ]
    for group in context.get("header_buttons", ()):
        if group.get("label") == "download-buttons":
            printing = [button for button in group["buttons"] if button["type"] == "javascript"]
            group["buttons"] = [*(links if page.startswith("notebooks/") else []), *printing]


@patch(
    "sphinx-book-theme",
    "A page that no text was written for, such as the index, has an empty heading on paper.",
    event="html-page-context",
    priority=502,  # the theme looks for the heading first
)
def head(app: Sphinx, page: str, template: str, context: Context, doctree: Doctree) -> None:
    """Its heading is its title, which the general index gives itself later on."""
    if not context.get("pagetitle"):
        context["pagetitle"] = context.get("title") or context.get("indextitle") or "Index"


MAGNIFIER = '<i class="fa-solid fa-magnifying-glass"></i>'


@patch(
    "pydata-sphinx-theme",
    "A search is sent by the Enter key alone, since its form has no button.",
    event="builder-inited",
)
def submit(app: Sphinx) -> None:
    """The magnifier is the button."""
    templates = getattr(app.builder, "templates", None)
    if templates is None:
        return
    read = templates.get_source

    def get_source(environment: Any, template: str) -> tuple[str, str, Callable[[], bool]]:
        source, *more = read(environment, template)
        if template.endswith("components/search-field.html"):
            source = source.replace(
                MAGNIFIER, f'<button type="submit" class="search-submit" aria-label="Search">{MAGNIFIER}</button>'
            )
        return source, *more

    templates.get_source = get_source


@patch(
    "pydata-sphinx-theme",
    "The page for the lost stands at no known depth, from where its switch could not ask for the list of versions.",
    event="html-page-context",
    priority=100,
    extension="sphinxext.opengraph",  # only a published book has versions
)
def without_switch(app: Sphinx, page: str, template: str, context: Context, doctree: Doctree) -> None:
    """That page has no switch."""
    if page == app.config.notfound_pagename and context.get("theme_switcher"):
        context["theme_switcher"] = None
        start = context["theme_article_header_start"]
        context["theme_article_header_start"] = [part for part in start if part != "version-switcher.html"]


# sphinxext-opengraph

# Where a command of TeX and an entity of HTML for the same sign differ in name; most are called alike.
ENTITIES = {
    "partial": "part",
    "cdots": "ctdot",
    "ldots": "hellip",
    "dots": "hellip",
    "infty": "infin",
    "to": "rarr",
    "varepsilon": "epsilon",
}


@patch(
    "sphinxext-opengraph",
    "It takes the description of a page from its first lines as they are, TeX and all.",
    event="html-page-context",
    priority=400,  # before it looks; the page itself is written already
    extension="sphinxext.opengraph",
)
def describe(app: Sphinx, page: str, template: str, context: Context, doctree: Doctree) -> None:
    """There is no TeX in a description."""
    for formula in doctree.findall(lambda node: isinstance(node, nodes.math | nodes.math_block)) if doctree else ():
        # A space before it, as the description joins words to a sign that looks like punctuation.
        formula.children = [nodes.Text(f" {readable(formula.astext())}")]


def readable(tex: str) -> str:
    """A short formula as a line of text: "M_{t,k} = \\prod_j A_j" becomes "M_t,k = ∏_j A_j"."""
    signs = re.sub(r"\\([A-Za-z]+)", lambda name: f"&{ENTITIES.get(name[1], name[1])};", tex)
    plain = re.sub(r"&(\w+);|\\.|[{}~]", r"\1", html.unescape(signs))
    return " ".join(plain.split())


@patch(
    "sphinxext-opengraph",
    "Matplotlib, which draws its cards, does not find the font that it brings for them.",
    extension="sphinxext.opengraph",
)
def bring_font(app: Sphinx) -> None:
    """The font is made known."""
    from matplotlib import font_manager
    from sphinxext import opengraph

    font_manager.fontManager.addfont(Path(opengraph.__file__).parent / "_static" / "Roboto-Flex.ttf")


def setup(app: Sphinx) -> dict[str, Any]:
    """Comes last among the extensions: what is not there is not patched."""
    app.setup_extension("side_by_side")
    for each in PATCHES:
        if each.extension and each.extension not in app.extensions:
            continue
        if each.event:
            app.connect(each.event, each.does, priority=each.priority)
        else:
            each.does(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
