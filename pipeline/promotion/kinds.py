"""What kinds of model the registry holds: what the file is called, what the model puts out, who reads it.

Belongs here: a kind's facts, and how they are kept as tags of a version. Stays out: MLflow (`flavours`), and every
check that needs the bytes (`run`, `versions`).

No kind is a pickle: whoever can write to the artifact store could run code in whoever loads it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class Classifier:
    """Tells the probability of each class: a booster in XGBoost's own UBJSON, as `Booster.save_raw("ubj")` gives it.

    >>> Classifier(("RUG", "MOON")).outputs
    ('p_RUG', 'p_MOON')
    """

    classes: tuple[str, ...]
    file: ClassVar[str] = "model.ubj"
    mlflow_type: ClassVar[str] = "classifier"
    purpose: ClassVar[str] = "What becomes of a pool."

    @property
    def outputs(self) -> tuple[str, ...]:
        """The columns that the model puts out, in order."""
        return tuple(f"p_{name}" for name in self.classes)

    @property
    def tags(self) -> dict[str, str]:
        """What a version must say of itself to be read."""
        return {"classes": json.dumps(self.classes)}

    @property
    def in_words(self) -> str:
        """What the model gives, in a sentence."""
        return f"Gives one probability for each of {len(self.classes)} outcomes: {', '.join(self.classes)}."


@dataclass(frozen=True)
class Forecaster:
    """Forecasts a number for each horizon: one JSON file of our own.

    Attributes:
        horizons_hours: how far ahead it looks, one forecast each.
        loader: the module that reads the file; it defines `_load_pyfunc(folder)`, which gives an object with
            `feature_names`, `outputs` and `predict(frame)`. MLflow imports it by this name when it loads the model.
        chosen: horizon -> the kind of model that was chosen for it.
    """

    horizons_hours: tuple[int, ...]
    loader: str
    chosen: Mapping[int, str] = field(default_factory=dict)
    file: ClassVar[str] = "model.json"
    mlflow_type: ClassVar[str] = "regressor"
    purpose: ClassVar[str] = "Which pools' returns will rank above those of others."

    @property
    def outputs(self) -> tuple[str, ...]:
        """The columns that the model puts out, in order.

        >>> Forecaster((1, 24), "some.module").outputs
        ('forecast_1h', 'forecast_24h')
        """
        return tuple(f"forecast_{hours}h" for hours in self.horizons_hours)

    @property
    def tags(self) -> dict[str, str]:
        """What a version must say of itself to be read."""
        return {
            "horizons_hours": json.dumps(self.horizons_hours),
            "loader": self.loader,
            "chosen": json.dumps({str(hours): kind for hours, kind in sorted(self.chosen.items())}),
        }

    @property
    def in_words(self) -> str:
        """What the model gives, in a sentence."""
        chosen = "; ".join(f"{hours} h by {self.chosen.get(hours, 'one kind')}" for hours in self.horizons_hours)
        return f"Forecasts where a pool's return will rank among all pools of the hour, as a normal score: {chosen}."


@dataclass(frozen=True)
class Outcomes:
    """Tells the probability of each class at several horizons, and a signal: one JSON file of our own.

    Attributes:
        classes: of each horizon.
        horizon_hours: the horizon it is judged by. `further_hours`: what else it tells.
        loader: as of a `Forecaster`.
        chosen: the kind of model that was chosen.
    """

    classes: tuple[str, ...]
    horizon_hours: int
    further_hours: tuple[int, ...]
    loader: str
    chosen: str
    file: ClassVar[str] = "model.json"
    mlflow_type: ClassVar[str] = "classifier"
    purpose: ClassVar[str] = "What becomes of a pool."

    @property
    def outputs(self) -> tuple[str, ...]:
        """The columns that the model puts out, in order.

        >>> Outcomes(("RUG", "MOON"), 24, (1,), "some.module", "voted").outputs
        ('p_RUG', 'p_MOON', 'p_RUG_1h', 'p_MOON_1h', 'p_rug', 'p_pump', 'signal_score', 'is_high_signal')
        """
        own = tuple(f"p_{name}" for name in self.classes)
        further = tuple(f"p_{name}_{hours}h" for hours in self.further_hours for name in self.classes)
        return (*own, *further, "p_rug", "p_pump", "signal_score", "is_high_signal")

    @property
    def tags(self) -> dict[str, str]:
        """What a version must say of itself to be read."""
        return {
            "classes": json.dumps(self.classes),
            "horizon_hours": str(self.horizon_hours),
            "further_hours": json.dumps(self.further_hours),
            "loader": self.loader,
            "chosen": self.chosen,
        }

    @property
    def in_words(self) -> str:
        """What the model gives, in a sentence."""
        further = "".join(f", and for {hours} h" for hours in self.further_hours)
        return (
            f"Gives one probability for each of {len(self.classes)} outcomes after {self.horizon_hours} h{further}:"
            f" {', '.join(self.classes)}. The kind chosen is {self.chosen}."
        )


type Kind = Classifier | Forecaster | Outcomes


def kind_of(tags: Mapping[str, str]) -> Kind:
    """The kind a version's tags tell of; a version that says no horizons is a classifier.

    Raises:
        KeyError, TypeError, ValueError: the tags are not those of a kind.

    >>> kind_of(Classifier(("RUG",)).tags), kind_of({"horizons_hours": "[1]", "loader": "a.b", "chosen": "{}"})
    (Classifier(classes=('RUG',)), Forecaster(horizons_hours=(1,), loader='a.b', chosen={}))
    """
    if "further_hours" in tags:
        classes, further = json.loads(tags["classes"]), json.loads(tags["further_hours"])
        return Outcomes(
            tuple(str(name) for name in classes), int(tags["horizon_hours"]), tuple(int(hours) for hours in further),
            tags["loader"], tags["chosen"],
        )  # fmt: skip
    if "horizons_hours" not in tags:
        return Classifier(tuple(str(name) for name in json.loads(tags["classes"])))
    horizons = tuple(int(hours) for hours in json.loads(tags["horizons_hours"]))
    chosen = {int(hours): str(kind) for hours, kind in dict(json.loads(tags["chosen"])).items()}
    return Forecaster(horizons, tags["loader"], chosen)
