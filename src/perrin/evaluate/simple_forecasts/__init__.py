"""Simple methods of forecasting: what a model has to be better than, all as sample paths.

forecaster = SeasonalBootstrap.fit(training, season=24)            # training [C, t]
paths = forecaster(history, horizon=24, paths=100, seed=0)         # history [C, t'] -> [100, C, 24]
"""

from perrin.evaluate.simple_forecasts.autoregression import Arima
from perrin.evaluate.simple_forecasts.promises import Forecaster, Method, carried_forward
from perrin.evaluate.simple_forecasts.seasonal import SeasonalBootstrap, SeasonalNaive
from perrin.evaluate.simple_forecasts.smoothing import Ets
from perrin.evaluate.simple_forecasts.walks import BootstrapWalk, RandomWalk

__all__ = [
    "Arima",
    "BootstrapWalk",
    "Ets",
    "Forecaster",
    "Method",
    "RandomWalk",
    "SeasonalBootstrap",
    "SeasonalNaive",
    "carried_forward",
]
