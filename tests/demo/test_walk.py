"""The questions that a galaxy is asked, in Galaxy Zoo 2 and in any other tree."""

import numpy as np

from galaxy.demo.walk import Navigation, likeliest
from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, KAGGLE_COLUMNS
from galaxy.labels.labels import Labels


def walked(labels: dict[str, float]) -> list[str]:
    fractions = np.array([[labels.get(column, 0.0) for column in KAGGLE_COLUMNS]])
    order = Navigation.of(GALAXY_ZOO_2).walk(GALAXY_ZOO_2, likeliest(GALAXY_ZOO_2, fractions)[0])
    return [GALAXY_ZOO_2.questions[index].key for index in order]


def test_a_galaxy_is_asked_as_the_volunteers_of_galaxy_zoo_2_were() -> None:
    spiral = {"Class1.2": 0.9, "Class2.2": 0.8, "Class3.1": 0.5, "Class4.1": 0.7, "Class6.1": 0.6}
    assert walked(spiral) == ["q01", "q02", "q03", "q04", "q10", "q11", "q05", "q06", "q08"]
    assert walked({"Class1.1": 0.9, "Class6.2": 0.6}) == ["q01", "q07", "q06"]
    assert walked({"Class1.3": 0.9, "Class6.1": 0.6}) == ["q01"]


def test_another_tree_is_walked_from_each_root_down_and_a_denial_leads_nowhere() -> None:
    tree = {
        "disk": {"answers": ["disk", "other"]},
        "bar": {"answers": ["bar"], "parent": "disk"},
        "long": {"answers": ["long", "short"], "parent": "bar"},
        "ring": {"answers": ["ring", "none"], "parent": "disk"},
        "odd": {"answers": ["odd", "usual"]},
    }
    questions = Labels.from_plain({"questions": tree}).questions
    navigation = Navigation.of(questions)
    #                      disk other  bar  long short ring none  odd usual
    barred = np.array([[0.8, 0.2, 0.6, 0.4, 0.2, 0.1, 0.7, 0.1, 0.9]])
    plain = np.array([[0.8, 0.2, 0.1, 0.1, 0.0, 0.1, 0.7, 0.1, 0.9]])
    other = np.array([[0.2, 0.8, 0.1, 0.1, 0.0, 0.1, 0.1, 0.1, 0.9]])
    asked = [navigation.walk(questions, likeliest(questions, one)[0]) for one in (barred, plain, other)]
    assert asked == [[0, 1, 2, 3, 4], [0, 1, 3, 4], [0, 4]]
