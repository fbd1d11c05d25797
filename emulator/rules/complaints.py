"""The YAML parser's complaints in a fixture author's words."""

from __future__ import annotations

import re

import yaml

from emulator.errors import Mistake
from emulator.rules.problems import mistake_at, short

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')
_TEMPLATE = re.compile(r"\{[{%]")


def reworded(error: yaml.MarkedYAMLError, file: str, lines: list[str]) -> Mistake:
    """The parser's complaint in a fixture author's words; libyaml and PyYAML word theirs differently."""
    problem, context = str(error.problem or ""), str(error.context or "")
    mark = error.problem_mark or error.context_mark
    opened = error.context_mark or mark
    if mark is None:
        return Mistake(file, 0, 0, f"can't be read as YAML: {problem or context}")
    line = lines[mark.line] if mark.line < len(lines) else ""
    char = line[mark.column : mark.column + 1]
    before = line[: mark.column]
    outside = _QUOTED.sub('""', line)

    def here(text: str) -> Mistake:
        return mistake_at(file, mark, text)

    def there(text: str) -> Mistake:
        return mistake_at(file, opened, text)

    if "\t" in line[: len(line) - len(line.lstrip())]:
        return here("a tab in the indentation: YAML indents with spaces")
    if "unknown escape" in problem:
        escape = line[mark.column : mark.column + 2] if char == "\\" else "\\" + char
        return here(f"`{escape}` is no escape in double quotes: use single quotes, '{escape}...'")
    if "single document" in context:
        return here("a second document begins: a file holds one, remove the `---`")
    if "duplicate anchor" in problem + context:
        return here("the same anchor twice: give it another name")
    if "quoted scalar" in context and ("end of stream" in problem or "document indicator" in problem):
        return there("the quote that opens here is never closed")
    if _TEMPLATE.search(outside):
        return here('a text with `{{` or `{%` must be quoted as a whole: "... {{ ... }} ..."')
    if "alias" in context + problem:
        return there("a text that begins with `*` must be quoted (unquoted, it refers to an anchor)")
    if "anchor" in context:
        return there("a text that begins with `&` must be quoted (unquoted, it names an anchor)")
    if "tag" in context + problem:
        return there("a text that begins with `!` must be quoted (unquoted, it is a tag)")
    if "cannot start any token" in problem:
        return here(f"a text that begins with `{char}` must be quoted")
    if "mapping keys are not allowed" in problem:
        return here("a text that begins with `?` must be quoted")
    if "directive" in context:
        return there("a text that begins with `%` must be quoted (unquoted, it is a directive)")
    if "plain scalar" in context and "':'" in problem:
        return here("a colon split a text: quote the text or use block style")
    if "mapping values are not allowed" in problem:
        return here(_unexpected_colon(before, lines[mark.line - 1] if mark.line else ""))
    if "sequence entries are not allowed" in problem:
        return here("a list begins on a line of its own; if it is a text that begins with `-`, quote it")
    if "block scalar" in context:
        return here("after `|` or `>` the text begins on the next line; if it is part of the text, quote the text")
    if "quoted" in context:
        return here("a broken escape in double quotes: use single quotes, in which `\\` stands for itself")
    if "flow" in context and opened is not None:
        bracket = (lines[opened.line] if opened.line < len(lines) else "")[opened.column : opened.column + 1]
        if char and char in "]}":
            return here(f"`{bracket}` of line {opened.line + 1} is closed by `{char}`")
        if opened.line != mark.line or not char:
            return there(f"the `{bracket}` that opens here is never closed")
        if char == ":":
            return here("a colon split a text: quote the text or use block style")
        return here(f"`{short(line[mark.column :], 20)}` is not expected: if it belongs to a text, quote the text")
    if "node content" in problem or "expected the node content" in problem:
        return here(f"a text that begins with `{char}` must be quoted")
    if before.rstrip().endswith(('"', "'")) or re.search(r":\s+(['\"]).*\1\s*$", before):
        return here("the text goes on after its closing quote: quote the whole of it, a quote inside twice ('')")
    if "simple key" in context or "could not find expected ':'" in problem:
        return there("a key without its colon: a key is followed by a colon and a space")
    if mark.line and " #" in lines[mark.line - 1]:
        return here("this continues a text that ` #` ended in the line above: quote the text")
    if "block" in context or "document start" in problem:
        return here("the indentation fits nothing above: entries of one mapping or list begin in the same column")
    return here(f"can't be read as YAML: {context}{', ' if context and problem else ''}{problem}")


def _unexpected_colon(before: str, above: str) -> str:
    if re.search(r":\s", before):
        return "a second colon in the line: if it belongs to the text, quote the text"
    if re.search(r"\w:\S", above):
        return "a key is not expected here: is the space after the colon missing in the line above?"
    return "a key is not expected here: check the indentation and the line above"
