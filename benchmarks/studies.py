"""The recipes that `benchmarks.recipes` trains, a table for each form of labels and one of ablations."""

from __future__ import annotations

from dataclasses import dataclass

# Every multiple of time is one of this recipe.
REFERENCE = "default"


@dataclass(frozen=True)
class Recipe:
    """One row of a table.

    Attributes:
        name: The name of the row, and of its folder.
        settings: What `train.py` is told beside the data.
        published: The published figure; empty if there is none.
        differs: What differs from the publication, or from the recipe that this one changes.
        views: Numbers of views that it predicts with beside those of the study.
        members: The names of the rows above that predict together; such a row is not trained.
        sweep: The sweep whose networks predict together; empty for a single network.
        before: What `train.py` is told for the run whose weights this one starts from; empty for none.
    """

    name: str
    settings: tuple[str, ...] = ()
    published: str = ""
    differs: str = ""
    views: tuple[int, ...] = ()
    members: tuple[str, ...] = ()
    sweep: str = ""
    before: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """One table: recipes whose labels mean the same.

    Attributes:
        title: The title of the table.
        metric: What the recipes are scored by, on the test split.
        recipes: The rows.
        views: The numbers of views that each network predicts with, beside a single one.
        baseline: The recipe that the differences of an ablation are from; None for no such column.
    """

    title: str
    metric: str
    recipes: tuple[Recipe, ...]
    views: tuple[int, ...] = (8,)
    baseline: str | None = None


# What the recipes were before the cross-entropy and one learning rate for all weights.
_GENTLE = ("model.body_lr_factor=0.2", "trainer.max_epochs=32")
FORMER = ("experiment=fast", "loss=mse", "model.body_lr_factor=0.2")


def _changed(name: str, change: str, differs: str) -> Recipe:
    return Recipe(name, (*FORMER, *change.split()), differs=differs)


# The labels and splits of experiment=gz2_keras.
_GZ2 = (
    "data=gz2",
    "data.catalog.labels=debiased",
    "data.catalog.weights=null",
    "data.test_fraction=0.25",
    "data.val_fraction=0.075",
    "data.stratify=true",
    "head=sigmoid",
)
STUDIES = {
    "kaggle": Study(
        "Kaggle's 37 cumulative fractions: RMSE",
        "rmse",
        (
            Recipe("mean", ("data=kaggle", "model=mean"), "0.1639 (Speidell)"),
            Recipe("center_pixel", ("data=kaggle", "model=center_pixel"), "0.16194 (Kaggle's benchmark)"),
            Recipe(REFERENCE, ("data=kaggle",)),
            Recipe("sirressi", ("experiment=sirressi",), "0.22", "published: 8,000 of Kaggle's images"),
            Recipe("speidell", ("experiment=speidell",), "0.11025", "published: 61,578 images"),
            Recipe("dieleman", ("experiment=dieleman", "optimizer=adamw", "scheduler=onecycle",
                                "~scheduler.scheduler.milestones", "~scheduler.scheduler.gamma",
                                "model.body_lr_factor=0.1", "trainer.max_epochs=12"),
                   "0.07693 with 60 views", "published: 507 epochs of 49,262 images by SGD"),
            Recipe("fast", ("experiment=fast",)),
            Recipe("best_cpu", ("experiment=best_cpu",), views=(60,)),
            Recipe("40 epochs", ("experiment=best_cpu", "trainer.max_epochs=40"),
                   differs="best_cpu with 40 epochs", views=(60,)),
            Recipe("ten minutes", ("experiment=best_cpu", "trainer.max_epochs=-1",
                                   "trainer.max_time=00:00:10:00"),
                   differs="best_cpu with as many epochs as ten minutes of two cores have room for"),
            Recipe("gentle encoder", ("experiment=best_cpu", *_GENTLE),
                   differs="the encoder learns at a fifth of the rate, for 32 epochs", views=(60,)),
            Recipe("two together", differs="the mean of best_cpu and gentle encoder",
                   members=("best_cpu", "gentle encoder")),
            Recipe("three together", differs="the mean of these two and 40 epochs",
                   members=("best_cpu", "gentle encoder", "40 epochs")),
            Recipe("mse", ("experiment=best_cpu", "loss=mse", *_GENTLE),
                   differs="gentle encoder with loss=mse", views=(60,)),
            Recipe("mse, another seed", ("experiment=best_cpu", "loss=mse", "seed=1", *_GENTLE),
                   differs="the same with seed=1", views=(60,)),
            Recipe("mse, more epochs", ("experiment=best_cpu", "loss=mse", "seed=1", "crop.size=128",
                                        "model.input_size=64", "model.body_lr_factor=0.2",
                                        "trainer.max_epochs=48"),
                   differs="the same with 64 px and 48 epochs, which take as long", views=(60,)),
        ),
    ),
    "ablations": Study(
        "What choices in experiment=fast are worth: RMSE on Kaggle's fractions",
        "rmse",
        (
            Recipe("former", FORMER, differs="fast with loss=mse model.body_lr_factor=0.2"),
            Recipe("fast", ("experiment=fast",), differs="the next two together"),
            _changed("one rate", "model.body_lr_factor=1", "the encoder learns as fast as the head"),
            _changed("cross entropy", "loss=cross_entropy", "the cross-entropy of each question"),
            Recipe("questions", FORMER, differs="one network for each question", sweep="questions"),
            Recipe("simulated first", ("experiment=fast",),
                   differs="fast from the weights of 8 epochs of 16,000 simulated galaxies",
                   before=(*FORMER, "data=simulated", "data.catalog.count=17778", "data.test_fraction=0",
                           "trainer.max_epochs=8")),
            _changed("huber", "loss=huber loss.delta=0.1", "linear beyond errors of 0.1"),
            _changed("sigmoid head", "head=sigmoid", "each answer for itself, not a share of its question"),
            _changed("random weights", "model.weights=null model.normalisation=training", "no ImageNet"),
            _changed("crop of 64 px", "crop.size=64", "turned and zoomed at the size that the network sees"),
            _changed("seed 1", "seed=1", "only the draw of weights, order and augmentation"),
            _changed("no EMA", "callbacks.ema=null", "the weights of the last step"),
            _changed("colour", "augment=colour", "brightness and colour change too"),
            _changed("quarter turns", "augment=rotate90", "turns by 90 degrees and mirror images only"),
            _changed("progressive", "callbacks=progressive", "48 px at first, 64 px at the end"),
        ),
        views=(),
        baseline="former",
    ),
    "gz2": Study(
        "Galaxy Zoo 2's 37 debiased fractions (Hart et al. 2016): RMSE",
        "rmse",
        (
            Recipe("mean", ("experiment=gz2_keras", "model=mean")),
            Recipe("gz2_keras", ("experiment=gz2_keras", "data.batch_size=64"), "0.2265",
                   "published: 239,267 galaxies, batches of 2,000"),
            Recipe("default", _GZ2),
            Recipe("fast", (*FORMER, *_GZ2, "trainer.max_epochs=20")),
        ),
    ),
    "question1": Study(
        "The first question as three classes: accuracy",
        "accuracy",
        (
            Recipe("mean", ("experiment=sirressi_question1", "model=mean")),
            Recipe("logistic", ("experiment=sirressi_question1", "model=logistic"), "72 %"),
            Recipe("sirressi_cnn", ("experiment=sirressi_question1",), "75 % of 100"),
            Recipe("resnet18", ("experiment=sirressi_question1", "model=resnet18", "crop.size=128",
                                "crop.fraction=0.5", "trainer.max_epochs=20"), "", "128 pixels, 20 epochs"),
            Recipe("fast", ("experiment=fast", "model.body_lr_factor=0.2", "target=question1",
                            "target.hard=true", "objective.metric=val/accuracy", "data.limit=1000"), "",
                   "the same 1,000 galaxies, 64 pixels"),
        ),
    ),
}  # fmt: skip
