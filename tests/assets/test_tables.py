"""Tables on a narrow terminal."""

from rich.console import Console

from assets.tables import table


def test_names_stay_whole_and_empty_columns_go() -> None:
    rows = [
        {"recipe": "a_name_of_some_length", "drift": "", "said": "May be promoted: all of its checks passed."},
        {"recipe": "short", "drift": "", "said": "[red]never[/] run"},
    ]
    console = Console(width=40, record=True)
    console.print(table(rows, "recipes"))
    shown = console.export_text()
    assert "a_name_of_some_length" in shown and "drift" not in shown
    assert "[red]never[/]" in " ".join(shown.split()), "texts are no markup"
