"""Generated against real data: figures with baseline, ceiling and control, and one HTML page to show them.

extractor = feature_extractor(train_states, train_labels)          # trained once, then cached
result = figures(samples, asked, train_states, train_labels, test_states, test_labels)
write_report("report.html", title="digits", figures=result, pictures={...}, log=log, settings=recipe)
"""

from perrin.evaluate.comparison import figures
from perrin.evaluate.feature_cache import Features, feature_extractor
from perrin.evaluate.feature_classifier import FeatureClassifier, train_classifier
from perrin.evaluate.meanings import Row, rows
from perrin.evaluate.pictures import class_grid, nearest_pairs, tile
from perrin.evaluate.report import write_report
from perrin.evaluate.trivial import gaussian_states

__all__ = [
    "FeatureClassifier",
    "Features",
    "Row",
    "class_grid",
    "feature_extractor",
    "figures",
    "gaussian_states",
    "nearest_pairs",
    "rows",
    "tile",
    "train_classifier",
    "write_report",
]
