"""An estimator's parameters, as scikit-learn reads and sets them."""

from __future__ import annotations

import inspect
from typing import Any, Self

from sparklab.train.errors import TrainingInputError


class Parameters:
    """The constructor's arguments of an estimator are attributes of the same names."""

    @classmethod
    def _names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments, as they are now."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **params: Any) -> Self:
        """The arguments named are changed; a ``fit`` that runs in another thread takes a new `lr` at once.

        Raises
        ------
        ValueError
            There is no argument of that name.
        """
        known = self._names()
        for name, value in params.items():
            if name not in known:
                raise TrainingInputError(
                    f"set_params({name}=...)", f"Invalid parameter {name!r}", f"it has {', '.join(known)}"
                )
            setattr(self, name, value)
        running = getattr(self, "handle_", None)
        if params.get("lr") is not None and running is not None and running.status in ("running", "paused"):
            running.lr = params["lr"]
        return self

    def __sklearn_tags__(self) -> Any:
        from importlib import import_module

        utils = import_module("sklearn.utils")
        tags = utils.Tags(
            estimator_type="classifier",
            target_tags=utils.TargetTags(required=True),
            classifier_tags=utils.ClassifierTags(multi_class=False),
            input_tags=utils.InputTags(sparse=True, allow_nan=False),
        )
        return tags

    def __getstate__(self) -> dict[str, Any]:
        # The handle of a run belongs to the process that trains.
        return {name: value for name, value in self.__dict__.items() if name != "handle_"}

    def __repr__(self) -> str:
        defaults = {name: p.default for name, p in inspect.signature(type(self)).parameters.items()}
        # A value of another type is shown, equal or not; what was pickled is equal and no longer the same object.
        changed = [
            f"{name}={v!r}"
            for name, v in self.get_params().items()
            if type(v) is not type(defaults[name]) or v != defaults[name]
        ]
        return f"{type(self).__name__}({', '.join(changed)})"
