"""Names of settings that the files do not hold: those of other programs, and those that a run sets itself."""

from __future__ import annotations

# Names that people bring from other programs, and what they are called here.
OTHER_NAMES = {
    **dict.fromkeys(("epochs", "epoch", "num_epochs", "n_epochs"), "trainer.max_epochs"),
    **dict.fromkeys(("gpus", "num_gpus", "gpu", "num_devices"), "trainer.devices"),
    **dict.fromkeys(("device",), "trainer.accelerator"),
    **dict.fromkeys(("amp", "fp16", "bf16"), "trainer.precision"),
    **dict.fromkeys(("grad_clip", "clip", "clip_grad"), "trainer.gradient_clip_val"),
    **dict.fromkeys(("learning_rate", "base_lr", "max_lr"), "optimizer.lr"),
    **dict.fromkeys(("wd", "decay"), "optimizer.weight_decay"),
    **dict.fromkeys(("lr_decay", "llrd"), "model.layer_decay"),
    **dict.fromkeys(("n_blocks", "unfreeze"), "model.trained_layers"),
    **dict.fromkeys(("freeze", "freeze_epochs", "unfreeze_epoch"), "model.frozen_epochs"),
    **dict.fromkeys(("batch", "batchsize", "bs"), "data.batch_size"),
    **dict.fromkeys(("num_workers", "nproc"), "data.workers"),
    **dict.fromkeys(("data_dir", "dataset", "path"), "data.root"),
    **dict.fromkeys(("samples", "num_samples", "subset"), "data.limit"),
    **dict.fromkeys(("image_size", "img_size", "resolution"), "crop.size"),
    **dict.fromkeys(("pretrained",), "model.weights"),
    **dict.fromkeys(("output_dir", "out_dir", "outdir", "save_dir"), "hydra.run.dir"),
    **dict.fromkeys(("random_seed", "manual_seed"), "seed"),
}

# A run sets these settings itself; the text says what to do instead.
_SET_BY_RUN = {
    "trainer.callbacks": "use the group callbacks",
    "trainer.logger": "use the group logger",
    "trainer.default_root_dir": "use hydra.run.dir",
    "trainer.fast_dev_run": "use trainer=debug",
    "trainer.max_steps": "use trainer.max_epochs",
    "trainer.overfit_batches": "use data.limit",
    "trainer.barebones": "use trainer=debug",
    "trainer.plugins": "leave it out: one of them writes the checkpoints",
    "trainer.use_distributed_sampler": "leave it out: the loaders share out the galaxies themselves",
    "trainer.enable_autolog_hparams": "leave it out: the whole configuration is logged",
    "trainer.enable_model_summary": "leave it out",
    "trainer.limit_test_batches": "use data.test_fraction: all test galaxies are scored",
    "trainer.limit_predict_batches": "leave it out: all galaxies of a split are predicted",
    "trainer.model_registry": "leave it out: the checkpoints are in the run folder",
    "trainer.num_nodes": "leave it out: trainer=ddp takes the machines that torchrun or srun starts it on",
    "callbacks.best.save_last": "use callbacks.last, which writes last.ckpt",
}


def set_by_run(key: str) -> str | None:
    """Says what to use in place of a setting that the run sets itself; None for any other setting."""
    return f"is set by the run itself; {_SET_BY_RUN[key]}" if key in _SET_BY_RUN else None
