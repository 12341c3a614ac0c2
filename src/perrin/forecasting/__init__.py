"""Forecasts: many futures of a series, how likely each is, and what they say of events; and gaps filled the same way.

found = forecast(model, history, horizon=30, samples=200)
found.quantiles([0.1, 0.5, 0.9])                        # [L, C, H]
found.probability("max(load) > 120")                    # (share of the paths, its standard error)
found.save("forecast")                                  # paths, quantiles, a fan chart, a page to explore
"""

from __future__ import annotations

from perrin.forecasting.drawing import forecast
from perrin.forecasting.futures import Forecast
from perrin.forecasting.imputing import Imputation, impute
from perrin.forecasting.rolling import roll

__all__ = ["Forecast", "Imputation", "forecast", "impute", "roll"]
