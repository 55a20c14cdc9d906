"""Conditions on a row as a recipe writes them: `chars > 200 and channel in ["mail", "chat"]`.

A small part of Python's expressions, read with `ast` and never evaluated as code: names, literals, comparisons,
`and`, `or`, `not` and `in`.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

Condition = Callable[[Mapping[str, Any]], Any]

_MOST = 500
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, among: value in among,
    ast.NotIn: lambda value, among: value not in among,
}


def condition(text: str) -> tuple[Condition, set[str]]:
    """A function of a row's values, and the names that it reads.

    Raises ValueError for what is no such expression. The function raises TypeError where values cannot be compared.
    """
    if len(text) > _MOST:
        raise ValueError(f"is longer than {_MOST} characters")
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"not an expression: {error}") from None
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return _read(tree), names


def _read(node: ast.AST) -> Condition:
    if isinstance(node, ast.Name):
        name = node.id
        return lambda row: row[name]
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | bool):
        value = node.value
        return lambda row: value
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        items = [_read(item) for item in node.elts]
        return lambda row: [item(row) for item in items]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        inner = _read(node.operand)
        return lambda row: not inner(row)
    if isinstance(node, ast.BoolOp):
        parts, every = [_read(part) for part in node.values], isinstance(node.op, ast.And)
        return lambda row: all(part(row) for part in parts) if every else any(part(row) for part in parts)
    if isinstance(node, ast.Compare):
        return _comparison(node)
    raise ValueError(f"{ast.unparse(node)[:40]!r} is not allowed: use names, literals, comparisons, and, or, not, in")


def _comparison(node: ast.Compare) -> Condition:
    unknown = [type(op).__name__ for op in node.ops if type(op) not in _COMPARE]
    if unknown:
        raise ValueError(f"{', '.join(unknown)} is not allowed: use ==, !=, <, <=, >, >=, in, not in")
    sides = [_read(side) for side in (node.left, *node.comparators)]
    tests = [_COMPARE[type(op)] for op in node.ops]

    def holds(row: Mapping[str, Any]) -> bool:
        values = [side(row) for side in sides]
        return all(test(a, b) for test, a, b in zip(tests, values, values[1:], strict=False))

    return holds
