"""Objectives: what to minimise, in anyone's training loop."""

from perrin.learn.denoising import Denoising, Losses, objective

__all__ = ["Denoising", "Losses", "objective"]
