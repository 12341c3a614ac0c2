r"""Time series: tables of columns over time to windows, and back to paths, fan charts and tables.

data = Series.open("load.csv.gz")                         # finds the times, says what it understood
codec = Series.codec.fit(data, horizon=24)
windows = codec.cut(data)
batch = codec.encode([windows[0], windows[1]], [1, 2])    # state [2, C, T], masks of what is given
"""

from __future__ import annotations

from perrin.kinds.provenance import read_provenance
from perrin.kinds.series.codec import SeriesCodec
from perrin.kinds.series.opening import open_series
from perrin.kinds.series.saving import read_saved
from perrin.kinds.series.window import SeriesWindow

__all__ = ["Series", "SeriesCodec", "SeriesWindow", "open_series", "read_provenance"]


class Series:
    """Time series: .csv, .csv.gz, .tsv, .parquet, wide or long; out as paths in .csv or .parquet, and fan charts."""

    sources = ("path",)
    codec = SeriesCodec
    open = staticmethod(open_series)
    read_saved = staticmethod(read_saved)
