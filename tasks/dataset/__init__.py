"""Intake: a data set becomes a catalogue of utterances, and findings about everything amiss."""

from meldflow.tasks.dataset.catalogue import check_folder, check_source, take_in, take_in_folder
from meldflow.tasks.dataset.records import Intake

__all__ = ["Intake", "check_folder", "check_source", "take_in", "take_in_folder"]
