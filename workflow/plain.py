"""Prose without Sphinx: a chapter's MyST in the Markdown that Jupyter and Colab know."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from mdit_py_plugins.myst_role.index import myst_role
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

#: Directives that show code, and those whose box has no title of its own.
CODE = {"code", "code-block", "code-cell"}
BARE = {"container", "div", "figure", "table", "list-table", "math"}

#: Says a MyST role, such as ``{numref}`fig-x```, in plain Markdown.
Resolve = Callable[[str], str]
#: A place in a text, and what is to stand there.
Edit = tuple[int, int, str]


def _located(state: StateInline, silent: bool) -> bool:
    """The rule for roles, which also notes where in the text the role stands."""
    start = state.pos
    if not myst_role(state, silent):
        return False
    if not silent:
        state.tokens[-1].meta["source"] = state.src[start : state.pos]
    return True


def _parser() -> MarkdownIt:
    extensions = {"amsmath", "colon_fence", "deflist", "dollarmath"}
    parser = create_md_parser(MdParserConfig(enable_extensions=extensions), RendererHTML)
    parser.inline.ruler.at("myst_role", _located)
    return parser


PARSER = _parser()


def soften(text: str, resolve: Resolve) -> str:
    """Markdown that reads well without Sphinx: references as text, theorems as quotations, numbers on equations.

    Args:
        text: MyST Markdown.
        resolve: asked for each role, as it is written.
    """
    lines = text.split("\n")
    offset = [0]
    for line in lines:
        offset.append(offset[-1] + len(line) + 1)

    def span(token: Token) -> tuple[int, int]:
        first, last = token.map or (0, 0)
        return offset[first], offset[max(last, first + 1)] - 1  # the term of a definition has an empty map

    edits: list[Edit] = []
    term = 0  # where the last term of a definition, or definition, was found
    for token in PARSER.parse(text):
        if token.type == "inline":
            edits += _roles(token, text, *span(token), resolve)
        elif token.type in ("fence", "colon_fence") and (directive := _directive(token)):
            edits.append((*span(token), _box(*directive, resolve)))
        elif token.type == "math_block_label":
            edits.append((*span(token), _equation(token.content, token.info, resolve)))
        elif token.type in ("myst_target", "myst_line_comment", "myst_block_break"):
            start, end = span(token)
            edits.append((start, min(end + 1, len(text)), ""))
        elif token.type == "dt_open":
            start, end = span(token)
            edits += [(start, start, "**"), (end, end, "**\n")]
            term = end
        elif token.type == "dd_open":
            colon = re.compile(r"^ *: *", re.MULTILINE).search(text, term)
            assert colon, "lost the place of a definition"
            edits.append((*colon.span(), ""))
            term = colon.end()
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text.strip("\n")


def foreign(text: str) -> list[str]:
    """What of a text only Sphinx understands."""
    sources = []
    for token in _every(PARSER.parse(text)):
        if token.type == "myst_role":
            sources.append(token.meta["source"])
        elif token.type in ("fence", "colon_fence") and (directive := _directive(token)):
            sources.append(f"{{{directive[0]}}}")
        elif token.type == "math_block_label":
            sources.append(f"({token.info})")
        elif token.type == "myst_target":
            sources.append(f"({token.content})=")
    return sources


def _every(tokens: list[Token]) -> Iterator[Token]:
    """Tokens, and those inside of them."""
    for token in tokens:
        yield token
        yield from _every(token.children or [])


def _roles(token: Token, text: str, start: int, end: int, resolve: Resolve) -> Iterator[Edit]:
    """An edit for each role of a paragraph, whose lines may stand in a list or a quotation."""

    for child in _every(token.children or []):
        # What looks like a role in code or mathematics is none, and is passed over.
        source = child.meta["source"] if child.type == "myst_role" else child.content
        if child.type == "myst_role" or child.type in ("code_inline", "math_inline", "math_inline_double"):
            # Between its words a line of a list or a quotation may end, and in a table its bars are escaped.
            pattern = r"[\s>]+".join(re.escape(word).replace(r"\|", r"\\?\|") for word in source.split())
            match = re.compile(pattern).search(text, start, end)
            assert match, f"lost the place of {source!r}"
            start = match.end()
            if child.type == "myst_role":
                yield match.start(), match.end(), resolve(source)


def _directive(token: Token) -> tuple[str, str, dict[str, str], str] | None:
    """Name, argument, options and body, if a fence is a directive and no plain code."""
    if not (named := re.fullmatch(r"\{([^}]+)\} *(.*)", token.info.strip())):
        return None
    options, body = {}, token.content.split("\n")
    while body and (option := re.fullmatch(r":([\w-]+): *(.*)|: +.*", body[0].strip())):
        options.update({option[1]: option[2]} if option[1] else {})  # a long option goes on after a colon
        body.pop(0)
    return named[1], named[2], options, "\n".join(body).strip("\n")


def _box(name: str, argument: str, options: dict[str, str], body: str, resolve: Resolve) -> str:
    """A directive as Markdown has it."""
    if name in CODE:
        return f"```{argument}\n{body}\n```"
    if name == "math":
        return _equation(body, options.get("label", ""), resolve)
    label = options.get("label", options.get("name", ""))
    body = soften(body, resolve)
    if name in ("figure", "table", "table-file"):  # of the first and the last the cell above shows the thing itself
        caption, rest = (soften(argument, resolve), body) if name == "table" else (body, "")
        number = f"**{resolve(f'{{numref}}`{label}`')}.** " if label else ""
        return f"{number}{caption}\n\n{rest}".strip()
    if name in BARE:
        return body
    if name == "prf:proof":
        title, end = "*Proof.* ", " ∎"
    elif name.startswith("prf:"):
        title = f"**{resolve(f'{{prf:ref}}`{label}`') if label else name[4:].capitalize()}**"
        title, end = f"{title} ({argument})\n\n" if argument else f"{title}\n\n", ""
    else:
        title, end = f"**{argument or name.capitalize()}**\n\n", ""
    return textwrap.indent(_flat(f"{title}{body}{end}"), "> ", lambda line: True)


def _equation(formula: str, label: str, resolve: Resolve) -> str:
    number = re.search(r"\(([^()]+)\)", resolve(f"{{eq}}`{label}`")) if label else None  # it may be a link
    tag = rf" \tag{{{number[1]}}}" if number else ""
    return f"$$\n{formula.strip()}{tag}\n$$"


def _flat(text: str) -> str:
    """The same with each paragraph and formula on one line: inside of a quotation, Jupyter would take the mark of the
    next line for a part of the mathematics."""
    lines = text.split("\n")
    for token in reversed(PARSER.parse(text)):
        if token.map and token.type in ("inline", "math_block"):
            first, last = token.map
            if len(lines[first:last]) > 1 and "|" not in lines[first + 1][:1]:
                rest = [line.strip() for line in lines[first + 1 : last]]
                lines[first:last] = [" ".join(filter(None, [lines[first], *rest]))]
    return "\n".join(lines)
