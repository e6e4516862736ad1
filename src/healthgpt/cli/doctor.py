"""``healthgpt doctor``: is this machine ready, and if not, what to do."""

import platform
import sys
from collections.abc import Callable

import typer

from healthgpt.cli.console import note, print_table
from healthgpt.cli.models import bundled, has_weights
from healthgpt.version import VERSION


def doctor() -> None:
    """Check whether this machine is ready."""
    rows: list[list[str]] = []
    healthy = True
    for name, check in CHECKS.items():
        good, found = check()
        healthy = healthy and good
        rows.append(["ok" if good else "FAULT", name, found])
    print_table(f"healthgpt {VERSION}", ["", "part", "found"], rows)
    _print_sizes()
    if not healthy:
        note("error: this machine is not ready; found the FAULT rows above; next: mend them and run 'healthgpt doctor'")
        raise typer.Exit(1)


def _print_sizes() -> None:
    """What each published size needs in each form, against what is free here, and the largest that fits."""
    from healthgpt.backbone.load import device_named
    from healthgpt.model.footprint import FORMS, OPTIONS, footprint, free_memory
    from healthgpt.variants import VARIANTS

    device = device_named("auto")
    free = {form: free_memory(device, quantize) for form, (_, quantize) in FORMS.items()}
    rows, advice = [], []
    for name in ("m3", "l14", "xl32"):
        needs = {form: footprint(VARIANTS[name], form) for form in FORMS}
        for form, need in needs.items():
            verdict = "fits" if need.total <= free[form] else "too large"
            parts = (need.weights, need.cache, need.work, need.total)
            rows.append([name, form, *(f"{part / 1e9:.2f}" for part in parts), verdict])
        fitting = next((form for form, need in needs.items() if need.total <= free[form]), None)
        lacking = min(need.total - free[form] for form, need in needs.items())
        advice.append(
            f"{name}: --model {name} {OPTIONS[fitting]}"
            if fitting
            else f"{name}: too large in every form; {lacking / 1e9:.1f} GB more would do"
        )
    free_here = f"{free['bfloat16'] / 1e9:.1f} GB free for {device.type}"
    print_table(
        "memory for one image or answer (GB)", ["model", "form", "weights", "cache", "work", "in all", free_here], rows
    )
    for line in advice:
        print(line)


def _python() -> tuple[bool, str]:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return sys.version_info >= (3, 11), found


def _packages() -> tuple[bool, str]:
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    wrong = []
    wanted = [Requirement(line) for line in requires("healthgpt") or []]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    for one in wanted:
        try:
            found = version(one.name)
        except PackageNotFoundError:
            wrong.append(f"{one.name} is missing")
            continue
        if not one.specifier.contains(found, prereleases=True):
            wrong.append(f"{one.name} {found}, needs {one.specifier}")
    if wrong:
        return False, f"{'; '.join(wrong)}; next: pip install --upgrade healthgpt"
    return True, f"all {len(wanted)}, torch {version('torch')}, transformers {version('transformers')}"


def _processor() -> tuple[bool, str]:
    import torch

    threads = f"{torch.get_num_threads()} CPU threads"
    if torch.cuda.is_available():
        return True, f"{torch.cuda.get_device_name(0)}, {threads}"
    return True, f"no GPU (none is needed for nano), {threads}"


def _dicom_decoders() -> tuple[bool, str]:
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

    kinds = {
        "JPEG": JPEGBaseline8Bit,
        "JPEG 2000": JPEG2000Lossless,
        "JPEG-LS": JPEGLSLossless,
        "RLE": RLELossless,
    }
    missing = [name for name, syntax in kinds.items() if not get_decoder(syntax).is_available]
    if missing:
        return False, f"none for {', '.join(missing)}; next: pip install pylibjpeg[all]"
    return True, ", ".join(kinds)


def _bundled_model() -> tuple[bool, str]:
    folder = bundled("nano")
    if not has_weights(folder):
        return False, f"no weights in {folder}; next: reinstall, or train them with 'healthgpt train nano'"
    return True, f"nano, {sum(path.stat().st_size for path in folder.rglob('*')) / 1e6:.1f} MB"


CHECKS: dict[str, Callable[[], tuple[bool, str]]] = {
    "python": _python,
    "packages": _packages,
    "processor": _processor,
    "DICOM decoders": _dicom_decoders,
    "bundled model": _bundled_model,
}
