"""A restoration in a few lines for the terminal."""

from __future__ import annotations

from perrin.editing.restoring import Restoration


def lines(found: Restoration) -> list[str]:
    """Noise, what it explains, decibels of a simulation, and what was left behind of a scan."""
    about, restored = found.about, found.restored
    count, samples = restored.state.shape[:2]
    said = [f"{samples} samples" + (f" of each of {count} items" if count > 1 else "")]
    said[0] += f", {restored.evaluations:g} evaluations each, {about['cpu_seconds']:.1f} CPU-seconds"
    if about["sigma_estimated"]:
        said.append(f"noise: estimated standard deviation {about['sigma']:.3g}")
    if about["residual_over_noise"] is not None:
        said.append(f"residual: {about['residual_over_noise']:.2f} of the noise (1 explains the measurement)")
    if found.psnr:
        said.append("PSNR: " + ", ".join(f"{name} {value:.1f} dB" for name, value in found.psnr.items()))
    left = found.form.stripped()
    if left is not None:
        gone = ", ".join(left["removed"])
        said.append(f"removed: {gone}" if gone else "nothing to remove of what names a patient")
        said += [f"look at it: {warning}" for warning in left["warnings"]]
    return said
