"""Progress bars for people at a terminal."""

from tqdm import tqdm

_bars: dict[str, tqdm] = {}


def show_download(name: str, have: int, total: int) -> None:
    """Draws a download's progress (bytes, speed, time left) on standard error."""
    if name not in _bars:
        _bars[name] = tqdm(desc=name, total=total or None, unit="B", unit_scale=True)
    bar = _bars[name]
    bar.update(have - bar.n)
    if total and have >= total:
        _bars.pop(name).close()
