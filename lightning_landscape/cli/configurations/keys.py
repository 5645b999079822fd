"""The keys of the configurations of all verbs, as a JSON schema for editors."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback
from torch.optim import Optimizer

# imported so that their classes are known
import lightning_landscape.callbacks
import lightning_landscape.data
import lightning_landscape.dynamics
import lightning_landscape.energies
import lightning_landscape.studies.ensembles
import lightning_landscape.studies.finite_size
import lightning_landscape.studies.hessian_free
import lightning_landscape.studies.wide_networks  # noqa: F401
from lightning_landscape.cli.checkpoints import RunCheckpoint
from lightning_landscape.cli.configurations.schema import Schema, schema
from lightning_landscape.data import Batches, LabelledData
from lightning_landscape.dynamics import LayerRates
from lightning_landscape.energies import Architecture, Energy
from lightning_landscape.modules.landscape import LandscapeModule
from lightning_landscape.studies import Study
from lightning_landscape.studies.jamming import DataPerturbation, Family, Jamming, Plan

__all__ = ["schema_of_configurations"]

_TRAINER: dict[str, Any] = {
    "max_steps": {"type": "integer", "description": "The number of integrator steps."},
    "accelerator": {"type": "string", "description": "cpu, gpu or auto."},
    "callbacks": {"type": "array", "items": {"$ref": "#/$defs/Callback"}},
}


def schema_of_configurations() -> Schema:
    """Return the schema of the files of fit, study, jamming and explore, whose keys differ."""
    experiment = {"type": "string", "description": "Folder of the run below logs/."}
    whole, energy = {"type": "integer"}, {"$ref": "#/$defs/Energy"}
    sections: dict[str, type | Schema] = {
        "experiment": experiment,
        "model": LandscapeModule,
        "trainer": {"type": "object", "properties": _TRAINER},
        "checkpoint": RunCheckpoint,
        "study": {"$ref": "#/$defs/Study"},
        "jamming": Jamming,
        "energy": {"anyOf": [energy, {"type": "array", "items": energy}]},
        "quenches": whole,
        "searches": whole,
        "descents": whole,
    }
    roots = [Energy, Optimizer, Callback, Architecture, LabelledData, Study, Plan]
    return schema(sections, roots, [Batches, Family, DataPerturbation, LayerRates])
