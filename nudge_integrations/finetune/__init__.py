"""Encoders fine-tuned on labelled queries, for use before `fit`, and a plan of what that costs.

    dataset, model -> finetune_encoder -> SentenceTransformerEncoder -> fit -> Nudge
    budget, model  -> plan_finetuning  -> Plan

Training needs the extra ``finetune``: ``pip install 'nudge-integrations[finetune]'``. Planning needs no extra.
"""

from nudge_integrations.finetune.encoder import finetune_encoder
from nudge_integrations.finetune.plan import DEVICES, Plan, PlannedStrategy, plan_finetuning
from nudge_integrations.finetune.strategies import ParameterCounts, count_parameters

__all__ = [
    "DEVICES",
    "ParameterCounts",
    "Plan",
    "PlannedStrategy",
    "count_parameters",
    "finetune_encoder",
    "plan_finetuning",
]
