"""Templates in replies: `{{ question | last_word }}`.

The language is jinja2's, in a sandbox with limits (`sandbox`, imported when the first template is met). A text that is
exactly one `{{ expression }}` keeps the expression's type; any other renders to a text. In a text, booleans, null,
lists and mappings are written as JSON (our choice: its readers need not know Python).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sandbox import Compiled

Report = Callable[[tuple[str | int, ...], str], None]
Rendered = Callable[[Mapping[str, Any]], Any]

SECONDS = 1.0
SIZE = 1_000_000
_DEEPEST = 100


def has_template(text: str) -> bool:
    """Whether `text` has anything that jinja2 would read as more than plain text."""
    return "{" in text and ("{{" in text or "{%" in text or "{#" in text)


class Template:
    """A compiled template. `names` are the variables it uses, `single` says that it keeps its expression's type."""

    __slots__ = ("_compiled", "names", "single", "source")

    def __init__(self, source: str, compiled: Compiled) -> None:
        self.source = source
        self.names = compiled.names
        self.single = compiled.single
        self._compiled = compiled

    def render(self, context: Mapping[str, Any], *, seconds: float = SECONDS, size: int = SIZE) -> Any:
        """The result: a text, or for a single expression a value in JSON's types that belongs to the caller.

        Only the variables in `names` are asked of `context`. Raises ValueError, readable, for whatever goes wrong,
        more than `seconds` of time and more than `size` characters included.
        """
        from .sandbox import Limits

        try:
            # A variable that isn't there is an error only where it is used, so `is defined` and `default` work.
            variables = {}
            for name in self.names:
                with suppress(KeyError):
                    variables[name] = context[name]
            result = self._compiled.run(variables, Limits(seconds, size))
            str(result).encode()
        except UnicodeEncodeError:
            raise ValueError("the template makes half a character (a lone surrogate)") from None
        except Exception as error:
            # Anything may go wrong in an expression; whatever it is, the template's author is to be told.
            raise ValueError(self._told(error)) from None
        return result

    def _told(self, error: Exception) -> str:
        line = self._compiled.line(error)
        where = f"line {line} of the text: " if line and "\n" in self.source.strip() else ""
        if isinstance(error, RecursionError):
            return f"{where}the template is nested too deeply"
        said = " ".join(str(error).split())[:300] or type(error).__name__
        if absent := re.search(r"has no (?:attribute|element) ('?.+?'?)$", said):
            said = f"there is no {absent[1]} in this request; give another with | default('...')"
        if isinstance(error, KeyError):
            said = f"there is no {said}"
        return f"{where}the template failed: {said}"


def compile_template(source: str, known: frozenset[str]) -> Template:
    """Compile `source`, which may use the variables in `known`.

    Where `known` holds names like `vars.city`, or `vars.` alone for none, those are all that `vars` has.

    Raises ValueError, readable, for a syntax error, an unknown variable, filter or test, and what is refused (include,
    import, extends, blocks, recursive loops).
    """
    import jinja2

    from .sandbox import Compiled, Refused

    try:
        compiled = Compiled(source)
    except jinja2.TemplateSyntaxError as error:
        where = f"line {error.lineno} of the text: " if error.lineno and "\n" in source.strip() else ""
        remedy = "" if isinstance(error, Refused) else " (`template: false` leaves braces alone)"
        raise ValueError(f"{where}{error.message or 'it is no template'}{remedy}") from None
    declared = frozenset(name.removeprefix("vars.") for name in known if name.startswith("vars."))
    for name in sorted(compiled.variables - declared) if declared else ():
        raise ValueError(f"no variable named vars.{name}; vars has {', '.join(sorted(declared - {''})) or 'none'}")
    for name in sorted(compiled.names - known):
        names = [one for one in known if not one.startswith("vars.")]
        import difflib

        near = difflib.get_close_matches(name, names, 1)
        also = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(names)) or 'none here'}"
        raise ValueError(f"no variable named {name}; {also}")
    return Template(source, compiled)


def compile_value(value: Any, known: frozenset[str], report: Report) -> Rendered | None:
    """Compile the templates in a JSON-like `value`: texts in lists and mappings, not the keys.

    None if there is none, and `value` stands for itself. Otherwise a function from the context to a fresh copy, with
    types kept; it raises ValueError with the place in the value. `report(path, text)` is told each mistake; the
    function, if any, then renders the mistaken text as written.
    """
    rendered = _compile(value, known, report, ())
    return None if rendered is None else lambda context: rendered(_Bounded(context))


class _Bounded(Mapping[str, Any]):
    """A context, and how many characters the templates of one value may still make with it."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._context = context
        self.left = SIZE

    def __getitem__(self, name: str) -> Any:
        return self._context[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._context)

    def __len__(self) -> int:
        return len(self._context)

    def made(self, value: Any) -> None:
        """A template has made `value`. Raises ValueError where all together is too much."""
        self.left -= len(value) if isinstance(value, str) else len(str(value))
        if self.left < 0:
            raise ValueError(f"the templates make more than {SIZE} characters together")


def _compile(value: Any, known: frozenset[str], report: Report, path: tuple[str | int, ...]) -> Rendered | None:
    if isinstance(value, str):
        return _compile_text(value, known, report, path)
    if not isinstance(value, (dict, list, tuple)):
        return None
    if len(path) >= _DEEPEST:
        report(path, f"is nested more than {_DEEPEST} deep")
        return None
    entries = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    inner = {key: _compile(one, known, report, (*path, key)) for key, one in entries}
    if not any(inner.values()):
        return None
    parts = [(key, inner[key] or _copier(one)) for key, one in entries]
    if isinstance(value, dict):
        return lambda context: {key: part(context) for key, part in parts}
    return lambda context: [part(context) for _, part in parts]


def _compile_text(text: str, known: frozenset[str], report: Report, path: tuple[str | int, ...]) -> Rendered | None:
    if not has_template(text):
        return None
    try:
        template = compile_template(text, known)
    except ValueError as error:
        report(path, str(error))
        return None

    def render(context: Mapping[str, Any]) -> Any:
        try:
            value = template.render(context)
            if isinstance(context, _Bounded):
                context.made(value)
            return value
        except ValueError as error:
            raise ValueError(f"{'.'.join(map(str, path))}: {error}" if path else str(error)) from None

    return render


def _copier(value: Any) -> Rendered:
    return lambda context: _copy(value)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(one) for key, one in value.items()}
    return [_copy(one) for one in value] if isinstance(value, (list, tuple)) else value
