"""`galaxy export RUN --onnx FILE`: the network of a run in a form that needs no Galaxy."""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal

from galaxy.config.trust import UntrustedError
from galaxy.system.errors import UserError

if TYPE_CHECKING:
    from galaxy.images.crops import Crop
    from galaxy.runs.folder import RunFolder
    from galaxy.runs.onnx_file import Exported


def main(arguments: list[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="galaxy export",
        description="Writes the network of a run's best checkpoint as ONNX, and compares it with PyTorch.",
    )
    parser.add_argument("run", metavar="RUN", help="the folder of a run that is done, or latest")
    parser.add_argument("--onnx", type=Path, metavar="FILE", required=True, help="a new file, FILE.onnx")
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="a package of your own whose code the run may call; may be given several times",
    )
    options = parser.parse_args(arguments)
    try:
        path = options.onnx.expanduser()
        run = _checked(options.run, path)

        # torch takes seconds to import; a mistake above is said at once.
        from galaxy.runs.onnx_file import check_packages, write_onnx  # noqa: PLC0415

        check_packages()
        with Console(stderr=True).status("Translating the network, and comparing it with PyTorch"):
            exported = write_onnx(run, path, options.trust)
    except UntrustedError as error:
        trust = " ".join(f"--trust {package}" for package in error.packages)
        print(f"{error}, here {trust}" if trust else error, file=sys.stderr)
        return 1
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    print(_report(exported, path))
    return 0


def _checked(name: str, path: Path) -> RunFolder:
    """Finds the run, and refuses one that is not done and a file that must not be written."""
    from galaxy.runs.finding import find_run  # noqa: PLC0415  `--help` has no time for it
    from galaxy.system.files import check_writable  # noqa: PLC0415

    run = find_run(name, "RUN")
    if (status := run.result().status) != "done":
        raise UserError(f"{run.path} is not done ({status}): only a run that is done is exported")
    if path.suffix != ".onnx":
        raise UserError(f"--onnx {path}: the name of the file must end in .onnx")
    if path.exists():
        raise UserError(f"{path} exists: remove it, or give another name")
    check_writable(path.parent)
    return run


def _report(exported: Exported, path: Path) -> str:
    """Says what was written, how far it agrees with PyTorch, and how it is used."""
    model = exported.model
    crop, columns = model.crop, model.labels.columns
    images = f"images (B, {crop.channels}, {crop.size}, {crop.size}) in [0, 1]"
    agreement = f"to {exported.random:.0e} on random images"
    if exported.own is not None:
        root = model.config["data"]["root"]
        agreement += f" and to {exported.own:.0e} on {exported.galaxies} galaxies of {root}"
    else:
        agreement += f" (on no galaxies of the run: {exported.reason})"
    return "\n".join(
        [
            f"{path}: {decimal(exported.size)}, {images} to fractions (B, {len(columns)})",
            f"The fractions agree with those of PyTorch {agreement}.",
            "It is used without Galaxy in this way:",
            "",
            usage(crop, path),
        ]
    )


def usage(crop: Crop, path: Path) -> str:
    """Returns the Python that predicts an image with NumPy, OpenCV and ONNX Runtime.

    Args:
        crop: The crop of the model.
        path: The ONNX file.
    """
    from galaxy.images.crops.center import CenterCrop  # noqa: PLC0415  `--help` has no time for it

    if type(crop) is CenterCrop:
        region = [
            f"side = max(1, round(min(image.shape[:2]) * {crop.fraction}))  # the central square",
            "top, left = ((length - side) // 2 for length in image.shape[:2])",
            "image = image[top : top + side, left : left + side]",
        ]
    else:
        settings = ", ".join(f"{k}={v}" for k, v in vars(crop).items() if k not in ("size", "channels"))
        summary = (inspect.getdoc(type(crop)) or "").partition("\n")[0]
        region = [
            f"# Here cut the galaxy out of the frame as {type(crop).__module__}.{type(crop).__name__} does",
            f"# ({settings}): {summary}",
        ]
    grey = crop.channels == 1
    return "\n".join(
        [
            "import json",
            "import cv2, numpy, onnxruntime",
            f'session = onnxruntime.InferenceSession("{path}")',
            'columns = json.loads(session.get_modelmeta().custom_metadata_map["columns"])',
            "# The whole frame; FITS files have to be stretched first.",
            'image = cv2.cvtColor(cv2.imread("GALAXY.jpg"), cv2.COLOR_BGR2RGB)',
            *region,
            *(["image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)"] if grey else []),
            f"image = cv2.resize(image, ({crop.size}, {crop.size}), interpolation=cv2.INTER_AREA)",
            f"images = numpy.float32(image{'[None]' if grey else '.transpose(2, 0, 1)'}[None] / 255)",
            '(fractions,) = session.run(None, {"images": images})',
            "print(dict(zip(columns, fractions[0].tolist())))",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
