"""The entry point by which lmms-eval finds the model `pixsearch`."""

from typing import Any


def manifests() -> list[Any]:
    """lmms-eval's `ModelManifest`s; it is installed wherever this is called."""
    from lmms_eval.models.registry_v2 import ModelManifest

    path = "pixsearch.evaluation.lmms_eval_model.PixSearchLmm"
    return [ModelManifest(model_id="pixsearch", simple_class_path=path)]
