"""What the server answers about galaxies and images, as JSON; docs/demo.md describes it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from galaxy import __version__
from galaxy.demo.gallery import SIDE, Gallery
from galaxy.demo.model import DemoModel, Seen
from galaxy.demo.uploads import LARGEST_REQUEST, MOST_IMAGES, MOST_PIXELS
from galaxy.demo.walk import likeliest
from galaxy.images.crops import Pixels
from galaxy.labels.galaxy_zoo_2 import class_strings, is_galaxy_zoo_2
from galaxy.reports.evaluation.attention import has_captum
from galaxy.reports.evaluation.intervals import LEVEL, sets_of
from galaxy.reports.evaluation.pictures import galaxy_picture
from galaxy.reports.evaluation.sample import answer_texts, shares

# This number is raised with each change of the format.
FORMAT = 1
_NEAREST = 6
_DIGITS = 4


def about(gallery: Gallery) -> dict[str, Any]:
    """Returns what is the same for all galaxies: models, questions and limits."""
    labels, models = gallery.labels, gallery.models
    return {
        "format": FORMAT,
        "software": f"Galaxy {__version__}",
        "models": [_model(model) for model in models],
        "labels": {"kind": labels.kind, "meaning": labels.meaning},
        "galaxy_zoo_2": is_galaxy_zoo_2(labels.questions),
        "questions": [_question(gallery, index) for index in range(len(labels.questions))],
        "first": list(gallery.navigation.first),
        "data": gallery.choice,
        "split": gallery.split,
        "galaxies": len(gallery.names),
        "people": gallery.people is not None,
        "attention": has_captum(),
        "nearest": models[0].neighbours is not None,
        "level": LEVEL,
        "limits": {"bytes": LARGEST_REQUEST, "images": MOST_IMAGES, "pixels": MOST_PIXELS},
    }


def about_galaxy(gallery: Gallery, place: int) -> dict[str, Any]:
    """Returns what the models and people say about a galaxy of the page."""
    name = gallery.names[place]
    answer: dict[str, Any] = {"id": name, "people": None}
    if gallery.people is not None:
        answer["people"] = _by_column(gallery, gallery.people[place])
    seen = [model.seen(place) for model in gallery.models]
    answer["models"] = _all_say(gallery, seen, with_crops=True)
    near = gallery.models[0].neighbours
    answer["nearest"] = _nearest(gallery, near.nearest(place, _NEAREST)) if near else []
    return answer


def about_image(gallery: Gallery, frame: Pixels, for_page: bool) -> dict[str, Any]:
    """Returns what the models say about an image (H, W, 3) uint8 that somebody has sent.

    Args:
        gallery: The galaxies and the models.
        frame: The image.
        for_page: Whether pictures and the nearest galaxies are asked for.
    """
    seen = [model.see(frame) for model in gallery.models]
    answer: dict[str, Any] = {"models": _all_say(gallery, seen, with_crops=for_page)}
    frames = [model.frame for model in gallery.models if model.frame is not None]
    answer["other_frame"] = any(frame.shape[:2] != expected for expected in frames)
    if not for_page:
        return answer
    near, features = gallery.models[0].neighbours, seen[0].features
    answer["nearest"] = []
    if near is not None and features is not None:
        answer["nearest"] = _nearest(gallery, near.nearest_to(features, _NEAREST))
    answer["picture"] = galaxy_picture(frame, SIDE)
    return answer


def attention_of_galaxy(gallery: Gallery, place: int) -> dict[str, Any]:
    """Returns pictures of where the models look in a galaxy of the page."""
    return {"attention": [model.attention(model.seen(place).crop) for model in gallery.models]}


def attention_of_image(gallery: Gallery, frame: Pixels) -> dict[str, Any]:
    """Returns pictures of where the models look in an image (H, W, 3) uint8."""
    return {"attention": [model.attention(model.see(frame).crop) for model in gallery.models]}


def _model(model: DemoModel) -> dict[str, Any]:
    choices = {key: model.choices[key] for key in ("model", "crop", "loss", "data") if key in model.choices}
    frame = None if model.frame is None else {"height": model.frame[0], "width": model.frame[1]}
    return {"name": model.name, "fingerprint": model.fingerprint, "choices": choices, "frame": frame}


def _question(gallery: Gallery, index: int) -> dict[str, Any]:
    labels = gallery.labels
    question, columns = labels.questions.questions[index], labels.questions.slices[index]
    parent = labels.questions.parents[index]
    answers = [
        {
            "column": labels.columns[column],
            "text": labels.texts[column],
            "leads_to": list(gallery.navigation.following[column]),
            "galaxies": len(gallery.of_answer[column]),
        }
        for column in range(columns.start, columns.stop)
    ]
    return {
        "key": question.key,
        "text": question.text,
        "answers": answers,
        "denial": answer_texts(labels.questions, index)[1] if len(answers) == 1 else None,
        "parent": None if parent is None else labels.columns[parent],
    }


def _all_say(gallery: Gallery, seen: list[Seen], with_crops: bool) -> list[dict[str, Any]]:
    pairs = zip(gallery.models, seen, strict=True)
    return [_says(gallery, model, one) | _crop(one, with_crops) for model, one in pairs]


def _crop(seen: Seen, wanted: bool) -> dict[str, Any]:
    return {"crop": galaxy_picture(seen.crop)} if wanted else {}


def _says(gallery: Gallery, model: DemoModel, seen: Seen) -> dict[str, Any]:
    questions, labels = gallery.labels.questions, gallery.labels
    fractions = seen.fractions[None]
    (chosen,) = likeliest(questions, fractions)
    walk = []
    for index in gallery.navigation.walk(questions, chosen):
        text = answer_texts(questions, index)[chosen[index]]
        share = float(shares(fractions, questions, index)[0, chosen[index]])
        walk.append(
            {"question": questions.questions[index].key, "answer": text, "share": round(share, _DIGITS)}
        )
    says: dict[str, Any] = {"fractions": _by_column(gallery, seen.fractions), "walk": walk}
    if labels.kind == "classes":
        says["class"] = labels.texts[int(seen.fractions.argmax())]
    elif is_galaxy_zoo_2(questions):
        says["gz2_class"] = str(class_strings(fractions)[0])
    calibration = model.calibration
    if calibration is None:
        return says
    if calibration.intervals is not None:
        low, high = calibration.intervals.of(fractions)
        ends = np.stack([low[0], high[0]], axis=1).round(_DIGITS).tolist()
        says["intervals"] = dict(zip(labels.columns, ends, strict=True))
    if calibration.least is not None:
        (possible,) = sets_of(fractions, calibration.least)
        says["possible"] = [text for text, held in zip(labels.texts, possible, strict=True) if held]
    if calibration.familiar is not None and seen.features is not None:
        (distance,) = calibration.familiar.distances(seen.features[None]).tolist()
        says |= {"distance": round(distance, _DIGITS), "unusual": distance > 1}
    return says


def _by_column(gallery: Gallery, values: NDArray[np.float64]) -> dict[str, float | None]:
    numbers = [None if np.isnan(value) else round(value, _DIGITS) for value in values.tolist()]
    return dict(zip(gallery.labels.columns, numbers, strict=True))


def _nearest(gallery: Gallery, found: tuple[NDArray[np.int64], NDArray[np.float64]]) -> list[dict[str, Any]]:
    pairs = zip(*(values.tolist() for values in found), strict=True)
    return [{"id": gallery.names[place], "distance": round(distance, 3)} for place, distance in pairs]
