"""The sandbox that templates run in: jinja2's, with limits on time and size.

Fixtures may come from others and templates are filled with what clients send, so nothing a template says may hang the
emulator or eat its memory. Every loop, call, filter, test and operator passes `Limits`; what could grow is measured
before it is made. This module imports jinja2: import it only when a template is really used.
"""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache, wraps
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from .filters import LIMITED, OWN, Limits, percent, plain, written

__all__ = ["Compiled", "Limits", "Refused", "environment"]


class Refused(jinja2.TemplateSyntaxError):
    """What jinja2 would take and this sandbox does not."""


# No template can write these names, so none can reach what they stand for.
_LIMITS = "the limits"
_LOOP = "each of"
_JOIN = "joined text"
_BUILT = "measured value"

_MOST_BITS = 10_000
_MOST_CALLS_DEEP = 50


def _limits(context: Context) -> Limits:
    found: Any = context.resolve(_LIMITS)
    limits: Limits = found
    return limits


@jinja2.pass_context
def _finalize(context: Context, value: Any) -> str:
    limits = _limits(context)
    limits.tick()
    limits.captured = value
    limits.measure(value)
    text = written(value)
    limits.write(len(text))
    return text


# -- what the compiled template calls in place of its own loops, `~` and literals


@jinja2.pass_context
def _each(context: Context, iterable: Any, weight: int) -> Iterator[Any]:
    limits = _limits(context)
    for item in iterable:
        limits.tick()
        limits.write(weight)
        yield item


@jinja2.pass_context
def _joined(context: Context, values: list[Any]) -> str:
    limits = _limits(context)
    limits.tick()
    limits.measure(values)
    texts = [written(value) for value in values]
    limits.fits(sum(map(len, texts)))
    return "".join(texts)


@jinja2.pass_context
def _built(context: Context, value: Any) -> Any:
    _limits(context).measure(value)
    return value


class _Guarded(NodeTransformer):
    """Puts the guards into a parsed template."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        if node.recursive:
            raise Refused("loops can't be recursive here", node.lineno)
        weight = sum(len(data.data) for part in (*node.body, *node.else_) for data in _data(part))
        self.generic_visit(node)
        node.iter = _filter(_LOOP, node.iter, node.lineno, nodes.Const(weight))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:
        self.generic_visit(node)
        return _filter(_JOIN, nodes.List(node.nodes, lineno=node.lineno), node.lineno)

    def visit_List(self, node: nodes.List) -> nodes.Expr:
        self.generic_visit(node)
        return _filter(_BUILT, node, node.lineno)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Expr:
        self.generic_visit(node)
        return _filter(_BUILT, node, node.lineno)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:
        self.generic_visit(node)
        return _filter(_BUILT, node, node.lineno) if node.ctx == "load" else node


def _data(node: nodes.Node) -> Iterator[nodes.TemplateData]:
    if isinstance(node, nodes.TemplateData):
        yield node
    yield from node.find_all(nodes.TemplateData)


def _filter(name: str, node: nodes.Node, lineno: int, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=lineno)


# -- filters and tests

# Left out of jinja2's: what makes HTML, what is random, what shows memory addresses, and `attr`.
_KEPT = (  # noqa: SIM905
    "abs capitalize count d default dictsort first float groupby int items last length lower map max min reject "
    "rejectattr reverse select selectattr sort title trim truncate unique upper urlencode wordcount"
).split()
_TAKE_ENVIRONMENT = ("wordwrap", "sum")


def _guarded(name: str, function: Callable[..., Any], *, limited: bool = False) -> Callable[..., Any]:
    """A filter or test that counts as a step and whose result is measured."""
    passed = getattr(function, "jinja_pass_arg", None)
    wanted = passed.name if passed is not None else "environment" if name in _TAKE_ENVIRONMENT else ""

    @wraps(function)
    def guarded(context: Context, *args: Any, **kwargs: Any) -> Any:
        limits = _limits(context)
        limits.tick()
        first: Any = {"context": context, "eval_context": context.eval_ctx, "environment": context.environment}.get(
            wanted
        )
        before = ([limits] if limited else []) + ([first] if wanted else [])
        result = function(*before, *args, **kwargs)
        if isinstance(result, str):
            limits.fits(len(result))
        elif isinstance(result, (list, tuple, dict)):
            limits.measure(result)
        return result

    # wraps() copies the mark of the function's own first argument.
    guarded.__dict__.pop("jinja_async_variant", None)
    return jinja2.pass_context(guarded)


# -- the environment

_STRING_METHODS = (  # noqa: SIM905
    "capitalize casefold count endswith find index isalnum isalpha isdecimal isdigit islower isnumeric isspace "
    "istitle isupper lower lstrip partition removeprefix removesuffix rfind rindex rpartition rsplit rstrip split "
    "splitlines startswith strip swapcase title upper"
).split()
_METHODS: dict[type, frozenset[str]] = {
    str: frozenset(_STRING_METHODS),
    dict: frozenset(("get", "items", "keys", "values")),
    list: frozenset(("count", "index")),
    tuple: frozenset(("count", "index")),
    int: frozenset(("bit_length",)),
    float: frozenset(("is_integer",)),
}
_KNOWN_TYPES = (str, bytes, bytearray, int, float, complex, dict, list, tuple, set, frozenset, range, type)


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if attr.startswith("_") or isinstance(obj, (types.FunctionType, types.MethodType, types.GeneratorType)):
            return False
        if isinstance(obj, _KNOWN_TYPES):
            return any(attr in methods for type_, methods in _METHODS.items() if isinstance(obj, type_))
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """`str.format` is refused like other methods that could grow a text."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A mapping's own keys come before its methods: `order.items` is what the order says."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        limits = _limits(context)
        limits.tick()
        limits.deep += 1
        if limits.deep > _MOST_CALLS_DEEP:
            raise ValueError("a macro calls itself too often")
        try:
            result = super().call(context, obj, *args, **kwargs)
        finally:
            limits.deep -= 1
        if isinstance(result, str):
            limits.write(len(result))
        elif isinstance(result, (list, tuple, dict, Namespace)):
            limits.measure(result)
        return result

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        limits = _limits(context)
        limits.tick()
        if operator == "%" and isinstance(left, str):
            return percent(limits, left, right)
        _bounded(limits, operator, left, right)
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, (list, tuple)):
            limits.measure(result)
        return result


def _bounded(limits: Limits, operator: str, left: Any, right: Any) -> None:
    """Refuse an operation whose result would be too large, before it is done."""
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else max(left.bit_length(), right.bit_length())
        if operator == "*":
            bits = left.bit_length() + right.bit_length()
        if bits > _MOST_BITS:
            raise ValueError("a number gets too large")
    elif operator == "*":
        sequence, times = (right, left) if isinstance(left, int) else (left, right)
        if isinstance(sequence, (str, bytes, list, tuple)) and isinstance(times, int):
            limits.fits(len(sequence) * times)
    elif operator == "+" and isinstance(left, (str, list, tuple)) and isinstance(right, (str, list, tuple)):
        limits.fits(len(left) + len(right))


@cache
def environment() -> jinja2.Environment:
    """The one environment, which holds no state of any rendering."""
    env = _Environment(
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        optimized=False,
        autoescape=False,
        keep_trailing_newline=True,
        cache_size=0,
    )
    env.filters = {name: _guarded(name, FILTERS[name]) for name in _KEPT}
    env.filters.update({name: _guarded(name, function, limited=True) for name, function in LIMITED.items()})
    env.filters.update({name: _guarded(name, function) for name, function in OWN.items()})
    env.filters.update({_LOOP: _each, _JOIN: _joined, _BUILT: _built})
    tests: Mapping[str, Any] = TESTS
    env.tests = {name: _guarded(name, test) for name, test in tests.items()}
    env.globals = {name: env.globals[name] for name in ("range", "dict", "namespace")}
    return env


# -- compiling and rendering

_REFUSED: dict[type[nodes.Node], str] = {
    nodes.Include: "include has no meaning here: a rule's texts stand alone",
    nodes.Import: "import has no meaning here: a rule's texts stand alone",
    nodes.FromImport: "import has no meaning here: a rule's texts stand alone",
    nodes.Extends: "extends has no meaning here: a rule's texts stand alone",
    nodes.Block: "blocks have no meaning here: write the text in place",
}


class Compiled:
    """A template ready to run: the variables it uses, and whether it is a single expression that keeps its type."""

    __slots__ = ("_template", "names", "single", "variables")

    def __init__(self, source: str) -> None:
        """Raises jinja2.TemplateSyntaxError, or ValueError for what jinja2 or Python can't compile."""
        env = environment()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = env.parse(source)
                _inspect(env, tree)
                self.single = _is_single(tree)
                self.names = frozenset(meta.find_undeclared_variables(tree)) - env.globals.keys()
                self.variables = frozenset(_members_of("vars", tree))
                code = env.compile(_Guarded().visit(tree), filename="<template>")
        except (RecursionError, MemoryError):
            raise ValueError("it is nested too deeply") from None
        except (SyntaxError, OverflowError) as error:
            raise ValueError(f"it can't be compiled: {error}") from None
        self._template = jinja2.Template.from_code(env, code, env.globals)

    def run(self, variables: dict[str, Any], limits: Limits) -> Any:
        """The text, or the value of a single expression in JSON's types. Raises whatever the template's code raises."""
        context = self._template.new_context({**variables, _LIMITS: limits})
        pieces = []
        length = 0
        for piece in self._template.root_render_func(context):
            length += len(piece)
            limits.fits(length)
            limits.tick()
            pieces.append(piece)
        return plain(limits.captured) if self.single else "".join(pieces)

    def line(self, error: BaseException) -> int:
        """The line of the template that `error` came from; 0 if it can't be told."""
        found, trace = 0, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "<template>":
                found = self._template.get_corresponding_lineno(trace.tb_lineno)
            trace = trace.tb_next
        return found


def _is_single(tree: nodes.Template) -> bool:
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output):
        return False
    inner = tree.body[0].nodes
    return len(inner) == 1 and not isinstance(inner[0], nodes.TemplateData)


def _inspect(env: jinja2.Environment, tree: nodes.Template) -> None:
    for name in tree.find_all(nodes.Name):
        if name.name == "self":
            raise Refused("no variable named self", name.lineno)
    for type_, why in _REFUSED.items():
        if (node := tree.find(type_)) is not None:
            raise Refused(why, node.lineno)
    for kind, node_type, known in (("filter", nodes.Filter, env.filters), ("test", nodes.Test, env.tests)):
        for node in tree.find_all(node_type):
            if node.name in known:
                continue
            import difflib

            near = difflib.get_close_matches(node.name, _spoken(known), 1)
            also = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(_spoken(known))}"
            raise Refused(f"no {kind} named {node.name}{also}", node.lineno)


def _spoken(names: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in names if name.isidentifier())


def _members_of(name: str, tree: nodes.Template) -> Iterator[str]:
    """The members of the variable `name` that a template names outright: `vars.city`, `vars["city"]`."""
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        if not isinstance(node.node, nodes.Name) or node.node.name != name:  # type: ignore[attr-defined]
            continue
        if isinstance(node, nodes.Getattr):
            yield node.attr
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
            yield str(node.arg.value)
