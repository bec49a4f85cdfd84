"""What is wrong with a recurrent network: findings, each with its number, its remedy and the remedy's limits."""

from gatelr.networks.diagnosis.diagnose import diagnose
from gatelr.networks.diagnosis.findings import CODES
from gatelr.networks.diagnosis.result import Diagnosis, Finding, LayerDiagnosis, ParameterStep, Severity

__all__ = ["CODES", "Diagnosis", "Finding", "LayerDiagnosis", "ParameterStep", "Severity", "diagnose"]
